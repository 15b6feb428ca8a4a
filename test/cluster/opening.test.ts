// Shards that a node could not open: for a reason that passes, which requests wait for, and for one that does not, which is told at once.
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { RequestError } from '../../src/base/errors.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import { parseShardKey } from '../../src/command/shard-key.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { peersIn, type ClusterCollection } from '../../src/cluster/cluster-record.ts';
import { recordPrefix } from '../../src/cluster/cluster-records.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { NatsServer } from '../../src/cluster/nats-server.ts';
import { streamName } from '../../src/cluster/shard-stream.ts';
import { LateMetastore } from '../../src/cluster/testing/late-metastore.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { clusterSecret, startCluster, type ClusterFixture } from './cluster-fixture.ts';

const vectors = { size: 2, distance: 'Dot' } as const;
const draft = (value: number): PointDraft => ({ id: must(parsePointId(value), 'a good id'), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: '{}' });
const nodes = [0, 1, 2];
const points = 20;
/** How long requests are seen to wait. */
const seenMs = 500;
/** Far below the time for which a shard that may come is looked for. */
const atOnceMs = 5_000;

describe('a shard that a node could not open', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  let afterSet: (key: string, value: unknown) => Promise<void> = () => Promise.resolve();
  const cluster = (): ClusterFixture => must(fixture, 'it runs');

  before(async () => {
    fixture = await startCluster(nodes.length, { viewOf: (at, store) => LateMetastore.open(store, at === 0 ? { afterSet: (key, value) => afterSet(key, value) } : {}) });
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  const serverOf = (at: number): number => {
    const { nats } = cluster().node(at);
    assert.ok(nats instanceof NatsServer);
    return must(nats.pid, 'it runs');
  };

  test('whose stream had no leader, since two of three NATS servers stood still: reads and writes wait for it', async () => {
    const { catalog } = cluster().node(0);
    await catalog.create('keyed', { vectors, shardingMethod: 'custom', shardNumber: 1 });
    const collection = catalog.get('keyed');
    const key = must(parseShardKey('k'), 'a good key');
    const others = [1, 2].map(serverOf);
    let isStopped = false;
    const goOn = (): void => {
      if (isStopped) for (const pid of others) process.kill(pid, 'SIGCONT');
      isStopped = false;
    };
    await using client = await NatsClient.connect({ url: cluster().node(0).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
    const stream = streamName({ collectionUuid: collection.uuid, shardId: 0, generation: 0 });
    afterSet = async (of, value) => {
      if (of !== recordPrefix + collection.uuid || (value as ClusterCollection).shards.length === 0) return;
      afterSet = () => Promise.resolve();
      await waitUntil('a server leads that will stop: this node\'s own would answer for a while', async () => {
        if ((await client.leaderInfo(stream)).cluster?.leader !== 'nk-100') return true;
        await client.connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, JSON.stringify({ placement: { preferred: 'nk-101' } }));
        return false;
      });
      isStopped = true;
      for (const pid of others) process.kill(pid, 'SIGSTOP');
    };
    try {
      const creating = catalog.shardKeys.create(collection, { key, placement: [100] });
      await Promise.race([creating, waitUntil('the node knows of its shard', () => catalog.record('keyed').shards.length === 1)]);
      assert.equal(isStopped, true);
      assert.equal(catalog.get('keyed').set.slots[0]?.shard, undefined, 'it could not open it');
      const answers: string[] = [];
      const requests = [
        collection.write({ kind: 'upsert', points: [draft(1)] }, { wait: true, shardKey: { kind: 'keys', keys: [key] } }),
        collection.count({ exact: true }),
      ];
      for (const request of requests) request.then((answer) => answers.push(JSON.stringify(answer)), (error: unknown) => answers.push(String(error)));
      await pause(seenMs);
      assert.deepEqual(answers, [], 'they wait');
      goOn();
      await Promise.all(requests);
      await creating;
    } finally {
      goOn();
    }
    for (const at of nodes) assert.equal(await cluster().node(at).catalog.get('keyed').count({ exact: true }), 1, `through node ${at}`);
  });

  test('whose files are damaged, and which nobody else has: every node refuses at once', async () => {
    await cluster().node(0).catalog.create('damaged', { vectors, shardNumber: 1 });
    const { uuid } = cluster().node(0).catalog.get('damaged');
    for (let value = 0; value < points; value += 1) await cluster().node(0).catalog.get('damaged').write({ kind: 'upsert', points: [draft(value)] }, { wait: true });
    const [peer = 0] = peersIn(must(cluster().node(0).catalog.record('damaged').shards[0], 'it has one'));
    const victim = peer - 100;
    await cluster().node(victim).catalog.checkpoint('damaged', 0);
    await cluster().stop(victim);
    const folder = path.join(cluster().data(victim), 'collections', uuid, 'shards', '0.g0', 'files');
    for (const { name, parentPath } of (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())) {
      const bytes = await readFile(path.join(parentPath, name));
      const middle = bytes.byteLength >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      await writeFile(path.join(parentPath, name), bytes);
    }
    await cluster().start(victim);
    await waitUntil('all know of one another', () => nodes.every((at) => nodes.every((other) => cluster().node(at).membership.silenceMs(100 + other) < atOnceMs || at === other)));
    for (const at of nodes) {
      const collection = cluster().node(at).catalog.get('damaged');
      for (const request of [() => collection.count({ exact: true }), () => collection.write({ kind: 'upsert', points: [draft(1)] }, { wait: true })]) {
        const sinceMs = performance.now();
        await assert.rejects(request(), (error) => error instanceof RequestError && error.code === 'unavailable' && error.message.endsWith('shard 0 has no active replica that can be reached'));
        assert.ok(performance.now() - sinceMs < atOnceMs, `through node ${at}: ${performance.now() - sinceMs} ms`);
      }
    }
  });
});
