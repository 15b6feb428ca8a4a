// How many copies of shards a node takes in and gives out at a time: as many as its settings say, and all are made in the end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import { purgeStream } from '../../src/cluster/shard-stream.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { startCluster } from './cluster-fixture.ts';

const nodes = [0, 1, 2];
const limits = [{ incoming: 2, outgoing: 1 }, { incoming: 1, outgoing: 2 }, { incoming: 2, outgoing: 2 }] as const;
const writes = 10;
const names = ['next', 'after'];
/** So many copies are under way at once at most, however they are divided: node 1 takes in one, the others two, and node 0 gives out one. */
const looks = 4;
const lookMs = 500;

test('a node takes in and gives out no more copies of shards than its settings say', { skip: noNats ?? false }, async () => {
  const given = new Map(nodes.map((at) => [at, 0]));
  const most = { in: new Map<number, number>(), out: new Map<number, number>() };
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const note = (seen: Map<number, number>, at: number, count: number): void => void seen.set(at, Math.max(seen.get(at) ?? 0, count));
  await using cluster = await startCluster(nodes.length, {
    transfersMaxOf: (at) => must(limits[at], 'one for each node'),
    beforeArchive: async (at) => {
      given.set(at, (given.get(at) ?? 0) + 1);
      note(most.out, at, given.get(at) ?? 0);
      await opened;
      given.set(at, (given.get(at) ?? 0) - 1);
    },
  });
  const { catalog } = cluster.node(0);
  for (const [step, name] of names.entries()) {
    await catalog.create(name, { vectors: { size: 2, distance: 'Dot' }, shardNumber: nodes.length });
    for (let id = 1; id <= writes * nodes.length; id += 1) {
      await catalog.get(name).write({ kind: 'upsert', points: [{ id: must(parsePointId(id), 'a good id'), vectors: new Map([['', Float32Array.of(id, 1)]]), payload: '{}' }] }, { wait: true });
    }
    for (const { id: shardId, generation, replicas } of catalog.record(name).shards) {
      await purgeStream(catalog.access.client, { collectionUuid: catalog.get(name).uuid, shardId, generation }, 3); // what is gone must be copied
      const from = Number(Object.keys(replicas)[0]);
      await catalog.changeShards(name, { kind: 'replicate-shard', shardId, from, to: 100 + ((from - 100 + step + 1) % nodes.length), method: 'snapshot' });
    }
  }
  const takeIn = (): void => {
    for (const at of nodes) note(most.in, at, cluster.node(at).catalog.transfers.length);
  };
  await waitUntil('node 0 takes in as many as it may, and node 1 gives out as many', () => {
    takeIn();
    assert.deepEqual([most.in.get(0), most.out.get(1)], [2, 2]);
  });
  let left = looks;
  await waitUntil('others had the time to begin', () => {
    takeIn();
    left -= 1;
    return left <= 0;
  }, { pollMs: lookMs });
  for (const at of nodes) {
    const { incoming, outgoing } = must(limits[at], 'one for each node');
    assert.ok((most.in.get(at) ?? 0) <= incoming, `node ${at} takes in ${most.in.get(at)}`);
    assert.ok((most.out.get(at) ?? 0) <= outgoing, `node ${at} gives out ${most.out.get(at)}`);
  }
  open();
  for (const name of names) {
    await waitUntil('every shard has two active replicas', () => {
      for (const { replicas } of cluster.node(0).catalog.record(name).shards) assert.deepEqual(Object.values(replicas), ['Active', 'Active']);
    });
    for (const at of nodes) assert.equal(await cluster.node(at).catalog.get(name).count({ exact: true }), writes * nodes.length);
  }
});
