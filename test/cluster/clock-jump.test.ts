// The clock of one node jumps by an hour, forward and back, under writes through all nodes: order, heartbeats and acknowledgements do
// not depend on it; what it refuses says why, and passes with the difference.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import { peersIn } from '../../src/cluster/cluster-record.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { logsDirectory } from '../../src/shard/shard-folder.ts';
import { readManifest } from '../../src/shard/shard-manifest.ts';
import { readVerified, verifyLog } from '../../src/shard/verify-log.ts';
import { startCluster } from './cluster-fixture.ts';

const hourMs = 3_600_000;
const nodes = [0, 1, 2];
const jumping = 1;
const writesEach = 10;
const id = (value: number): PointId => must(parsePointId(value), 'a good id');

async function timesIn(directory: string): Promise<readonly { readonly seq: number; readonly time: bigint }[]> {
  const disk = new NodeDisk();
  const { manifest } = await readManifest(disk, directory);
  const entries: { readonly seq: number; readonly time: bigint }[] = [];
  for await (const { seq, time } of readVerified(disk, await verifyLog(disk, logsDirectory(directory), manifest), 0)) entries.push({ seq, time });
  return entries;
}

test('the clock of a node jumps by an hour and back', { skip: noNats ?? false }, async (context) => {
  let aheadMs = 0;
  await using cluster = await startCluster(nodes.length, { clockOf: (at) => (at === jumping ? { ...systemClock, now: () => Date.now() + aheadMs } : systemClock) });
  const vectors = { size: 2, distance: 'Dot' } as const;
  await cluster.node(0).catalog.create('everywhere', { vectors, shardNumber: 1, replicationFactor: 3 });
  await cluster.node(0).catalog.create('spread', { vectors, shardNumber: 3, replicationFactor: 1 });
  let acknowledged = 0;
  const write = async (name: string, at: number): Promise<void> => {
    const points = [{ id: id((acknowledged += 1)), vectors: new Map([['', Float32Array.of(acknowledged, 1)]]), payload: '{}' }];
    await cluster.node(at).catalog.get(name).write({ kind: 'upsert', points }, { wait: true });
  };
  for (const jumpMs of [hourMs, -hourMs, 0]) {
    aheadMs = jumpMs;
    await Promise.all(nodes.flatMap((at) => Array.from({ length: writesEach }, () => write('everywhere', at))));
    const reading = cluster.node(0).catalog.get('spread').count({ exact: true });
    if (jumpMs === 0) await reading;
    else await assert.rejects(reading, { code: 'unavailable', message: new RegExp(`does not accept this node: its clock is (?:359|360)\\d s ${jumpMs > 0 ? 'ahead of' : 'behind'} this one's`) });
    for (const at of nodes) {
      assert.deepEqual(nodes.map((other) => cluster.node(at).membership.isLive(100 + other)), [true, true, true]);
      assert.deepEqual(cluster.node(at).catalog.record('everywhere').shards.flatMap((shard) => peersIn(shard, 'Active')).length, nodes.length);
    }
  }
  for (const at of nodes) {
    const shard = must(cluster.node(at).catalog.get('everywhere').set.slots[0]?.shard, 'each has one');
    await waitUntil(`node ${at} has every write`, async () => (await shard.count({ exact: true })) === acknowledged);
  }
  const directories = nodes.map((at) => must(cluster.node(at).catalog.get('everywhere').set.slots[0]?.shard, 'each has one').directory);
  await Promise.all(nodes.map((at) => cluster.stop(at)));
  const logs = await Promise.all(directories.map((directory) => timesIn(directory)));
  for (const log of logs) assert.deepEqual(log, logs[0], 'the same on every node');
  const times = must(logs[0], 'three').map(({ time }) => time);
  assert.equal(times.length, acknowledged);
  for (const [at, time] of times.entries()) assert.ok(at === 0 || time > must(times[at - 1], 'the one before'), `the time of entry ${at + 1}`);
  context.diagnostic(`acknowledged writes: ${acknowledged}; faults: the clock of a node an hour ahead, then an hour behind`);
});
