// What an operator may ask of the shards of a collection in a cluster, and of the nodes that hold them.
import type { ShardKey } from './shard-key.ts';

/** Names of the API; all run the same transfer (docs/cluster.md). */
export const TRANSFER_METHODS = ['stream_records', 'snapshot', 'wal_delta'] as const;

export type TransferMethod = (typeof TRANSFER_METHODS)[number];

export interface TransferPeers {
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
}

export type ShardOperation =
  | (TransferPeers & { readonly kind: 'move-shard' | 'replicate-shard' | 'restart-transfer'; readonly method: TransferMethod })
  | (TransferPeers & { readonly kind: 'abort-transfer' })
  | { readonly kind: 'drop-replica'; readonly shardId: number; readonly peerId: number };

export interface CreateShardKey {
  readonly key: ShardKey;
  /** Both: those of the collection where nothing is asked. */
  readonly shardsNumber?: number;
  readonly replicationFactor?: number;
  /** Peer ids; all nodes that answer where nothing is asked. */
  readonly placement?: readonly number[];
  /** A `Partial` replica takes in the log and becomes Active by itself when it has all of it. */
  readonly initialState?: string;
}

type ShardKeyOperation = (CreateShardKey & { readonly kind: 'create-sharding-key' }) | { readonly kind: 'drop-sharding-key'; readonly key: ShardKey };

export type ClusterOperation = ShardOperation | ShardKeyOperation;

export interface RemovePeer {
  readonly peerId: number;
  /** Takes its replicas out of the records first. */
  readonly force: boolean;
}
