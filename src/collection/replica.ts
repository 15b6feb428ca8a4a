// The port to one replica of a shard, near (shard/shard.ts) or far (cluster). Collections speak to shards only through it.
import type { Seq } from '../base/ids.ts';
import type { CountRequest, PointRecord, RetrieveRequest, ScoredRecord, ScrollRequest, SearchRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions } from '../command/write.ts';
import type { FieldSchema } from '../payload/field-schema.ts';

export interface ReplicaWriteResult {
  readonly seq: Seq;
  readonly status: 'acknowledged' | 'completed' | 'wait_timeout';
}

export interface ReplicaInfo {
  readonly points: number;
  readonly indexedVectors: number;
  readonly segments: number;
  readonly status: 'green' | 'yellow' | 'grey' | 'red';
  readonly optimizerError?: string;
  /** Field → schema and number of points that have the field. */
  readonly payloadSchema: ReadonlyMap<string, { readonly schema: FieldSchema; readonly points: number }>;
  /** Entries durable in the log but not applied yet. */
  readonly unappliedEntries: number;
  readonly diskBytes: number;
}

/** A search whose target has been resolved to a vector. Answers `limit + offset` hits: the offset is cut after merging shards. */
export interface ReplicaSearch extends Omit<SearchRequest, 'target'> {
  readonly vector: Float32Array;
  readonly excludeId?: PointRecord['id'];
}

/** Contract: replica.contract.ts. All methods throw RequestError with the wire's text for what the caller did wrong. */
export interface Replica {
  /** Throws what `write` would throw before its first entry; so an operation over several shards is refused as a whole. */
  check(operation: WriteOperation): void;
  /** Checks everything about the operation before the log sees it: nothing half done. */
  write(operation: WriteOperation, options: WriteOptions): Promise<ReplicaWriteResult>;
  search(requests: readonly ReplicaSearch[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]>;
  /** In the order of `ids`; absent points are left out; an id given twice appears twice. */
  retrieve(request: RetrieveRequest): Promise<readonly PointRecord[]>;
  /** At most `limit` points from `offset` on, in scroll order (by id, or by value with `orderBy`). */
  scroll(request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]>;
  count(request: CountRequest, signal?: AbortSignal): Promise<number>;
  info(): ReplicaInfo;
}
