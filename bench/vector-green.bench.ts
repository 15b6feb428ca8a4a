// A collection as the server leaves it: streamed in over the engine in batches of 100 with default settings, 5 % of the points written
// again, then left alone until it is green. CPU per query at equal recall against hnswlib (compiled for this CPU; its binding's own call
// measured and taken off) and usearch; memory a point by part; the time to green; and a start that builds no graph.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000)
import http from 'node:http';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { must } from '../src/base/assert.ts';
import { parsePointId } from '../src/base/ids.ts';
import { seededRandom } from '../src/base/testing/random.ts';
import type { SearchParams } from '../src/command/read.ts';
import { open, type Engine } from '../src/nearkeep.ts';
import { loadAddon } from '../src/vector/addon.ts';
import { baseline, buildHnswlib, buildUsearch, hnswlibCallUs, type Hnswlib, type Usearch } from './baselines.ts';
import { benchFolder, ms, papers, ratioText, report, residentBytes, skip, timedMs } from './harness.ts';
import { drafts, openWithCollection, settle } from './points.ts';
import { cpuAt, curve, curveText, k, type Measured, type Searcher } from './recall-curve.ts';
import { metrics, send, serve, stop } from './server.ts';
import { arxiv, size, synthetic, type DataSet } from './vector-sets.ts';

const batch = 100;
const updatedShare = 0.05;
const settleMsMax = 600_000;
/** usearch takes too long to build over more. */
const usearchRowsMax = 40_000;
const collection = 'bench';

/** Payload as a document has it, with an index over two of its fields. */
const payload = (row: number): string => `{"title":"paper number ${row}","year":${1990 + (row % 35)},"group":"g${row % 50}"}`;

async function fillUntilGreen(data: DataSet, folder: string): Promise<{ readonly ingestMs: number; readonly greenMs: number }> {
  const engine = await openWithCollection(folder, size);
  await engine.write(collection, { kind: 'create-index', field: 'year', schema: { type: 'integer' } }, { wait: true });
  await engine.write(collection, { kind: 'create-index', field: 'group', schema: { type: 'keyword' } }, { wait: true });
  const rows = { vectors: data.rows, size, payload };
  const count = data.rows.length / size;
  const write = (from: number): Promise<unknown> =>
    engine.write(collection, { kind: 'upsert', points: drafts(rows, from, Math.min(from + batch, count)) }, { wait: true });
  const ingestMs = await timedMs(async () => {
    for (let at = 0; at < count; at += batch) await write(at);
    const random = seededRandom(5);
    for (let updated = 0; updated < count * updatedShare; updated += 1) {
      const row = Math.floor(random.next() * count);
      await engine.write(collection, { kind: 'upsert', points: drafts(rows, row, row + 1) }, { wait: updated % batch === 0 });
    }
  });
  const greenMs = await timedMs(() => settle(engine, settleMsMax));
  await engine.close();
  return { ingestMs, greenMs };
}

function searcherOf(engine: Engine, params: SearchParams = {}): Searcher {
  const selectors = { payload: { kind: 'none' }, vectors: { kind: 'none' } } as const;
  return {
    name: 'nearkeep',
    search: async (vector, hnswEf, limit) => {
      const [found] = await engine.search(collection, [{ target: { kind: 'vector', vector }, using: '', limit, offset: 0, selectors, params: { ...params, hnswEf } }]);
      return must(found, 'one list for each request').map(({ id }) => Number(id));
    },
  };
}

async function compareSearch(data: DataSet, engine: Engine): Promise<void> {
  const { segments, points, indexedVectors } = engine.collectionInfo(collection);
  const exact = searcherOf(engine, { exact: true });
  const truth: ReadonlySet<number>[] = [];
  for (const query of data.queries) truth.push(new Set(Array.from(await exact.search(query, k, k))));
  const ours = await curve(searcherOf(engine), data, truth);
  const shown = `${segments} segment${segments === 1 ? '' : 's'}, ${indexedVectors} of ${points} vectors in graphs`;
  process.stderr.write(`${data.name}: ${shown}: nearkeep ${curveText(ours)}\n`);
  const hnswlib = baseline('hnswlib-node') as Hnswlib | undefined;
  if (hnswlib !== undefined) {
    const callUs = hnswlibCallUs(hnswlib, must(data.queries[0], 'a query'));
    const theirs = await curve(buildHnswlib(hnswlib, data.rows).searcher, data, truth);
    process.stderr.write(`${data.name}: hnswlib ${curveText(theirs)}; its call alone ${callUs.toFixed(0)} us\n`);
    tell(data, 'hnswlib', { ours, theirs, callUs, shown });
  }
  if (data.rows.length / size > usearchRowsMax) return;
  const usearch = baseline('usearch') as Usearch | undefined;
  if (usearch === undefined) return;
  const [other] = await curve(buildUsearch(usearch, data.rows, 2).searcher, data, truth); // its list length is fixed at 64
  if (other !== undefined) tell(data, 'usearch', { ours, theirs: [other], callUs: 0, shown }, [Math.min(other.recall, 0.99)]);
}

interface Curves {
  readonly ours: readonly Measured[];
  readonly theirs: readonly Measured[];
  /** Of their binding. */
  readonly callUs: number;
  readonly shown: string;
}

