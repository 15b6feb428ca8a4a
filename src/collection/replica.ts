// The port to one replica of a shard, near (shard/shard.ts) or far (cluster). Collections speak to shards only through it.
import type { CountRequest, PointRecord, ReplicaWish, RetrieveRequest, ScoredRecord, ScrollRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions } from '../command/write.ts';
import type { ShardInfo, ShardSearch, ShardWriteResult } from '../shard/shard-types.ts';

export type { ShardInfo as ReplicaInfo, ShardSearch as ReplicaSearch, ShardWriteResult as ReplicaWriteResult } from '../shard/shard-types.ts';

/** Contract: replica.contract.ts. All methods throw RequestError with the wire's text for what the caller did wrong. */
export interface Replica {
  /** Rejects with what `write` would reject with before its first entry, points that must be there included; so an operation over
   *  several shards is refused as a whole. Between it and the write another writer may still remove a point. */
  check(operation: WriteOperation): Promise<void>;
  /** Checks everything about the operation before the log sees it: nothing half done. */
  write(operation: WriteOperation, options: WriteOptions): Promise<ShardWriteResult>;
  /** The replica whose answers are as new as is wished, once they are: itself, or one that it stands for. No request on the shard's
   *  files: a set of shards may be retired meanwhile. @throws RequestError 'timeout', 'unavailable' */
  readable(wish: ReplicaWish, signal?: AbortSignal): Promise<Replica>;
  search(requests: readonly ShardSearch[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]>;
  /** In the order of `ids`; absent points are left out; an id given twice appears twice. */
  retrieve(request: RetrieveRequest): Promise<readonly PointRecord[]>;
  /** At most `limit` points from `offset` on, in scroll order (by id, or by value with `orderBy`). */
  scroll(request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]>;
  count(request: CountRequest, signal?: AbortSignal): Promise<number>;
  info(): ShardInfo;
}
