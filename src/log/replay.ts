// Reading log files back: entry by entry, every checksum, no gaps; and the judgement of a file that ends badly.
//
// A bad entry is a torn tail only in the LAST file, with no mark at or beyond it that says it had been durable, and with no valid
// entry behind it; in a file that was synced behind its writing there may be some, of which none may carry such a mark. Anything else is
// damage: the shard refuses to open and the error names file and offset.
import { createHash, type Hash } from 'node:crypto';
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';
import { crc32 } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Disk, ReadHandle } from '../fs/disk.ts';
import { decodeEntryHeader, entryHeaderBytes, entryOf, entrySizeBytes, type EntryHeader } from './entry.ts';
import { nextChain } from './hash-chain.ts';
import { decodeLogHeader, logHeaderBytes, type LogFileHeader, type LogIdentity } from './log-file.ts';
import type { Entry } from './shard-log.ts';

const blockBytes = 1 << 20;

export interface ReadEntry {
  readonly entry: Entry;
  readonly header: EntryHeader;
  /** Header, body and padding: a view that lasts until the next entry is asked for. */
  readonly bytes: Buffer;
  /** Offset behind the entry. */
  readonly endBytes: number;
}

/** Where and why reading stopped before the end of the file. */
export interface BadEnd {
  readonly offsetBytes: number;
  readonly problem: string;
}

/** What a whole file was found to hold. */
export interface ScannedFile {
  readonly path: string;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
  /** Bytes up to the last good entry. */
  readonly goodBytes: number;
  readonly sizeBytes: number;
  readonly chain: Buffer;
  /** Running hash over the good bytes. */
  readonly hash: Hash;
  /** As its header says; false where that is damaged. */
  readonly isSyncedBehind: boolean;
  /** Highest durable mark that an entry of the file carries, of those before a bad end. */
  readonly durableMark: Seq;
  readonly lastTime: bigint;
  /** Chain hash after the entry that was asked for, where it is in this file. */
  readonly chainAtWatch: Buffer | undefined;
  readonly badEnd: BadEnd | undefined;
}

/** Reads forward through one open file in large blocks. */
class BlockReader {
  readonly #handle: ReadHandle;
  #block: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(handle: ReadHandle) {
    this.#handle = handle;
  }

  /** A view of the bytes, or undefined where the file ends before. */
  async take(offset: number, length: number): Promise<Buffer | undefined> {
    if (offset + length > this.#handle.sizeBytes) return undefined;
    if (offset < this.#start || offset + length > this.#start + this.#block.length) {
      this.#block = await this.#handle.read(offset, Math.min(Math.max(blockBytes, length), this.#handle.sizeBytes - offset));
      this.#start = offset;
    }
    return this.#block.subarray(offset - this.#start, offset - this.#start + length);
  }
}

/** Entries of one file from its first on, each checked; ends with the reason where it does not end cleanly. */
export async function* readEntries(handle: ReadHandle, firstSeq: Seq, endBytes: number): AsyncGenerator<ReadEntry, BadEnd | undefined> {
  const reader = new BlockReader(handle);
  let offset = logHeaderBytes;
  for (let seq = firstSeq; offset < endBytes; seq += 1) {
    const bad = (problem: string): BadEnd => ({ offsetBytes: offset, problem });
    const headerBytes = await reader.take(offset, entryHeaderBytes);
    if (headerBytes === undefined) return bad('the last entry is cut');
    const header = decodeEntryHeader(headerBytes);
    if (header === undefined) return bad(headerBytes.every((byte) => byte === 0) ? 'an entry is zeroed' : 'the header of an entry does not match its crc32');
    if (header.seq !== seq) return bad(`entry ${header.seq} stands where ${seq} should`);
    const size = entrySizeBytes(header.bodyLength);
    const all = await reader.take(offset, size);
    if (all === undefined) return bad('the last entry is cut');
    const body = all.subarray(entryHeaderBytes, entryHeaderBytes + header.bodyLength);
    if (crc32(body) !== header.bodyCrc) return bad(`the body of entry ${seq} does not match its crc32`);
    if (all.subarray(entryHeaderBytes + header.bodyLength).some((byte) => byte !== 0)) return bad(`the padding of entry ${seq} is not zero`);
    offset += size;
    yield { entry: entryOf(header, body), header, bytes: all, endBytes: offset };
  }
  return undefined;
}

export interface ScanRequest {
  readonly identity: LogIdentity;
  readonly firstSeq: Seq;
  /** The hash the file must continue from, where known. */
  readonly chain: Buffer | undefined;
  /** Report the chain hash after this entry. */
  readonly watch: Seq;
  /** What is behind it is not read; the end of the file without it. */
  readonly endBytes?: number;
}

