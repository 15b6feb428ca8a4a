// The packages that vector benchmarks compare with. They are not dependencies of nearkeep: bench/baselines/ pins them, and they are
// installed there when they are first needed, compiled for this very CPU (stock hnswlib-node uses no AVX at all).
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { median, root, skip } from './harness.ts';
import { cpuUs, size } from './vector-sets.ts';
import type { Searcher } from './recall-curve.ts';

export const m = 16;
export const efConstruct = 100;

export interface Hnswlib {
  readonly HierarchicalNSW: new (space: string, dims: number) => {
    initIndex(count: number, m: number, ef: number, seed: number): void;
    addPoint(point: number[], label: number): void;
    setEf(ef: number): void;
    searchKnn(query: number[], k: number): { readonly neighbors: number[] };
  };
}

export interface Usearch {
  readonly Index: new (options: { dimensions: number; metric: string; quantization: string; connectivity: number; expansion_add: number; expansion_search: number }) => {
    add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
    search(query: Float32Array, k: number, threads: number): { readonly keys: BigUint64Array };
  };
}

const folder = path.join(root, 'bench/baselines');
const compilerFlags = '-O3 -march=native';

/** undefined, with a line that says why, where it cannot be had. */
export function baseline(name: 'hnswlib-node' | 'usearch'): unknown {
  install();
  try {
    return createRequire(path.join(folder, 'package.json'))(name);
  } catch (error) {
    skip(`vector: against ${name}`, error instanceof Error ? error.message.split('\n')[0] ?? '' : String(error));
    return undefined;
  }
}

function install(): void {
  const stamp = path.join(folder, 'node_modules', '.compiled-for-this-cpu');
  if (existsSync(stamp)) return;
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel', 'error'], {
    cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, CFLAGS: compilerFlags, CXXFLAGS: compilerFlags },
  });
  if (status === 0) writeFileSync(stamp, `${compilerFlags}\n`);
}

export interface BuiltBaseline {
  readonly searcher: Searcher;
  readonly cpuSeconds: number;
}

/** On one thread: it has no other. */
export function buildHnswlib(library: Hnswlib, rows: Float32Array): BuiltBaseline {
  const count = rows.length / size;
  const index = new library.HierarchicalNSW('ip', size);
  index.initIndex(count, m, efConstruct, 100);
  let spentUs = 0;
  for (let at = 0; at < count; at += 1) {
    const list = Array.from(rows.subarray(at * size, (at + 1) * size));
    const started = cpuUs();
    index.addPoint(list, at);
    spentUs += cpuUs() - started;
  }
  return { cpuSeconds: spentUs / 1e6, searcher: { name: 'hnswlib', search: (query, ef, k) => {
    index.setEf(ef);
    return index.searchKnn(Array.from(query), k).neighbors;
  } } };
}

/** CPU of one call of the binding that finds next to nothing to do: an index of one point. */
export function hnswlibCallUs(library: Hnswlib, query: Float32Array): number {
  const { searcher } = buildHnswlib(library, query);
  const calls = 2000;
  const runs = Array.from({ length: 5 }, () => {
    const started = cpuUs();
    for (let call = 0; call < calls; call += 1) void searcher.search(query, 10, 1);
    return (cpuUs() - started) / calls;
  });
  return median(runs);
}

export function buildUsearch(library: Usearch, rows: Float32Array, threads: number): BuiltBaseline {
  const count = rows.length / size;
  const newIndex = (expansionSearch: number): InstanceType<Usearch['Index']> =>
    new library.Index({ dimensions: size, metric: 'ip', quantization: 'f32', connectivity: m, expansion_add: efConstruct, expansion_search: expansionSearch });
  const index = newIndex(64);
  const started = cpuUs();
  index.add(BigUint64Array.from({ length: count }, (_, at) => BigInt(at)), rows, threads);
  return { cpuSeconds: (cpuUs() - started) / 1e6, searcher: { name: 'usearch', search: (query, _ef, k) => Array.from(index.search(query, k, 1).keys, Number) } };
}
