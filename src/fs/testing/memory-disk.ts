// A disk in memory that forgets on a power cut what was not synced: file content without `sync`, names without `syncDirectory`.
// It is more forgetful than most file systems, so code that survives it depends on nothing but the Disk contract.
//
// Every file and folder has two states: what a running process sees, and what the platter holds. `cutPower` makes the second
// the first. With a random source each unsynced piece may also survive, whole, in part or as zeros, as real disks do; `scattered` it may
// have holes too, since pages are written back in no order.
import { createHash, type Hash } from 'node:crypto';
import path from 'node:path';
import { sha256Hex } from '../../base/checksum.ts';
import { CorruptionError } from '../../base/errors.ts';
import type { Random } from '../../base/testing/random.ts';
import type { Disk, FileStat, ReadHandle, SpaceInfo, WriteHandle } from '../disk.ts';

interface MemoryFile {
  readonly kind: 'file';
  seen: Buffer;
  stored: Buffer;
  links: number;
  modifiedMs: number;
}

interface MemoryDirectory {
  readonly kind: 'directory';
  seen: Map<string, MemoryNode>;
  stored: Map<string, MemoryNode>;
}

type MemoryNode = MemoryFile | MemoryDirectory;

const readFileBytesMax = 64 << 20;
const scatteredPageBytes = 128;

export class MemoryDisk implements Disk {
  #root: MemoryDirectory = directory();
  #era = 0;
  #usedBytes = 0;
  readonly #capacityBytes: number;

  constructor(capacityBytes = 1 << 30) {
    this.#capacityBytes = capacityBytes;
  }

