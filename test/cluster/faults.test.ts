// Three nodes as processes under load, killed in turn: what was acknowledged is there, through every node, whatever is killed; what a
// read finds was written, and where a write waits for all replicas no read that begins after its answer finds less.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many faults instead of one of each kind; NEARKEEP_SEED=<n> repeats their order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { checkAll, checkStopped, createKept, Load, untilWritable } from './load.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

const faults = ['kill a node', 'kill a NATS server', 'kill all', 'kill the leader of a log'] as const;
const faultsWanted = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? faults.length);
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);

function allOf({ count }: ProcessCluster): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}

async function doFault(cluster: ProcessCluster, kind: (typeof faults)[number], random: Random): Promise<number> {
  const { count } = cluster;
  if (kind === 'kill all') {
    await Promise.all(allOf(cluster).map((at) => cluster.kill(at)));
    await cluster.startAll();
    return count;
  }
  const at = (kind === 'kill the leader of a log' ? await cluster.streamLeader() : undefined) ?? random.below(count);
  if (kind === 'kill a NATS server') {
    await cluster.killNats(at);
    await pause(random.below(2000));
    return at;
  }
  await cluster.kill(at);
  await pause(random.below(3000));
  await cluster.start(at);
  return at;
}

describe('three nodes of a cluster, killed under load', { skip: noNats ?? false }, () => {
  test('no acknowledged write is lost, no read finds what nobody wrote, and replicas are equal', async (context) => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(3);
    await cluster.untilReady();
    const kept = await createKept(cluster.node(0).url, [[3, 1], [3, 3], [1, 1]]);
    const load = new Load(cluster, kept, random);
    const done: string[] = [];
    for (let fault = 0; fault < faultsWanted; fault += 1) {
      const kind = must(faults[fault % faults.length], 'a remainder');
      load.begin();
      await pause(500 + random.below(1000));
      const at = await doFault(cluster, kind, random);
      done.push(`${kind} (${at})`);
      await cluster.untilReady();
      await untilWritable(cluster, kept);
      await load.end();
      assert.deepEqual(load.problems, [], `seed ${seed}, after ${done.join(', ')}`);
      await checkAll(cluster, kept);
    }
    context.diagnostic(`seed ${seed}; faults: ${done.join(', ')}; ${load.summary()}`);
    assert.ok(kept.every(({ history }) => history.acknowledged > 0));
    await checkStopped(cluster);
  });
});
