// Reads segment files, and answers no byte that has not been checked: files read whole against the sha256 that is their name,
// positions in large files by the crc32 of their block at its first touch. Damage is a CorruptionError with file and offset; a
// missing file is damage too, for a manifest names it.
import { createHash } from 'node:crypto';
import path from 'node:path';
import { invariant } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import { CorruptionError, isNotFound } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import type { Disk, ReadHandle } from '../fs/disk.ts';
import { hasBit, setBit } from '../payload/bitmap.ts';
import { blockBytes, blockCount, dataOffset, decodeHeader, fileSizeBytes, segmentFileName, type FileHeader, type FileKind } from './files.ts';
import type { FilesPlace } from './write-file.ts';

/** A file as a description names it. */
export interface NamedFile {
  readonly kind: FileKind;
  readonly sha256: string;
  readonly size: number;
}

const pieceBytes = 1 << 20;
/** Reading over a gap of this size is cheaper than another call. */
const gapBytesMax = 16 * 1024;
const readsAtOnceMax = 8;

export function pathOf(place: FilesPlace, file: NamedFile): string {
  return path.join(place.filesDirectory, segmentFileName(file.sha256, file.kind));
}

/** An open file for checked reads at positions of its data. */
export class SegmentFileReader {
  readonly path: string;
  readonly header: FileHeader;
  readonly #handle: ReadHandle;
  readonly #crcs: Buffer;
  readonly #checked: Uint32Array;
  #uncheckedBlocks: number;

  private constructor(file: string, header: FileHeader, handle: ReadHandle, crcs: Buffer) {
    this.path = file;
    this.header = header;
    this.#handle = handle;
    this.#crcs = crcs;
    this.#uncheckedBlocks = blockCount(header.dataBytes);
    this.#checked = new Uint32Array((this.#uncheckedBlocks + 31) >>> 5);
  }

