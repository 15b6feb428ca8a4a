// What a process leaves that dies in the middle of a restore, a create or a delete: it goes by itself, and only that.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { ClusterCollection } from '../../src/cluster/cluster-record.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { createStream, shardStreams, type StreamIdentity } from '../../src/cluster/shard-stream.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { clusterSecret, startCluster, type ClusterFixture } from './cluster-fixture.ts';

describe('what a dead process left', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  let connected: NatsClient | undefined;
  const cluster = (): ClusterFixture => must(fixture, 'it runs');
  const client = (): NatsClient => must(connected, 'it is connected');

  before(async () => {
    fixture = await startCluster(3);
    connected = await NatsClient.connect({ url: cluster().node(1).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
  });
  after(async () => {
    await connected?.close();
    await fixture?.[Symbol.asyncDispose]();
  });

  const create = async (name: string): Promise<string> => {
    await cluster().node(1).catalog.create(name, { vectors: { size: 2, distance: 'Dot' }, shardNumber: 1, replicationFactor: 3 });
    return cluster().node(1).catalog.get(name).uuid;
  };
  const makeStream = async (collectionUuid: string, generation: number): Promise<StreamIdentity> => {
    const of = { collectionUuid, shardId: 0, generation };
    await createStream(client(), of, { firstSeq: 1, replicas: 3, deadlineMs: systemClock.monotonic() + 30_000 });
    return of;
  };
  const generationsOf = async (uuid: string): Promise<readonly number[]> => (await shardStreams(client(), uuid)).map(({ generation }) => generation).sort((a, b) => a - b);
  const recordOf = async (uuid: string): Promise<ClusterCollection> => must(await cluster().node(1).metastore.get(`c.${uuid}`), 'it is there').value as ClusterCollection;
  /** As a process of that node would have it that died in its turn. */
  const leaveTurn = async (uuid: string, peer: number): Promise<void> => {
    const { metastore } = cluster().node(1);
    const { value, revision } = must(await metastore.get(`c.${uuid}`), 'it is there');
    assert.ok((await metastore.set(`c.${uuid}`, { ...(value as ClusterCollection), turn: { peer, id: randomUUID() } }, revision)) !== undefined);
  };
  const untilTurnIsOver = (uuid: string): Promise<void> => waitUntil('the turn is over', async () => (await recordOf(uuid)).turn === undefined);

  test('the log of a shard that is gone is forgotten', async () => {
    const uuid = await create('ended');
    const { access } = cluster().node(1).catalog;
    assert.ok(access.logOf(uuid, 0, 0) !== undefined);
    await cluster().node(1).catalog.delete('ended');
    await waitUntil('its log is closed', () => access.logOf(uuid, 0, 0) === undefined);
  });

  test('a start removes folders that its records do not name, and the streams of collections that are gone', async () => {
    const uuid = await create('kept');
    const gone = await makeStream(randomUUID(), 0);
    await makeStream(uuid, 7); // nobody has the turn: it may be of a restore that nobody here knows of
    await cluster().stop(0);
    const folder = path.join(cluster().data(0), 'collections', uuid, 'shards');
    await mkdir(path.join(folder, '0.g7'));
    await writeFile(path.join(folder, '0.g7', 'manifest'), 'left');
    await cluster().start(0);
    assert.deepEqual([existsSync(path.join(folder, '0.g7')), existsSync(path.join(folder, '0.g0'))], [false, true]);
    await waitUntil('the stream without a collection is removed', async () => (await generationsOf(gone.collectionUuid)).length === 0);
    assert.deepEqual(await generationsOf(uuid), [0, 7]);
  });

  test('a turn of the process before ends by itself, with the streams that it left, and its generation is not used again', async () => {
    const uuid = await create('restored');
    await makeStream(uuid, 1);
    await leaveTurn(uuid, 101);
    await untilTurnIsOver(uuid);
    assert.deepEqual(await generationsOf(uuid), [0]);
    assert.equal((await recordOf(uuid)).lastGeneration, 1);
    const snapshots = cluster().snapshots(2);
    const made = await snapshots.create('restored');
    const download = await snapshots.openDownload('restored', made.name);
    assert.equal(await cluster().snapshots(0).upload('restored', download.read(0, download.sizeBytes - 1), { priority: 'snapshot' }), true);
    download.release();
    assert.deepEqual((await recordOf(uuid)).shards.map(({ generation }) => generation), [2]);
    await waitUntil('only the new generation has a stream', async () => (await generationsOf(uuid)).join() === '2');
    assert.equal((await recordOf(uuid)).turn, undefined);
  });

  test('a restore whose turn is taken away changes nothing, and leaves nothing', async () => {
    const shards = 6; // each takes a while to make, and the turn is taken away in it
    await cluster().node(0).catalog.create('robbed', { vectors: { size: 2, distance: 'Dot' }, shardNumber: shards, replicationFactor: 3 });
    const { uuid } = cluster().node(1).catalog.get('robbed');
    const snapshots = cluster().snapshots(2);
    const made = await snapshots.create('robbed');
    const upload = async (): Promise<boolean> => {
      const download = await snapshots.openDownload('robbed', made.name);
      return await cluster().snapshots(0).upload('robbed', download.read(0, download.sizeBytes - 1), { priority: 'snapshot' }).finally(() => download.release());
    };
    const { metastore } = cluster().node(1);
    const end = metastore.watch(`c.${uuid}`, (key, found) => {
      const record = found?.value as ClusterCollection | undefined;
      if (found !== undefined && record?.turn?.peer === 100) void metastore.set(key, { ...record, turn: { peer: 101, id: randomUUID() } }, found.revision);
    });
    await assert.rejects(upload(), { message: /another node has taken its turn/ });
    end();
    await untilTurnIsOver(uuid);
    assert.deepEqual((await recordOf(uuid)).shards.map(({ generation }) => generation), Array.from({ length: shards }, () => 0));
    await waitUntil('no stream of the restore is left', async () => (await generationsOf(uuid)).join() === Array.from({ length: shards }, () => 0).join());
    assert.deepEqual(await readdir(path.join(cluster().data(0), 'collections', uuid, 'shards')), Array.from({ length: shards }, (_, id) => `${id}.g0`));
    assert.equal(await upload(), true);
  });

  test('a turn of a node that is gone is ended by another', async () => {
    const uuid = await create('orphaned');
    await cluster().stop(2);
    await makeStream(uuid, 1);
    await leaveTurn(uuid, 102);
    await untilTurnIsOver(uuid);
    assert.deepEqual(await generationsOf(uuid), [0]);
    await cluster().start(2);
  });
});
