// A disk around another one that sees every operation before it happens: it can fail it, shorten a write, or only look on.
// Faults that real hardware offers too rarely for a test; everything else is tested on real disks.
import type { Disk, FileStat, ReadHandle, SpaceInfo, WriteHandle } from '../disk.ts';

export type OperationKind =
  | 'openRead' | 'read' | 'create' | 'append' | 'sync' | 'truncate' | 'list' | 'stat' | 'makeDirectory' | 'rename' | 'link' | 'copy'
  | 'remove' | 'removeTree' | 'syncDirectory';

export interface DiskOperation {
  readonly kind: OperationKind;
  readonly path: string;
  /** Target of a rename, link or copy; bytes of an append as text. */
  readonly detail?: string;
}

/** What to do instead of the operation. `short`: the write takes only the first bytes and then fails with ENOSPC. `ignore`: the
 *  operation is answered as done and does nothing, which makes a canary out of a sync. */
export type Fault = { readonly kind: 'error'; readonly code: string } | { readonly kind: 'short'; readonly bytes: number } | { readonly kind: 'ignore' };

export type DecideFault = (operation: DiskOperation) => Fault | undefined;

export class FaultyDisk implements Disk {
  readonly #inner: Disk;
  readonly #decide: DecideFault;

  constructor(inner: Disk, decide: DecideFault) {
    this.#inner = inner;
    this.#decide = decide;
  }

  openRead(path: string): Promise<ReadHandle> {
    return this.#run({ kind: 'openRead', path }, async () => {
      const handle = await this.#inner.openRead(path);
      return {
        sizeBytes: handle.sizeBytes,
        read: (offset, length, memory) => this.#run({ kind: 'read', path }, () => handle.read(offset, length, memory)),
        close: () => handle.close(),
        [Symbol.asyncDispose]: () => handle.close(),
      };
    });
  }

  create(path: string): Promise<WriteHandle> {
    return this.#run({ kind: 'create', path }, async () => new FaultyWriteHandle(path, await this.#inner.create(path), this.#decide));
  }

  async readFile(path: string, maxBytes?: number): Promise<Buffer> {
    return await this.#run({ kind: 'read', path }, () => this.#inner.readFile(path, maxBytes));
  }

  list(directory: string): Promise<string[]> {
    return this.#run({ kind: 'list', path: directory }, () => this.#inner.list(directory));
  }

  stat(path: string): Promise<FileStat> {
    return this.#run({ kind: 'stat', path }, () => this.#inner.stat(path));
  }

  findStat(path: string): Promise<FileStat | undefined> {
    return this.#run({ kind: 'stat', path }, () => this.#inner.findStat(path));
  }

  realPath(path: string): Promise<string> {
    return this.#inner.realPath(path);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#run({ kind: 'makeDirectory', path }, () => this.#inner.makeDirectory(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run({ kind: 'rename', path: from, detail: to }, () => this.#inner.rename(from, to));
  }

  link(from: string, to: string): Promise<void> {
    return this.#run({ kind: 'link', path: from, detail: to }, () => this.#inner.link(from, to));
  }

  copy(from: string, to: string): Promise<void> {
    return this.#run({ kind: 'copy', path: from, detail: to }, () => this.#inner.copy(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#run({ kind: 'remove', path }, () => this.#inner.remove(path));
  }

  removeTree(path: string): Promise<void> {
    return this.#run({ kind: 'removeTree', path }, () => this.#inner.removeTree(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#run({ kind: 'syncDirectory', path }, () => this.#inner.syncDirectory(path));
  }

  space(path: string): Promise<SpaceInfo> {
    return this.#inner.space(path);
  }

  async #run<T>(operation: DiskOperation, work: () => Promise<T>): Promise<T> {
    const fault = this.#decide(operation);
    if (fault?.kind === 'ignore') return undefined as T;
    if (fault !== undefined) throw faultError(fault.kind === 'error' ? fault.code : 'ENOSPC', operation);
    return await work();
  }
}

class FaultyWriteHandle implements WriteHandle {
  readonly #path: string;
  readonly #inner: WriteHandle;
  readonly #decide: DecideFault;

  constructor(path: string, inner: WriteHandle, decide: DecideFault) {
    this.#path = path;
    this.#inner = inner;
    this.#decide = decide;
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const operation: DiskOperation = { kind: 'append', path: this.#path, detail: String(bytes) };
    const fault = this.#decide(operation);
    if (fault?.kind === 'ignore') return;
    if (fault === undefined) return await this.#inner.append(parts);
    if (fault.kind === 'short') await this.#inner.append([Buffer.concat(parts).subarray(0, fault.bytes)]);
    throw faultError(fault.kind === 'error' ? fault.code : 'ENOSPC', operation);
  }

  async sync(): Promise<void> {
    const operation: DiskOperation = { kind: 'sync', path: this.#path };
    const fault = this.#decide(operation);
    if (fault?.kind === 'ignore') return;
    if (fault?.kind === 'error') throw faultError(fault.code, operation);
    await this.#inner.sync();
  }

  async truncate(sizeBytes: number): Promise<void> {
    const operation: DiskOperation = { kind: 'truncate', path: this.#path, detail: String(sizeBytes) };
    const fault = this.#decide(operation);
    if (fault?.kind === 'error') throw faultError(fault.code, operation);
    await this.#inner.truncate(sizeBytes);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const changing: ReadonlySet<OperationKind> = new Set([
  'create', 'append', 'sync', 'truncate', 'makeDirectory', 'rename', 'link', 'copy', 'remove', 'removeTree', 'syncDirectory',
]);

/** Whether the operation can change what a disk holds or promises. */
export function isChange(operation: DiskOperation): boolean {
  return changing.has(operation.kind);
}

/** Lets `count` changes happen and fails every operation after them: the moment before a power cut. */
export function stopAfter(count: number): { readonly decide: DecideFault; readonly seen: () => number } {
  let seen = 0;
  return {
    seen: () => seen,
    decide: (operation) => {
      if (seen >= count) return { kind: 'error', code: 'EIO' };
      if (isChange(operation)) seen += 1;
      return undefined;
    },
  };
}

function faultError(code: string, operation: DiskOperation): Error {
  return Object.assign(new RangeError(`${code}: ${operation.kind} ${operation.path} (by a test)`), { code });
}
