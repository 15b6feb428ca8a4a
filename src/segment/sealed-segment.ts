import type { Disk } from '../fs/disk.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import type { VectorSpec } from '../vector/distance.ts';
import type { Segment, SegmentDescription } from './segment.ts';

export interface OpenSegmentOptions {
  readonly disk: Disk;
  readonly filesDirectory: string;
  readonly description: SegmentDescription;
  /** Vectors that the collection has; others that the description lists are not opened, missing ones are on no row. */
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly indexes: VectorIndexes;
  /** Fields that the collection indexes; those without a file are built from the payloads. */
  readonly payloadSchema: PayloadSchema;
}

/** What a sealed segment holds beyond its files: deletes, field indexes, dropped vectors. Immutable. */
export interface SealedState {
  readonly base: SegmentDescription;
}

export interface SealedSegment extends Segment {
  /** As opened, or as last put into files by `saveSealedState`. */
  readonly description: SegmentDescription;
  /** The state of this moment, for a checkpoint at this seq: hand it to `saveSealedState`. No I/O. */
  capture(): SealedState;
  addVector(name: string): void;
  /** Its vectors are gone at once: rows lack it even when a vector of that name is created again. */
  dropVector(name: string): Promise<void>;
}

export declare function openSealedSegment(options: OpenSegmentOptions): Promise<SealedSegment>;

/** Writes what changed since `description` (del, pidx), syncs the folder, answers the description for the manifest. Idempotent. */
export declare function saveSealedState(request: { readonly disk: Disk; readonly filesDirectory: string; readonly segment: SealedSegment; readonly state: SealedState }): Promise<SegmentDescription>;
