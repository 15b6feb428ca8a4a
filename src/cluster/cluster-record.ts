// A collection of a cluster as its metastore record says: one record with configuration, shard map and replica states, so that all
// shards of a restored file change by one compare-and-set. Pure: records before and after; files and streams are others' to move.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { CollectionConfig } from '../command/collection-config.ts';

/** Names of the API. Reads go to Active ones alone; those and Partial ones take in the log. */
export type ReplicaState = 'Active' | 'Initializing' | 'Partial' | 'Recovery' | 'ManualRecovery' | 'Dead' | 'Listener';

/** The content a generation begins with. */
export interface ShardBase {
  readonly collectionUuid: string;
  readonly generation: number;
  readonly seq: number;
  readonly chain: string;
  /** The same shard went on with a new stream: nothing was restored. */
  readonly isRenewed?: true;
}

export interface ShardRecord {
  readonly id: number;
  readonly key?: string | number;
  readonly generation: number;
  /** null: empty, at seq 0. */
  readonly base: ShardBase | null;
  /** Peer id → state; peer ids are decimal text here. */
  readonly replicas: Readonly<Record<string, ReplicaState>>;
  /** Empty until a file with it is restored: the collection was created by the restore of another shard. */
  readonly awaited?: true;
  /** The stream of this generation has lost entries: an Active replica goes on with a new one. */
  readonly isLogDamaged?: true;
}

export interface ClusterCollection {
  readonly config: CollectionConfig;
  readonly shards: readonly ShardRecord[];
  /** The latest restores that were committed into it, oldest first. */
  readonly restores?: readonly string[];
  /** Who may put restored shards in place; see restore-turns.ts. */
  readonly turn?: { readonly peer: number; readonly id: string };
  /** The highest generation that a restore was ever given, whether it came to anything or not. */
  readonly lastGeneration?: number;
}

export function replicaOf(shard: ShardRecord, peerId: number): ReplicaState | undefined {
  const key = String(peerId);
  return Object.hasOwn(shard.replicas, key) ? shard.replicas[key] : undefined;
}

export function peersIn(shard: ShardRecord, ...states: readonly ReplicaState[]): readonly number[] {
  return Object.entries(shard.replicas).filter(([, state]) => states.length === 0 || states.includes(state)).map(([peer]) => Number(peer));
}

export function shardOf(record: ClusterCollection, id: number): ShardRecord {
  return must(record.shards.find((shard) => shard.id === id), 'a shard of the record');
}

export function withShard(record: ClusterCollection, id: number, change: (shard: ShardRecord) => ShardRecord): ClusterCollection {
  return { ...record, shards: record.shards.map((shard) => (shard.id === id ? change(shard) : shard)) };
}

export function withReplica(shard: ShardRecord, peerId: number, state: ReplicaState | undefined): ShardRecord {
  const others = Object.entries(shard.replicas).filter(([peer]) => peer !== String(peerId));
  return { ...shard, replicas: Object.fromEntries(state === undefined ? others : [...others, [String(peerId), state]]) };
}

/**
 * New shards spread evenly over the nodes, beginning with those that hold least.
 * @param load peer id → replicas that it holds, one entry for each node that may be used
 * @throws RequestError 'unavailable' without nodes
 */
export function placeShards(count: number, replicationFactor: number, load: ReadonlyMap<number, number>): readonly ShardRecord[] {
  if (load.size === 0) throw new RequestError('unavailable', 'no node of the cluster can take a shard');
  const peers = [...load].sort(([a, x], [b, y]) => x - y || a - b).map(([peer]) => peer);
  const width = Math.min(Math.max(1, replicationFactor), peers.length);
  return Array.from({ length: count }, (_, id) => {
    const chosen = Array.from({ length: width }, (_each, at) => must(peers[(id + at) % peers.length], 'below the length'));
    return { id, generation: 0, base: null, replicas: Object.fromEntries(chosen.map((peer) => [String(peer), 'Active' as const])) };
  });
}