/** Header and every entry of one file. */
export async function scanFile(disk: Disk, file: string, expected: ScanRequest): Promise<ScannedFile> {
  await using handle = await disk.openRead(file);
  const header = await readHeader(handle, file, expected);
  if (header === undefined) {
    const badEnd = { offsetBytes: 0, problem: 'the file header does not match its crc32' };
    return {
      path: file, firstSeq: expected.firstSeq, lastSeq: expected.firstSeq - 1, goodBytes: 0, sizeBytes: handle.sizeBytes,
      chain: expected.chain ?? Buffer.alloc(0), hash: createHash('sha256'), isSyncedBehind: false, durableMark: 0, lastTime: 0n, chainAtWatch: undefined, badEnd,
    };
  }
  const hash = createHash('sha256').update(await handle.read(0, logHeaderBytes));
  let chain = header.chain;
  let last = { seq: header.firstSeq - 1, end: logHeaderBytes, time: 0n };
  let durableMark = 0;
  let chainAtWatch: Buffer | undefined;
  let sliceStart = performance.now();
  const entries = readEntries(handle, header.firstSeq, Math.min(expected.endBytes ?? Infinity, handle.sizeBytes));
  let step = await entries.next();
  for (; step.done !== true; step = await entries.next()) {
    const { header: entry, endBytes, bytes } = step.value;
    hash.update(bytes);
    chain = nextChain(chain, entry);
    if (entry.seq === expected.watch) chainAtWatch = chain;
    last = { seq: entry.seq, end: endBytes, time: entry.time };
    durableMark = Math.max(durableMark, entry.durableSeq);
    if (performance.now() - sliceStart > sliceMsMax) {
      await yieldToLoop();
      sliceStart = performance.now();
    }
  }
  return {
    path: file, firstSeq: header.firstSeq, lastSeq: last.seq, goodBytes: last.end, sizeBytes: handle.sizeBytes,
    chain, hash, isSyncedBehind: header.isSyncedBehind, durableMark, lastTime: last.time, chainAtWatch, badEnd: step.value,
  };
}

/** Why a bad end cannot be a write that nobody was told about; undefined where it can. `mark`: the highest seq that anything says was durable. */
export async function damageAt(disk: Disk, scanned: ScannedFile, end: { readonly badEnd: BadEnd; readonly isLast: boolean; readonly mark: Seq }): Promise<string | undefined> {
  const { lastSeq } = scanned;
  const stored = (mark: Seq): string => `entry ${lastSeq + 1} had been stored: seq ${mark} is marked durable`;
  if (!end.isLast) return 'later log files follow, so it had been stored';
  if (end.mark > lastSeq) return stored(end.mark);
  for await (const { durableSeq } of headersBehind(disk, scanned.path, { offsetBytes: end.badEnd.offsetBytes, seq: lastSeq })) {
    if (!scanned.isSyncedBehind) return 'a later entry follows, so it had been stored';
    if (durableSeq > lastSeq) return stored(durableSeq);
  }
  return undefined;
}

/** Of valid entries with a later seq, wherever they stand behind `offsetBytes`. */
async function* headersBehind(disk: Disk, file: string, after: { readonly offsetBytes: number; readonly seq: Seq }): AsyncGenerator<EntryHeader> {
  await using handle = await disk.openRead(file);
  const reader = new BlockReader(handle);
  let sliceStart = performance.now();
  for (let offset = after.offsetBytes + 8; offset + entryHeaderBytes <= handle.sizeBytes; offset += 8) {
    const bytes = await reader.take(offset, entryHeaderBytes);
    if (bytes === undefined) return;
    const seq = bytes.readUInt32LE(8) + bytes.readUInt32LE(12) * 2 ** 32;
    if (seq <= after.seq || seq > after.seq + 0xffff_ffff || bytes.readUInt16LE(42) !== 0) continue;
    const header = decodeEntryHeader(bytes);
    if (header !== undefined) yield header;
    if (performance.now() - sliceStart > sliceMsMax) {
      await yieldToLoop();
      sliceStart = performance.now();
    }
  }
}

async function readHeader(handle: ReadHandle, file: string, expected: ScanRequest): Promise<LogFileHeader | undefined> {
  if (handle.sizeBytes < logHeaderBytes) return undefined;
  const header = decodeLogHeader(await handle.read(0, logHeaderBytes), file, expected.identity);
  if (header === undefined) return undefined;
  if (expected.chain !== undefined && !header.chain.equals(expected.chain)) {
    throw new CorruptionError({ file, offsetBytes: 48, problem: `continues from chain hash ${header.chain.toString('hex')}, the log before it ends at ${expected.chain.toString('hex')}` });
  }
  return header;
}
