// Nodes that leave a cluster for good: one that is dead and is replaced, one that is taken out while it runs.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { systemClock } from '../../src/base/clock.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import type { ClusterNode } from '../../src/cluster/cluster-node.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { removedPrefix } from '../../src/cluster/membership.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import type { NatsServer } from '../../src/cluster/nats-server.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call } from '../support/rest-client.ts';
import { clusterSecret, startCluster } from './cluster-fixture.ts';
import { json } from './json-client.ts';
import { checkAll, createKept, Load } from './load.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';
import { change, holders, peerIds, shardMap, untilSettled } from './shard-map.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const skip = noNats ?? false;
const loadMs = 1_500;

async function peersOf(cluster: ProcessCluster, at: number): Promise<readonly number[]> {
  const { peers } = (await json(cluster.node(at).url, 'GET', '/cluster')) as { readonly peers: Readonly<Record<string, unknown>> };
  return Object.keys(peers).map(Number);
}

/** As the monitor of one of its servers tells of it. */
interface MetaGroup {
  readonly leader?: string;
  readonly cluster_size: number;
}

async function meta(cluster: ProcessCluster, at: number): Promise<MetaGroup> {
  const response = await fetch(`http://127.0.0.1:${cluster.place(at).ports.natsMonitor}/jsz`);
  return ((await response.json()) as { readonly meta_cluster: MetaGroup }).meta_cluster;
}

