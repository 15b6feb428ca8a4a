// The real disk: node:fs behind the port. Asynchronous calls only. Every write is checked for a short count: on a full disk
// writev can take part of the bytes without an error.
import { constants, promises as fs, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { InFlight } from '../base/in-flight.ts';
import { yieldToLoop } from '../base/clock.ts';
import { CorruptionError, isNotFound } from '../base/errors.ts';
import type { Disk, FileStat, ReadHandle, SpaceInfo, WriteHandle } from './disk.ts';

const copyPieceBytes = 8 << 20;
const readFileBytesMax = 64 << 20;
/** IOV_MAX of Linux is 1,024. */
const partsPerWriteMax = 512;

/** Fills `target` from an open file and answers how many bytes there were; undefined: it is not to be had here. */
export type ReadAt = (descriptor: number, target: Uint8Array, offset: number) => Promise<number> | undefined;

export class NodeDisk implements Disk {
  readonly #readAt: ReadAt;

  /** Without `readAt` reads share libuv's few threads with writes and syncs, and a burst of reads makes those wait. */
  constructor(readAt: ReadAt = () => undefined) {
    this.#readAt = readAt;
  }

  async openRead(path: string): Promise<ReadHandle> {
    const handle = await fs.open(path, constants.O_RDONLY);
    try {
      return new NodeReadHandle({ path, handle, readAt: this.#readAt }, (await handle.stat()).size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async create(path: string): Promise<WriteHandle> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_APPEND;
    return new NodeWriteHandle(await fs.open(path, flags, 0o644));
  }

  /** Beyond the port: a file that a download left unfinished, to go on at its end. Nothing that counts is ever appended to again. */
  async openAppend(path: string): Promise<WriteHandle> {
    const handle = await fs.open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_APPEND);
    return new NodeWriteHandle(handle, (await handle.stat()).size);
  }

  async readFile(path: string, maxBytes = readFileBytesMax): Promise<Buffer> {
    await using handle = await this.openRead(path);
    if (handle.sizeBytes > maxBytes) throw new RangeError(`${path} has ${handle.sizeBytes} bytes, at most ${maxBytes} are read at once`);
    return await handle.read(0, handle.sizeBytes);
  }

  list(directory: string): Promise<string[]> {
    return fs.readdir(directory);
  }

  async stat(path: string): Promise<FileStat> {
    return toFileStat(await fs.lstat(path));
  }

  async findStat(path: string): Promise<FileStat | undefined> {
    try {
      return await this.stat(path);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  realPath(path: string): Promise<string> {
    return fs.realpath(path);
  }

  makeDirectory(path: string): Promise<void> {
    return fs.mkdir(path);
  }

  rename(from: string, to: string): Promise<void> {
    return fs.rename(from, to);
  }

  link(from: string, to: string): Promise<void> {
    return fs.link(from, to);
  }

  async copy(from: string, to: string): Promise<void> {
    if (await cloned(from, to)) return;
    await using source = await this.openRead(from);
    await using target = await this.create(to);
    const memory = Buffer.allocUnsafeSlow(Math.min(copyPieceBytes, source.sizeBytes));
    for (let at = 0; at < source.sizeBytes; at += copyPieceBytes) {
      await target.append([await source.read(at, Math.min(copyPieceBytes, source.sizeBytes - at), memory)]);
      await target.sync();
      await yieldToLoop();
    }
    await target.sync();
  }

  remove(path: string): Promise<void> {
    return fs.unlink(path);
  }

  removeTree(path: string): Promise<void> {
    return fs.rm(path, { recursive: true, force: true });
  }

  async syncDirectory(path: string): Promise<void> {
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async space(path: string): Promise<SpaceInfo> {
    const { bavail, blocks, bsize } = await fs.statfs(path);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  }
}

class NodeReadHandle implements ReadHandle {
  readonly sizeBytes: number;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #readAt: ReadAt;
  readonly #reads = new InFlight();

  constructor(of: { readonly path: string; readonly handle: FileHandle; readonly readAt: ReadAt }, sizeBytes: number) {
    this.#path = of.path;
    this.#handle = of.handle;
    this.#readAt = of.readAt;
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, length: number, memory?: Buffer): Promise<Buffer> {
    return this.#reads.run(() => this.#read(offset, length, memory));
  }

  /** Waits for reads that have begun: another file could get the descriptor. Idempotent. */
  async close(): Promise<void> {
    await this.#reads.close();
    await this.#handle.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #read(offset: number, length: number, memory: Buffer | undefined): Promise<Buffer> {
    const buffer = memory !== undefined && memory.length >= length ? memory.subarray(0, length) : Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const bytesRead = await (this.#readAt(this.#handle.fd, buffer.subarray(done), offset + done) ?? this.#readByNode(buffer, done, offset));
      if (bytesRead === 0) throw new CorruptionError({ file: this.#path, offsetBytes: offset + done, problem: `ends ${length - done} bytes early` });
      done += bytesRead;
    }
    return buffer;
  }

  async #readByNode(buffer: Buffer, done: number, offset: number): Promise<number> {
    return (await this.#handle.read(buffer, done, buffer.length - done, offset + done)).bytesRead;
  }
}

class NodeWriteHandle implements WriteHandle {
  readonly #handle: FileHandle;
  #sizeBytes: number;

  constructor(handle: FileHandle, sizeBytes = 0) {
    this.#handle = handle;
    this.#sizeBytes = sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    let pending = parts.filter((part) => part.byteLength > 0);
    while (pending.length > 0) {
      const now = pending.slice(0, partsPerWriteMax);
      const { bytesWritten } = await this.#handle.writev(now);
      if (bytesWritten === 0) throw Object.assign(new RangeError('the disk took no bytes'), { code: 'ENOSPC' });
      this.#sizeBytes += bytesWritten;
      pending = [...after(now, bytesWritten), ...pending.slice(partsPerWriteMax)];
    }
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#handle.truncate(sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What of `parts` is left after `count` bytes were taken. */
function after(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  let taken = count;
  const left: Uint8Array[] = [];
  for (const part of parts) {
    if (taken >= part.byteLength) {
      taken -= part.byteLength;
    } else {
      left.push(taken === 0 ? part : part.subarray(taken));
      taken = 0;
    }
  }
  return left;
}

/** true where the file system made a copy that shares blocks. */
async function cloned(from: string, to: string): Promise<boolean> {
  try {
    await fs.copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    const handle = await fs.open(to, constants.O_RDONLY);
    try {
      await handle.datasync();
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'EXDEV' || code === 'EINVAL' || code === 'ENOSYS' || code === 'ENOTTY') return false;
    throw error;
  }
}

function toFileStat(stats: Stats): FileStat {
  return { sizeBytes: stats.size, isFile: stats.isFile(), isDirectory: stats.isDirectory(), linkCount: stats.nlink, modifiedMs: stats.mtimeMs };
}
