// Where the shards of a collection lie, as a node answers it over REST, and the operations that change it.
import assert from 'node:assert/strict';
import { call, type Answer } from '../support/rest-client.ts';
import type { ProcessCluster } from './process-cluster.ts';

export interface Transfer {
  readonly shard_id: number;
  readonly from: number;
  readonly to: number;
  readonly sync: boolean;
  readonly method: string;
}

interface CollectionAnswer {
  readonly peer_id: number;
  readonly local_shards: readonly { readonly shard_id: number; readonly state: string; readonly points_count: number }[];
  readonly remote_shards: readonly { readonly shard_id: number; readonly peer_id: number; readonly state: string }[];
  readonly shard_transfers: readonly Transfer[];
}

export interface ShardMap {
  readonly self: number;
  /** Shard → peer id → state. */
  readonly shards: ReadonlyMap<number, ReadonlyMap<number, string>>;
  readonly transfers: readonly Transfer[];
}

export async function shardMap(cluster: ProcessCluster, at: number, name: string): Promise<ShardMap> {
  const { status, error, result } = await call(cluster.node(at).url, 'GET', `/collections/${name}/cluster`);
  assert.equal(status, 200, error);
  const { peer_id: self, local_shards: local, remote_shards: remote, shard_transfers: transfers } = result as CollectionAnswer;
  const all = [...local.map((shard) => ({ ...shard, peer_id: self })), ...remote];
  const ids = [...new Set(all.map((shard) => shard.shard_id))].sort((a, b) => a - b);
  return { self, transfers, shards: new Map(ids.map((id) => [id, new Map(all.filter((shard) => shard.shard_id === id).map((shard) => [shard.peer_id, shard.state]))])) };
}

/** Peer ids that hold a shard. */
export function holders(map: ShardMap, shard: number): readonly number[] {
  return [...(map.shards.get(shard)?.keys() ?? [])].sort((a, b) => a - b);
}

/** Whether nothing is under way: every replica Active. */
export function isSettled({ transfers, shards }: ShardMap): boolean {
  return transfers.length === 0 && [...shards.values()].every((states) => [...states.values()].every((state) => state === 'Active'));
}

export async function peerIds(cluster: ProcessCluster): Promise<readonly number[]> {
  return await Promise.all(Array.from({ length: cluster.count }, async (_, at) => ((await call(cluster.node(at).url, 'GET', '/cluster')).result as { readonly peer_id: number }).peer_id));
}

/** One operation of `POST /collections/{c}/cluster`. */
export function change(cluster: ProcessCluster, at: number, name: string, operation: unknown, query = ''): Promise<Answer> {
  return call(cluster.node(at).url, 'POST', `/collections/${name}/cluster${query}`, { body: operation });
}

/** Resolves when each of those nodes sees the collection settled with that many replicas in all. */
export async function untilSettled(cluster: ProcessCluster, at: readonly number[], name: string, replicas: number): Promise<void> {
  for (const node of at) {
    await cluster.until(`node ${node} sees ${replicas} active replicas of ${name} and no transfer`, async () => {
      const map = await shardMap(cluster, node, name);
      const held = [...map.shards.values()].reduce((sum, states) => sum + states.size, 0);
      assert.ok(isSettled(map) && held === replicas, JSON.stringify([[...map.shards].map(([id, states]) => [id, [...states]]), map.transfers]));
    });
  }
}
