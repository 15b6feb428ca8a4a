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

test('full disks: one stops only its node, all stop the writes, and with room again everything goes on by itself', { ...withoutMounts(), ...(noNats === undefined ? {} : { skip: noNats }) }, async (context) => {
  await using disks = await makeSmallDisks(all.length, sizeMiB);
  await using cluster = await startProcesses(all.length, { placeOf: (at) => ({ data: disks.data(at) }) });
  await cluster.untilReady();
  const kept = await createKept(cluster.node(0).url, [[3, 1], [1, 1]]);
  const load = new Load(cluster, kept, seededRandom(seed));
  load.ballast = 4_000;

  load.begin();
  await cluster.until('writes are acknowledged', () => load.acknowledged.length >= writesWanted);
  await cluster.until('the node with the full disk says so', async () => {
    disks.fill(victim);
    return await isReported(cluster, victim);
  });
  await cluster.untilSaid(victim, /"msg":"JetStream is switched off: the disk is full"/);
  const before = load.acknowledged.length;
  await cluster.until('the others take writes', () => load.acknowledged.slice(before).filter(({ at, collection }) => at !== victim && collection === 'r3w1').length >= writesWanted);
  disks.empty(victim);
  await cluster.untilReady();
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
