// Clients of a cluster that write and read while it is broken, and what must hold of all they were told: no acknowledged write is lost,
// no read finds what nobody wrote, and in the end every node has the same.
import assert from 'node:assert/strict';
import { must } from '../../src/base/assert.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import type { Random } from '../../src/base/testing/random.ts';
import { History } from './history.ts';
import { json } from './json-client.ts';
import type { ProcessCluster } from './process-cluster.ts';
import { untilEqual } from './replica-states.ts';

/** A collection that is written to, with what is known of it. */
export interface Kept {
  readonly name: string;
  /** At least so many; grows with what an operator adds. */
  replicas: number;
  readonly waitsFor: number;
  readonly history: History;
}

const writers = 4;
const keysPerWriter = 8;
const shardCount = 2;
const failurePauseMs = 50;
/** A client that waited so long gives up and goes elsewhere; the outcome is unknown to it. */
const patienceMs = 5_000;

type Point = { readonly id: number; readonly payload: { readonly value: number } };

/** With so many replicas each, of which so many must have a write. */
export async function createKept(url: string, shapes: readonly (readonly [replicas: number, waitsFor: number])[]): Promise<readonly Kept[]> {
  const kept = shapes.map(([replicas, waitsFor]) => ({ name: `r${replicas}w${waitsFor}`, replicas, waitsFor, history: new History() }));
  for (const { name, replicas, waitsFor } of kept) {
    await json(url, 'PUT', `/collections/${name}`, { vectors: { size: 8, distance: 'Dot' }, shard_number: shardCount, replication_factor: replicas, write_consistency_factor: waitsFor });
  }
  return kept;
}

export interface Acknowledged {
  readonly collection: string;
  /** Through which node. */
  readonly at: number;
  /** `performance.now()` when it was sent. */
  readonly sentMs: number;
}

export class Load implements AsyncDisposable {
  readonly #cluster: ProcessCluster;
  readonly #kept: readonly Kept[];
  readonly #random: Random;
  readonly problems: string[] = [];
  readonly acknowledged: Acknowledged[] = [];
  /** Bytes of payload that each write carries besides. */
  ballast = 0;
  reads = 0;
  refused = 0;
  /** Why, each text once. */
  readonly refusals = new Set<string>();
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

  /** A test that fails in the middle ends its clients, or its process would go on. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  /** For messages. */
  summary(): string {
    return `acknowledged writes: ${this.#kept.map(({ name, history }) => `${name} ${history.acknowledged}`).join(', ')}; of unknown outcome or refused: ${this.refused}; reads: ${this.reads}`;
  }

  #node(): { readonly at: number; readonly url: string | undefined } {
    const at = this.#random.below(this.#cluster.count);
    return { at, url: this.#cluster.isUp(at) ? this.#cluster.node(at).url : undefined };
  }

