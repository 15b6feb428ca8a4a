// Publishes one segment file: `.tmp-<random>` in the files folder → counts checked → fdatasync → renamed to its content's name.
// The name is durable only after the folder is synced: one call for all files of a seal, by whoever wrote them.
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import { invariant } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import { yieldToLoop } from '../base/clock.ts';
import { Limit } from '../base/limit.ts';
import type { Disk, WriteHandle } from '../fs/disk.ts';
import { blockBytes, blockCount, encodeHeader, fileSizeBytes, segmentFileName, type FileHeader } from './files.ts';
import type { SegmentFile } from './segment.ts';

export interface FilesPlace {
  readonly disk: Disk;
  readonly filesDirectory: string;
}

/** One write, and one run of hashing on the event loop: below a millisecond. */
const pieceBytesMax = 1 << 20;
/** A long unsynced tail would make the log's next sync wait for it. */
const syncEveryBytes = 8 << 20;
/** Of libuv's four threads two are left to the logs, however many shards seal and merge at once. */
const fileWrites = new Limit(2);

export type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** `pieces`: the data, as many bytes as the header says. The arrays are not kept. Takes the place of
 *  a file of that name, which has the same bytes or is damaged. */
export async function writeSegmentFile(place: FilesPlace, header: FileHeader, pieces: Pieces): Promise<{ readonly sha256: string; readonly size: number }> {
  const temporary = path.join(place.filesDirectory, `.tmp-${randomBytes(12).toString('hex')}`);
  const size = fileSizeBytes(header.dataBytes);
  try {
    const sha256 = await writeAll(place.disk, temporary, header, pieces);
    await place.disk.rename(temporary, path.join(place.filesDirectory, segmentFileName(sha256, header.kind)));
    return { sha256, size };
  } catch (error) {
    await place.disk.removeTree(temporary);
    throw error;
  }
}

/** `writeSegmentFile` as an entry of a description. */
export async function writeDescribed(place: FilesPlace, header: FileHeader, pieces: Pieces, of?: string): Promise<SegmentFile> {
  const written = await writeSegmentFile(place, header, pieces);
  return { kind: header.kind, ...(of === undefined ? {} : { of }), chunk: 0, ...written };
}

async function writeAll(disk: Disk, file: string, header: FileHeader, pieces: Pieces): Promise<string> {
  const hash = createHash('sha256');
  const table = new BlockTable(header.dataBytes);
  await using handle = await disk.create(file);
  const out = new PacedWriter(handle, (bytes) => hash.update(bytes));
  await out.write(encodeHeader(header));
  for await (const piece of pieces) {
    for (let at = 0; at < piece.byteLength; at += pieceBytesMax) {
      const part = piece.subarray(at, at + pieceBytesMax);
      table.add(part);
      await out.write(part);
    }
  }
  await out.write(table.take());
  invariant(handle.sizeBytes === fileSizeBytes(header.dataBytes), `a '${header.kind}' file has the size its header says`);
  await out.sync();
  return hash.digest('hex');
}

class PacedWriter {
  readonly #handle: WriteHandle;
  readonly #observe: (bytes: Uint8Array) => void;
  #unsyncedBytes = 0;

  constructor(handle: WriteHandle, observe: (bytes: Uint8Array) => void) {
    this.#handle = handle;
    this.#observe = observe;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#observe(bytes);
    await fileWrites.run(() => this.#handle.append([bytes]));
    this.#unsyncedBytes += bytes.byteLength;
    if (this.#unsyncedBytes < syncEveryBytes) return;
    await this.sync();
    await yieldToLoop();
    this.#unsyncedBytes = 0;
  }

  sync(): Promise<void> {
    return fileWrites.run(() => this.#handle.sync());
  }
}

/** The crc32 of each block of a stream of data. */
class BlockTable {
  readonly #table: Buffer;
  readonly #dataBytes: number;
  #doneBytes = 0;
  #crc = 0;

  constructor(dataBytes: number) {
    this.#dataBytes = dataBytes;
    this.#table = Buffer.alloc(4 * blockCount(dataBytes) + 4);
  }

  add(bytes: Uint8Array): void {
    invariant(this.#doneBytes + bytes.byteLength <= this.#dataBytes, 'no more data than the header says');
    for (let at = 0; at < bytes.byteLength;) {
      const part = bytes.subarray(at, at + blockBytes - (this.#doneBytes % blockBytes));
      this.#crc = crc32(part, this.#crc);
      this.#doneBytes += part.byteLength;
      at += part.byteLength;
      if (this.#doneBytes % blockBytes === 0 || this.#doneBytes === this.#dataBytes) {
        this.#table.writeUInt32LE(this.#crc, 4 * (blockCount(this.#doneBytes) - 1));
        this.#crc = 0;
      }
    }
  }

  take(): Buffer {
    invariant(this.#doneBytes === this.#dataBytes, 'as much data as the header says');
    this.#table.writeUInt32LE(crc32(this.#table.subarray(0, -4)), this.#table.length - 4);
    return this.#table;
  }
}
