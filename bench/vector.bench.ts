// CPU per query at equal recall, and CPU of a build, against hnswlib (its Node binding, compiled for this CPU) and usearch, in one
// process. The graphs are ours as a sealed segment has them: int8 codes, f32 scores, over a mapped file.
//
// The baselines are not dependencies of nearkeep: bench/baselines/ pins them, and this file installs them there when it runs. What is
// absent is skipped with a line.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000)
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { VectorIndex } from '../src/index/vector-index.ts';
import { loadAddon, type Addon } from '../src/vector/addon.ts';
import { benchFolder, median, papers, ratioText, report, root, skip } from './harness.ts';
import { arxiv, cpuUs, openIndex, size, synthetic, type DataSet } from './vector-sets.ts';

const k = 10;
const m = 16;
const efConstruct = 100;
const efs = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const rounds = 3;
const buildRows = 10_000;
const addon = loadAddon();

/** A searcher under test: ids of the k nearest. */
interface Searcher {
  readonly name: string;
  search(query: Float32Array, ef: number): Promise<ArrayLike<number>> | ArrayLike<number>;
}

interface Measured {
  readonly ef: number;
  readonly recall: number;
  readonly cpuUs: number;
}

async function buildOurs(index: VectorIndex): Promise<number> {
  const started = cpuUs();
  const build = await index.graph?.build({ m, efConstruct, threadsMax: 0, codes: { kind: 'internal' } });
  const spent = cpuUs() - started;
  build?.install();
  return spent / 1e6;
}

interface Hnswlib {
  readonly HierarchicalNSW: new (space: string, dims: number) => {
    initIndex(count: number, m: number, ef: number, seed: number): void;
    addPoint(point: number[], label: number): void;
    setEf(ef: number): void;
    searchKnn(query: number[], k: number): { readonly neighbors: number[] };
  };
}

interface Usearch {
  readonly Index: new (options: { dimensions: number; metric: string; quantization: string; connectivity: number; expansion_add: number; expansion_search: number }) => {
    add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
    search(query: Float32Array, k: number, threads: number): { readonly keys: BigUint64Array };
  };
}

function baseline(name: string): unknown {
  const folder = path.join(root, 'bench/baselines');
  if (!existsSync(path.join(folder, 'node_modules', name))) spawnSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    return createRequire(path.join(folder, 'package.json'))(name);
  } catch (error) {
    skip(`vector: against ${name}`, error instanceof Error ? error.message.split('\n')[0] ?? '' : String(error));
    return undefined;
  }
}

function buildHnswlib(library: Hnswlib, rows: Float32Array): { readonly searcher: Searcher; readonly cpuSeconds: number } {
  const count = rows.length / size;
  const lists = Array.from({ length: count }, (_, at) => Array.from(rows.subarray(at * size, (at + 1) * size)));
  const index = new library.HierarchicalNSW('ip', size);
  index.initIndex(count, m, efConstruct, 100);
  const started = cpuUs();
  for (const [at, list] of lists.entries()) index.addPoint(list, at);
  const cpuSeconds = (cpuUs() - started) / 1e6;
  return { cpuSeconds, searcher: { name: 'hnswlib', search: (query, ef) => {
    index.setEf(ef);
    return index.searchKnn(Array.from(query), k).neighbors;
  } } };
}

function buildUsearch(library: Usearch, rows: Float32Array): number {
  const count = rows.length / size;
  const index = new library.Index({ dimensions: size, metric: 'ip', quantization: 'f32', connectivity: m, expansion_add: efConstruct, expansion_search: 64 });
  const started = cpuUs();
  index.add(BigUint64Array.from({ length: count }, (_, at) => BigInt(at)), rows, 2);
  return (cpuUs() - started) / 1e6;
}

/** CPU per query and recall at each ef, the median of some rounds. */
async function curve(searcher: Searcher, data: DataSet, truth: readonly ReadonlySet<number>[]): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (const ef of efs) {
    const times: number[] = [];
    let hits = 0;
    for (let round = 0; round < rounds; round += 1) {
      hits = 0;
      const started = cpuUs();
      for (const [at, query] of data.queries.entries()) {
        const found = await searcher.search(query, ef);
        for (let i = 0; i < found.length; i += 1) hits += truth[at]?.has(found[i] ?? -1) === true ? 1 : 0;
      }
      times.push((cpuUs() - started) / data.queries.length);
    }
    measured.push({ ef, recall: hits / (k * data.queries.length), cpuUs: median(times) });
    if (hits / (k * data.queries.length) >= 0.995) break;
  }
  return measured;
}

