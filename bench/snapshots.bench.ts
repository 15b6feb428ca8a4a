// Snapshots of the built server, from outside: what they take (time, memory, disk), and what they cost searches and writes meanwhile.
// Times stand beside `cp` and a sync of the same archive on the same disk in the same round.
//   NEARKEEP_BENCH_ROWS        points of 768 dimensions (50,000), with graphs and payload
//   NEARKEEP_BENCH_SECONDS     of load without and with snapshots, each (60)
//   NEARKEEP_BENCH_ARCHIVE_MB  of the large archive (1,024 MiB)
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, promises as fs } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { must } from '../src/base/assert.ts';
import { startBareSender } from './bare-sender.ts';
import { benchFolder, median, ms, randomRows, ratioText, report, timedMs } from './harness.ts';
import { openLoop, percentile, type Stream } from './open-loop.ts';
import { drafts, fill, openWithCollection, settle } from './points.ts';
import { plainGet, SnapshotServer } from './snapshot-server.ts';
import { usageOf, type Usage } from './usage.ts';
import { size, synthetic } from './vector-sets.ts';

const count = Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 50_000);
const loadSeconds = Number(process.env['NEARKEEP_BENCH_SECONDS'] ?? 60);
const largeBytes = Number(process.env['NEARKEEP_BENCH_ARCHIVE_MB'] ?? 1024) * 2 ** 20;
const rounds = 5;
const settleMs = 600_000;
const largeRounds = 3;
const searchesPerSecond = 100;
const writesPerSecond = 20;
const pointsPerWrite = 2;
const memoryGoalBytes = 100e6;
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

const runFile = promisify(execFile);
const folder = benchFolder();
const data = path.join(folder, 'data');
const largeData = path.join(folder, 'large');
const archive = path.join(folder, 'bench.snapshot');
const payload = (row: number): string => `{"title":"paper number ${row} about snapshots","year":${1990 + (row % 35)},"tags":["t${row % 7}","t${row % 11}"]}`;

const { rows, queries } = synthetic(count);
const exactSearch = searchBody(0, { exact: true });
await fillSmall();
await fillLarge();
await onePoint();
await speeds();
await memoryAndDisk();
await largeDownload();
await stall();

async function fillSmall(): Promise<void> {
  const engine = await openWithCollection(data, size);
  await fill(engine, { vectors: rows, size, payload }, { from: 0, to: count, batch: 500 });
  await settle(engine, settleMs);
  await engine.close();
}

/** Windows of one random sequence, each a value further: different rows without gigabytes of random numbers. */
async function fillLarge(): Promise<void> {
  const largeSize = 4096;
  const largeCount = Math.ceil(largeBytes / (4 * largeSize));
  const sequence = randomRows(largeCount + largeSize, 1);
  const engine = await openWithCollection(largeData, largeSize, { graphs: false });
  const batch = 200;
  for (let from = 0; from < largeCount; from += batch) {
    const points = drafts({ vectors: sequence, size: largeSize, payload }, from, Math.min(from + batch, largeCount), (row) => sequence.subarray(row, row + largeSize));
    await engine.write('bench', { kind: 'upsert', points }, { wait: true });
  }
  await settle(engine, settleMs);
  await engine.close();
}

async function onePoint(): Promise<void> {
  await using server = await SnapshotServer.start(path.join(folder, 'one'));
  await server.call('PUT', '/collections/one', Buffer.from(`{"vectors":{"size":${size},"distance":"Cosine"}}`));
  await server.call('PUT', '/collections/one/points?wait=true', upsertBody([0]));
  const { size: bytes } = await server.create('one');
  report({ name: 'snapshot of a collection of one point', value: `${(bytes / 1e3).toFixed(1)} kB`, goal: '< 100 kB', met: bytes < 100e3, detail: `${size} dimensions` });
}

