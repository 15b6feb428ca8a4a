// A snapshot as lists and creates answer it.

export interface SnapshotDescription {
  readonly name: string;
  /** UTC, whole seconds, no zone: `2022-08-04T10:49:10`. */
  readonly creationTime: string;
  /** Bytes of the archive as downloaded. */
  readonly sizeBytes: number;
  /** sha256 of the archive; absent only while it is still being computed. */
  readonly checksum?: string;
}

export type SnapshotPriority = 'snapshot' | 'replica' | 'no_sync';

export interface RecoverOptions {
  readonly priority: SnapshotPriority;
  /** Lower-case hex of the whole archive. */
  readonly checksum?: string;
}

export interface RecoverRequest extends RecoverOptions {
  readonly location: string;
  readonly apiKey?: string;
}

/** An archive ready to be sent: a pure function of its manifest, so ranges and resumes work. A borrow: release it. */
export interface ArchiveDownload {
  readonly name: string;
  readonly sizeBytes: number;
  /** Strong ETag without quotes. */
  readonly etag: string;
  readonly lastModifiedMs: number;
  /** Bytes [start, end] of the archive, inclusive. A damaged file ends the stream with an error, never with padding. */
  read(start: number, end: number): AsyncIterable<Buffer>;
  release(): void;
}
