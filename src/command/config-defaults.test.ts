import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CollectionConfig, UpdateCollection } from './collection-config.ts';
import { fillConfig, mergeConfig } from './config-defaults.ts';

const vectors = { size: 4, distance: 'Dot' } as const;

test('an empty request gets every default', () => {
  assert.deepEqual(fillConfig({ vectors }), {
    params: { vectors, shard_number: 1, replication_factor: 1, write_consistency_factor: 1, on_disk_payload: true },
    hnsw_config: { m: 16, ef_construct: 100, full_scan_threshold: 10_000, max_indexing_threads: 0, on_disk: false },
    optimizer_config: {
      deleted_threshold: 0.2,
      vacuum_min_vector_number: 1000,
      default_segment_number: 0,
      max_segment_size: null,
      memmap_threshold: null,
      indexing_threshold: 10_000,
      flush_interval_sec: 5,
      max_optimization_threads: null,
    },
    wal_config: { wal_capacity_mb: 32, wal_segments_ahead: 0, wal_retain_closed: 1 },
    quantization_config: null,
  });
});

test('what is given stands beside the defaults of its section', () => {
  const config = fillConfig({
    vectors,
    shardNumber: 3,
    onDiskPayload: false,
    hnswConfig: { m: 8 },
    walConfig: { wal_capacity_mb: 1 },
    quantizationConfig: { scalar: { type: 'int8' } },
    strictModeConfig: { enabled: false },
    metadata: { owner: 'me' },
    payload: { memory: 'cold' },
  });
  assert.equal(config.params.shard_number, 3);
  assert.equal(config.params.on_disk_payload, false);
  assert.deepEqual(config.params.payload, { memory: 'cold' });
  assert.deepEqual([config.hnsw_config['m'], config.hnsw_config['ef_construct']], [8, 100]);
  assert.deepEqual([config.wal_config['wal_capacity_mb'], config.wal_config['wal_retain_closed']], [1, 1]);
  assert.deepEqual(
    [config.quantization_config, config.strict_mode_config, config.metadata],
    [{ scalar: { type: 'int8' } }, { enabled: false }, { owner: 'me' }],
  );
});

const base = fillConfig({
  vectors: { a: { ...vectors, hnsw_config: { m: 4, ef_construct: 50 } }, b: vectors },
  metadata: { x: 1, y: 2 },
  quantizationConfig: { binary: {} },
});
const merges: readonly [string, UpdateCollection, (merged: CollectionConfig) => unknown, unknown][] = [
  ['nothing changes nothing', {}, (merged) => merged, base],
  [
    'hnsw members merge',
    { hnswConfig: { m: 32 } },
    ({ hnsw_config }) => [hnsw_config['m'], hnsw_config['ef_construct']],
    [32, 100],
  ],
  [
    'optimizer members merge',
    { optimizersConfig: { indexing_threshold: 5 } },
    ({ optimizer_config }) => [optimizer_config['indexing_threshold'], optimizer_config['flush_interval_sec']],
    [5, 5],
  ],
  [
    'params merge and keep the vectors',
    { params: { replication_factor: 2 } },
    ({ params }) => [params.replication_factor, Object.keys(params.vectors)],
    [2, ['a', 'b']],
  ],
  [
    'quantization is replaced',
    { quantizationConfig: { scalar: { type: 'int8' } } },
    ({ quantization_config }) => quantization_config,
    { scalar: { type: 'int8' } },
  ],
  ['Disabled clears quantization', { quantizationConfig: 'Disabled' }, ({ quantization_config }) => quantization_config, null],
  ['metadata merges, null removes', { metadata: { y: null, z: 3 } }, ({ metadata }) => metadata, { x: 1, z: 3 }],
  ['empty metadata clears it', { metadata: {} }, ({ metadata }) => metadata, undefined],
  ['strict mode is added', { strictModeConfig: { max_timeout: 5 } }, (merged) => merged.strict_mode_config, { max_timeout: 5 }],
  [
    'a vector keeps what its update leaves out',
    { vectors: { a: { hnsw_config: { m: 9 }, on_disk: true } } },
    ({ params }) => (params.vectors as Record<string, unknown>)['a'],
    { ...vectors, hnsw_config: { m: 9, ef_construct: 50 }, on_disk: true },
  ],
  [
    'a vector gains and loses quantization',
    { vectors: { b: { quantization_config: { binary: {} } } } },
    (merged) =>
      [merged, mergeConfig(merged, { vectors: { b: { quantization_config: 'Disabled' } } })].map(
        ({ params }) => (params.vectors as Record<string, unknown>)['b'],
      ),
    [{ ...vectors, quantization_config: { binary: {} } }, vectors],
  ],
];
for (const [title, update, pick, want] of merges) {
  test(`merge: ${title}`, () => {
    assert.deepEqual(pick(mergeConfig(base, update)), want);
  });
}

test("merge: the unnamed vector is ''", () => {
  const merged = mergeConfig(fillConfig({ vectors }), { vectors: { '': { on_disk: true } } });
  assert.deepEqual(merged.params.vectors, { ...vectors, on_disk: true });
});

test('merge: an unknown vector is refused', () => {
  assert.throws(() => mergeConfig(base, { vectors: { c: {} } }), {
    message: 'Not existing vector name error: c',
    code: 'bad-input',
  });
  assert.throws(() => mergeConfig(fillConfig({ vectors }), { vectors: { c: {} } }), { code: 'bad-input' });
});
