// CPU per query at equal recall, and CPU of a build, against hnswlib (its Node binding, compiled for this CPU) and usearch, in one
// process. The graphs are ours as a sealed segment has them: int8 codes, f32 scores, over a mapped file.
//
// The baselines are not dependencies of nearkeep: bench/baselines/ pins them, and this file installs them there when it runs. What is
// absent is skipped with a line.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000)
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { seededRandom } from '../src/base/testing/random.ts';
import { nativeIndexes } from '../src/index/native-scan.ts';
import type { VectorIndex } from '../src/index/vector-index.ts';
import { loadAddon } from '../src/vector/addon.ts';
import { benchFolder, median, papers, paperVectors, paperQueries, ratioText, report, root, skip } from './harness.ts';

const size = 768;
const k = 10;
const m = 16;
const efConstruct = 100;
const efs = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const rounds = 3;
const buildRows = 10_000;
const addon = loadAddon();

interface DataSet {
  readonly name: string;
  /** Unit length. */
  readonly rows: Float32Array;
  readonly queries: readonly Float32Array[];
}

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

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function normalize(row: Float32Array): void {
  let squares = 0;
  for (const value of row) squares += value * value;
  const length = Math.sqrt(squares);
  for (let at = 0; at < row.length; at += 1) row[at] = (row[at] ?? 0) / length;
}

/** Clusters of unequal sizes in 48 latent dimensions, projected to 768 with a common mean and a little noise. */
function synthetic(count: number): DataSet {
  const random = seededRandom(11);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const latent = 48;
  const clusters = Math.max(20, Math.round(count / 50));
  const spectrum = Float32Array.from({ length: latent }, (_, at) => (at + 1) ** -0.35);
  const centres = Float32Array.from({ length: clusters * latent }, normal);
  const spread = Float32Array.from({ length: clusters }, () => 0.45 + 0.5 * random.next());
  const projection = Float32Array.from({ length: latent * size }, () => normal() / Math.sqrt(latent));
  const mean = Float32Array.from({ length: size }, () => 0.6 * normal());
  const draw = (into: Float32Array): void => {
    const cluster = Math.floor(clusters * random.next() ** 2.5);
    into.set(mean);
    for (let i = 0; i < latent; i += 1) {
      const z = (spectrum[i] ?? 0) * ((centres[cluster * latent + i] ?? 0) + (spread[cluster] ?? 0) * normal());
      for (let j = 0; j < size; j += 1) into[j] = (into[j] ?? 0) + z * (projection[i * size + j] ?? 0) * 4;
    }
    for (let j = 0; j < size; j += 1) into[j] = (into[j] ?? 0) + 0.05 * (random.next() - 0.5);
    normalize(into);
  };
  const rows = new Float32Array(count * size);
  for (let row = 0; row < count; row += 1) draw(rows.subarray(row * size, (row + 1) * size));
  const queries = Array.from({ length: 300 }, () => {
    const query = new Float32Array(size);
    draw(query);
    return query;
  });
  return { name: `clusters ${count}`, rows, queries };
}

function arxiv(): DataSet {
  const rows = paperVectors();
  const flat = paperQueries();
  const queries: Float32Array[] = [];
  for (let at = 0; at < flat.length; at += size) queries.push(flat.slice(at, at + size));
  for (const query of queries) normalize(query);
  for (let at = 0; at < rows.length; at += size) normalize(rows.subarray(at, at + size));
  return { name: 'arxiv', rows, queries: queries.slice(0, 300) };
}

async function openOurs(folder: string, name: string, rows: Float32Array): Promise<VectorIndex> {
  if (addon === undefined) throw new TypeError('checked by the caller');
  const file = path.join(folder, `${name}.vec`);
  writeFileSync(file, new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
  const indexes = nativeIndexes(addon, addon.kernels[0]?.name ?? 'scalar');
  return await indexes.openFile({ size, distance: 'Cosine', datatype: 'float32' }, { path: file, dataOffset: 0, rowCount: rows.length / size, sizeBytes: rows.byteLength }, () => Promise.resolve(readFileSync(file)));
}

async function buildOurs(index: VectorIndex): Promise<number> {
  const started = cpuUs();
  const build = await index.graph?.build({ m, efConstruct, threadsMax: 0 });
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

async function compare(data: DataSet, folder: string): Promise<void> {
  const count = data.rows.length / size;
  const index = await openOurs(folder, data.name.replace(' ', '-'), data.rows);
  const allowed = new Uint32Array(Math.ceil(count / 32)).fill(0xffffffff);
  const truth = (await index.search(data.queries.map((vector) => ({ vector, k, allowed })))).map(({ rows }) => new Set(rows));
  const ourBuild = await buildOurs(index);
  const ours: Searcher = { name: 'nearkeep', search: async (vector, hnswEf) => (await index.search([{ vector, k, allowed, hnswEf }]))[0]?.rows ?? [] };
  const our = await curve(ours, data, truth);
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
    const small = await openOurs(folder, 'small', rows);
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
  if (papers.present) await compare(arxiv(), folder);
  else skip('vector: arxiv', `no data set at ${papers.folder}`);
  await compare(synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000)), folder);
}
