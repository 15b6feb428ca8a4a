import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { RequestError } from '../../src/base/errors.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { PointDraft } from '../../src/command/write.ts';
import type { Collection } from '../../src/collection/collection.ts';
import { startCluster, type ClusterFixture } from './cluster-fixture.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';

const vectors = { size: 2, distance: 'Dot' } as const;
const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const draft = (value: number, note = 'first'): PointDraft => ({ id: id(value), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"n":${value},"note":"${note}"}` });
const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;

describe('a cluster of three nodes', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  const cluster = (): ClusterFixture => must(fixture, 'it runs');
  const seen = (name: string): readonly Collection[] => [0, 1, 2].map((at) => cluster().node(at).catalog.get(name));

  before(async () => {
    fixture = await startCluster(3);
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  for (const replicationFactor of [1, 2, 3]) {
    test(`what is written through any node is read through every node, with ${replicationFactor} replicas`, async () => {
      const name = `written-${replicationFactor}`;
      await cluster().node(replicationFactor - 1).catalog.create(name, { vectors, shardNumber: 3, replicationFactor, writeConsistencyFactor: replicationFactor });
      const collections = seen(name);
      await Promise.all(collections.map((collection, node) => collection.write({ kind: 'upsert', points: Array.from({ length: 50 }, (_, at) => draft(node * 50 + at)) }, { wait: true })));
      await must(collections[1], 'three').write({ kind: 'delete-points', selector: { kind: 'filter', filter: { must: [{ kind: 'has-id', ids: [id(0), id(149)] }] } } }, { wait: true });
      await must(collections[2], 'three').write({ kind: 'set-payload', selector: { kind: 'ids', ids: [id(7)] }, payload: '{"note":"second"}' }, { wait: true });
      for (const collection of collections) {
        assert.equal(await collection.count({ exact: true }), 148);
        const [point] = await collection.retrieve({ ids: [id(7)], selectors: all });
        assert.deepEqual([point?.payload, point?.vectors?.get('')], ['{"n":7,"note":"second"}', Float32Array.of(7, 1)]);
        const page = await collection.scroll({ limit: 3, offset: id(60), selectors: all });
        assert.deepEqual(page.points.map((record) => record.id), [60, 61, 62]);
        const [hits = []] = await collection.search([{ target: { kind: 'vector', vector: Float32Array.of(1, 0) }, using: '', limit: 4, offset: 0, selectors: all }]);
        assert.deepEqual(hits.map((hit) => hit.id), [148, 147, 146, 145]);
      }
      const holders = cluster().node(0).catalog.record(name).shards.map(({ replicas }) => Object.keys(replicas).length);
      assert.deepEqual(holders, [replicationFactor, replicationFactor, replicationFactor]);
    });
  }

  test('of many creates of one name on three nodes one wins, the others are told that it exists', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 9 }, (_, at) => cluster().node(at % 3).catalog.create('raced', { vectors, shardNumber: 2 })));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof RequestError && outcome.reason.code === 'already-exists', String(outcome.reason));
    }
    assert.equal(new Set(seen('raced').map(({ uuid }) => uuid)).size, 1);
    assert.equal(await cluster().node(2).catalog.delete('raced'), true);
    for (const at of [0, 1, 2]) assert.equal(cluster().node(at).catalog.resolve('raced'), undefined);
    await cluster().node(1).catalog.create('raced', { vectors });
    assert.equal(seen('raced').length, 3);
  });

  test('aliases and configuration are the same on every node as soon as the change is answered', async () => {
    await cluster().node(0).catalog.create('named', { vectors });
    await cluster().node(1).catalog.changeAliases([{ kind: 'create', alias: 'nick', collection: 'named' }]);
    await cluster().node(2).catalog.update('named', { metadata: { owner: 'me' } });
    for (const at of [0, 1, 2]) {
      assert.equal(cluster().node(at).catalog.resolve('nick'), 'named');
      assert.deepEqual(cluster().node(at).catalog.config('nick')?.metadata, { owner: 'me' });
    }
    await assert.rejects(cluster().node(0).catalog.create('nick', { vectors }), { code: 'bad-input' });
  });

  test('a node that was stopped comes back with all that was written meanwhile', async () => {
    await cluster().node(0).catalog.create('away', { vectors, shardNumber: 1, replicationFactor: 3 });
    const write = async (from: number): Promise<void> => {
      await cluster().node(0).catalog.get('away').write({ kind: 'upsert', points: Array.from({ length: 20 }, (_, at) => draft(from + at)) }, { wait: true });
    };
    await write(0);
    await cluster().stop(2);
    await write(100);
    await waitUntil('what was written is read through another node', async () => (await cluster().node(1).catalog.get('away').count({ exact: true })) === 40);
    const node = await cluster().start(2);
    const local = must(node.catalog.get('away').set.slots[0]?.shard, 'it has a replica');
    await waitUntil('the node that was away has the last write', () => local.applied >= 2);
    await waitUntil('the node that was away has all points', async () => (await local.count({ exact: true })) === 40);
    const positions = new Set([0, 1, 2].map((at) => must(cluster().node(at).catalog.get('away').set.slots[0]?.shard, 'each has one').position().chain));
    assert.equal(positions.size, 1);
  });
});
