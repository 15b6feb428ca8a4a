import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CreateCollection, KeptJson } from './collection-config.ts';
import { fillConfig } from './config-defaults.ts';
import { indexingOf, mergingOf, type VectorIndexing } from './indexing-config.ts';

const vectors = { size: 4, distance: 'Dot' } as const;

function indexing(changes: Omit<CreateCollection, 'vectors'>, own: KeptJson = {}): VectorIndexing {
  return indexingOf(fillConfig({ vectors: { v: { ...vectors, hnsw_config: own } }, ...changes }))('v');
}

const defaults: VectorIndexing = {
  m: 16, payloadM: 16, payloadFields: 'tenants', efConstruct: 100, threadsMax: 0, graphBytesMin: 10_240_000, scanBytesMax: 10_240_000,
  codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default',
};

test("every setting of a graph is read from the configuration, a vector's own first", () => {
  assert.deepEqual(indexing({}), defaults);
  const hnswConfig = { m: 24, ef_construct: 200, full_scan_threshold: 50, max_indexing_threads: 3 };
  const common = { ...defaults, m: 24, payloadM: 24, efConstruct: 200, scanBytesMax: 51_200, threadsMax: 3 };
  assert.deepEqual(indexing({ hnswConfig }), common);
  assert.deepEqual(indexing({ hnswConfig }, { m: 8 }), { ...common, m: 8, payloadM: 8 });
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

test('links within values: of tenants as many as m, with payload_m of all fields', () => {
  const read = (hnswConfig: KeptJson): readonly unknown[] => {
    const { m, payloadM, payloadFields } = indexing({ hnswConfig });
    return [m, payloadM, payloadFields];
  };
  assert.deepEqual(read({}), [16, 16, 'tenants']);
  assert.deepEqual(read({ payload_m: null, m: 8 }), [8, 8, 'tenants']);
  assert.deepEqual(read({ payload_m: 24 }), [16, 24, 'all']);
  assert.deepEqual(read({ m: 0, payload_m: 16 }), [0, 16, 'all']);
  assert.deepEqual(read({ m: 0 }), [0, 0, 'tenants']);
  assert.deepEqual([1, 9999, 0].map((payload) => read({ payload_m: payload })[1]), [2, 512, 0]);
});

test('threads of a build are the fewer of the two settings, and 0 optimizers or threshold 0 build none', () => {
  const threads = (hnsw: number, optimizer: number | null): number =>
    indexing({ hnswConfig: { max_indexing_threads: hnsw }, optimizersConfig: { max_optimization_threads: optimizer } }).threadsMax;
  assert.deepEqual([threads(0, null), threads(4, null), threads(0, 2), threads(4, 2), threads(2, 4)], [0, 4, 2, 2, 2]);
  assert.equal(indexing({ optimizersConfig: { max_optimization_threads: 0 } }).graphBytesMin, Infinity);
  assert.equal(indexing({ optimizersConfig: { indexing_threshold: 0 } }).graphBytesMin, Infinity);
});

test('how far segments are merged: 0 and null leave it to the shard, sizes are in KiB', () => {
  const merging = (optimizersConfig: KeptJson): unknown => mergingOf(fillConfig({ vectors, optimizersConfig }));
  assert.deepEqual(merging({}), { segmentsMin: 1 });
  assert.deepEqual(merging({ default_segment_number: 0, max_segment_size: null }), { segmentsMin: 1 });
  assert.deepEqual(merging({ default_segment_number: 3, max_segment_size: 1_000 }), { segmentsMin: 3, bytesMax: 1_024_000 });
});
