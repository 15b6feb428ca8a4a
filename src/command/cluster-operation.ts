// What an operator may ask of the shards of a collection in a cluster, and of the nodes that hold them.

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

export interface RemovePeer {
  readonly peerId: number;
  /** Takes its replicas out of the records first. */
  readonly force: boolean;
}
