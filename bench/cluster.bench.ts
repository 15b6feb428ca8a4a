// Three nodes on this machine, each with its NATS server: what the replicated log costs against JetStream alone, what replication costs
// an ingest, what a search through another node costs, how long writes and reads stand still when a process dies, how fast a node that
// was away catches up, and what snapshots on all nodes at once cost the load. All nodes, servers and the client share the cores: three
// machines of their own do better, so only ratios and gaps are told.
//   NEARKEEP_BENCH_ROWS     points of 768 dimensions in each ingest (8,000)
//   NEARKEEP_BENCH_SECONDS  of load without and with snapshots, each (30)
import http from 'node:http';
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { must } from '../src/base/assert.ts';
import { systemClock } from '../src/base/clock.ts';
import { waitUntil } from '../src/base/testing/wait-until.ts';
import { silentLogger } from '../src/base/logger.ts';
import { NodeDisk } from '../src/fs/node-disk.ts';
import { FileLog } from '../src/log/file-log.ts';
import { chainStart } from '../src/log/hash-chain.ts';
import type { EntryDraft } from '../src/log/shard-log.ts';
import { draft } from '../src/log/shard-log.contract.ts';
import type { NatsClient } from '../src/cluster/nats-client.ts';
import { ReplicatedLog } from '../src/cluster/replicated-log.ts';
import { createStream, streamSubject, type StreamIdentity } from '../src/cluster/shard-stream.ts';
import { noNats, startNatsCluster, type NatsCluster } from '../src/cluster/testing/nats-cluster.ts';
import { startProcesses, type ProcessCluster } from '../test/cluster/process-cluster.ts';
import { alternate, benchFolder, median, ms, randomRows, ratioText, report, skip, timedMs } from './harness.ts';
import { openLoop, percentile, type Stream } from './open-loop.ts';
import { send, serve, stop, upsertBody, type Call } from './server.ts';

const count = Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 8_000);
const loadSeconds = Number(process.env['NEARKEEP_BENCH_SECONDS'] ?? 30);
const size = 768;
const batch = 100;
const connections = 2;
const nodes = 3;
const entryBytes = 1 << 20;
const entriesInFlight = 4;
const entries = 96;
const rounds = 5;
const searchesPerSide = 400;
/** Of each side, so that code is compiled. */
const warmUps = 400;
const outages = 3;
const probeMs = 20;
const readyMs = 120_000;

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const folder = benchFolder();
const rows = randomRows(count, size, 7);

if (noNats === undefined) {
  await logAgainstJetStream();
  await ingest();
  await searches();
  await outage();
  await catchUp();
  await snapshots();
} else {
  skip('cluster', noNats);
}
agent.destroy();

/** The log port, from one node, with two more that follow; the baseline publishes the same messages to such a stream, which nobody reads. */
async function logAgainstJetStream(): Promise<void> {
  await using cluster = await startNatsCluster(nodes);
  const clients = await Promise.all(Array.from({ length: nodes }, (_, at) => cluster.connect(at)));
  const bodies = Array.from({ length: entries }, () => randomBytes(entryBytes));
  const publisher = must(clients[0], 'one for each server');
  const { baseline, subject, ratio } = await alternate(rounds, async () => {
    const of = await newStream(publisher);
    const spent = await timedMs(() => inFlight(bodies, (body) => publisher.publish(streamSubject(of), body, { id: randomUUID(), deadlineMs: systemClock.monotonic() + readyMs })));
    await publisher.manager.streams.delete(`L_${of.collectionUuid}_0_g0`);
    return spent;
  }, () => replicated(cluster, clients, bodies));
  const speed = 1 / ratio;
  const rate = (spent: readonly number[]): string => `${((entries * entryBytes) / 1000 / median(spent)).toFixed(0)} MB/s`;
  report({
    name: 'log of a shard through three nodes / JetStream publishing of the same bytes', value: ratioText(speed), goal: '>= 0.7x', met: speed >= 0.7,
    detail: `${entries} entries of 1 MiB, ${entriesInFlight} in flight: JetStream ${rate(baseline)}, log ${rate(subject)}, with a copy on each of three nodes, synced behind`,
  }, { baseline_ms: baseline, subject_ms: subject });
}

async function newStream(client: NatsClient): Promise<StreamIdentity> {
  const of = { collectionUuid: randomUUID(), shardId: 0, generation: 0 };
  await createStream(client, of, { firstSeq: 1, replicas: nodes, deadlineMs: systemClock.monotonic() + readyMs });
  return of;
}

