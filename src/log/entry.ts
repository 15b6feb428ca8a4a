// Bytes of one log entry. Little-endian, padded with zeros to 8 bytes, so every entry starts at a multiple of 8.
//
//  offset  size  field
//       0     4  crc32 of bytes 4 … 55: protects lengths and numbers before they are believed
//       4     4  body length
//       8     8  seq
//      16     8  hybrid logical time
//      24    16  op uuid
//      40     1  kind
//      41     1  version of the body and of the rules that apply it
//      42     2  flags, 0
//      44     4  crc32 of the body
//      48     8  highest seq known durable when this entry was written
//      56     n  body
//
// An all-zero header is the clean end of a file that was cut by the file system.
import { must } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import type { Seq } from '../base/ids.ts';
import { ENTRY_KINDS, type Entry, type EntryDraft, type EntryKind } from './shard-log.ts';

export const entryHeaderBytes = 4 + 4 + 8 + 8 + 16 + 1 + 1 + 2 + 4 + 8;
const alignBytes = 8;
/** The largest body: one point at the request limit, with room. */
const entryBodyBytesMax = 1 << 30;

const kindNames = new Map<number, EntryKind>(Object.entries(ENTRY_KINDS).map(([name, number]) => [number, name as EntryKind]));

export interface EntryStamp {
  readonly seq: Seq;
  readonly time: bigint;
  readonly durableSeq: Seq;
}

export interface EntryHeader extends EntryStamp {
  readonly bodyLength: number;
  readonly bodyCrc: number;
  readonly kind: EntryKind;
  readonly version: number;
  readonly opUuid: Buffer;
}

export function entrySizeBytes(bodyLength: number): number {
  return Math.ceil((entryHeaderBytes + bodyLength) / alignBytes) * alignBytes;
}

/** Header, body and padding; together `entrySizeBytes` long. */
export function encodeEntry(draft: EntryDraft, stamp: EntryStamp): { readonly parts: readonly Uint8Array[]; readonly bodyCrc: number } {
  const header = Buffer.alloc(entryHeaderBytes);
  const bodyCrc = crc32(draft.body);
  header.writeUInt32LE(draft.body.byteLength, 4);
  header.writeBigUInt64LE(BigInt(stamp.seq), 8);
  header.writeBigUInt64LE(stamp.time, 16);
  header.set(draft.opUuid, 24);
  header.writeUInt8(ENTRY_KINDS[draft.kind], 40);
  header.writeUInt8(draft.version, 41);
  header.writeUInt32LE(bodyCrc, 44);
  header.writeBigUInt64LE(BigInt(stamp.durableSeq), 48);
  header.writeUInt32LE(crc32(header.subarray(4)), 0);
  const padding = entrySizeBytes(draft.body.byteLength) - entryHeaderBytes - draft.body.byteLength;
  return { parts: [header, draft.body, Buffer.alloc(padding)], bodyCrc };
}

/** undefined where the bytes are no header: wrong checksum, unknown kind, impossible length. */
export function decodeEntryHeader(bytes: Buffer): EntryHeader | undefined {
  const kind = kindNames.get(bytes.readUInt8(40));
  const bodyLength = bytes.readUInt32LE(4);
  if (kind === undefined || bodyLength > entryBodyBytesMax) return undefined;
  if (crc32(bytes.subarray(4, entryHeaderBytes)) !== bytes.readUInt32LE(0)) return undefined;
  return {
    kind,
    bodyLength,
    seq: Number(bytes.readBigUInt64LE(8)),
    time: bytes.readBigUInt64LE(16),
    opUuid: Buffer.from(bytes.subarray(24, 40)),
    version: bytes.readUInt8(41),
    bodyCrc: bytes.readUInt32LE(44),
    durableSeq: Number(bytes.readBigUInt64LE(48)),
  };
}

/** `body` is a view into what was read. */
export function entryOf(header: EntryHeader, body: Buffer): Entry {
  must(body.byteLength === header.bodyLength ? body : undefined, 'the body has the length of its header');
  return { seq: header.seq, time: header.time, kind: header.kind, version: header.version, opUuid: header.opUuid, body, bodyCrc: header.bodyCrc };
}