/** Each step beside a copy of the archive: the order of the steps turns with every round. */
async function speeds(): Promise<void> {
  await using server = await SnapshotServer.start(data);
  const expected = await server.firstAnswer('bench', exactSearch);
  const kept = await server.create('bench');
  await server.download('bench', kept.name, archive);
  assert.equal(await sha256Of(archive), kept.checksum);
  const times = { copy: [] as number[], create: [] as number[], download: [] as number[], upload: [] as number[], restore: [] as number[] };
  const steps = [
    async () => {
      times.copy.push(await copyMs(archive));
    },
    async () => {
      let name = '';
      times.create.push(await timedMs(async () => {
        ({ name } = await server.create('bench'));
      }));
      await server.delete('bench', name);
    },
    async () => {
      times.download.push(await syncedFileMs((file) => server.download('bench', kept.name, file)));
    },
    async () => {
      const started = performance.now();
      await server.upload('restored', archive);
      times.upload.push(performance.now() - started);
      assert.deepEqual(await server.firstAnswer('restored', exactSearch), expected);
      times.restore.push(performance.now() - started);
      await server.call('DELETE', '/collections/restored');
    },
  ];
  for (let round = 0; round < rounds; round += 1) {
    for (let at = 0; at < steps.length; at += 1) {
      await runFile('sync', ['-f', folder]); // what the step before left unwritten is not this one's
      await must(steps[(at + round) % steps.length], 'a step')();
    }
  }
  const frozen = server.freezes();
  const { segments_count: segments } = (await server.call('GET', '/collections/bench')) as { segments_count: number };
  const freezeGoal = 100 + segments;
  report({
    name: `freeze, link and publish of ${count} x ${size}`, value: ms(median(frozen)), goal: `<= ${freezeGoal} ms`, met: median(frozen) <= freezeGoal,
    detail: `${segments} segments; longest ${ms(Math.max(...frozen))}`,
  }, { runs_ms: frozen });
  const { size: bytes } = await fs.stat(archive);
  const compare = (name: string, subject: readonly number[], goal: number): void => {
    const ratio = median(subject.map((value, at) => value / must(times.copy[at], 'a copy in every round')));
    report({
      name: `${name} / cp + sync of the archive`, value: ratioText(ratio), goal: `<= ${goal}x`, met: ratio <= goal,
      detail: `${mb(bytes)}: cp + sync ${ms(median(times.copy))}, ${name} ${ms(median(subject))}`,
    }, { baseline_ms: times.copy, subject_ms: subject });
  };
  compare('create with size and checksum', times.create, 2);
  compare('download to a synced file', times.download, 1.2);
  compare('upload until staged and verified', times.upload, 2.5);
  compare('restore until its first correct answer', times.restore, 2.5);
  await server.delete('bench', kept.name);
}

/** Each in a server of its own that has searched before: what an earlier step left in its heap would hide what this one needs. */
async function memoryAndDisk(): Promise<void> {
  const measure = async (name: string, work: (server: SnapshotServer) => Promise<unknown>): Promise<Usage> => {
    await using server = await SnapshotServer.start(data);
    for (let at = 0; at < queries.length; at += 1) await server.call('POST', '/collections/bench/points/search', searchBody(at));
    const usage = await usageOf({ pid: server.pid, folders: [data] }, () => work(server));
    report({
      name: `${name}: memory beyond the idle server`, value: mb(usage.memoryBytes), goal: '<= 100 MB', met: usage.memoryBytes <= memoryGoalBytes,
      detail: `${mb(usage.memoryStaysBytes)} stay, ${mb(usage.withMappedBytes)} at most with mapped files; disk ${mb(usage.diskBytes)} more at most, ${mb(usage.diskStaysBytes)} stay`,
    }, { ...usage });
    return usage;
  };
  let name = '';
  const { diskBytes } = await measure('create', async (server) => {
    ({ name } = await server.create('bench'));
  });
  report({
    name: 'create: disk for data', value: mb(diskBytes), goal: '0 MB', met: diskBytes < 0.5e6, detail: `${(diskBytes / 1e3).toFixed(0)} kB of descriptions, folders and a new log file`,
  });
  await measure('download', (server) => server.download('bench', name, '/dev/null'));
  await measure('upload and restore', async (server) => {
    await server.upload('restored', archive);
    await server.firstAnswer('restored', exactSearch);
  });
  await using server = await SnapshotServer.start(data);
  await server.call('DELETE', '/collections/restored');
  await server.delete('bench', name);
}