describe('nodes are removed', { skip }, () => {
  test('a node that died is replaced: its shards are replicated from live ones, it is removed, everything is there', async () => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(3);
    await cluster.untilReady();
    const ids = await peerIds(cluster);
    const kept = await createKept(cluster.node(0).url, [[2, 1], [1, 1]]);
    const [copied = '', single = ''] = kept.map(({ name }) => name);
    const [deadPeer = 0] = holders(await shardMap(cluster, 0, single), 0);
    const dead = ids.indexOf(deadPeer);
    const [one = 0, other = 0] = [0, 1, 2].filter((at) => at !== dead);
    const two: ProcessCluster = { ...cluster, count: 2, node: (at) => cluster.node(at === 0 ? one : other) };
    const load = new Load(cluster, kept, random);
    load.begin();
    await pause(loadMs);
    await cluster.kill(dead);
    await load.end();
    await cluster.until('what it held is dead', async () => {
      const { shards } = await shardMap(two, 0, copied);
      for (const states of shards.values()) assert.ok(!states.has(deadPeer) || states.get(deadPeer) === 'Dead');
    });
    const refused = await call(two.node(0).url, 'DELETE', `/cluster/peer/${deadPeer}`);
    assert.equal(refused.status, 400);
    assert.match(refused.error, new RegExp(`^Bad request: Cannot remove peer ${deadPeer} as there are shards on it; it has the only active replica of shard 0 of ${single}`));

    load.begin();
    const before = await shardMap(two, 0, copied);
    for (const shard of before.shards.keys()) {
      const held = holders(before, shard);
      if (!held.includes(deadPeer)) continue;
      const from = must(held.find((peer) => peer !== deadPeer), 'two replicas');
      const to = must(ids.find((peer) => peer !== deadPeer && peer !== from), 'another node lives');
      const { status, error } = await change(two, 0, copied, { replicate_shard: { shard_id: shard, from_peer_id: from, to_peer_id: to } });
      assert.equal(status, 200, error);
    }
    await cluster.until('every shard has two active replicas', async () => {
      const { shards } = await shardMap(two, 1, copied);
      for (const states of shards.values()) assert.equal([...states.values()].filter((state) => state === 'Active').length, 2);
    });
    assert.deepEqual((await call(two.node(0).url, 'DELETE', `/cluster/peer/${deadPeer}?force=true`)).result, true);
    await load.end();
    assert.deepEqual(load.problems, [], `seed ${seed}`);
    for (const at of [0, 1]) {
      assert.deepEqual(await peersOf(two, at), ids.filter((peer) => peer !== deadPeer).sort((a, b) => a - b));
      assert.equal((await meta(cluster, one)).cluster_size, 2, 'its server has no vote any more');
    }
    await untilSettled(two, [0, 1], copied, 4);
    await untilSettled(two, [0, 1], single, 2); // what only the dead node had is built anew from the log
    await checkAll(two, kept);

    load.begin();
    await pause(loadMs);
    await load.end();
    await checkAll(two, kept);
    assert.equal((await call(two.node(1).url, 'PUT', '/collections/later', { body: { vectors: { size: 2, distance: 'Dot' }, replication_factor: 2 } })).status, 200);

    await assert.rejects(cluster.start(dead), new RegExp(`peer ${deadPeer} was removed from this cluster; start it with an empty data directory to join as a new one`));
    assert.equal((await meta(cluster, one)).cluster_size, 2, 'nor has it one again');
    await Promise.all([one, other].map((at) => cluster.kill(at)));
    await Promise.all([one, other].map((at) => cluster.start(at)));
    await cluster.until('both serve again', async () => {
      for (const at of [0, 1]) assert.equal((await call(two.node(at).url, 'GET', '/readyz')).status, 200);
    });
    await checkAll(two, kept);
  });

  test('a node that runs is removed when its shards have moved: it stops by itself and is not let in again', async () => {
    await using cluster = await startProcesses(3);
    await cluster.untilReady();
    const ids = await peerIds(cluster);
    const [first = 0, second = 0, third = 0] = ids;
    const { url } = cluster.node(0);
    assert.equal((await call(url, 'PUT', '/collections/c', { body: { vectors: { size: 2, distance: 'Dot' }, shard_number: 3 } })).status, 200);
    assert.equal((await call(url, 'PUT', '/collections/c/points?wait=true', { body: { points: Array.from({ length: 90 }, (_, at) => ({ id: at, vector: [at, 1] })) } })).status, 200);
    const map = await shardMap(cluster, 0, 'c');
    const held = must([...map.shards.keys()].find((id) => holders(map, id).includes(third)), 'one for each node');

    const refusals: readonly (readonly [path: string, status: number, error: string])[] = [
      ['/cluster/peer/77', 400, 'Bad request: Peer 77 does not exist'],
      ['/cluster/peer/x', 400, 'Deserialize error in path parameters: peer_id: invalid digit found in string'],
      [`/cluster/peer/${first}`, 400, `Bad request: Peer ${first} is the node that was asked: a node is removed by another one`],
      [`/cluster/peer/${third}`, 400, `Bad request: Cannot remove peer ${third} as there are shards on it; it has the only active replica of shard ${held} of c`],
      [`/cluster/peer/${third}?force=true`, 400, `Bad request: Cannot remove peer ${third}; it has the only active replica of shard ${held} of c: the node answers, so move them first`],
    ];
    for (const [path, status, error] of refusals) {
      const answer = await call(url, 'DELETE', path);
      assert.deepEqual([answer.status, answer.error], [status, error]);
    }
    assert.equal((await call(url, 'PUT', '/collections/after', { body: { vectors: { size: 2, distance: 'Dot' }, shard_number: 3 } })).status, 200);
    const after = await shardMap(cluster, 0, 'after');
    assert.ok([...after.shards.keys()].some((id) => holders(after, id).includes(third)), 'after a refusal it gets shards as before');
    assert.equal((await call(url, 'DELETE', '/collections/after')).status, 200);

    assert.equal((await change(cluster, 1, 'c', { move_shard: { shard_id: held, from_peer_id: third, to_peer_id: second } })).status, 200);
    await untilSettled(cluster, [0, 1, 2], 'c', 3);
    assert.deepEqual((await call(url, 'DELETE', `/cluster/peer/${third}`)).result, true);
    await cluster.untilSaid(2, /this node was removed from its cluster; it stops/);
    await cluster.until('its process has ended', () => cluster.output(2).includes('"msg":"stopped"'));
    await cluster.kill(2);
    await assert.rejects(cluster.start(2), new RegExp(`peer ${third} was removed from this cluster`));
    for (const at of [0, 1]) {
      assert.deepEqual(await peersOf(cluster, at), [first, second].sort((a, b) => a - b));
      assert.equal(((await call(cluster.node(at).url, 'POST', '/collections/c/points/count', { body: { exact: true } })).result as { readonly count: number }).count, 90);
    }
    const last = await call(url, 'DELETE', `/cluster/peer/${second}?force=true`);
    assert.deepEqual([last.status, last.error], [400, `Bad request: Cannot remove peer ${second}: a cluster has 2 nodes at least`]);
    await cluster.untilSaid(0, /the cluster has two nodes, which both keep every log: while either is away nothing can be written/);
  });

  test('a removal whose node is killed in the middle is finished by another', async () => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(3);
    await cluster.untilReady();
    const [, , third = 0] = await peerIds(cluster);
    await cluster.kill(2);
    const path = `/cluster/peer/${third}?force=true`;
    const asked = fetch(cluster.node(0).url + path, { method: 'DELETE' }).catch(() => undefined); // it may be killed before it answers
    await pause(random.below(200));
    await cluster.kill(0);
    await asked;
    await cluster.start(0);
    await cluster.until(`seed ${seed}: two nodes and two servers are left`, async () => {
      if ((await peersOf(cluster, 1)).length === 3) await json(cluster.node(1).url, 'DELETE', path); // it was killed before it began
      for (const at of [0, 1]) {
        assert.equal((await peersOf(cluster, at)).length, 2);
        assert.equal((await meta(cluster, at)).cluster_size, 2);
      }
    });
  });

  test('a removal that was only decided is finished, where the server that leads the metadata has never met the one that goes', async () => {
    await using cluster = await startCluster(3);
    const lowest = cluster.node(0);
    const { peerId, serverName, uri } = must(lowest.membership.node(102), 'it has joined');
    await cluster.stop(2);
    await cluster.stop(1);
    const leader = await cluster.start(1);
    const { self } = leader.membership;
    await using system = await NatsClient.connect({ url: leader.nats.clientUrl, user: clusterKeys(clusterSecret).system, name: 'test', clock: systemClock });
    const metaOf = async (node: ClusterNode): Promise<MetaGroup> => (await (node.nats as NatsServer).monitor('jsz'))?.['meta_cluster'] as MetaGroup;
    await waitUntil('it leads', async () => {
      if ((await metaOf(leader)).leader === self.serverName) return true;
      await system.connection.request('$JS.API.META.LEADER.STEPDOWN', '{}');
      return false;
    }, { pollMs: 500 });
    await lowest.metastore.create(`${removedPrefix}${peerId}`, { peerId, serverName, uri });
    await waitUntil('two servers are left', async () => {
      for (const node of [lowest, leader]) assert.equal((await metaOf(node)).cluster_size, 2);
      assert.equal(lowest.membership.nodes().length, 2);
    });
  });
});
