// One collection of the size of a large corpus through its whole life, over REST, the server in a process of its own: ingest, green,
// search with recall, snapshot, download, restore under a new name, restart. Runs for hours, so only where it is asked for by name.
// Every phase is written to bench/results/ as it ends.
//   NEARKEEP_BENCH_ROWS     points (2,250,000)
//   NEARKEEP_BENCH_MINUTES  after so long a phase has failed (240)
import { createReadStream, createWriteStream, promises as fs } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../src/base/assert.ts';
import { benchFolder, median, report, root } from './harness.ts';
import { PhaseLog, type PhaseTools } from './phases.ts';
import { metrics, send, serve, stop, upsertBody, type Served } from './server.ts';
import { clusterDraws, size } from './vector-sets.ts';

const count = Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 2_250_000);
const secondsMax = Number(process.env['NEARKEEP_BENCH_MINUTES'] ?? 240) * 60;
const batch = 200;
const connections = 2;
const queryCount = 200;
/** An exact scan of everything takes a while each. */
const sampleCount = 50;
const k = 10;
const pollMs = 1_000;

const folder = benchFolder();
const data = path.join(folder, 'data');
const archive = path.join(folder, 'archive.snapshot');
const agent = new http.Agent({ keepAlive: true });
let server: Served = await serve(data);
const memoryBytes = os.totalmem();
const log = new PhaseLog(path.join(root, 'bench/results'), `large-${count}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`, {
  secondsMax, watched: () => ({ pid: must(server.child.pid, 'it runs'), folder }),
  head: { points: count, size, batch, connections, cpu: os.cpus()[0]?.model ?? '', cores: os.availableParallelism(), memory_bytes: memoryBytes, node: process.versions.node, started: new Date().toISOString() },
});

async function ask(method: string, url: string, body?: unknown): Promise<unknown> {
  const answer = await send(agent, server.port, { method, path: url, ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }) });
  return (JSON.parse(answer.toString()) as { readonly result: unknown }).result;
}

interface Info {
  readonly status: string;
  readonly points_count: number;
  readonly indexed_vectors_count: number;
  readonly segments_count: number;
}

const infoOf = async (name: string): Promise<Info> => await ask('GET', `/collections/${name}`) as Info;
const graphsBuilt = async (): Promise<number> => must((await metrics(agent, server.port)).get('graphs_built'), 'the metric');

const draw = clusterDraws(count);
/** Digits as models give them: six. */
const rounded = (value: number): number => Math.round(value * 1e6) / 1e6;

async function ingest({ progress, signal }: PhaseTools): Promise<Record<string, number>> {
  await ask('PUT', '/collections/large', { vectors: { size, distance: 'Cosine' } });
  let next = 0;
  let done = 0;
  let bytes = 0;
  const started = performance.now();
  await Promise.all(Array.from({ length: connections }, async () => {
    const rows = new Float32Array(batch * size);
    while (next < count) {
      signal.throwIfAborted();
      const ids = Array.from({ length: Math.min(batch, count - next) }, (_, at) => next + at);
      next += ids.length;
      for (const at of ids.keys()) draw(rows.subarray(at * size, (at + 1) * size));
      const body = upsertBody(rows.map(rounded), size, ids);
      await send(agent, server.port, { method: 'PUT', path: '/collections/large/points?wait=true', body });
      bytes += body.length;
      done += ids.length;
      progress(`${done} of ${count} points, ${(done / (performance.now() - started) * 1000).toFixed(0)} a second`);
    }
  }));
  return { points_per_second: done / (performance.now() - started) * 1000, json_mb: bytes / 1e6 };
}

async function untilGreen({ progress, signal }: PhaseTools): Promise<Record<string, number>> {
  for (;;) {
    signal.throwIfAborted();
    const info = await infoOf('large');
    progress(`${info.indexed_vectors_count} of ${info.points_count} vectors in graphs, ${info.segments_count} segments, ${info.status}`);
    if (info.status === 'red') throw new RangeError('the collection is red');
    if (info.status === 'green') return { segments: info.segments_count, indexed: info.indexed_vectors_count, graphs_built: await graphsBuilt() };
    await sleep(pollMs);
  }
}

const queries: Float32Array[] = [];

async function nearest(name: string, query: Float32Array, params: Readonly<Record<string, unknown>>): Promise<readonly number[]> {
  const found = await ask('POST', `/collections/${name}/points/query?timeout=600`, { query: Array.from(query), limit: k, params }) as { readonly points: readonly { readonly id: number }[] };
  return found.points.map(({ id }) => id);
}

