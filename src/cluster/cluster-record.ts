// A collection of a cluster as its metastore record says: one record with configuration, shard map and replica states, so that all
// shards of a restored file change by one compare-and-set. Pure: records before and after; files and streams are others' to move.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { TransferMethod } from '../command/cluster-operation.ts';
import type { DeclaredIndexes } from '../collection/declared-indexes.ts';
import type { CollectionShape } from '../collection/compatibility.ts';
import { idAbove, keyedShards } from '../collection/key-places.ts';
import { isCustomSharded, type CollectionConfig } from '../command/collection-config.ts';
import type { ShardKey } from '../command/shard-key.ts';

/** Names of the API. Reads go to Active ones alone; those and Partial ones take in the log. */
export type ReplicaState = 'Active' | 'Initializing' | 'Partial' | 'PartialSnapshot' | 'Recovery' | 'ManualRecovery' | 'Dead' | 'Listener';

/** The content a generation begins with. */
export interface ShardBase {
  readonly collectionUuid: string;
  /** There; without it the same as here. */
  readonly shardId?: number;
  readonly generation: number;
  readonly seq: number;
  readonly chain: string;
  /** That the restore itself put behind it: 1, its note, where nothing is said. */
  readonly entries?: number;
  /** The same shard went on with a new stream: nothing was restored. */
  readonly isRenewed?: true;
}

/** Asked for by an operator: one more replica, in place of `from`'s where it is a move. */
export interface ShardTransfer {
  readonly from: number;
  readonly to: number;
  readonly method: TransferMethod;
  readonly isMove: boolean;
}

export interface ShardRecord {
  readonly id: number;
  /** Under custom sharding. */
  readonly key?: ShardKey;
  /** Replicas that its key was created with, where they are not as many as the collection's. */
  readonly factor?: number;
  readonly generation: number;
  /** null: empty, at seq 0. */
  readonly base: ShardBase | null;
  /** Peer id → state; peer ids are decimal text here. */
  readonly replicas: Readonly<Record<string, ReplicaState>>;
  /** Until its target is Active; at most one at a time. */
  readonly transfer?: ShardTransfer;
  /** Empty until a file with it is restored: the collection was created by the restore of another shard. */
  readonly awaited?: true;
  /** The stream of this generation has lost entries: an Active replica goes on with a new one. */
  readonly isLogDamaged?: true;
}

export interface ClusterCollection {
  readonly config: CollectionConfig;
  readonly shards: readonly ShardRecord[];
  /** Under custom sharding: the lowest id that no shard has had. */
  readonly nextShard?: number;
  /** Under custom sharding. */
  readonly indexes?: DeclaredIndexes;
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

/** By another node than this one, with content of its own. */
export function isServedBeside(shard: ShardRecord, peerId: number): boolean {
  return shard.awaited !== true && peersIn(shard, 'Active').some((peer) => peer !== peerId);
}

/** Ids of dropped shards are never used again: their streams and folders may still be somewhere. */
export function nextShardOf({ nextShard, shards }: ClusterCollection): number {
  return Math.max(nextShard ?? 0, idAbove(shards));
}

/** What snapshots of it tell, and what they are compared with. */
export function shapeOf({ config, shards }: ClusterCollection): CollectionShape {
  const shardKeys = keyedShards(isCustomSharded(config), shards);
  return { config, ...(shardKeys === undefined ? {} : { shardKeys }) };
}

export function factorOf({ config }: ClusterCollection, { factor }: ShardRecord): number {
  return factor ?? config.params.replication_factor;
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

/** The target of a transfer is on its way, by the name of the method. */
export function withTransfer(shard: ShardRecord, transfer: ShardTransfer): ShardRecord {
  return { ...withReplica(shard, transfer.to, transfer.method === 'snapshot' ? 'PartialSnapshot' : 'Partial'), transfer };
}

export function withoutTransfer({ transfer: _ended, ...shard }: ShardRecord): ShardRecord {
  return shard;
}

/** A replica that has caught up. Where it came by a transfer, that ends, and with a move the source leaves at once. */
export function withActive(shard: ShardRecord, peerId: number): ShardRecord {
  const { transfer } = shard;
  if (transfer?.to !== peerId) return withReplica(shard, peerId, 'Active');
  const rest = withoutTransfer(shard);
  return withReplica(transfer.isMove ? withReplica(rest, transfer.from, undefined) : rest, peerId, 'Active');
}

/** Its replica goes, and with it a transfer that would have made it. */
export function withoutPeer(shard: ShardRecord, peerId: number): ShardRecord {
  return withReplica(shard.transfer?.to === peerId ? withoutTransfer(shard) : shard, peerId, undefined);
}

/**
 * Nothing of a node that is removed for good. A transfer from it goes on from another Active replica, or ends.
 * @param heir takes the place of the last replica there was
 */
export function withoutRemoved(shard: ShardRecord, peerId: number, heir?: number): ShardRecord {
  const rest = withoutPeer(shard, peerId);
  const [other] = peersIn(rest, 'Active');
  const { transfer } = rest;
  const next = transfer?.from !== peerId ? rest : other === undefined ? withoutPeer(rest, transfer.to) : { ...rest, transfer: { ...transfer, from: other, isMove: false } };
  return other !== undefined || heir === undefined ? next : withReplica(next, heir, 'Partial');
}

/** How many replicas a write may have to wait for: one that is still to come is none of them. */
export function replicasThatCount(shard: ShardRecord): number {
  const { transfer } = shard;
  return peersIn(shard).filter((peer) => peer !== transfer?.to).length;
}

/**
 * New shards spread evenly over the nodes, beginning with those that hold least.
 * @param load peer id → replicas that it holds, one entry for each node that may be used
 * @param firstId theirs follow one another from it
 * @throws RequestError 'unavailable' without nodes
 */
export function placeShards(count: number, replicationFactor: number, load: ReadonlyMap<number, number>, firstId = 0): readonly ShardRecord[] {
  if (load.size === 0) throw new RequestError('unavailable', 'no node of the cluster can take a shard');
  const peers = [...load].sort(([a, x], [b, y]) => x - y || a - b).map(([peer]) => peer);
  const width = Math.min(Math.max(1, replicationFactor), peers.length);
  return Array.from({ length: count }, (_, index) => {
    const chosen = Array.from({ length: width }, (_each, at) => must(peers[(index + at) % peers.length], 'below the length'));
    return { id: firstId + index, generation: 0, base: null, replicas: Object.fromEntries(chosen.map((peer) => [String(peer), 'Active' as const])) };
  });
}

/** Shards that a restore makes for files to come: one empty replica each, so that the collection is complete. */
export function awaitedShards(wanted: readonly Pick<ShardRecord, 'id' | 'key' | 'factor'>[], load: ReadonlyMap<number, number>): readonly ShardRecord[] {
  return placeShards(wanted.length, 1, load).map((shard, at) => {
    const { id, key, factor } = must(wanted[at], 'as many as are wanted');
    return { ...shard, id, ...(key === undefined ? {} : { key }), ...(factor === undefined ? {} : { factor }), awaited: true };
  });
}
