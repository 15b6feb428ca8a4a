// Three nodes as processes under load, killed in turn: what was acknowledged is there, through every node, whatever is killed; what a
// read finds was written, and where a write waits for all replicas no read that begins after its answer finds less.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many faults instead of a few; NEARKEEP_SEED=<n> repeats their order.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { History } from './history.ts';
import { json } from './json-client.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

interface Kept {
  readonly name: string;
  readonly replicas: number;
  readonly waitsFor: number;
  readonly history: History;
}

const faults = ['kill a node', 'kill a NATS server', 'kill all', 'kill the leader of a log'] as const;
const faultsWanted = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? 3);
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const writers = 4;
const keysPerWriter = 8;
const failurePauseMs = 50;

type Point = { readonly id: number; readonly payload: { readonly value: number } };

class Load {
  readonly #cluster: ProcessCluster;
  readonly #kept: readonly Kept[];
  readonly #random: Random;
  readonly problems: string[] = [];
  reads = 0;
  refused = 0;
  #nextId = 1;
  #isOn = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(cluster: ProcessCluster, kept: readonly Kept[], random: Random) {
    this.#cluster = cluster;
    this.#kept = kept;
    this.#random = random;
  }

  begin(): void {
    this.#isOn = true;
    this.#running = Promise.all([...Array.from({ length: writers }, () => this.#write()), this.#read(), this.#read()]);
  }

  async end(): Promise<void> {
    this.#isOn = false;
    await this.#running;
  }

  #url(): string | undefined {
    const at = this.#random.below(this.#cluster.count);
    return this.#cluster.isUp(at) ? this.#cluster.node(at).url : undefined;
  }

  async #write(): Promise<void> {
    const own = this.#kept.map(() => Array.from({ length: keysPerWriter }, () => this.#nextId++));
    while (this.#isOn) {
      const at = this.#random.below(this.#kept.length);
      const { name, history } = must(this.#kept[at], 'below the length');
      const keys = must(own[at], 'as many');
      const slot = this.#random.below(keysPerWriter);
      if (history.isRetired(keys[slot] ?? 0)) keys[slot] = this.#nextId++;
      const id = must(keys[slot], 'below the length');
      const url = this.#url();
      if (url === undefined) {
        await pause(failurePauseMs);
        continue;
      }
      const isDelete = this.#random.below(10) === 0;
      const value = history.begin(id, isDelete);
      try {
        const vector = Array.from({ length: 8 }, () => this.#random.next());
        const result = isDelete
          ? await json(url, 'POST', `/collections/${name}/points/delete?wait=true`, { points: [id] })
          : await json(url, 'PUT', `/collections/${name}/points?wait=true`, { points: [{ id, vector, payload: { value, id } }] });
        history.end(id, value, (result as { readonly status: string }).status === 'completed');
      } catch {
        history.end(id, value, false);
        this.refused += 1;
        await pause(failurePauseMs);
      }
    }
  }

  async #read(): Promise<void> {
    while (this.#isOn) {
      const { name, history, replicas, waitsFor } = must(this.#kept[this.#random.below(this.#kept.length)], 'below the length');
      const ids = history.ids();
      const id = ids[this.#random.below(ids.length)];
      const url = this.#url();
      if (id === undefined || url === undefined) {
        await pause(failurePauseMs);
        continue;
      }
      const from = waitsFor === replicas ? history.acked(id) : 0;
      try {
        const [found] = (await json(url, 'POST', `/collections/${name}/points`, { ids: [id], with_payload: true })) as readonly Point[];
        const problem = history.problemOf(id, found?.payload.value, from);
        if (problem !== undefined) this.problems.push(`${name} through ${url}: ${problem}`);
        this.reads += 1;
      } catch {
        await pause(failurePauseMs);
      }
    }
  }
}

function allOf({ count }: ProcessCluster): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}

async function allPoints(url: string, name: string): Promise<ReadonlyMap<number, number>> {
  const { points } = (await json(url, 'POST', `/collections/${name}/points/scroll`, { limit: 100_000, with_payload: true })) as { readonly points: readonly Point[] };
  return new Map(points.map(({ id, payload }) => [id, payload.value]));
}

/** Nobody writes: every node has all that was acknowledged, nothing else, and all have the same. */
async function checkAll(cluster: ProcessCluster, kept: readonly Kept[]): Promise<void> {
  for (const { name, history } of kept) {
    await cluster.until(`seed ${seed}: every node has in ${name} what was acknowledged`, async () => {
      const found = await Promise.all(allOf(cluster).map((at) => allPoints(cluster.node(at).url, name)));
      for (const [at, points] of found.entries()) {
        for (const id of history.ids()) assert.equal(history.problemOf(id, points.get(id), history.acked(id)), undefined, `on node ${at}`);
        for (const id of points.keys()) assert.ok(history.ids().includes(id), `on node ${at}: nobody wrote ${id}`);
        for (const [id, value] of points) assert.equal(value, found[0]?.get(id), `${id} differs between node 0 and ${at}`);
      }
    });
  }
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

/** Every node takes writes of every collection again. */
async function untilWritable(cluster: ProcessCluster, kept: readonly Kept[]): Promise<void> {
  for (const at of allOf(cluster)) {
    for (const { name } of kept) {
      await cluster.until(`seed ${seed}: ${name} is written through node ${at}`, () => json(cluster.node(at).url, 'POST', `/collections/${name}/points/delete?wait=true`, { points: [999_999_999] }));
    }
  }
}

describe('three nodes of a cluster, killed under load', { skip: noNats ?? false }, () => {
  test('no acknowledged write is lost, no read finds what nobody wrote, and replicas are equal', async (context) => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(3);
    await cluster.untilReady();
    const kept: readonly Kept[] = [[3, 1], [3, 3], [1, 1]].map(([replicas = 1, waitsFor = 1]) => ({ name: `r${replicas}w${waitsFor}`, replicas, waitsFor, history: new History() }));
    const first = cluster.node(0).url;
    for (const { name, replicas, waitsFor } of kept) {
      await json(first, 'PUT', `/collections/${name}`, { vectors: { size: 8, distance: 'Dot' }, shard_number: 2, replication_factor: replicas, write_consistency_factor: waitsFor });
    }
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
    const acknowledged = kept.map(({ name, history }) => `${name} ${history.acknowledged}`).join(', ');
    context.diagnostic(`seed ${seed}; faults: ${done.join(', ')}; acknowledged writes: ${acknowledged}; of unknown outcome: ${load.refused}; reads: ${load.reads}`);
    assert.ok(kept.every(({ history }) => history.acknowledged > 0));
    const positions = await cluster.stopAndVerify();
    for (const shard of new Set(positions.flatMap((node) => [...node.keys()]))) {
      const found = new Set(positions.flatMap((node) => node.get(shard) ?? []));
      assert.equal(found.size, 1, `seed ${seed}: shard ${shard} ends differently: ${[...found].join(' ')}`);
    }
  });
});
