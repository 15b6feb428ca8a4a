// What a collection tells about itself, before api/ gives it the wire's shape.
import type { CollectionConfig } from '../command/collection-config.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { ReplicaInfo } from './replica.ts';

export interface CollectionInfo {
  readonly name: string;
  readonly uuid: string;
  readonly config: CollectionConfig;
  readonly status: ReplicaInfo['status'];
  readonly optimizerError?: string;
  readonly points: number;
  readonly indexedVectors: number;
  readonly scannedVectors: ReplicaInfo['scannedVectors'];
  readonly damagedGraphs: ReplicaInfo['damagedGraphs'];
  readonly damagedGraphsFound: number;
  readonly codesBytes: ReplicaInfo['codesBytes'];
  readonly segments: number;
  readonly payloadSchema: ReplicaInfo['payloadSchema'];
  readonly unappliedEntries: number;
  readonly diskBytes: number;
  readonly aliases: readonly string[];
  /** Shards that no restored file has brought yet; none on one node. */
  readonly awaitedShards: readonly number[];
  readonly shards: readonly { readonly id: number; readonly key?: ShardKey; readonly points: number; readonly indexedVectors: number; readonly status: ReplicaInfo['status'] }[];
}
