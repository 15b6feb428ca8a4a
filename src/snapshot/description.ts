// A snapshot as lists and creates answer it, and what a restore is asked.
import type { RestoreRules, SnapshotPriority } from '../collection/snapshot-source.ts';

export interface SnapshotDescription {
  readonly name: string;
  /** UTC, whole seconds, no zone: `2022-08-04T10:49:10`. */
  readonly creationTime: string;
  /** Bytes of the archive as downloaded. */
  readonly sizeBytes: number;
  /** sha256 of the archive; absent only while it is still being computed. */
  readonly checksum?: string;
}

export type { SnapshotPriority } from '../collection/snapshot-source.ts';

export interface RecoverOptions extends Partial<Omit<RestoreRules, 'config'>> {
  readonly priority: SnapshotPriority;
  /** Lower-case hex of the whole archive. */
  readonly checksum?: string;
  /** Says what would happen, and changes nothing. */
  readonly dryRun?: boolean;
}

/** What became of a restore. */
export interface RestoreResult {
  /** Served now by what was restored. */
  readonly points: number;
  /** Parts of the archive that a collection which existed did not take: `config`, `payload_schema`, `aliases`. */
  readonly notApplied: readonly string[];
}

export interface RecoverRequest extends RecoverOptions {
  readonly location: string;
  readonly apiKey?: string;
}

export interface ReadPieces {
  /** A piece is good only until the next one is asked for; its memory is then used again. */
  readonly isLent?: boolean;
}

/** An archive ready to be sent: a pure function of its manifest, so ranges and resumes work. A borrow: release it. */
export interface ArchiveDownload {
  readonly name: string;
  readonly sizeBytes: number;
  /** Strong ETag without quotes. */
  readonly etag: string;
  readonly lastModifiedMs: number;
  /** Bytes [start, end] of the archive, inclusive. A damaged file ends the stream with an error, never with padding. */
  read(start: number, end: number, how?: ReadPieces): AsyncIterable<Buffer>;
  release(): void;
}
