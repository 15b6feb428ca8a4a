// Processes killed while a cluster grows: at every step of a join, of the node that joins or of the first one, under load; and at random
// moments while a node's own data becomes a cluster's. Nothing acknowledged is lost, and the same command again goes on.
// The steps are seen from outside: files, NATS monitors, logs. NEARKEEP_CLUSTER_FAULTS=<n> draws so many of them, `all` takes each.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';
import { json } from './json-client.ts';
import { processCluster, type NodePlace, type ProcessCluster } from './process-cluster.ts';

const skip = noNats ?? false;
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const asked = process.env['NEARKEEP_CLUSTER_FAULTS'] ?? '3';
const random = seededRandom(seed);
const again = `NEARKEEP_SEED=${seed} NEARKEEP_CLUSTER_FAULTS=${asked} node --test dist/test/cluster/join-faults.test.js`;
const stepPollMs = 3;
const shards = 4;

interface Step {
  readonly title: string;
  /** Whether it has come, seen from outside. */
  readonly isThere: (nodes: ProcessCluster) => unknown;
}

const record = (nodes: ProcessCluster): Promise<string> => readFile(path.join(nodes.place(1).data, 'metastore.json'), 'utf8');

async function monitor(nodes: ProcessCluster, at: number): Promise<{ readonly meta_cluster?: { readonly cluster_size: number } }> {
  return (await (await fetch(`http://127.0.0.1:${nodes.place(at).ports.natsMonitor}/jsz`)).json()) as { readonly meta_cluster?: { readonly cluster_size: number } };
}

const steps: readonly Step[] = [
  { title: 'it may join, and has written down that it does', isThere: async (nodes) => (await record(nodes)).includes('"cluster"') },
  { title: 'its server runs', isThere: async (nodes) => Boolean(await monitor(nodes, 1)) },
  { title: 'its server is one of the group', isThere: async (nodes) => (await monitor(nodes, 0)).meta_cluster?.cluster_size === 3 },
  { title: 'the first node hears it', isThere: (nodes) => nodes.output(0).includes('"a node of the cluster is up"') },
  { title: 'streams begin to lie on both', isThere: (nodes) => (nodes.output(0) + nodes.output(1)).includes('"a stream lies on more servers now"') },
  { title: 'the last stream lies on both', isThere: (nodes) => Array.from((nodes.output(0) + nodes.output(1)).matchAll(/"a stream lies on more servers now"/g)).length > shards },
];

interface Kill {
  readonly step: Step;
  readonly victim: 0 | 1;
}

/** Upserts one point after another through the first node, whatever happens to it. */
class Writer {
  readonly acked: number[] = [];
  #next = 1;
  #isEnding = false;
  readonly #done: Promise<void>;

  constructor(url: () => string) {
    this.#done = this.#run(url);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#done;
  }

  async #run(url: () => string): Promise<void> {
    while (!this.#isEnding) {
      const id = this.#next;
      this.#next += 1;
      try {
        await json(url(), 'PUT', '/collections/c/points?wait=true', { points: [{ id, vector: [id, 1] }] });
        this.acked.push(id);
      } catch {
        await pause(20); // killed, on its way up, or without a majority: whether it is there is open
      }
    }
  }
}

async function idsOf(url: string, collection: string): Promise<ReadonlySet<number>> {
  const { points } = (await json(url, 'POST', `/collections/${collection}/points/scroll`, { limit: 100_000, with_payload: false })) as { readonly points: readonly { readonly id: number }[] };
  return new Set(points.map(({ id }) => id));
}

const flags = (node: NodePlace): readonly string[] => ['--uri', `http://127.0.0.1:${node.ports.peer}`, ...(node.at === 0 ? [] : ['--bootstrap', `http://${node.peers[0]}`])];

