// What the parts of the cluster's catalog share: records and how they are changed, local shards, ways to other nodes.
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { CollectionConfig } from '../command/collection-config.ts';
import type { ShardFiles, ShardPlace } from '../collection/shard-files.ts';
import type { ShardSlot } from '../collection/shard-set.ts';
import type { Disk } from '../fs/disk.ts';
import type { Shard } from '../shard/shard.ts';
import type { ClusterCollection, ShardRecord } from './cluster-record.ts';
import type { ClusterRecords } from './cluster-records.ts';
import type { ClusterMetastore } from './kv-metastore.ts';
import type { Membership } from './membership.ts';
import type { NatsClient } from './nats-client.ts';
import type { PeerClient } from './peer-client.ts';
import type { ShardName } from './remote-replica.ts';
import type { ReplicatedLog } from './replicated-log.ts';

/** Since when a replica may lack something. */
export type BehindSince = 'at its start' | 'when it became Active';

export interface CatalogAccess {
  readonly disk: Disk;
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly client: NatsClient;
  readonly peers: PeerClient;
  readonly metastore: ClusterMetastore;
  readonly files: ShardFiles;
  readonly membership: Membership;
  /** Servers that a new stream is to have. */
  readonly streamReplicas: () => number;
  readonly records: ClusterRecords;
  createStreams(uuid: string, shards: readonly ShardRecord[]): Promise<void>;
  /** Peer id → replicas that it holds, of nodes that answer. */
  load(): ReadonlyMap<number, number>;
  /** This node and those that answer have followed every change so far. */
  spread(): Promise<void>;
  /** Uuid → record, as far as this node has followed. */
  readonly followed: () => ReadonlyMap<string, ClusterCollection>;
  /** One of those. */
  record(uuid: string): ClusterCollection | undefined;
  /** A shard as requests reach it, in the generation that this node has followed. */
  slot(uuid: string, shardId: number): ShardSlot | undefined;
  localShard(uuid: string, shardId: number, generation: number): Shard | undefined;
  /** Whether this node could not open its replica because its files are damaged. */
  isDamaged(name: ShardName): boolean;
  /** The log behind a local shard. */
  logOf(uuid: string, shardId: number, generation: number): ReplicatedLog | undefined;
  /** Brings local shards in line with the records again, although none has changed. */
  reconcile(): Promise<void>;
  /** Hands over a shard that was opened for a record to come; following the record takes it in. */
  offer(uuid: string, shard: Shard, generation: number): void;
  /** Takes back what no record has taken in. */
  withdraw(uuid: string, shardId: number, generation: number): Promise<void>;
  /** Closes a local shard and removes its folder. */
  discard(uuid: string, shardId: number, generation: number): Promise<void>;
  /** Puts what `adopt` makes in the place of what this node has of a shard; false, and nothing is made, where no record places it here. */
  install(uuid: string, place: ShardPlace, adopt: (config: CollectionConfig) => Promise<Shard>): Promise<boolean>;
  /** Shards of this node that are not read yet, because they may lack what was acknowledged before they were opened or became Active. */
  readonly catchingUp: { begin(name: ShardName, shard: Shard, since: BehindSince): void; has(shard: Shard): boolean };
  /** Names of shards that become Active here just now, and are not read before they are among those that catch up. */
  readonly joining: Set<string>;
}
