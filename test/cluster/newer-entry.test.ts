// An entry of a version that no node knows yet, as a newer program would append it: nobody guesses what it means.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import { parsePointId } from '../../src/base/ids.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { peersIn } from '../../src/cluster/cluster-record.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { streamSubject } from '../../src/cluster/shard-stream.ts';
import { encodeMessage } from '../../src/cluster/stream-entry.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { entryBodyVersion } from '../../src/shard/entry-body.ts';
import { clusterSecret, startCluster } from './cluster-fixture.ts';

const draft = (value: number): PointDraft => ({ id: must(parsePointId(value), 'a good id'), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: '{}' });
const all = [0, 1, 2];

test('an entry of a newer version stops every replica before it; one stays Active for reads, and writes are refused in words', { skip: noNats ?? false }, async () => {
  await using cluster = await startCluster(3);
  await cluster.node(0).catalog.create('c', { vectors: { size: 2, distance: 'Dot' }, shardNumber: 1, replicationFactor: 3 });
  const collection = (at: number) => cluster.node(at).catalog.get('c');
  for (let at = 0; at < 5; at += 1) await collection(0).write({ kind: 'upsert', points: [draft(at)] }, { wait: true });
  await using client = await NatsClient.connect({ url: cluster.node(0).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
  const newer = encodeMessage({ kind: 'no-op', version: entryBodyVersion + 1, body: Buffer.alloc(0), opUuid: Buffer.alloc(16, 9) }, 1n);
  const stream = { collectionUuid: collection(0).uuid, shardId: 0, generation: 0 };
  await client.publish(streamSubject(stream), newer, { id: 'newer', deadlineMs: systemClock.monotonic() + 10_000 });
  const local = (at: number) => must(collection(at).set.slots[0]?.shard, 'each has a replica');
  await waitUntil('every replica stops before it', () => all.every((at) => local(at).isOutdated));
  assert.deepEqual(all.map((at) => local(at).applied), [5, 5, 5]);
  await waitUntil('one stays Active', () => peersIn(must(cluster.node(0).catalog.record('c').shards[0], 'it has one'), 'Active').length === 1);
  for (const at of all) {
    assert.equal(await collection(at).count({ exact: true }), 5);
    await assert.rejects(collection(at).write({ kind: 'upsert', points: [draft(9)] }, { wait: true }), /entry 6 is stored but could not be applied \(the log: has an entry 'no-op' of version 2, and this version of nearkeep applies those up to 1: start a newer one\)/);
  }
});
