// Nodes that are cut off from the others, each in turn, while clients write and read through all of them.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many cuts instead of one for each node.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { seededRandom } from '../../src/base/testing/random.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { checkAll, checkStopped, createKept, Load, replicaStates, untilActive, untilWritable } from './load.ts';
import { startApart, withoutNetworks } from './network.ts';

const count = 3;
const cuts = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? count);
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
/** Through the majority, after the cut node was given up. */
const writesWanted = 20;

describe('three nodes in networks of their own', noNats === undefined ? withoutNetworks() : { skip: noNats }, () => {
  test('a node that is cut off acknowledges nothing, the others go on, and it comes back to the same', async (context) => {
    const random = seededRandom(seed);
    await using apart = await startApart(count);
    const { network, cluster } = apart;
    const kept = await createKept(cluster.node(0).url, [[3, 1], [3, 3], [1, 1]]);
    await using load = new Load(cluster, kept, random);
    const done: string[] = [];
    for (let cut = 0; cut < cuts; cut += 1) {
      const at = (cut + random.below(count)) % count;
      const other = (at + 1) % count;
      load.begin();
      const before = load.acknowledged.length;
      await cluster.until('writes are acknowledged', () => load.acknowledged.length >= before + writesWanted);
      network.cut(at);
      const cutMs = performance.now();
      const since = (): typeof load.acknowledged => load.acknowledged.filter(({ sentMs }) => sentMs > cutMs);
      await cluster.until('its replicas are dead for the others', async () => (await replicaStates(cluster, other, 'r3w1'))['Dead'] === 2);
      const atDeath = since().length;
      await cluster.until('the others take writes', () => since().length >= atDeath + writesWanted);
      const [byMinority, byMajority] = [since().filter((each) => each.at === at).length, since().filter((each) => each.at !== at).length];
      assert.equal(byMinority, 0, `seed ${seed}: node ${at} acknowledged what was sent to it after the cut`);
      network.heal(at);
      done.push(`node ${at} (${byMajority} writes through the others, ${byMinority} through it)`);
      await cluster.untilReady();
      await untilWritable(cluster, kept);
      await load.end();
      assert.deepEqual(load.problems, [], `seed ${seed}, after ${done.join(', ')}`);
      await untilActive(cluster, kept);
      await checkAll(cluster, kept);
    }
    context.diagnostic(`seed ${seed}; cut off: ${done.join(', ')}; ${load.summary()}`);
    await checkStopped(cluster);
  });
});
