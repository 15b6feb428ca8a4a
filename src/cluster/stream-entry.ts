// One entry of a shard's log as a message of its stream: the header of entry.ts with seq 0 and durable mark 0, then the body. The
// stream gives the seq. What a node takes in is proved by both checksums before it is believed.
import { crc32 } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { decodeEntryHeader, encodeEntry, entryHeaderBytes } from '../log/entry.ts';
import type { EntryDraft } from '../log/shard-log.ts';

export function encodeMessage(draft: EntryDraft, time: bigint): Uint8Array {
  const [header, body] = encodeEntry(draft, { seq: 0, time, durableSeq: 0 }).parts;
  return Buffer.concat([header ?? Buffer.alloc(0), body ?? Buffer.alloc(0)]);
}

/** `body` is a view into the message. @throws CorruptionError naming stream and seq */
export function decodeMessage(data: Uint8Array, at: { readonly stream: string; readonly seq: Seq }): EntryDraft & Required<Pick<EntryDraft, 'stamp'>> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const header = bytes.byteLength < entryHeaderBytes ? undefined : decodeEntryHeader(bytes.subarray(0, entryHeaderBytes));
  const body = bytes.subarray(entryHeaderBytes);
  if (header === undefined || header.bodyLength !== body.byteLength) throw new CorruptionError({ file: at.stream, problem: `message ${at.seq} is no entry` });
  if (crc32(body) !== header.bodyCrc) throw new CorruptionError({ file: at.stream, problem: `the body of message ${at.seq} does not match its checksum` });
  return { kind: header.kind, version: header.version, opUuid: header.opUuid, body, stamp: { seq: at.seq, time: header.time } };
}
