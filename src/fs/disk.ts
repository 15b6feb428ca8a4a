// The port to the file system. Only src/fs/ touches node:fs; everything that is stored goes through here, so that fault
// injection, power-loss simulation and golden traces of disk operations cover it.
//
// Contract (disk.contract.ts runs it on every implementation):
// - All paths are absolute. Errors carry the operating system's `code` (ENOENT, EEXIST, ENOSPC, EXDEV, …).
// - `write` and `append` return only after EVERY byte was taken; a short count without progress is an ENOSPC error.
// - Nothing is durable before `sync` (file content) and `syncDirectory` (names) have returned.
// - Handles must be closed by whoever opened them; `await using` works.

export interface FileStat {
  readonly sizeBytes: number;
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly linkCount: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

export interface SpaceInfo {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** An open file for reading at positions. */
export interface ReadHandle extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`. They may lie in `memory`, where that is large enough: who reads piece after piece spares the
   *  garbage. @throws CorruptionError when the file ends before. */
  read(offset: number, length: number, memory?: Buffer): Promise<Buffer>;
  close(): Promise<void>;
}

/** An open file for appending. Not shared between writers. */
export interface WriteHandle extends AsyncDisposable {
  /** Bytes written so far through this handle, plus what the file held when it was opened. */
  readonly sizeBytes: number;
  /** Appends all parts as one vectored write. After a throw the file may hold any prefix of them: truncate before going on. */
  append(parts: readonly Uint8Array[]): Promise<void>;
  /** fdatasync. After a throw nothing written since the last success may be assumed to be stored. */
  sync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface Disk {
  openRead(path: string): Promise<ReadHandle>;
  /** A new file, for writing. O_EXCL and O_NOFOLLOW: an existing name of any kind is EEXIST. */
  create(path: string): Promise<WriteHandle>;
  /** Whole small files only: manifests and configuration. @throws RangeError above `maxBytes` (default 64 MiB). */
  readFile(path: string, maxBytes?: number): Promise<Buffer>;
  list(directory: string): Promise<string[]>;
  /** Does not follow a link at `path`. @throws ENOENT */
  stat(path: string): Promise<FileStat>;
  /** `stat` or undefined where nothing is there. */
  findStat(path: string): Promise<FileStat | undefined>;
  realPath(path: string): Promise<string>;
  makeDirectory(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  /** Copies bytes to a new file, by FICLONE where the file system offers it, else in synced pieces that leave room for other writers. */
  copy(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Removes a folder and all below it; an absent one is no error. */
  removeTree(path: string): Promise<void>;
  /** Makes names created, renamed or removed in this folder durable. */
  syncDirectory(path: string): Promise<void>;
  space(path: string): Promise<SpaceInfo>;
}
