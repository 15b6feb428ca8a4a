// Reads after validation, and what they answer.
import type { PointId, Seq } from '../base/ids.ts';
import type { Filter } from '../payload/filter.ts';
import type { JsonPath } from '../payload/json-path.ts';
import type { ShardKey, ShardKeySelector } from './shard-key.ts';
import type { NamedVectors, ShardSeq } from './write.ts';

export type PayloadSelector = { readonly kind: 'all' } | { readonly kind: 'none' } | { readonly kind: 'include' | 'exclude'; readonly paths: readonly JsonPath[] };
export type VectorSelector = { readonly kind: 'all' } | { readonly kind: 'none' } | { readonly kind: 'names'; readonly names: readonly string[] };

export interface Selectors {
  readonly payload: PayloadSelector;
  readonly vectors: VectorSelector;
}

/** A point as a read answers it. `payload`: JSON text; absent where not asked for. */
export interface PointRecord {
  readonly id: PointId;
  readonly version: Seq;
  readonly payload?: string;
  readonly vectors?: NamedVectors;
  /** Scroll with order_by only. */
  readonly orderValue?: number | bigint;
  /** Under custom sharding: of the shard that it was read from. */
  readonly shardKey?: ShardKey;
}

/** Which shards are read; without a selector all. */
export interface OfShards {
  readonly shardKey?: ShardKeySelector;
}

export interface ScoredRecord extends PointRecord {
  readonly score: number;
}

/** How many replicas of each shard are asked how far they are; one that is as far as the furthest of them is read. */
export type ReadConsistency = number | 'majority' | 'quorum' | 'all';

/** What of a read is not about points. */
export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Default: one replica, and none is asked. */
  readonly consistency?: ReadConsistency;
  /** The answer shows these writes. */
  readonly after?: readonly ShardSeq[];
}

/** The same for one shard. */
export interface ReplicaWish {
  readonly consistency?: ReadConsistency;
  /** Of a generation that has ended it says nothing any more. */
  readonly after?: Omit<ShardSeq, 'shardId'>;
}

export interface RetrieveRequest extends OfShards {
  readonly ids: readonly PointId[];
  readonly selectors: Selectors;
}

export interface OrderBy {
  readonly key: JsonPath;
  readonly direction: 'asc' | 'desc';
  /** Number, or datetime as microseconds since 1970; inclusive. */
  readonly startFrom?: number | bigint;
}

export interface ScrollRequest extends OfShards {
  /** Inclusive. */
  readonly offset?: PointId;
  readonly limit: number;
  readonly filter?: Filter;
  readonly orderBy?: OrderBy;
  readonly selectors: Selectors;
}

export interface ScrollPage {
  readonly points: readonly PointRecord[];
  readonly nextPageOffset: PointId | null;
}

export interface CountRequest extends OfShards {
  readonly filter?: Filter;
  readonly exact: boolean;
}

/** Kept and validated; the exact scan needs none of them, an approximate index honours them. */
export interface SearchParams {
  readonly hnswEf?: number;
  readonly exact?: boolean;
  readonly indexedOnly?: boolean;
  readonly quantization?: { readonly ignore?: boolean; readonly rescore?: boolean; readonly oversampling?: number };
}

export type QueryTarget =
  | { readonly kind: 'vector'; readonly vector: Float32Array }
  /** The vector of a stored point; that point is left out of the answer. */
  | { readonly kind: 'id'; readonly id: PointId };

export interface SearchRequest extends OfShards {
  readonly target: QueryTarget;
  /** '' is the unnamed vector. */
  readonly using: string;
  readonly filter?: Filter;
  readonly limit: number;
  readonly offset: number;
  /** Strict: only scores better than it. */
  readonly scoreThreshold?: number;
  readonly params?: SearchParams;
  readonly selectors: Selectors;
}
