// A snapshot made on each node, uploaded to each node of the same or another cluster: whatever the order, the number of replicas and
// how much happens at once, the collection is complete, healthy and the same everywhere.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { peersIn } from '../../src/cluster/cluster-record.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { startCluster, type ClusterFixture } from './cluster-fixture.ts';

const vectors = { size: 2, distance: 'Dot' } as const;
const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const draft = (value: number): PointDraft => ({ id: id(value), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"n":${value}}` });
const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
const points = 120;

describe('snapshots of three nodes', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  const cluster = (): ClusterFixture => must(fixture, 'it runs');

  before(async () => {
    fixture = await startCluster(3);
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  const fill = async (name: string, replicationFactor: number): Promise<void> => {
    await cluster().node(0).catalog.create(name, { vectors, shardNumber: 3, replicationFactor });
    const collection = cluster().node(1).catalog.get(name);
    await collection.write({ kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
    await collection.write({ kind: 'upsert', points: Array.from({ length: points }, (_, at) => draft(at)) }, { wait: true });
    await collection.write({ kind: 'delete-points', selector: { kind: 'ids', ids: [id(3), id(50)] } }, { wait: true });
  };

  const archive = async (node: number, name: string): Promise<Buffer> => {
    const snapshots = cluster().snapshots(node);
    const made = await snapshots.create(name);
    const download = await snapshots.openDownload(name, made.name);
    const parts: Buffer[] = [];
    for await (const part of download.read(0, download.sizeBytes - 1)) parts.push(Buffer.from(part));
    download.release();
    return Buffer.concat(parts);
  };

  async function* bodyOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.byteLength; at += 60_000) {
      await Promise.resolve();
      yield bytes.subarray(at, at + 60_000);
    }
  }

  const upload = (node: number, name: string, bytes: Buffer): Promise<boolean> => cluster().snapshots(node).upload(name, bodyOf(bytes), { priority: 'snapshot' });

  const contents = async (node: number, name: string): Promise<unknown> => {
    const collection = cluster().node(node).catalog.get(name);
    const { points: records } = await collection.scroll({ limit: 1000, selectors: all });
    return records.map(({ id: pointId, payload, vectors: found }) => [pointId, payload, [...(found?.get('') ?? [])]]);
  };

  const checkHealthy = async (name: string, source: string, replicationFactor: number): Promise<void> => {
    const wanted = await contents(0, source);
    const isHealthy = (): boolean => cluster().node(0).catalog.record(name).shards.every((shard) => shard.awaited === undefined && peersIn(shard, 'Active').length === replicationFactor && peersIn(shard).length === replicationFactor);
    await waitUntil(`all replicas of ${name} are active`, isHealthy, { tell: () => JSON.stringify(cluster().node(0).catalog.record(name).shards) });
    for (const node of [0, 1, 2]) {
      assert.deepEqual(await contents(node, name), wanted);
      const filter = { must: [{ kind: 'has-id', ids: [id(1), id(3), id(119)] }] } as const;
      assert.equal(await cluster().node(node).catalog.get(name).count({ exact: true, filter }), 2);
    }
    for (const shard of cluster().node(0).catalog.record(name).shards) {
      const digests = new Set(peersIn(shard).map((peer) => {
        const local = cluster().node(peer - 100).catalog.get(name).set.slots[shard.id]?.shard;
        return `${local?.position().seq} ${local?.position().chain} ${local?.info().points} ${[...(local?.info().payloadSchema.keys() ?? [])].join(',')}`;
      }));
      assert.equal(digests.size, 1, [...digests].join(' | '));
    }
  };

  for (const replicationFactor of [1, 2, 3]) {
    test(`one after another and all at once, with ${replicationFactor} replicas`, async () => {
      const source = `source-${replicationFactor}`;
      await fill(source, replicationFactor);
      const files = await Promise.all([0, 1, 2].map((node) => archive(node, source)));
      const bytes = (at: number): Buffer => must(files[at], 'three files');
      for (const order of [[0, 1, 2], [2, 0, 1]]) {
        const name = `${source}-${order.join('')}`;
        for (const node of order) assert.equal(await upload(node, name, bytes(node)), true);
        await checkHealthy(name, source, replicationFactor);
      }
      const name = `${source}-at-once`;
      assert.deepEqual(await Promise.all([0, 1, 2].map((node) => upload(node, name, bytes((node + 1) % 3)))), [true, true, true]);
      await checkHealthy(name, source, replicationFactor);
    });
  }

  test('all files to one node; a shard without a file stays empty and is named', async () => {
    await fill('one', 1);
    const files = await Promise.all([0, 1, 2].map((node) => archive(node, 'one')));
    await upload(1, 'gathered', must(files[0], 'three'));
    await upload(1, 'gathered', must(files[1], 'three'));
    const awaited = cluster().node(2).catalog.record('gathered').shards.filter((shard) => shard.awaited === true);
    assert.equal(awaited.length, 1);
    await upload(1, 'gathered', must(files[2], 'three'));
    assert.deepEqual(cluster().node(0).catalog.record('gathered').shards.map((shard) => peersIn(shard)), [[101], [101], [101]]);
    assert.deepEqual(await contents(2, 'gathered'), await contents(0, 'one'));
  });

  test('a restore over a collection that is written to: afterwards there is the file and what was written after it', async () => {
    await fill('live', 1);
    const files = await Promise.all([0, 1, 2].map((node) => archive(node, 'live')));
    const collection = (): ReturnType<ClusterFixture['node']>['catalog'] => cluster().node(2).catalog;
    let isOver = false;
    const acknowledged: number[] = [];
    const writing = (async () => {
      for (let at = 1000; !isOver; at += 1) {
        await collection().get('live').write({ kind: 'upsert', points: [draft(at)] }, { wait: true }).then(() => acknowledged.push(at), () => undefined);
      }
    })();
    await Promise.all([0, 1, 2].map((node) => upload(node, 'live', must(files[node], 'three'))));
    const restoredAt = must(acknowledged.at(-1) ?? 1000, 'a number');
    await waitUntil('a write after the restore is acknowledged', () => acknowledged.length > 0 && acknowledged.at(-1) !== restoredAt);
    isOver = true;
    await writing;
    const after = new Set((await contents(1, 'live') as [PointId][]).map(([pointId]) => Number(pointId)));
    for (let at = 0; at < points; at += 1) assert.equal(after.has(at), at !== 3 && at !== 50, `point ${at} of the file`);
    for (const at of acknowledged.filter((each) => each > restoredAt + 1)) assert.ok(after.has(at), `point ${at}, written after the restore`);
  });
});