function tell(data: DataSet, name: string, { ours, theirs, callUs, shown }: Curves, recalls: readonly number[] = [0.95, 0.99]): void {
  for (const recall of recalls) {
    const [a, b] = [cpuAt(ours, recall), cpuAt(theirs, recall)];
    if (a === undefined || b === undefined) {
      skip(`vector-green: ${data.name} at recall ${recall}`, 'one of the curves does not reach it');
      continue;
    }
    const ratio = a / (b - callUs);
    report({
      name: `search at green, ${data.name}, recall ${recall.toFixed(3)}, / ${name}`, value: ratioText(ratio), goal: `<= 0.45x ${name}`, met: ratio <= 0.45,
      detail: `CPU per query ${a.toFixed(0)} us against ${(b - callUs).toFixed(0)} us (as called ${b.toFixed(0)} us, of which its call ${callUs.toFixed(0)} us); ${shown}`,
    }, { ours, theirs });
  }
}

/** Bytes of the shard's files by kind, a point. */
function bytesByKind(folder: string, points: number): ReadonlyMap<string, number> {
  const bytes = new Map<string, number>();
  const names = readdirSync(path.join(folder, 'collections'), { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((each) => path.basename(each) === 'manifest.json')) {
    const manifest = JSON.parse(readFileSync(path.join(folder, 'collections', name), 'utf8')) as { readonly segments?: readonly { readonly files: readonly { readonly kind: string; readonly size: number }[] }[] };
    for (const { files } of manifest.segments ?? []) {
      for (const { kind, size: sizeBytes } of files) bytes.set(kind, (bytes.get(kind) ?? 0) + sizeBytes / points);
    }
  }
  return bytes;
}

/** By part: what is held in memory, and what is mapped or stays on disk. */
function tellMemory(data: DataSet, folder: string, grownBytes: number): void {
  const points = data.rows.length / size;
  const bytes = bytesByKind(folder, points);
  const of = (...kinds: readonly string[]): number => kinds.reduce((sum, kind) => sum + (bytes.get(kind) ?? 0), 0);
  const held = of('code', 'graph', 'ids', 'idx', 'has', 'pidx');
  const goal = size + 2 * 4 * 16 + 4 + 100; // codes, links of level 0 with their count, and what a point may cost besides
  report({
    name: `memory a point at green, ${data.name}`, value: `${held.toFixed(0)} B`, goal: `<= ${goal} B`, met: held <= goal,
    detail: `codes ${of('code').toFixed(0)}, links ${of('graph').toFixed(0)}, ids and versions ${of('ids', 'idx', 'has').toFixed(0)}, payload indexes ${of('pidx').toFixed(0)}; `
      + `mapped: vectors ${of('vec').toFixed(0)}; on disk: payloads ${of('pay').toFixed(0)}; the process grew by ${(grownBytes / points).toFixed(0)} B a point before its first search`,
  });
}

async function compareStart(data: DataSet, folder: string): Promise<void> {
  const started = performance.now();
  const server = await serve(folder);
  const agent = new http.Agent({ keepAlive: true });
  const body = Buffer.from(JSON.stringify({ query: Array.from(must(data.queries[0], 'a query')), limit: k, params: { indexed_only: true } }));
  const answer = JSON.parse((await send(agent, server.port, { method: 'POST', path: `/collections/${collection}/points/query`, body })).toString()) as { result: { points: unknown[] } };
  const spent = performance.now() - started;
  const built = (await metrics(agent, server.port)).get('graphs_built');
  agent.destroy();
  await stop(server);
  report({
    name: `start with indexes, ${data.name}`, value: ms(spent), goal: '<= 2000 ms', met: spent <= 2000 && built === 0 && answer.result.points.length === k,
    detail: `to the first answer out of a graph; ${built} graphs built`,
  });
}

async function run(data: DataSet, folder: string): Promise<void> {
  const { ingestMs, greenMs } = await fillUntilGreen(data, folder);
  report({
    name: `time to green after ingest, ${data.name}`, value: ms(greenMs), goal: `<= ${ms(ingestMs)} (the ingest's own)`, met: greenMs <= ingestMs,
    detail: `ingest of ${data.rows.length / size} x ${size} and ${updatedShare * 100} % updates ${ms(ingestMs)}, in one process`,
  });
  globalThis.gc?.();
  const before = residentBytes(process.pid);
  const engine = await open(folder);
  const stored = await engine.retrieve(collection, { ids: [must(parsePointId(1), 'an id')], selectors: { payload: { kind: 'all' }, vectors: { kind: 'none' } } });
  must(stored[0], 'the point is there');
  globalThis.gc?.();
  tellMemory(data, folder, residentBytes(process.pid) - before);
  await compareSearch(data, engine);
  await engine.close();
  await compareStart(data, folder);
}

if (loadAddon() === undefined) {
  skip('vector-green', 'no addon was built');
} else {
  const folder = benchFolder();
  if (papers.present) await run(arxiv(), path.join(folder, 'arxiv'));
  else skip('vector-green: arxiv', `no data set at ${papers.folder}`);
  await run(synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000)), path.join(folder, 'clusters'));
}