/** Until every copy has every entry. */
async function replicated(cluster: NatsCluster, clients: readonly NatsClient[], bodies: readonly Buffer[]): Promise<number> {
  const publisher = must(clients[0], 'one for each server');
  const of = await newStream(publisher);
  const disk = new NodeDisk();
  const logs = await Promise.all(cluster.servers.map(async (_, at) => {
    const directory = path.join(folder, `${of.collectionUuid}-${at}`);
    await disk.makeDirectory(directory);
    const local = await FileLog.open({ disk, directory, clock: systemClock, logger: silentLogger, ...of, applied: { seq: 0, chain: chainStart.toString('hex') }, durableMark: 0 });
    const log = new ReplicatedLog({ local, client: must(clients[at], 'one for each server'), of, clock: systemClock, logger: silentLogger });
    log.follow(() => Promise.resolve());
    return log;
  }));
  const drafts = bodies.map((body): EntryDraft => ({ ...draft(0, 0), body }));
  const spent = await timedMs(async () => {
    await inFlight(drafts, (each) => must(logs[0], 'three').append({ ...each, opUuid: randomBytes(16) }));
    await waitUntil('every copy has every entry', () => logs.every(({ lastSeq }) => lastSeq === entries));
  });
  await Promise.all(logs.map((log) => log.close()));
  await publisher.manager.streams.delete(`L_${of.collectionUuid}_0_g0`);
  return spent;
}

async function inFlight<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = items.values();
  await Promise.all(Array.from({ length: entriesInFlight }, async () => {
    for (const item of queue) await work(item);
  }));
}

/** One shard for each node; against one node that has them all. Both sides with two connections, the cluster's spread over its nodes. */
async function ingest(): Promise<void> {
  const bodies = Array.from({ length: Math.ceil(count / batch) }, (_, at) => {
    const ids = Array.from({ length: Math.min(batch, count - at * batch) }, (_each, index) => at * batch + index);
    return upsertBody(rows.subarray(at * batch * size, (at * batch + ids.length) * size), size, ids);
  });
  const single = await serve(path.join(folder, 'single'));
  await using cluster = await startProcesses(nodes);
  await cluster.untilReady();
  const ports = portsOf(cluster);
  const run = async (targets: readonly number[], replicas: number): Promise<number> => {
    const name = `ingest-${randomUUID()}`;
    await create(must(targets[0], 'a target'), name, { shard_number: nodes, replication_factor: replicas });
    const spent = await timedMs(async () => {
      const queue = bodies.entries();
      await Promise.all(Array.from({ length: connections }, async () => {
        for (const [at, body] of queue) await send(agent, must(targets[at % targets.length], 'a target'), { method: 'PUT', path: `/collections/${name}/points?wait=true`, body });
      }));
    });
    await send(agent, must(targets[0], 'a target'), { method: 'DELETE', path: `/collections/${name}` });
    return spent;
  };
  for (const replicas of [1, 2, 3]) {
    const { baseline, subject, ratio } = await alternate(3, () => run([single.port], 1), () => run(ports, replicas));
    report({
      name: `REST ingest into three nodes, ${replicas} replica${replicas === 1 ? '' : 's'} / into one node`, value: ratioText(1 / ratio), goal: 'report', met: true,
      detail: `${count} x ${size}, batches of ${batch}, ${connections} connections: one node ${ms(median(baseline))}, three ${ms(median(subject))}`,
    }, { baseline_ms: baseline, subject_ms: subject });
  }
  await stop(single);
}

/** A search through the node that holds the shard, and the same through one that does not. */
async function searches(): Promise<void> {
  await using cluster = await startProcesses(nodes);
  await cluster.untilReady();
  const ports = portsOf(cluster);
  await create(must(ports[0], 'three'), 'bench', { shard_number: 1, replication_factor: 1 });
  await fillThrough(must(ports[0], 'three'), 'bench');
  const holder = await holderOf(ports);
  const other = ports.findIndex((_, at) => at !== holder);
  await waitUntil('graphs are built', () => isGreen(must(ports[holder], 'a node')));
  const sides = { holder: [] as number[], other: [] as number[] };
  for (let at = -warmUps; at < searchesPerSide; at += 1) {
    for (const side of at % 2 === 0 ? (['holder', 'other'] as const) : (['other', 'holder'] as const)) {
      const port = must(ports[side === 'holder' ? holder : other], 'a node');
      const tookMs = await timedMs(() => send(agent, port, search(at + warmUps)));
      if (at >= 0) sides[side].push(tookMs);
    }
  }
  const more = percentile(sides.other, 0.5) - percentile(sides.holder, 0.5);
  report({
    name: 'search through another node, beyond one through the node that holds the shard', value: ms(more), goal: '<= 1 ms at p50', met: more <= 1,
    detail: `p50 ${ms(percentile(sides.holder, 0.5))} and ${ms(percentile(sides.other, 0.5))}, p99 ${ms(percentile(sides.holder, 0.99))} and ${ms(percentile(sides.other, 0.99))}; ${count} x ${size}`,
  });
}

