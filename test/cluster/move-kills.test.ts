// Shards that move and replicate under load while a node is killed at any moment of it: source, target or another. In the end there is
// one map with nothing under way, and nothing that was acknowledged is lost.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many kills instead of a few; NEARKEEP_SEED=<n> repeats their order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { checkAll, checkStopped, createKept, Load, untilWritable } from './load.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';
import { change, holders, isSettled, peerIds, shardMap, type ShardMap } from './shard-map.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? 6);
const nodes = [0, 1, 2];
const victims = ['source', 'target', 'other', 'all'] as const;
const killMsMax = 1_500;
const downMsMax = 1_000;
const shards = 2;

/** Begins a transfer of each shard that can have one; answers what one of them is. */
async function begin(cluster: ProcessCluster, name: string, ids: readonly number[], random: Random): Promise<{ readonly from: number; readonly to: number; readonly kind: string } | undefined> {
  let begun: { readonly from: number; readonly to: number; readonly kind: string } | undefined;
  for (let shard = 0; shard < shards; shard += 1) {
    const held = holders(await shardMap(cluster, 0, name), shard);
    const from = must(held[random.below(held.length)], 'a shard has a replica');
    const free = ids.filter((peer) => !held.includes(peer));
    const to = free[random.below(free.length)];
    if (to === undefined) {
      assert.equal((await change(cluster, 0, name, { drop_replica: { shard_id: shard, peer_id: from } })).status, 200);
      continue;
    }
    const kind = held.length === 1 && random.below(2) === 0 ? 'replicate_shard' : 'move_shard';
    const { status, error } = await change(cluster, random.below(nodes.length), name, { [kind]: { shard_id: shard, from_peer_id: from, to_peer_id: to } });
    assert.equal(status, 200, error);
    begun = { from, to, kind };
  }
  return begun;
}

/** The map that all nodes agree on when nothing is under way any more. */
async function finalMap(cluster: ProcessCluster, name: string): Promise<ShardMap> {
  await cluster.until(`one map of ${name} with nothing under way`, async () => {
    const maps = await Promise.all(nodes.map((at) => shardMap(cluster, at, name)));
    for (const map of maps) assert.ok(isSettled(map), JSON.stringify([[...map.shards].map(([id, states]) => [id, [...states]]), map.transfers]));
    const seen = new Set(maps.map((map) => JSON.stringify(Array.from({ length: shards }, (_, shard) => holders(map, shard)))));
    assert.equal(seen.size, 1, [...seen].join(' '));
  });
  return await shardMap(cluster, 0, name);
}

describe('nodes are killed while shards move', { skip: noNats ?? false }, () => {
  test('one map is left, and every acknowledged write', async (context) => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(nodes.length);
    await cluster.untilReady();
    const ids = await peerIds(cluster);
    const kept = await createKept(cluster.node(0).url, [[1, 1], [2, 1]]);
    const load = new Load(cluster, kept, random);
    const done: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      load.begin();
      await pause(random.below(300));
      const moved = must(kept[round % kept.length], 'a remainder');
      const { name } = moved;
      const begun = await begin(cluster, name, ids, random);
      if (begun?.kind === 'replicate_shard') moved.replicas += 1; // of which as many as before must have a write: the other may be behind
      const kind = must(victims[random.below(victims.length)], 'below the length');
      const peer = kind === 'source' ? begun?.from : kind === 'target' ? begun?.to : ids.find((id) => id !== begun?.from && id !== begun?.to);
      const killed = kind === 'all' || peer === undefined ? nodes : [ids.indexOf(peer)];
      const afterMs = random.below(killMsMax);
      await pause(afterMs);
      done.push(`${begun?.kind ?? 'none'} of ${name}: ${kind} after ${afterMs} ms`);
      await Promise.all(killed.map((at) => cluster.kill(at)));
      await pause(random.below(downMsMax));
      await cluster.startAll();
      await cluster.untilReady();
      await untilWritable(cluster, kept);
      await load.end();
      assert.deepEqual(load.problems, [], `seed ${seed}, after ${done.join(', ')}`);
      for (const each of kept) {
        const map = await finalMap(cluster, each.name);
        for (let shard = 0; shard < shards; shard += 1) assert.ok(holders(map, shard).length > 0, `seed ${seed}: shard ${shard} of ${each.name} has a replica`);
      }
      await checkAll(cluster, kept);
    }
    context.diagnostic(`seed ${seed}; ${done.join(', ')}; ${load.summary()}`);
    assert.ok(kept.every(({ history }) => history.acknowledged > 0));
    await checkStopped(cluster);
  });
});
