// Writes after validation: what a shard's log will hold. Payloads are JSON text of an object, kept as the client sent it.
// Vectors are f32 as sent; the shard converts them to the stored datatype (and unit length for Cosine) before the log.
import type { PointId, Seq } from '../base/ids.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { Filter } from '../payload/filter.ts';
import type { VectorParams } from './collection-config.ts';
import type { ShardKeySelector } from './shard-key.ts';

/** Vectors of one point by name ('' is the unnamed one). */
export type NamedVectors = ReadonlyMap<string, Float32Array>;

export interface PointDraft {
  readonly id: PointId;
  readonly vectors: NamedVectors;
  /** JSON text of an object; '{}' where none was given. */
  readonly payload: string;
}

export type PointSelector = { readonly kind: 'ids'; readonly ids: readonly PointId[] } | { readonly kind: 'filter'; readonly filter: Filter };

export type UpdateMode = 'upsert' | 'insert_only' | 'update_only';

export type WriteOperation =
  | { readonly kind: 'upsert'; readonly points: readonly PointDraft[]; readonly updateFilter?: Filter; readonly updateMode?: UpdateMode }
  | { readonly kind: 'delete-points'; readonly selector: PointSelector }
  | { readonly kind: 'update-vectors'; readonly points: readonly { readonly id: PointId; readonly vectors: NamedVectors }[]; readonly updateFilter?: Filter }
  | { readonly kind: 'delete-vectors'; readonly selector: PointSelector; readonly names: readonly string[] }
  /** Merges top-level keys, below `key` where given; a null value removes its key. */
  | { readonly kind: 'set-payload'; readonly selector: PointSelector; readonly payload: string; readonly key?: string }
  | { readonly kind: 'overwrite-payload'; readonly selector: PointSelector; readonly payload: string }
  | { readonly kind: 'delete-payload'; readonly selector: PointSelector; readonly keys: readonly string[] }
  | { readonly kind: 'clear-payload'; readonly selector: PointSelector }
  | { readonly kind: 'create-index'; readonly field: string; readonly schema: FieldSchema }
  | { readonly kind: 'drop-index'; readonly field: string }
  | { readonly kind: 'create-vector'; readonly name: string; readonly params: VectorParams }
  | { readonly kind: 'drop-vector'; readonly name: string };

export interface WriteOptions {
  /** true: answer after apply (`completed`); false: after the log is durable (`acknowledged`). */
  readonly wait: boolean;
  /** Over it the answer is `wait_timeout`, and the write still happens; in a cluster it is refused where no majority has stored it by then,
   *  and its outcome is unknown. */
  readonly timeoutMs?: number;
  /** Under custom sharding: where the points are. Changes of the schema go to every shard, and need none. */
  readonly shardKey?: ShardKeySelector;
}

/** Where an entry stands: a place in the log of a shard, in one of its generations. */
export interface ShardSeq {
  readonly shardId: number;
  readonly generation: number;
  readonly seq: Seq;
}

export interface WriteResult {
  /** Seq of the last entry; null where the operation reached no shard. */
  readonly operationId: Seq | null;
  readonly status: 'acknowledged' | 'completed' | 'wait_timeout';
  /** Of the last entry on each shard that the operation reached. */
  readonly places: readonly ShardSeq[];
}
