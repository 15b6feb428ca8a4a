// The port to blobs by key: where archives and backups lie when they do not lie on the node's own disk.
//
// Contract (store.contract.ts runs it on every implementation):
// - Keys are relative paths of `[A-Za-z0-9._-]` parts, at most 1,024 bytes; `.` and `..` are no parts.
// - `put` makes a blob visible whole or not at all; a put that fails, or whose source fails, leaves what was there before.
// - A blob that `put` has answered is durable.

export interface BlobInfo {
  readonly key: string;
  readonly sizeBytes: number;
}

export interface ObjectStore extends AsyncDisposable {
  /** Replaces a blob of the same key. Answers its size. @throws RequestError for a bad key. */
  put(key: string, content: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<number>;
  /** Bytes [start, end], inclusive; the whole blob without a range. @throws RequestError 'not-found' */
  get(key: string, range?: { readonly start: number; readonly end: number }): AsyncIterable<Buffer>;
  find(key: string): Promise<BlobInfo | undefined>;
  /** Ascending by key. */
  list(prefix: string): AsyncIterable<BlobInfo>;
  /** An absent blob is no error. */
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}