/** One write and one read at a time through a node that lives on; the longest time without a success around each kill. */
async function outage(): Promise<void> {
  await using cluster = await startProcesses(nodes);
  await cluster.untilReady();
  await create(must(portsOf(cluster)[0], 'three'), 'bench', { shard_number: 1, replication_factor: nodes });
  await fillThrough(must(portsOf(cluster)[0], 'three'), 'bench');
  const gaps = { node: { write: [] as number[], read: [] as number[] }, 'stream leader': { write: [] as number[], read: [] as number[] } };
  for (const kind of ['node', 'stream leader'] as const) {
    for (let round = 0; round < outages; round += 1) {
      const leader = await cluster.streamLeader() ?? 0;
      const victim = kind === 'stream leader' ? leader : (leader + 1) % nodes;
      const port = must(portsOf(cluster)[(victim + 1) % nodes === leader && kind === 'node' ? leader : (victim + 1) % nodes], 'a node that lives');
      const found = await gapsAround(port, () => (kind === 'node' ? cluster.kill(victim) : cluster.killNats(victim)));
      gaps[kind].write.push(found.write);
      gaps[kind].read.push(found.read);
      if (kind === 'node') await cluster.start(victim);
      await cluster.untilReady();
      await allActive(portsOf(cluster));
    }
  }
  for (const [kind, found] of Object.entries(gaps)) {
    for (const [what, goal] of [['write', 5_000], ['read', 1_000]] as const) {
      const longest = Math.max(...found[what]);
      report({
        name: `longest time without a successful ${what} after kill -9 of ${kind === 'node' ? 'a node with its server' : "the stream leader's server"}`, value: ms(longest), goal: `<= ${goal / 1000} s`, met: longest <= goal,
        detail: found[what].map(ms).join(', '),
      });
    }
  }
}

async function gapsAround(port: number, kill: () => Promise<unknown>): Promise<{ readonly write: number; readonly read: number }> {
  const successes = { write: [] as number[], read: [] as number[] };
  let isOver = false;
  const probe = async (kind: 'write' | 'read'): Promise<void> => {
    for (let at = 0; !isOver; at += 1) {
      const call = kind === 'write' ? { method: 'PUT', path: '/collections/bench/points?wait=true', body: upsertBody(rows.subarray(0, size), size, [at % count]) } : search(at);
      await send(agent, port, call).then(() => successes[kind].push(performance.now()), () => undefined);
      await pause(probeMs);
    }
  };
  const probing = [probe('write'), probe('read')];
  await pause(1_000);
  const killed = performance.now();
  await kill();
  await waitUntil('reads and writes succeed again', () => (['write', 'read'] as const).every((kind) => successes[kind].filter((time) => time > killed + 1_000).length > 20));
  isOver = true;
  await Promise.all(probing);
  const longest = (times: readonly number[]): number => Math.max(...times.slice(1).map((time, at) => time - must(times[at], 'one before')));
  return { write: longest(successes.write), read: longest(successes.read) };
}

/** A node is away for the whole of an ingest; from its start until its replica is Active. */
async function catchUp(): Promise<void> {
  await using cluster = await startProcesses(nodes);
  await cluster.untilReady();
  await create(must(portsOf(cluster)[0], 'three'), 'bench', { shard_number: 1, replication_factor: nodes });
  await cluster.kill(nodes - 1);
  const port = must(portsOf(cluster)[0], 'three');
  await fillThrough(port, 'bench');
  const spent = await timedMs(async () => {
    await cluster.start(nodes - 1);
    await cluster.untilReady();
    await allActive(portsOf(cluster));
  });
  const bytes = count * size * 4;
  report({
    name: 'catching up of a node that was away', value: `${(bytes / 1000 / spent).toFixed(0)} MB/s`, goal: 'report', met: true,
    detail: `${(bytes / 1e6).toFixed(0)} MB of vectors in ${ms(spent)} from the start of its process until all replicas are Active`,
  });
}

