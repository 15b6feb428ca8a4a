import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CreateCollection, KeptJson } from './collection-config.ts';
import { fillConfig } from './config-defaults.ts';
import { indexingOf, type VectorIndexing } from './indexing-config.ts';

const vectors = { size: 4, distance: 'Dot' } as const;

function indexing(changes: Omit<CreateCollection, 'vectors'>, own: KeptJson = {}): VectorIndexing {
  return indexingOf(fillConfig({ vectors: { v: { ...vectors, hnsw_config: own } }, ...changes }))('v');
}

const defaults: VectorIndexing = {
  m: 16, efConstruct: 100, threadsMax: 0, graphBytesMin: 10_240_000, scanBytesMax: 10_240_000, codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default',
};

test("every setting of a graph is read from the configuration, a vector's own first", () => {
  assert.deepEqual(indexing({}), defaults);
  const hnswConfig = { m: 24, ef_construct: 200, full_scan_threshold: 50, max_indexing_threads: 3 };
  const common = { ...defaults, m: 24, efConstruct: 200, scanBytesMax: 51_200, threadsMax: 3 };
  assert.deepEqual(indexing({ hnswConfig }), common);
  assert.deepEqual(indexing({ hnswConfig }, { m: 8 }), { ...common, m: 8 });
  assert.deepEqual(indexing({ hnswConfig }, { ef_construct: 40, full_scan_threshold: 20, max_indexing_threads: 1 }), {
    ...common,
    efConstruct: 40,
    scanBytesMax: 20_480,
    threadsMax: 1,
  });
  assert.deepEqual(indexing({ optimizersConfig: { indexing_threshold: 5 } }), { ...defaults, graphBytesMin: 5120 });
});

test('a graph has from 2 to 512 links, or none', () => {
  assert.deepEqual([0, 1, 16, 9999].map((m) => indexing({ hnswConfig: { m } }).m), [0, 2, 16, 512]);
});

test('threads of a build are the fewer of the two settings, and 0 optimizers or threshold 0 build none', () => {
  const threads = (hnsw: number, optimizer: number | null): number =>
    indexing({ hnswConfig: { max_indexing_threads: hnsw }, optimizersConfig: { max_optimization_threads: optimizer } }).threadsMax;
  assert.deepEqual([threads(0, null), threads(4, null), threads(0, 2), threads(4, 2), threads(2, 4)], [0, 4, 2, 2, 2]);
  assert.equal(indexing({ optimizersConfig: { max_optimization_threads: 0 } }).graphBytesMin, Infinity);
  assert.equal(indexing({ optimizersConfig: { indexing_threshold: 0 } }).graphBytesMin, Infinity);
});