  /** Checks size, header and block table. */
  static async open(place: FilesPlace, file: NamedFile): Promise<SegmentFileReader> {
    const name = pathOf(place, file);
    const handle = await openNamed(place.disk, name, file);
    try {
      const header = decodeHeader(await handle.read(0, dataOffset), name, file.kind);
      if (fileSizeBytes(header.dataBytes) !== file.size) throw new CorruptionError({ file: name, offsetBytes: 24, problem: `${header.dataBytes} data bytes do not make ${file.size}` });
      const tableOffset = dataOffset + header.dataBytes;
      const table = await handle.read(tableOffset, file.size - tableOffset);
      if (table.readUInt32LE(table.length - 4) !== crc32(table.subarray(0, -4))) throw new CorruptionError({ file: name, offsetBytes: tableOffset, problem: 'checksum of the block table does not match' });
      return new SegmentFileReader(name, header, handle, table);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** `offset` from the start of the data. The bytes may lie in `memory`, where that is large enough. */
  async read(offset: number, length: number, memory?: Buffer): Promise<Buffer> {
    invariant(offset >= 0 && offset + length <= this.header.dataBytes, 'reads stay within the data');
    const first = Math.floor(offset / blockBytes);
    const end = Math.ceil((offset + length) / blockBytes);
    if (this.#allChecked(first, end)) return await this.#handle.read(dataOffset + offset, length, memory);
    const start = first * blockBytes;
    const bytes = await this.#handle.read(dataOffset + start, Math.min(end * blockBytes, this.header.dataBytes) - start, memory);
    for (let block = first; block < end; block += 1) this.#check(block, bytes.subarray((block - first) * blockBytes, (block - first + 1) * blockBytes));
    return bytes.subarray(offset - start, offset - start + length);
  }

  /** Whether every block has been read and found whole. */
  get isChecked(): boolean {
    return this.#uncheckedBlocks === 0;
  }

  /** Touches every block that no read has touched yet. */
  async checkBlocks(): Promise<void> {
    if (this.isChecked) return;
    const memory = pieceMemory(this.header.dataBytes);
    for (let at = 0; at < this.header.dataBytes && this.#uncheckedBlocks > 0; at += pieceBytes) {
      await this.#touch(at, Math.min(pieceBytes, this.header.dataBytes - at), memory);
    }
  }

  /** The whole file, its data checked. */
  async readAll(): Promise<Buffer> {
    const { dataBytes } = this.header;
    const all = Buffer.allocUnsafeSlow(fileSizeBytes(dataBytes));
    (await this.#handle.read(0, dataOffset)).copy(all);
    const memory = pieceMemory(dataBytes);
    for (let at = 0; at < dataBytes; at += pieceBytes) (await this.read(at, Math.min(pieceBytes, dataBytes - at), memory)).copy(all, dataOffset + at);
    this.#crcs.copy(all, dataOffset + dataBytes);
    return all;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #touch(offset: number, length: number, memory: Buffer): Promise<void> {
    const first = offset / blockBytes;
    if (!this.#allChecked(first, Math.ceil((offset + length) / blockBytes))) await this.read(offset, length, memory);
  }

  #allChecked(first: number, end: number): boolean {
    if (this.#uncheckedBlocks === 0) return true;
    for (let block = first; block < end; block += 1) if (!hasBit(this.#checked, block)) return false;
    return true;
  }

  #check(block: number, bytes: Buffer): void {
    if (crc32(bytes) !== this.#crcs.readUInt32LE(4 * block)) {
      throw new CorruptionError({ file: this.path, offsetBytes: dataOffset + block * blockBytes, problem: 'checksum of the block does not match' });
    }
    if (hasBit(this.#checked, block)) return;
    setBit(this.#checked, block);
    this.#uncheckedBlocks -= 1;
  }
}

/** Ranges of a file's data, by position in two arrays of equal length. */
export interface Ranges {
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
}

/** Reads many ranges with few calls; hands each to `use` with its position in the arrays, in any order. */
export async function readRanges(reader: SegmentFileReader, ranges: Ranges, use: (at: number, bytes: Buffer) => void): Promise<void> {
  await mapLimit(coalesced(ranges), readsAtOnceMax, async (group) => {
    const bytes = await reader.read(group.start, group.end - group.start);
    for (const at of group.members) {
      const from = (ranges.offsets[at] ?? 0) - group.start;
      use(at, bytes.subarray(from, from + (ranges.lengths[at] ?? 0)));
    }
  });
}

interface RangeGroup {
  readonly start: number;
  end: number;
  readonly members: number[];
}

function coalesced({ offsets, lengths }: Ranges): RangeGroup[] {
  const groups: RangeGroup[] = [];
  let last: RangeGroup | undefined;
  for (const at of inOrder(offsets)) {
    const start = offsets[at] ?? 0;
    const end = start + (lengths[at] ?? 0);
    if (last !== undefined && start - last.end <= gapBytesMax && end - last.start <= pieceBytes) {
      last.end = Math.max(last.end, end);
      last.members.push(at);
    } else {
      last = { start, end, members: [at] };
      groups.push(last);
    }
  }
  return groups;
}

function inOrder(offsets: Float64Array): Uint32Array {
  const order = new Uint32Array(offsets.length);
  let isSorted = true;
  for (let at = 1; at < order.length; at += 1) {
    order[at] = at;
    isSorted &&= (offsets[at] ?? 0) >= (offsets[at - 1] ?? 0);
  }
  return isSorted ? order : order.sort((a, b) => (offsets[a] ?? 0) - (offsets[b] ?? 0));
}

/** A file that is held in memory, its bytes proved by its name. `data` is the caller's own. */
export async function readSegmentFile(place: FilesPlace, file: NamedFile): Promise<{ readonly header: FileHeader; readonly data: Buffer; readonly path: string }> {
  const all = Buffer.allocUnsafeSlow(file.size);
  await checkContent(place, file, { use: (bytes, offset) => void bytes.copy(all, offset) });
  const name = pathOf(place, file);
  const header = decodeHeader(all.subarray(0, dataOffset), name, file.kind);
  if (fileSizeBytes(header.dataBytes) !== file.size) throw new CorruptionError({ file: name, offsetBytes: 24, problem: `${header.dataBytes} data bytes do not make ${file.size}` });
  return { header, data: all.subarray(dataOffset, dataOffset + header.dataBytes), path: name };
}

/** For the pieces of a file, one after another. */
export function pieceMemory(sizeBytes: number): Buffer {
  return Buffer.allocUnsafeSlow(Math.min(pieceBytes, sizeBytes));
}

/** Reads the whole file against its size and name. `use` must copy what it keeps. @throws CorruptionError, with the place of the damage where a block shows it. */
export async function checkContent(
  place: FilesPlace, file: NamedFile, options: { readonly use?: (bytes: Buffer, offset: number) => void; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const name = pathOf(place, file);
  const hash = createHash('sha256');
  await using handle = await openNamed(place.disk, name, file);
  const memory = pieceMemory(file.size);
  for (let at = 0; at < file.size; at += pieceBytes) {
    options.signal?.throwIfAborted();
    const bytes = await handle.read(at, Math.min(pieceBytes, file.size - at), memory);
    hash.update(bytes);
    options.use?.(bytes, at);
  }
  const found = hash.digest('hex');
  if (found !== file.sha256) throw (await findDamage(place, file)) ?? new CorruptionError({ file: name, problem: `its content has sha256 ${found}` });
}

async function findDamage(place: FilesPlace, file: NamedFile): Promise<CorruptionError | undefined> {
  try {
    const reader = await SegmentFileReader.open(place, file);
    try {
      await reader.checkBlocks();
    } finally {
      await reader.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof CorruptionError) return error;
    throw error;
  }
}

async function openNamed(disk: Disk, name: string, file: NamedFile): Promise<ReadHandle> {
  let handle: ReadHandle;
  try {
    handle = await disk.openRead(name);
  } catch (error) {
    if (isNotFound(error)) throw new CorruptionError({ file: name, problem: 'is missing' }, { cause: error });
    throw error;
  }
  if (handle.sizeBytes === file.size) return handle;
  const { sizeBytes } = handle;
  await handle.close();
  throw new CorruptionError({ file: name, offsetBytes: Math.min(sizeBytes, file.size), problem: `has ${sizeBytes} bytes, not ${file.size}` });
}