/** As for one node, with snapshots made on all three at once. */
async function snapshots(): Promise<void> {
  await using cluster = await startProcesses(nodes);
  await cluster.untilReady();
  const ports = portsOf(cluster);
  await create(must(ports[0], 'three'), 'bench', { shard_number: nodes, replication_factor: 2 });
  await fillThrough(must(ports[0], 'three'), 'bench');
  const streams: readonly Stream[] = [
    { name: 'search', perSecond: 50, send: (index) => send(agent, must(ports[index % nodes], 'a node'), search(index)) },
    { name: 'write', perSecond: 10, send: (index) => send(agent, must(ports[index % nodes], 'a node'), { method: 'PUT', path: '/collections/bench/points?wait=true', body: upsertBody(rows.subarray(0, size), size, [index % count]) }) },
  ];
  await openLoop(streams, Math.min(5, loadSeconds)); // warm
  const sides = { quiet: new Map<string, number[]>(), busy: new Map<string, number[]>() };
  let made = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const side of round % 2 === 0 ? ['quiet', 'busy'] as const : ['busy', 'quiet'] as const) {
      let isLoading = true;
      const snapshotting = ports.map(async (port) => {
        while (side === 'busy' && isLoading) {
          const { result: { name } } = JSON.parse((await send(agent, port, { method: 'POST', path: '/collections/bench/snapshots' })).toString()) as { result: { name: string } };
          await send(agent, port, { method: 'DELETE', path: `/collections/bench/snapshots/${name}` });
          made += 1;
          await pause(500);
        }
      });
      const found = await openLoop(streams, loadSeconds / rounds);
      isLoading = false;
      await Promise.all(snapshotting);
      for (const [name, latencies] of found) sides[side].set(name, [...(sides[side].get(name) ?? []), ...latencies]);
    }
  }
  const freezes = ports.flatMap((_, at) => [...cluster.output(at).matchAll(/"freeze_ms":(\d+)/g)].map(([, text]) => Number(text)));
  report({ name: 'freeze of the shards of a node, three nodes at once', value: ms(median(freezes)), goal: 'report', met: true, detail: `longest ${ms(Math.max(...freezes))}, ${made} snapshots` });
  for (const name of ['search', 'write']) {
    const quiet = must(sides.quiet.get(name), 'a stream');
    const busy = must(sides.busy.get(name), 'a stream');
    for (const [label, share] of [['p50', 0.5], ['p99', 0.99]] as const) {
      report({
        name: `${name} ${label} during snapshots on three nodes / before`, value: ratioText(percentile(busy, share) / percentile(quiet, share)), goal: 'report', met: true,
        detail: `${ms(percentile(quiet, share))} to ${ms(percentile(busy, share))}; longest ${ms(Math.max(...quiet))} and ${ms(Math.max(...busy))}; ${quiet.length} each`,
      });
    }
  }
}

/** Of nodes that are down: 0. */
function portsOf(cluster: ProcessCluster): readonly number[] {
  return Array.from({ length: cluster.count }, (_, at) => (cluster.isUp(at) ? Number(new URL(cluster.node(at).url).port) : 0));
}

async function create(port: number, name: string, params: object): Promise<void> {
  await send(agent, port, { method: 'PUT', path: `/collections/${name}`, body: Buffer.from(JSON.stringify({ vectors: { size, distance: 'Cosine' }, ...params })) });
}

async function fillThrough(port: number, name: string): Promise<void> {
  for (let from = 0; from < count; from += batch) {
    const ids = Array.from({ length: Math.min(batch, count - from) }, (_, index) => from + index);
    await send(agent, port, { method: 'PUT', path: `/collections/${name}/points?wait=true`, body: upsertBody(rows.subarray(from * size, (from + ids.length) * size), size, ids) });
  }
}

function search(at: number): Call {
  const row = (at * 37) % count;
  return { method: 'POST', path: '/collections/bench/points/search', body: Buffer.from(JSON.stringify({ vector: [...rows.subarray(row * size, (row + 1) * size)], limit: 10 })) };
}

interface ClusterInfo {
  readonly local_shards: readonly { readonly state: string }[];
  readonly remote_shards: readonly { readonly state: string }[];
}

async function clusterInfo(port: number): Promise<ClusterInfo> {
  return (JSON.parse((await send(agent, port, { method: 'GET', path: '/collections/bench/cluster' })).toString()) as { readonly result: ClusterInfo }).result;
}

async function holderOf(ports: readonly number[]): Promise<number> {
  const infos = await Promise.all(ports.map(clusterInfo));
  return infos.findIndex(({ local_shards: local }) => local.length > 0);
}

async function isGreen(port: number): Promise<boolean> {
  const { result: { status } } = JSON.parse((await send(agent, port, { method: 'GET', path: '/collections/bench' })).toString()) as { readonly result: { readonly status: string } };
  return status === 'green';
}

async function allActive(ports: readonly number[]): Promise<void> {
  await waitUntil('every replica is Active', async () => (await Promise.all(ports.map(clusterInfo))).every(({ local_shards: local, remote_shards: remote }) => [...local, ...remote].every(({ state }) => state === 'Active')));
}
