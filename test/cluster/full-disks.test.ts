// A cluster whose disks fill up under load: first one node's, then all. Each node has a small tmpfs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../src/base/testing/random.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { makeSmallDisks, withoutMounts } from './disks.ts';
import { json } from './json-client.ts';
import { checkAll, checkStopped, createKept, Load, untilActive, untilWritable } from './load.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const sizeMiB = 192;
const all = [0, 1, 2];
const victim = 1;
const writesWanted = 50;

async function isReported(cluster: ProcessCluster, at: number): Promise<boolean> {
  const { consensus_thread_status: status } = (await json(cluster.node(at).url, 'GET', '/cluster')) as { readonly consensus_thread_status: { readonly err?: string } };
  return /the disk is full/.test(status.err ?? '');
}

/** Ready and without a metric that tells of a full disk, or neither. */
async function isTakingWrites(cluster: ProcessCluster, at: number): Promise<boolean> {
  const { url } = cluster.node(at);
  const [ready, metrics] = await Promise.all(['/readyz', '/metrics'].map((path) => fetch(url + path)));
  const texts = [await ready?.text(), /^cluster_disk_full (\d)$/m.exec((await metrics?.text()) ?? '')?.[1]];
  if (ready?.status === 200) assert.deepEqual(texts, ['all shards are ready', '0']);
  else assert.deepEqual([ready?.status, ...texts], [503, 'some shards are not ready: the disk of this node is full, its shards take no writes', '1']);
  return ready?.status === 200;
}

test('full disks: one stops only its node, all stop the writes, and with room again everything goes on by itself', { ...withoutMounts(), ...(noNats === undefined ? {} : { skip: noNats }) }, async (context) => {
  await using disks = await makeSmallDisks(all.length, sizeMiB);
  await using cluster = await startProcesses(all.length, { placeOf: (at) => ({ data: disks.data(at) }) });
  await cluster.untilReady();
  const kept = await createKept(cluster.node(0).url, [[3, 1], [1, 1]]);
  await using load = new Load(cluster, kept, seededRandom(seed));
  load.ballast = 4_000;

  load.begin();
  await cluster.until('writes are acknowledged', () => load.acknowledged.length >= writesWanted);
  await cluster.until('the node with the full disk says so', async () => {
    disks.fill(victim);
    return await isReported(cluster, victim);
  });
  await cluster.untilSaid(victim, /"msg":"JetStream is switched off: the disk is full"/);
  await cluster.until('the node with the full disk is not ready', async () => !(await isTakingWrites(cluster, victim)));
  for (const at of [0, 2]) await cluster.until(`node ${at} is ready all the same`, () => isTakingWrites(cluster, at));
  const before = load.acknowledged.length;
  await cluster.until('the others take writes', () => load.acknowledged.slice(before).filter(({ at, collection }) => at !== victim && collection === 'r3w1').length >= writesWanted);
  disks.empty(victim);
  await cluster.untilReady();
  assert.ok(await isTakingWrites(cluster, victim));
  await untilWritable(cluster, kept);
  await load.end();
  await untilActive(cluster, kept);
  await checkAll(cluster, kept);
  const withOne = load.acknowledged.length;

  load.begin();
  load.refusals.clear();
  await cluster.until('writes are acknowledged', () => load.acknowledged.length >= withOne + writesWanted);
  await cluster.until('every node with a full disk says so', async () => {
    for (const at of all) disks.fill(at);
    for (const at of all) assert.ok(await isReported(cluster, at), `node ${at}`);
  });
  await load.end();
  for (const refusal of load.refusals) assert.match(refusal, /RangeError: 50[37] |TimeoutError/, `seed ${seed}`);
  for (const at of all) disks.empty(at);
  await cluster.untilReady();
  await untilWritable(cluster, kept);
  assert.deepEqual(load.problems, [], `seed ${seed}`);
  await untilActive(cluster, kept);
  await checkAll(cluster, kept);
  context.diagnostic(`seed ${seed}; faults: node ${victim}'s disk full (${withOne} acknowledged by then), all disks full; ${load.summary()}`);
  await checkStopped(cluster);
});