  async #write(): Promise<void> {
    const own = this.#kept.map(() => Array.from({ length: keysPerWriter }, () => this.#nextId++));
    while (this.#isOn) {
      const which = this.#random.below(this.#kept.length);
      const { name, history } = must(this.#kept[which], 'below the length');
      const keys = must(own[which], 'as many');
      const slot = this.#random.below(keysPerWriter);
      if (history.isRetired(keys[slot] ?? 0)) keys[slot] = this.#nextId++;
      const id = must(keys[slot], 'below the length');
      const { at, url } = this.#node();
      if (url === undefined) {
        await pause(failurePauseMs);
        continue;
      }
      const isDelete = this.#random.below(10) === 0;
      const value = history.begin(id, isDelete);
      const sentMs = performance.now();
      try {
        const vector = Array.from({ length: 8 }, () => this.#random.next());
        const result = isDelete
          ? await json(url, 'POST', `/collections/${name}/points/delete?wait=true`, { points: [id] }, patienceMs)
          : await json(url, 'PUT', `/collections/${name}/points?wait=true`, { points: [{ id, vector, payload: { value, id, ...this.#ballast() } }] }, patienceMs);
        const isCompleted = (result as { readonly status: string }).status === 'completed';
        history.end(id, value, isCompleted);
        if (isCompleted) this.acknowledged.push({ collection: name, at, sentMs });
      } catch (error) {
        history.end(id, value, false);
        this.refused += 1;
        this.refusals.add(String(error));
        await pause(failurePauseMs);
      }
    }
  }

  /** Random: what repeats is stored as almost nothing. */
  #ballast(): { readonly ballast?: string } {
    return this.ballast === 0 ? {} : { ballast: Array.from({ length: this.ballast / 8 }, () => this.#random.next().toString(36).slice(2, 10)).join('') };
  }

  async #read(): Promise<void> {
    while (this.#isOn) {
      const { name, history, replicas, waitsFor } = must(this.#kept[this.#random.below(this.#kept.length)], 'below the length');
      const ids = history.ids();
      const id = ids[this.#random.below(ids.length)];
      const { url } = this.#node();
      if (id === undefined || url === undefined) {
        await pause(failurePauseMs);
        continue;
      }
      const from = waitsFor === replicas ? history.acked(id) : 0;
      try {
        const [found] = (await json(url, 'POST', `/collections/${name}/points`, { ids: [id], with_payload: true }, patienceMs)) as readonly Point[];
        const problem = history.problemOf(id, found?.payload.value, from);
        if (problem !== undefined) this.problems.push(`${name} through ${url}: ${problem}`);
        this.reads += 1;
      } catch {
        await pause(failurePauseMs);
      }
    }
  }
}

async function allPoints(url: string, name: string): Promise<ReadonlyMap<number, number>> {
  const { points } = (await json(url, 'POST', `/collections/${name}/points/scroll`, { limit: 100_000, with_payload: ['value'] })) as { readonly points: readonly Point[] };
  return new Map(points.map(({ id, payload }) => [id, payload.value]));
}

/** Nobody writes: every node has all that was acknowledged, nothing else, and all have the same. */
export async function checkAll(cluster: ProcessCluster, kept: readonly Kept[]): Promise<void> {
  for (const { name, history } of kept) {
    await cluster.until(`every node has what was acknowledged in ${name}`, async () => {
      const found = await Promise.all(nodesOf(cluster).map((at) => allPoints(cluster.node(at).url, name)));
      for (const [at, points] of found.entries()) {
        for (const id of history.ids()) {
          const problem = history.problemOf(id, points.get(id), history.acked(id));
          assert.equal(problem, undefined, `on node ${at}`);
        }
        for (const id of points.keys()) assert.ok(history.ids().includes(id), `on node ${at}: nobody wrote ${id}`);
        assert.deepEqual([...points], [...must(found[0], 'one at least')], `nodes 0 and ${at} differ`);
      }
    });
    await untilEqual(nodesOf(cluster).map((at) => cluster.node(at).url), name);
  }
}

/** Every node takes writes of every collection again. */
export async function untilWritable(cluster: ProcessCluster, kept: readonly Kept[]): Promise<void> {
  for (const at of nodesOf(cluster)) {
    for (const { name } of kept) {
      await cluster.until(`node ${at} takes writes of ${name}`, () => json(cluster.node(at).url, 'POST', `/collections/${name}/points/delete?wait=true`, { points: [999_999_999] }));
    }
  }
}

interface Replicas {
  readonly local_shards: readonly { readonly shard_id: number; readonly state: string }[];
  readonly remote_shards: readonly { readonly shard_id: number; readonly peer_id: number; readonly state: string }[];
}

/** How often each state is among the replicas of a collection, as a node sees them. */
export async function replicaStates(cluster: ProcessCluster, at: number, name: string): Promise<Readonly<Record<string, number>>> {
  const { local_shards: local, remote_shards: remote } = (await json(cluster.node(at).url, 'GET', `/collections/${name}/cluster`)) as Replicas;
  const counts: Record<string, number> = {};
  for (const { state } of [...local, ...remote]) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/** All replicas are Active, as every node sees it. */
export async function untilActive(cluster: ProcessCluster, kept: readonly Kept[]): Promise<void> {
  for (const at of nodesOf(cluster)) {
    for (const { name, replicas } of kept) {
      await cluster.until(`node ${at} sees all replicas of ${name} active`, async () => {
        assert.deepEqual(await replicaStates(cluster, at, name), { Active: replicas * shardCount });
      });
    }
  }
}

/** Ends all nodes: their folders are sound, and a shard's log leads to the same on every node that holds it. */
export async function checkStopped(cluster: ProcessCluster): Promise<void> {
  const positions = await cluster.stopAndVerify();
  for (const shard of new Set(positions.flatMap((node) => [...node.keys()]))) {
    const found = new Set(positions.flatMap((node) => node.get(shard) ?? []));
    assert.equal(found.size, 1, `shard ${shard} ends differently: ${[...found].join(' ')}`);
  }
}

function nodesOf({ count }: ProcessCluster): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}