/** CPU where the curve passes a recall, between its neighbours in a straight line; undefined where it never does. */
function cpuAt(points: readonly Measured[], recall: number): number | undefined {
  const above = points.findIndex((point) => point.recall >= recall);
  const high = points[above];
  const low = points[above - 1];
  if (high === undefined) return undefined;
  if (low === undefined) return high.cpuUs;
  return low.cpuUs + ((high.cpuUs - low.cpuUs) * (recall - low.recall)) / (high.recall - low.recall);
}

function curveText(points: readonly Measured[]): string {
  return points.map(({ ef, recall, cpuUs: us }) => `ef ${ef} R ${recall.toFixed(3)} ${us.toFixed(0)} us`).join(', ');
}

async function compare(ours: Addon, data: DataSet, folder: string): Promise<void> {
  const count = data.rows.length / size;
  const index = await openIndex(ours, folder, data.rows);
  const allowed = new Uint32Array(Math.ceil(count / 32)).fill(0xffffffff);
  const truth = (await index.search(data.queries.map((vector) => ({ vector, k, allowed })))).map(({ rows }) => new Set(rows));
  const ourBuild = await buildOurs(index);
  const walker: Searcher = { name: 'nearkeep', search: async (vector, hnswEf) => (await index.search([{ vector, k, allowed, hnswEf }]))[0]?.rows ?? [] };
  const our = await curve(walker, data, truth);
  process.stderr.write(`${data.name}: build ${ourBuild.toFixed(1)} s CPU, nearkeep ${curveText(our)}\n`);
  const library = baseline('hnswlib-node') as Hnswlib | undefined;
  if (library !== undefined) {
    const { searcher, cpuSeconds } = buildHnswlib(library, data.rows);
    const theirs = await curve(searcher, data, truth);
    process.stderr.write(`${data.name}: build ${cpuSeconds.toFixed(1)} s CPU, hnswlib ${curveText(theirs)}\n`);
    for (const recall of [0.95, 0.99]) {
      const [a, b] = [cpuAt(our, recall), cpuAt(theirs, recall)];
      if (a === undefined || b === undefined) skip(`vector: ${data.name} at recall ${recall}`, 'one of the curves does not reach it');
      else report({ name: `vector search, ${data.name}, recall ${recall}`, value: ratioText(a / b), goal: '<= 0.45x hnswlib', met: a / b <= 0.45, detail: `CPU per query ${a.toFixed(0)} us against ${b.toFixed(0)} us` }, { ours: our, theirs });
    }
    report({ name: `vector build, ${data.name}`, value: ratioText(ourBuild / cpuSeconds), goal: '<= 0.5x hnswlib', met: ourBuild / cpuSeconds <= 0.5, detail: `CPU ${ourBuild.toFixed(1)} s against ${cpuSeconds.toFixed(1)} s, m ${m}, ef_construct ${efConstruct}` });
  }
  const other = baseline('usearch') as Usearch | undefined;
  if (other !== undefined) {
    const rows = data.rows.subarray(0, Math.min(count, buildRows) * size);
    const small = await openIndex(ours, folder, rows);
    const [a, b] = [await buildOurs(small), buildUsearch(other, rows)];
    report({ name: `vector build, first ${rows.length / size} of ${data.name}`, value: ratioText(a / b), goal: '<= 0.5x usearch', met: a / b <= 0.5, detail: `CPU ${a.toFixed(2)} s against ${b.toFixed(2)} s (f32)` });
    await small.close();
  }
  await index.close();
}

if (addon === undefined) {
  skip('vector', 'no addon was built');
} else {
  const folder = benchFolder();
  if (papers.present) await compare(addon, arxiv(), folder);
  else skip('vector: arxiv', `no data set at ${papers.folder}`);
  await compare(addon, synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000)), folder);
}
