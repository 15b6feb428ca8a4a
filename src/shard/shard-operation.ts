// A write as the log holds it: everything that decides its outcome, so that applying needs no clock, no random number and no
// configuration. Differs from command/write.ts in that vectors are stored bytes and shards mark their own events.
import type { PointId } from '../base/ids.ts';
import type { PointSelector, UpdateMode, WriteOperation } from '../command/write.ts';
import type { Filter } from '../payload/filter.ts';
import type { VectorSpec } from '../vector/distance.ts';

/** Packed rows in the stored datatype, for Cosine of unit length, by name of the vector. */
export type StoredVectors = ReadonlyMap<string, Uint8Array>;

interface VectorDraft {
  readonly id: PointId;
  readonly vectors: StoredVectors;
}

export interface StoredDraft extends VectorDraft {
  readonly payload: string;
}

type PointOperation = Exclude<WriteOperation, { kind: 'upsert' | 'update-vectors' | 'create-vector' }>;

export type ShardOperation =
  | { readonly kind: 'upsert'; readonly points: readonly StoredDraft[]; readonly updateFilter?: Filter; readonly updateMode?: UpdateMode }
  | { readonly kind: 'update-vectors'; readonly points: readonly VectorDraft[]; readonly updateFilter?: Filter }
  | { readonly kind: 'create-vector'; readonly name: string; readonly spec: VectorSpec }
  | PointOperation
  /** The first entry of a restored shard: where its contents came from. */
  | { readonly kind: 'restore'; readonly origin: RestoreOrigin }
  | { readonly kind: 'cut' }
  | { readonly kind: 'no-op' };

export interface RestoreOrigin {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
  readonly seq: number;
}

/** The operations that name their points by a selector. */
export type SelectorOperation = Extract<ShardOperation, { selector: PointSelector }>;
