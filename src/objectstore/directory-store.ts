// Blobs as files in a folder: `a/b` is the file b in the folder a. A blob is written beside its place and renamed into it.
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { RequestError, systemCode } from '../base/errors.ts';
import { makeDirectoryDurably } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import type { BlobInfo, ObjectStore } from './store.ts';

const readBytes = 1 << 20;
const keyBytesMax = 1024;
const temporaryPrefix = '.tmp-';
const partPattern = /^[A-Za-z0-9._-]+$/;

export class DirectoryStore implements ObjectStore {
  readonly #disk: Disk;
  readonly #root: string;

  private constructor(disk: Disk, root: string) {
    this.#disk = disk;
    this.#root = root;
  }

  /** Creates the folder where it is absent. */
  static async open(disk: Disk, root: string): Promise<DirectoryStore> {
    await makeDirectoryDurably(disk, root);
    return new DirectoryStore(disk, root);
  }

  async put(key: string, content: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<number> {
    const file = this.#fileOf(key);
    const folder = path.dirname(file);
    await makeDirectoryDurably(this.#disk, folder);
    const temporary = path.join(folder, `${temporaryPrefix}${randomBytes(8).toString('hex')}`);
    try {
      await using handle = await this.#disk.create(temporary);
      for await (const piece of content) {
        signal?.throwIfAborted();
        await handle.append([piece]);
      }
      await handle.sync();
      await this.#disk.rename(temporary, file);
      await this.#disk.syncDirectory(folder);
      return handle.sizeBytes;
    } catch (error) {
      await this.#disk.removeTree(temporary);
      throw error;
    }
  }

  async *get(key: string, range?: { readonly start: number; readonly end: number }): AsyncGenerator<Buffer> {
    if ((await this.find(key)) === undefined) throw new RequestError('not-found', `blob ${key} does not exist`);
    await using handle = await this.#disk.openRead(this.#fileOf(key));
    const end = Math.min(range?.end ?? Infinity, handle.sizeBytes - 1);
    for (let at = range?.start ?? 0; at <= end; at += readBytes) yield await handle.read(at, Math.min(readBytes, end + 1 - at));
  }

  async find(key: string): Promise<BlobInfo | undefined> {
    try {
      const stat = await this.#disk.findStat(this.#fileOf(key));
      return stat?.isFile === true ? { key, sizeBytes: stat.sizeBytes } : undefined;
    } catch (error) {
      if (systemCode(error) === 'ENOTDIR') return undefined; // a blob stands where the key has a folder
      throw error;
    }
  }

  async *list(prefix: string): AsyncGenerator<BlobInfo> {
    const keys: string[] = [];
    await this.#collect('', keys);
    for (const key of keys.filter((name) => name.startsWith(prefix)).sort()) {
      const found = await this.find(key);
      if (found !== undefined) yield found;
    }
  }

  async delete(key: string): Promise<void> {
    const file = this.#fileOf(key);
    if ((await this.find(key)) === undefined) return;
    await this.#disk.remove(file);
    await this.#disk.syncDirectory(path.dirname(file));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #collect(folder: string, keys: string[]): Promise<void> {
    for (const name of await this.#disk.list(path.join(this.#root, folder))) {
      if (name.startsWith(temporaryPrefix)) continue;
      const key = folder === '' ? name : `${folder}/${name}`;
      const stat = await this.#disk.findStat(path.join(this.#root, key));
      if (stat?.isDirectory === true) await this.#collect(key, keys);
      else if (stat?.isFile === true) keys.push(key);
    }
  }

  #fileOf(key: string): string {
    const parts = key.split('/');
    const sound = Buffer.byteLength(key) <= keyBytesMax && parts.every((part) => partPattern.test(part) && !/^\.+$/.test(part) && !part.startsWith(temporaryPrefix));
    if (!sound) throw new RequestError('bad-input', `${JSON.stringify(key)} is no key of a blob`);
    return path.join(this.#root, ...parts);
  }
}
