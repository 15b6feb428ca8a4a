// Rules of the cluster that chance alone puts to the test only now and then: here the moment that each is about is brought about.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger, type Logger } from '../../src/base/logger.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import { peersIn, type ClusterCollection, type ShardRecord } from '../../src/cluster/cluster-record.ts';
import { recordPrefix } from '../../src/cluster/cluster-records.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { NatsServer } from '../../src/cluster/nats-server.ts';
import { purgeStream, streamFacts } from '../../src/cluster/shard-stream.ts';
import { LateMetastore } from '../../src/cluster/testing/late-metastore.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { clusterSecret, startCluster, type ClusterFixture } from './cluster-fixture.ts';

const nodes = [0, 1, 2];
const vectors = { size: 2, distance: 'Dot' } as const;
const points = 20;
const changes = 8;
/** Of changes that must be told at once; by chance hardly two are: a node tells once a second what it holds. */
const toldMin = 6;
/** For a message from one server to another, on a busy machine. */
const messageMs = 200;

describe('rules of the cluster, forced', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  let beforeSet: (key: string, value: unknown) => Promise<void> = () => Promise.resolve();
  /** By any node. */
  const said: string[] = [];
  const cluster = (): ClusterFixture => must(fixture, 'it runs');
  const shardOf = (at: number, name: string): ShardRecord => must(cluster().node(at).catalog.record(name).shards[0], 'it has one');

  const serverOf = (at: number): NatsServer => {
    const { nats } = cluster().node(at);
    assert.ok(nats instanceof NatsServer);
    return nats;
  };
  const metaOf = async (at: number): Promise<{ readonly leader?: string; readonly cluster_size: number }> =>
    must((await serverOf(at).monitor('jsz'))?.['meta_cluster'], 'it answers') as { readonly leader?: string; readonly cluster_size: number };

  before(async () => {
    const logger: Logger = { ...silentLogger, info: (_facts: object, text: string) => void said.push(text) };
    fixture = await startCluster(nodes.length, { logger, viewOf: (_at, store) => LateMetastore.open(store, { beforeSet: (key, value) => beforeSet(key, value) }) });
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  test('a change is answered when every node has told what it holds since', async () => {
    let told = 0;
    for (let change = 0; change < changes; change += 1) {
      const name = `held-${change}`;
      await cluster().node(0).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: nodes.length });
      const of = { collectionUuid: cluster().node(0).catalog.get(name).uuid, shardId: 0, generation: 0 };
      await pause(messageMs);
      if (nodes.every((at) => at === 0 || cluster().node(0).membership.shardOf(100 + at, of) !== undefined)) told += 1;
      await cluster().node(0).catalog.delete(name);
    }
    assert.ok(told >= toldMin, `${told} of ${changes}`);
  });

  test('a restore that would copy this node\'s replica anew lets it be where the other one leaves meanwhile', async () => {
    const name = 'refilled';
    await cluster().node(0).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 2 });
    const { uuid } = cluster().node(0).catalog.get(name);
    for (let value = 0; value < points; value += 1) {
      const point = { id: must(parsePointId(value), 'a good id'), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: '{}' };
      await cluster().node(0).catalog.get(name).write({ kind: 'upsert', points: [point] }, { wait: true });
    }
    const [self = 0, other = 0] = peersIn(shardOf(0, name));
    await using client = await NatsClient.connect({ url: cluster().node(0).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
    const stream = { collectionUuid: uuid, shardId: 0, generation: 0 };
    for (const peer of [self, other]) await cluster().node(peer - 100).catalog.checkpoint(name, 0);
    await purgeStream(client, stream, (await streamFacts(client, stream)).lastSeq - 1); // what is lost now is in no log
    const snapshots = cluster().snapshots(self - 100);
    const { name: file } = await snapshots.create({ kind: 'shard', collection: name, shardId: 0 });
    const download = await snapshots.openDownload({ kind: 'shard', collection: name, shardId: 0 }, file);
    let dropped = 0;
    beforeSet = async (key, value) => {
      if (dropped > 0 || key !== recordPrefix + uuid || (value as ClusterCollection).restores === undefined) return;
      dropped += 1;
      await cluster().node(self - 100).changeShards(name, { kind: 'drop-replica', shardId: 0, peerId: other });
    };
    try {
      const isRestored = await snapshots.upload({ kind: 'shard', name, shardId: 0, isPartial: false }, download.read(0, download.sizeBytes - 1), { priority: 'replica' });
      assert.equal(isRestored, true);
    } finally {
      download.release();
      beforeSet = () => Promise.resolve();
    }
    assert.equal(dropped, 1);
    for (const at of nodes) {
      assert.deepEqual(shardOf(at, name).replicas, { [self]: 'Active' });
      assert.equal(await cluster().node(at).catalog.get(name).count({ exact: true }), points, `through node ${at}`);
    }
    await cluster().node(0).catalog.delete(name);
  });

  test('a node is removed while nobody leads the metadata of the servers: that is waited for', async () => {
    const { leader } = await metaOf(0);
    const gone = nodes.find((at) => at > 0 && `nk-${100 + at}` === leader) ?? 2;
    const other = 3 - gone;
    const [dying = 0, stopped = 0] = [gone, other].map((at) => must(serverOf(at).pid, 'it runs'));
    const ending = serverOf(gone).stop(); // so that it is not started again
    process.kill(dying, 'SIGKILL'); // before it is asked to end: it hands nothing over
    await ending;
    try {
      const removing = cluster().node(0).removePeer({ peerId: 100 + gone, force: false });
      removing.catch(() => undefined); // looked at below
      await Promise.race([removing, waitUntil('the node is out of the records', () => cluster().node(0).membership.node(100 + gone) === undefined, { pollMs: 5 })]);
      process.kill(stopped, 'SIGSTOP'); // one server alone leads nothing
      await Promise.race([removing, waitUntil('nobody took its server out', () => said.includes('the server of a removed node could not be taken out yet; it is tried again'))]);
      process.kill(stopped, 'SIGCONT');
      await removing;
    } finally {
      process.kill(stopped, 'SIGCONT');
    }
    for (const at of [0, other]) {
      await waitUntil(`node ${at} knows of one other node and one other server`, async () => {
        assert.deepEqual(cluster().node(at).membership.nodes().map(({ peerId }) => peerId), [100, 100 + other]);
        assert.equal((await metaOf(at)).cluster_size, 2);
      });
    }
  });
});