/** The first search apart: it reads and proves every vector. */
async function search(name: string, { progress, signal }: PhaseTools): Promise<Record<string, number>> {
  const firstStarted = performance.now();
  await nearest(name, must(queries[0], 'a query'), {});
  const firstMs = performance.now() - firstStarted;
  let hits = 0;
  const exactMs: number[] = [];
  for (const [at, query] of queries.slice(0, sampleCount).entries()) {
    signal.throwIfAborted();
    const started = performance.now();
    const truth = new Set(await nearest(name, query, { exact: true }));
    exactMs.push(performance.now() - started);
    for (const id of await nearest(name, query, {})) hits += truth.has(id) ? 1 : 0;
    progress(`${at + 1} of ${sampleCount} exact searches`);
  }
  const times: number[] = [];
  for (const query of queries) {
    signal.throwIfAborted();
    const started = performance.now();
    await nearest(name, query, {});
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return { recall: hits / (k * Math.min(sampleCount, queries.length)), first_ms: firstMs, median_ms: median(times), p99_ms: times[Math.floor(times.length * 0.99)] ?? NaN, exact_ms: median(exactMs) };
}

let snapshot = { name: '', size: 0, checksum: '' };

async function createSnapshot(): Promise<Record<string, number>> {
  snapshot = await ask('POST', '/collections/large/snapshots?wait=true') as typeof snapshot;
  return { archive_mb: snapshot.size / 1e6 };
}

async function download({ signal }: PhaseTools): Promise<Record<string, number>> {
  const started = performance.now();
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get({ port: server.port, host: '127.0.0.1', path: `/collections/large/snapshots/${snapshot.name}`, signal }, resolve).on('error', reject);
  });
  if (response.statusCode !== 200) throw new RangeError(`download: status ${response.statusCode}`);
  await pipeline(response, createWriteStream(archive), { signal });
  const { size: bytes } = await fs.stat(archive);
  if (bytes !== snapshot.size) throw new RangeError(`the archive has ${bytes} bytes, not ${snapshot.size}`);
  return { mb_per_second: bytes / 1e3 / (performance.now() - started) };
}

/** The archive as an upload, streamed. */
async function restore({ signal }: PhaseTools): Promise<Record<string, number>> {
  const boundary = 'nearkeep-bench';
  const head = Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="snapshot"; filename="a"\r\ncontent-type: application/octet-stream\r\n\r\n`);
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const built = await graphsBuilt();
  const status = await new Promise<string>((resolve, reject) => {
    const request = http.request({
      method: 'POST', port: server.port, host: '127.0.0.1', signal, path: `/collections/restored/snapshots/upload?wait=true&checksum=${snapshot.checksum}`,
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': head.length + snapshot.size + tail.length },
    }, (response) => {
      let text = '';
      response.on('data', (piece: Buffer) => { text += piece.toString(); });
      response.on('end', () => { resolve(`${response.statusCode} ${text}`); });
    });
    request.on('error', reject);
    pipeline(async function* () {
      yield head;
      yield* createReadStream(archive, { highWaterMark: 1 << 20 });
      yield tail;
    }, request).catch(reject);
  });
  if (!status.startsWith('200 ')) throw new RangeError(`restore: ${status.slice(0, 300)}`);
  const info = await infoOf('restored');
  if (info.points_count !== count) throw new RangeError(`${info.points_count} points were restored`);
  await fs.rm(archive);
  return { points: info.points_count, indexed: info.indexed_vectors_count, graphs_built: await graphsBuilt() - built };
}

async function restart(): Promise<Record<string, number>> {
  const stopping = performance.now();
  await stop(server);
  const starting = performance.now();
  server = await serve(data);
  await nearest('restored', must(queries[0], 'a query'), { indexed_only: true });
  const answered = performance.now();
  return { stop_ms: starting - stopping, first_answer_ms: answered - starting, graphs_built: await graphsBuilt() };
}

const phases: readonly (readonly [string, (tools: PhaseTools) => Promise<Record<string, number>>])[] = [
  ['ingest', ingest], ['green', untilGreen], ['search', (tools) => search('large', tools)], ['snapshot', createSnapshot], ['download', download],
  ['restore', restore], ['search of the restored', (tools) => search('restored', tools)], ['restart', restart],
];
const ended = [];
let failure: string | undefined;
try {
  for (const [name, work] of phases) {
    ended.push(await log.run(name, work));
    if (name !== 'ingest') continue;
    while (queries.length < queryCount) {
      const query = new Float32Array(size);
      draw(query);
      queries.push(query);
    }
  }
} catch (error) {
  failure = error instanceof Error ? error.message : String(error);
}
const peak = Math.max(...ended.map(({ peakResidentBytes }) => peakResidentBytes));
report({
  name: `${count} x ${size} from ingest to restart`, value: failure ?? `${(ended.reduce((sum, { seconds }) => sum + seconds, 0) / 60).toFixed(1)} min`,
  goal: 'every phase, within memory', met: failure === undefined && peak < memoryBytes,
  detail: `${ended.map(({ name, seconds }) => `${name} ${seconds.toFixed(0)} s`).join(', ')}; peak of memory ${(peak / 1e9).toFixed(1)} GB, of disk ${(Math.max(...ended.map(({ peakDiskBytes }) => peakDiskBytes)) / 1e9).toFixed(1)} GB`,
}, { phases: ended });
agent.destroy();
await stop(server);
if (failure !== undefined) process.exitCode = 1;
