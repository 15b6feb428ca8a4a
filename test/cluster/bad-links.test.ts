// Links that are half there: one direction alone is cut, shorter than it takes to give a node up, so that what lay in buffers arrives
// afterwards; then all links are slow and lose packets. Clients write and read through all nodes meanwhile.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many one-way cuts instead of one in each direction.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seededRandom } from '../../src/base/testing/random.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { checkAll, checkStopped, createKept, Load, untilActive, untilWritable } from './load.ts';
import { startApart, withoutNetworks, type CutWay } from './network.ts';

const nodes = [0, 1, 2];
const ways: readonly CutWay[] = ['unheard', 'deaf'];
const cuts = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? ways.length);
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const writesWanted = 20;
/** Through each node while links are bad. */
const badWritesWanted = 10;
const badLink = { lossShare: 0.03, kbitPerSecond: 8_000 };

describe('three nodes on bad links', noNats === undefined ? withoutNetworks() : { skip: noNats }, () => {
  test('one direction is cut, then all links are slow and lose packets: nothing acknowledged is lost, and all end with the same', async (context) => {
    const random = seededRandom(seed);
    await using apart = await startApart(nodes.length);
    const { network, cluster } = apart;
    const kept = await createKept(cluster.node(0).url, [[3, 1], [3, 3], [1, 1]]);
    await using load = new Load(cluster, kept, random);
    const done: string[] = [];
    load.begin();
    for (let cut = 0; cut < cuts; cut += 1) {
      const at = random.below(nodes.length);
      const way = ways[cut % ways.length] ?? 'both';
      const before = load.acknowledged.length;
      await cluster.until('writes are acknowledged', () => load.acknowledged.length >= before + writesWanted);
      network.cut(at, way);
      const cutMs = performance.now();
      const since = (isMinority: boolean): number => load.acknowledged.filter((each) => each.sentMs > cutMs && (each.at === at) === isMinority).length;
      const refused = load.refused;
      await cluster.until('the others take writes, and a write has failed', () => since(false) >= writesWanted && load.refused > refused);
      assert.equal(since(true), 0, `seed ${seed}: node ${at}, ${way}, acknowledged what was sent to it after the cut`);
      assert.ok(network.lost(at) > 0, 'no packet was lost, so nothing is proved');
      done.push(`node ${at} ${way} (${since(false)} writes through the others)`);
      network.heal(at);
      await untilWritable(cluster, kept);
      assert.deepEqual(load.problems, [], `seed ${seed}, after ${done.join(', ')}`);
    }
    for (const at of nodes) network.spoil(at, badLink);
    const spoiltMs = performance.now();
    for (const at of nodes) {
      await cluster.until(`writes through node ${at} are acknowledged`, () => load.acknowledged.filter((each) => each.sentMs > spoiltMs && each.at === at).length >= badWritesWanted);
    }
    const lost = nodes.map((at) => network.lost(at));
    for (const at of nodes) assert.ok((lost[at] ?? 0) > 0, `no packet of node ${at} was lost, so nothing is proved`);
    for (const at of nodes) network.heal(at);
    await cluster.untilReady();
    await untilWritable(cluster, kept);
    await load.end();
    assert.deepEqual(load.problems, [], `seed ${seed}, after ${done.join(', ')}`);
    await untilActive(cluster, kept);
    await checkAll(cluster, kept);
    context.diagnostic(`seed ${seed}; cut: ${done.join(', ')}; packets lost on bad links: ${lost.join(', ')}; ${load.summary()}`);
    await checkStopped(cluster);
  });
});