async function largeDownload(): Promise<void> {
  await using server = await SnapshotServer.start(largeData);
  const { name, size: bytes, checksum } = await server.create('bench');
  const file = path.join(folder, 'large.snapshot');
  const usage = await usageOf({ pid: server.pid, folders: [largeData] }, () => server.download('bench', name, file));
  assert.equal(await sha256Of(file), checksum);
  await using bare = await startBareSender(bytes);
  const copies: number[] = [];
  const downloads: number[] = [];
  const bareDownloads: number[] = [];
  const steps = [
    async () => copies.push(await copyMs(file)),
    async () => downloads.push(await syncedFileMs((target) => server.download('bench', name, target))),
    async () => bareDownloads.push(await syncedFileMs((target) => plainGet(bare.url, target))),
  ];
  for (let round = 0; round < largeRounds; round += 1) {
    for (let at = 0; at < steps.length; at += 1) {
      await runFile('sync', ['-f', folder]);
      await must(steps[(at + round) % steps.length], 'a step')();
    }
  }
  const ratio = median(downloads.map((value, at) => value / must(copies[at], 'a copy in every round')));
  report({
    name: 'large archive by one plain GET / cp + sync', value: ratioText(ratio), goal: '<= 1.2x', met: ratio <= 1.2,
    detail: `${mb(bytes)}: cp + sync ${ms(median(copies))}, GET to a synced file ${ms(median(downloads))}, from a bare node:http server ${ms(median(bareDownloads))}`,
  }, { baseline_ms: copies, subject_ms: downloads, bare_ms: bareDownloads });
  report({
    name: 'large archive by one plain GET: memory beyond the idle server', value: mb(usage.memoryBytes), goal: '<= 100 MB', met: usage.memoryBytes <= memoryGoalBytes,
    detail: `${mb(usage.memoryStaysBytes)} stay, ${mb(usage.withMappedBytes)} at most with mapped files; the checksum fits`,
  }, { ...usage });
  await fs.rm(file);
}

/** Rounds without and with snapshots in turn; percentiles over all of one side. */
async function stall(): Promise<void> {
  await using server = await SnapshotServer.start(data);
  const searches = queries.map((_, at) => searchBody(at));
  const writes = Array.from({ length: 500 }, (_, at) => upsertBody(Array.from({ length: pointsPerWrite }, (_unused, index) => (at * 97 + index * 31) % count)));
  const streams: readonly Stream[] = [
    { name: 'search', perSecond: searchesPerSecond, send: (index) => server.call('POST', '/collections/bench/points/search', searches[index % searches.length]) },
    { name: 'write', perSecond: writesPerSecond, send: (index) => server.call('PUT', '/collections/bench/points?wait=true', writes[index % writes.length]) },
  ];
  await openLoop(streams, Math.min(5, loadSeconds)); // warm
  const sides = { quiet: new Map<string, number[]>(), busy: new Map<string, number[]>() };
  let snapshots = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const side of round % 2 === 0 ? ['quiet', 'busy'] as const : ['busy', 'quiet'] as const) {
      let loading = true;
      const snapshotting = (async () => {
        while (side === 'busy' && loading) {
          const { name } = await server.create('bench');
          await server.download('bench', name, '/dev/null');
          await server.delete('bench', name);
          snapshots += 1;
        }
      })();
      const found = await openLoop(streams, loadSeconds / rounds);
      loading = false;
      await snapshotting;
      for (const [name, latencies] of found) sides[side].set(name, [...(sides[side].get(name) ?? []), ...latencies]);
    }
  }
  for (const [name, goal] of [['search', 1.25], ['write', 1.5]] as const) {
    const quiet = must(sides.quiet.get(name), 'a stream');
    const busy = must(sides.busy.get(name), 'a stream');
    for (const [label, share] of [['p50', 0.5], ['p99', 0.99]] as const) {
      const ratio = percentile(busy, share) / percentile(quiet, share);
      report({
        name: `${name} ${label} during snapshots and downloads / before`, value: ratioText(ratio), goal: `<= ${goal}x`, met: ratio <= goal,
        detail: `${ms(percentile(quiet, share))} to ${ms(percentile(busy, share))}; longest ${ms(Math.max(...quiet))} and ${ms(Math.max(...busy))}; ${quiet.length} each, ${snapshots} snapshots`,
      });
    }
  }
}

function copyMs(file: string): Promise<number> {
  return syncedFileMs((copy) => runFile('cp', [file, copy]));
}

/** Until what `write` makes of a new file is on the disk; the file is removed. */
async function syncedFileMs(write: (file: string) => Promise<unknown>): Promise<number> {
  const file = path.join(folder, 'file');
  const spent = await timedMs(async () => {
    await write(file);
    await runFile('sync', [file]);
  });
  await fs.rm(file);
  return spent;
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(piece as Buffer);
  return hash.digest('hex');
}

function searchBody(at: number, params: Readonly<Record<string, unknown>> = {}): Buffer {
  return Buffer.from(JSON.stringify({ vector: [...must(queries[at], 'a query')], limit: 10, with_payload: true, params }));
}

function upsertBody(ids: readonly number[]): Buffer {
  return Buffer.from(`{"points":[${ids.map((row) => `{"id":${row},"vector":[${rows.subarray(row * size, (row + 1) * size).join(',')}],"payload":${payload(row)}}`).join(',')}]}`);
}