  /** Everything unsynced is lost, or with `random` each piece by chance. Handles from before fail from now on. */
  cutPower(random?: Random, remains: 'prefix' | 'scattered' = 'prefix'): void {
    this.#era += 1;
    settle(this.#root, random, remains);
    this.#usedBytes = usedBytes(this.#root);
  }

  /** The same in a disk of its own, what is synced and what is not. Handles stay with this one. */
  fork(): MemoryDisk {
    const fork = new MemoryDisk(this.#capacityBytes);
    fork.#root = copyOf(this.#root, new Map());
    fork.#usedBytes = this.#usedBytes;
    return fork;
  }

  /** Equal for disks on which a process sees the same. */
  digest(): string {
    const hash = createHash('sha256');
    addToDigest(hash, this.#root, '');
    return hash.digest('hex');
  }

  async openRead(file: string): Promise<ReadHandle> {
    return await Promise.resolve(new MemoryReadHandle(file, this.#file(file), this.#alive()));
  }

  async create(file: string): Promise<WriteHandle> {
    const { parent, name } = this.#parent(file);
    if (parent.seen.has(name)) throw systemError('EEXIST', file);
    const node: MemoryFile = { kind: 'file', seen: Buffer.alloc(0), stored: Buffer.alloc(0), links: 1, modifiedMs: Date.now() };
    parent.seen.set(name, node);
    return await Promise.resolve(new MemoryWriteHandle(node, this.#alive(), (bytes) => this.#take(bytes, file)));
  }

  async readFile(file: string, maxBytes = readFileBytesMax): Promise<Buffer> {
    await using handle = await this.openRead(file);
    if (handle.sizeBytes > maxBytes) throw new RangeError(`${file} has ${handle.sizeBytes} bytes, at most ${maxBytes} are read at once`);
    return await handle.read(0, handle.sizeBytes);
  }

  async list(folder: string): Promise<string[]> {
    return await Promise.resolve([...this.#directory(folder).seen.keys()]);
  }

  async stat(at: string): Promise<FileStat> {
    const found = await this.findStat(at);
    if (found === undefined) throw systemError('ENOENT', at);
    return found;
  }

  async findStat(at: string): Promise<FileStat | undefined> {
    const node = await Promise.resolve(this.#find(at));
    if (node === undefined) return undefined;
    if (node.kind === 'directory') return { sizeBytes: 0, isFile: false, isDirectory: true, linkCount: 1, modifiedMs: 0 };
    return { sizeBytes: node.seen.length, isFile: true, isDirectory: false, linkCount: node.links, modifiedMs: node.modifiedMs };
  }

  async realPath(at: string): Promise<string> {
    await this.stat(at);
    return path.resolve(at);
  }

  async makeDirectory(at: string): Promise<void> {
    const { parent, name } = this.#parent(at);
    if (parent.seen.has(name)) throw systemError('EEXIST', at);
    parent.seen.set(name, await Promise.resolve(directory()));
  }

  async rename(from: string, to: string): Promise<void> {
    const source = this.#parent(from);
    const node = source.parent.seen.get(source.name);
    if (node === undefined) throw systemError('ENOENT', from);
    const target = this.#parent(to);
    const there = target.parent.seen.get(target.name);
    if (there?.kind === 'directory' && (node.kind === 'file' || there.seen.size > 0)) throw systemError(node.kind === 'file' ? 'EISDIR' : 'ENOTEMPTY', to);
    if (there?.kind === 'file' && node.kind === 'directory') throw systemError('ENOTDIR', to);
    if (there?.kind === 'file' && there !== node) there.links -= 1;
    source.parent.seen.delete(source.name);
    target.parent.seen.set(target.name, node);
    return await Promise.resolve();
  }

  async link(from: string, to: string): Promise<void> {
    const node = this.#file(from);
    const { parent, name } = this.#parent(to);
    if (parent.seen.has(name)) throw systemError('EEXIST', to);
    node.links += 1;
    parent.seen.set(name, node);
    return await Promise.resolve();
  }

  async copy(from: string, to: string): Promise<void> {
    await using target = await this.create(to);
    await target.append([this.#file(from).seen]);
    await target.sync();
  }

  async remove(at: string): Promise<void> {
    const { parent, name } = this.#parent(at);
    const node = parent.seen.get(name);
    if (node === undefined) throw systemError('ENOENT', at);
    if (node.kind === 'directory') throw systemError('EISDIR', at);
    node.links -= 1;
    parent.seen.delete(name);
    this.#usedBytes = await Promise.resolve(usedBytes(this.#root));
  }

  async removeTree(at: string): Promise<void> {
    if (this.#find(at) === undefined) return;
    const { parent, name } = this.#parent(at);
    const node = parent.seen.get(name);
    if (node !== undefined) empty(node);
    parent.seen.delete(name);
    this.#usedBytes = await Promise.resolve(usedBytes(this.#root));
  }

  async syncDirectory(at: string): Promise<void> {
    const node = this.#directory(at);
    node.stored = await Promise.resolve(new Map(node.seen));
  }

  async space(): Promise<SpaceInfo> {
    return await Promise.resolve({ freeBytes: this.#capacityBytes - this.#usedBytes, totalBytes: this.#capacityBytes });
  }

  /** Changes bytes of a stored file in place, as decay does. */
  corrupt(file: string, change: (bytes: Buffer) => Buffer): void {
    const node = this.#file(file);
    node.seen = change(Buffer.from(node.seen));
    node.stored = node.seen;
  }

  #take(bytes: number, file: string): number {
    const free = this.#capacityBytes - this.#usedBytes;
    const taken = Math.min(free, bytes);
    this.#usedBytes += taken;
    if (taken === 0 && bytes > 0) throw systemError('ENOSPC', file);
    return taken;
  }

  #alive(): () => void {
    const era = this.#era;
    return () => {
      if (era !== this.#era) throw systemError('EIO', 'a handle from before the power cut');
    };
  }

  #find(at: string): MemoryNode | undefined {
    let node: MemoryNode = this.#root;
    for (const part of path.resolve(at).split('/').filter((name) => name !== '')) {
      if (node.kind !== 'directory') throw systemError('ENOTDIR', at);
      const next = node.seen.get(part);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  #directory(at: string): MemoryDirectory {
    const node = this.#find(at);
    if (node === undefined) throw systemError('ENOENT', at);
    if (node.kind !== 'directory') throw systemError('ENOTDIR', at);
    return node;
  }

  #file(at: string): MemoryFile {
    const node = this.#find(at);
    if (node === undefined) throw systemError('ENOENT', at);
    if (node.kind !== 'file') throw systemError('EISDIR', at);
    return node;
  }

  #parent(at: string): { readonly parent: MemoryDirectory; readonly name: string } {
    return { parent: this.#directory(path.dirname(path.resolve(at))), name: path.basename(at) };
  }
}

class MemoryReadHandle implements ReadHandle {
  readonly #path: string;
  readonly #node: MemoryFile;
  readonly #check: () => void;

  constructor(file: string, node: MemoryFile, check: () => void) {
    this.#path = file;
    this.#node = node;
    this.#check = check;
  }

  get sizeBytes(): number {
    return this.#node.seen.length;
  }

  async read(offset: number, length: number, memory?: Buffer): Promise<Buffer> {
    this.#check();
    const bytes = this.#node.seen.subarray(offset, offset + length);
    if (bytes.length < length) {
      throw new CorruptionError({ file: this.#path, offsetBytes: offset + bytes.length, problem: `ends ${length - bytes.length} bytes early` });
    }
    if (memory === undefined || memory.length < length) return await Promise.resolve(Buffer.from(bytes));
    memory.set(bytes);
    return await Promise.resolve(memory.subarray(0, length));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

class MemoryWriteHandle implements WriteHandle {
  readonly #node: MemoryFile;
  readonly #check: () => void;
  readonly #take: (bytes: number) => number;

  constructor(node: MemoryFile, check: () => void, take: (bytes: number) => number) {
    this.#node = node;
    this.#check = check;
    this.#take = take;
  }

  get sizeBytes(): number {
    return this.#node.seen.length;
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    this.#check();
    for (const part of parts) {
      for (let at = 0; at < part.byteLength;) {
        const taken = this.#take(part.byteLength - at);
        this.#node.seen = Buffer.concat([this.#node.seen, part.subarray(at, at + taken)]);
        at += taken;
      }
    }
    this.#node.modifiedMs = Date.now();
    return await Promise.resolve();
  }

  async sync(): Promise<void> {
    this.#check();
    this.#node.stored = await Promise.resolve(this.#node.seen);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#check();
    this.#node.seen = await Promise.resolve(Buffer.from(this.#node.seen.subarray(0, sizeBytes)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function directory(): MemoryDirectory {
  return { kind: 'directory', seen: new Map(), stored: new Map() };
}

/** As a removal does it: name by name in every folder, so that a power cut can leave some of them. */
function empty(node: MemoryNode): void {
  if (node.kind === 'file') {
    node.links -= 1;
    return;
  }
  for (const child of node.seen.values()) empty(child);
  node.seen = new Map();
}

/** Contents are shared: a buffer is never changed, only replaced. `copies` keeps files with several names one file. */
function copyOf<T extends MemoryNode>(node: T, copies: Map<MemoryNode, MemoryNode>): T {
  const known = copies.get(node);
  if (known !== undefined) return known as T;
  const copy = { ...node };
  copies.set(node, copy);
  if (copy.kind === 'directory') {
    const copyNames = (names: ReadonlyMap<string, MemoryNode>): Map<string, MemoryNode> => new Map(Array.from(names, ([name, child]) => [name, copyOf(child, copies)]));
    copy.seen = copyNames(copy.seen);
    copy.stored = copyNames(copy.stored);
  }
  return copy;
}

const contentDigests = new WeakMap<Buffer, string>();

function addToDigest(hash: Hash, node: MemoryNode, at: string): void {
  hash.update(`${node.kind} ${at}\n`);
  if (node.kind === 'file') {
    const digest = contentDigests.get(node.seen) ?? sha256Hex(node.seen);
    contentDigests.set(node.seen, digest);
    hash.update(digest);
    return;
  }
  for (const [name, child] of [...node.seen].sort(([a], [b]) => (a < b ? -1 : 1))) addToDigest(hash, child, `${at}/${name}`);
}

/** Makes what is stored the only truth, folder by folder. A file may be seen twice, by two names: its first settling decides. */
function settle(root: MemoryDirectory, random: Random | undefined, remains: 'prefix' | 'scattered'): void {
  const settled = new Set<MemoryNode>();
  const visit = (node: MemoryNode): void => {
    if (settled.has(node)) return;
    settled.add(node);
    if (node.kind === 'file') {
      node.seen = remains === 'prefix' ? settledContent(node, random) : scatteredContent(node, random);
      node.stored = node.seen;
      node.links = 0;
      return;
    }
    if (random !== undefined && random.next() < 0.5) node.stored = new Map(node.seen);
    node.seen = new Map(node.stored);
    for (const child of node.seen.values()) visit(child);
  };
  visit(root);
  countLinks(root);
}

function settledContent(file: MemoryFile, random: Random | undefined): Buffer {
  if (random === undefined || file.seen.length <= file.stored.length) return file.stored;
  const kept = file.stored.length + random.below(file.seen.length - file.stored.length + 1);
  const bytes = Buffer.from(file.seen.subarray(0, kept));
  if (random.next() < 0.3) bytes.fill(0, file.stored.length);
  return bytes;
}

/** Pages are small here, as entries in tests are. */
function scatteredContent(file: MemoryFile, random: Random | undefined): Buffer {
  const bytes = Buffer.from(settledContent(file, random));
  for (let at = file.stored.length; random !== undefined && at < bytes.length;) {
    const end = Math.min(bytes.length, (Math.floor(at / scatteredPageBytes) + 1) * scatteredPageBytes);
    if (random.next() < 0.3) bytes.fill(0, at, end);
    at = end;
  }
  return bytes;
}

function countLinks(node: MemoryDirectory): void {
  for (const child of node.seen.values()) {
    if (child.kind === 'file') child.links += 1;
    else countLinks(child);
  }
}

function usedBytes(node: MemoryDirectory, counted = new Set<MemoryNode>()): number {
  let sum = 0;
  for (const child of node.seen.values()) {
    if (counted.has(child)) continue;
    counted.add(child);
    sum += child.kind === 'file' ? child.seen.length : usedBytes(child, counted);
  }
  return sum;
}

function systemError(code: string, at: string): Error {
  return Object.assign(new RangeError(`${code}: ${at}`), { code });
}