async function checkKilledAt({ step, victim }: Kill): Promise<void> {
  await using nodes = await processCluster(2, { argsOf: flags });
  const first = await nodes.start(0);
  await json(first.url, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: shards });
  const writer = new Writer(() => nodes.node(0).url);
  await nodes.until('writes are under way', () => writer.acked.length > 20);
  const joining = nodes.start(1).catch((error: unknown) => error);
  await waitUntil(step.title, () => step.isThere(nodes), { pollMs: stepPollMs });
  await nodes.kill(victim);
  if (victim === 1) await joining;
  const before = writer.acked.length;
  await nodes.start(victim);
  if (victim === 0 && (await joining) instanceof Error) await nodes.start(1); // its patience may have ended meanwhile
  await nodes.untilReady();
  await nodes.until('writes go on', () => writer.acked.length > before + 20);
  await writer.end();
  for (const at of [0, 1]) {
    await nodes.until(`node ${at} has every write that was acknowledged`, async () => {
      const found = await idsOf(nodes.node(at).url, 'c');
      assert.deepEqual(writer.acked.filter((id) => !found.has(id)), []);
    });
  }
}

test(`a node is killed at a step of a join, seed ${seed}`, { skip }, async (t) => {
  t.diagnostic(again);
  const all = steps.flatMap((step): readonly Kill[] => [{ step, victim: 1 }, { step, victim: 0 }]);
  const drawn = asked === 'all' ? all : Array.from({ length: Number(asked) }, () => must(all[random.below(all.length)], 'below the length'));
  for (const kill of drawn) await t.test(`${kill.victim === 0 ? 'the first node' : 'the node that joins'} is killed when ${kill.step.title}`, () => checkKilledAt(kill));
});

const collections = 12;
/** With that of the metadata. */
const streamsInAll = collections * 2 + 1;
const roundsAlone = asked === 'all' ? 12 : 3;

test(`a node is killed while its own data becomes a cluster's, seed ${seed}`, { skip }, async (t) => {
  t.diagnostic(again);
  await using folder = await temporaryFolder();
  const names = Array.from({ length: collections }, (_, at) => `c${at}`);
  const expected = new Map<string, number>(names.map((name) => [name, 0]));
  const { peer, natsMonitor } = must((await nodePorts(1))[0], 'one was asked for');
  const args = ['--uri', `http://127.0.0.1:${peer}`];
  const env = { NEARKEEP__CLUSTER__NATS_MONITOR_PORT: String(natsMonitor) };
  const write = async (url: string, name: string): Promise<void> => {
    const next = (expected.get(name) ?? 0) + 1;
    await json(url, 'PUT', `/collections/${name}/points?wait=true`, { points: [{ id: next, vector: [next, 1] }] });
    expected.set(name, next);
  };
  const check = async (server: ServerProcess): Promise<void> => {
    for (const name of names) {
      const found = await idsOf(server.url, name);
      assert.deepEqual([...found].sort((a, b) => a - b), Array.from({ length: expected.get(name) ?? 0 }, (_, at) => at + 1), name);
      await write(server.url, name);
    }
  };
  const origin = path.join(folder.path, 'data');
  {
    const alone = await startServer({ data: origin });
    for (const name of names) {
      await json(alone.url, 'PUT', `/collections/${name}`, { vectors: { size: 2, distance: 'Dot' }, shard_number: 2 });
      for (let at = 0; at < 5; at += 1) await write(alone.url, name);
    }
    await alone.kill();
  }
  const phase = async (): Promise<string | undefined> => {
    const { records } = JSON.parse(await readFile(path.join(origin, 'metastore.json'), 'utf8')) as { readonly records: { readonly cluster?: { readonly value: { readonly phase: string } } } };
    return records.cluster?.value.phase;
  };
  const streamsMade = async (): Promise<number> => ((await (await fetch(`http://127.0.0.1:${natsMonitor}/jsz`)).json()) as { readonly streams: number }).streams;
  for (let round = 0; round < roundsAlone && (await phase()) !== 'member'; round += 1) {
    const streams = random.below(streamsInAll + 1);
    await t.test(`with ${streams} of ${streamsInAll} streams`, async () => {
      const giveUp = new AbortController();
      const starting = startServer({ data: origin, args, env, signal: giveUp.signal }).catch((error: unknown) => error);
      await waitUntil(`${streams} streams are there`, async () => (await streamsMade()) >= streams, { pollMs: stepPollMs });
      giveUp.abort();
      const started = await starting;
      if (!(started instanceof Error)) await (started as ServerProcess).kill();
      const server = await startServer({ data: origin, args: (await phase()) === 'member' ? args : [] });
      await check(server);
      await server.kill();
    });
  }
  const last = await startServer({ data: origin, args });
  await check(last);
  await last.stop();
  verifySound(origin);
});
