import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestError } from '../../base/errors.ts';
import { decodeCreateCollection, decodeUpdateCollection } from './decode-collection-config.ts';

const one = { size: 4, distance: 'Dot' };

const good: readonly [string, unknown, unknown][] = [
  ['the unnamed vector', { vectors: one }, { vectors: one }],
  ['named vectors', { vectors: { a: one, size: { ...one, size: 2 } } }, { vectors: { a: one, size: { ...one, size: 2 } } }],
  ['no vectors at all', {}, { vectors: {} }],
  [
    'null as absent',
    { vectors: { ...one, on_disk: null, hnsw_config: null }, hnsw_config: null, shard_number: null, sparse_vectors: null },
    { vectors: one },
  ],
  [
    'empty sparse vectors and automatic sharding',
    { vectors: one, sparse_vectors: {}, sharding_method: 'auto' },
    { vectors: one, shardingMethod: 'auto' },
  ],
  ['custom sharding', { vectors: one, sharding_method: 'custom', shard_number: 2 }, { vectors: one, shardingMethod: 'custom', shardNumber: 2 }],
  [
    'unknown fields are ignored',
    { vectors: { ...one, colour: 1 }, colour: 1, hnsw_config: { m: 1, colour: 1 } },
    { vectors: one, hnswConfig: { m: 1 } },
  ],
  [
    'all of a vector',
    {
      vectors: {
        ...one,
        datatype: 'uint8',
        on_disk: true,
        memory: 'cold',
        hnsw_config: { m: 0 },
        quantization_config: { scalar: { type: 'int8', quantile: 0.99, always_ram: true } },
      },
    },
    {
      vectors: {
        ...one,
        datatype: 'uint8',
        on_disk: true,
        memory: 'cold',
        hnsw_config: { m: 0 },
        quantization_config: { scalar: { type: 'int8', quantile: 0.99, always_ram: true } },
      },
    },
  ],
  [
    'all sections',
    {
      vectors: one,
      shard_number: 2,
      replication_factor: 1,
      write_consistency_factor: 1,
      on_disk_payload: false,
      payload: { memory: 'pinned' },
      hnsw_config: { ef_construct: 4, full_scan_threshold: 10 },
      optimizers_config: { deleted_threshold: 1, max_optimization_threads: 'auto' },
      wal_config: { wal_capacity_mb: 1 },
      quantization_config: { product: { compression: 'x16' } },
      strict_mode_config: { enabled: false, max_query_limit: 1 },
      metadata: { a: [1, { b: null }] },
    },
    {
      vectors: one,
      shardNumber: 2,
      replicationFactor: 1,
      writeConsistencyFactor: 1,
      onDiskPayload: false,
      payload: { memory: 'pinned' },
      hnswConfig: { ef_construct: 4, full_scan_threshold: 10 },
      optimizersConfig: { deleted_threshold: 1, max_optimization_threads: null },
      walConfig: { wal_capacity_mb: 1 },
      quantizationConfig: { product: { compression: 'x16' } },
      strictModeConfig: { enabled: false, max_query_limit: 1 },
      metadata: { a: [1, { b: null }] },
    },
  ],
  [
    'the other quantizations',
    {
      vectors: { a: { ...one, quantization_config: { binary: { encoding: 'two_bits' } } } },
      quantization_config: { turbo: { bits: 'bits4' } },
    },
    {
      vectors: { a: { ...one, quantization_config: { binary: { encoding: 'two_bits' } } } },
      quantizationConfig: { turbo: { bits: 'bits4' } },
    },
  ],
];
for (const [title, json, want] of good) {
  test(`create: ${title}`, () => {
    assert.deepEqual(decodeCreateCollection(json), want);
  });
}

const format = 'Format error in JSON body: ';
const range = 'Validation error in JSON body: ';
const bad: readonly [string, unknown, RequestError['code'], string][] = [
  ['a body that is a list', [], 'bad-format', `${format}invalid type: sequence, expected a map`],
  ['no size', { vectors: { distance: 'Dot' } }, 'bad-format', `${format}vectors: missing field \`size\``],
  ['no distance', { vectors: { size: 4 } }, 'bad-format', `${format}vectors: missing field \`distance\``],
  [
    'a size as text',
    { vectors: { size: '4', distance: 'Dot' } },
    'bad-format',
    `${format}vectors.size: invalid type: string "4", expected an integer`,
  ],
  [
    'half a size',
    { vectors: { size: 1.5, distance: 'Dot' } },
    'bad-format',
    `${format}vectors.size: invalid type: floating point \`1.5\`, expected an integer`,
  ],
  [
    'a negative size',
    { vectors: { size: -1, distance: 'Dot' } },
    'bad-format',
    `${format}vectors.size: invalid value: integer \`-1\`, expected an unsigned integer`,
  ],
  [
    'size 0',
    { vectors: { size: 0, distance: 'Dot' } },
    'validation',
    `${range}[vectors.size: value 0 invalid, must be from 1 to 65536]`,
  ],
  [
    'size 65537 by name',
    { vectors: { a: { size: 65537, distance: 'Dot' } } },
    'validation',
    `${range}[vectors.?.size: value 65537 invalid, must be from 1 to 65536]`,
  ],
  [
    'size 2^31, an advisory of row 26',
    { vectors: { size: 2 ** 31, distance: 'Dot' } },
    'validation',
    `${range}[vectors.size: value 2147483648 invalid, must be from 1 to 65536]`,
  ],
  [
    'an unknown distance',
    { vectors: { size: 4, distance: 'dot' } },
    'bad-format',
    `${format}vectors.distance: unknown variant \`dot\`, expected one of \`Cosine\`, \`Euclid\`, \`Dot\`, \`Manhattan\``,
  ],
  [
    'an unknown datatype',
    { vectors: { ...one, datatype: 'float64' } },
    'bad-format',
    `${format}vectors.datatype: unknown variant \`float64\`, expected one of \`float32\`, \`uint8\`, \`float16\``,
  ],
  [
    'turbo4',
    { vectors: { ...one, datatype: 'turbo4' } },
    'bad-input',
    'vectors.datatype turbo4 is not supported by this version',
  ],
  [
    'multivectors',
    { vectors: { a: { ...one, multivector_config: { comparator: 'max_sim' } } } },
    'bad-input',
    'vectors.?.multivector_config is not supported by this version',
  ],
  ['sparse vectors', { sparse_vectors: { s: {} } }, 'bad-input', 'sparse_vectors is not supported by this version'],
  ['init_from', { vectors: one, init_from: { collection: 'x' } }, 'bad-input', 'init_from is not supported by this version'],
  [
    'strict mode',
    { vectors: one, strict_mode_config: { enabled: true } },
    'bad-input',
    'strict_mode_config.enabled is not supported by this version: its limits would not be enforced',
  ],
  [
    'shards without end',
    { vectors: one, shard_number: 1_000_000_000 },
    'bad-input',
    'shard_number 1000000000 (at most 1000) is not supported by this version',
  ],
  [
    'several ranges',
    {
      vectors: one,
      shard_number: 0,
      hnsw_config: { ef_construct: 3 },
      optimizers_config: { deleted_threshold: 2, vacuum_min_vector_number: 1 },
    },
    'validation',
    `${range}[shard_number: value 0 invalid, must be from 1 to 4294967295; hnsw_config.ef_construct: value 3 invalid, must be 4 or larger; ` +
      'optimizers_config.deleted_threshold: value 2.0 invalid, must be from 0.0 to 1.0; optimizers_config.vacuum_min_vector_number: value 1 invalid, must be 100 or larger]',
  ],
  [
    'a low quantile',
    { vectors: one, quantization_config: { scalar: { type: 'int8', quantile: 0.4 } } },
    'validation',
    `${range}[quantization_config.scalar.quantile: value 0.4 invalid, must be from 0.5 to 1.0]`,
  ],
  [
    'a scalar without type',
    { vectors: one, quantization_config: { scalar: {} } },
    'bad-format',
    `${format}quantization_config.scalar: missing field \`type\``,
  ],
  [
    'a quantile above 1',
    { vectors: one, quantization_config: { scalar: { type: 'int8', quantile: 1.01 } } },
    'validation',
    `${range}[quantization_config.scalar.quantile: value 1.01 invalid, must be from 0.5 to 1.0]`,
  ],
  [
    'a quantile as text, of a vector',
    { vectors: { a: { ...one, quantization_config: { scalar: { type: 'int8', quantile: '0.9' } } } } },
    'bad-format',
    `${format}vectors.?.quantization_config.scalar.quantile: invalid type: string "0.9", expected a number`,
  ],
  [
    'a scalar of another type',
    { vectors: one, quantization_config: { scalar: { type: 'int4' } } },
    'bad-format',
    `${format}quantization_config.scalar.type: unknown variant \`int4\`, expected one of \`int8\``,
  ],
  [
    'always_ram as a number',
    { vectors: one, quantization_config: { scalar: { type: 'int8', always_ram: 1 } } },
    'bad-format',
    `${format}quantization_config.scalar.always_ram: invalid type: integer \`1\`, expected a boolean`,
  ],
  [
    'a memory tier that is none',
    { vectors: one, quantization_config: { product: { compression: 'x4', memory: 'warm' } } },
    'bad-format',
    `${format}quantization_config.product.memory: unknown variant \`warm\`, expected one of \`cold\`, \`cached\`, \`pinned\``,
  ],
  [
    'a product without compression',
    { vectors: one, quantization_config: { product: { always_ram: true } } },
    'bad-format',
    `${format}quantization_config.product: missing field \`compression\``,
  ],
  [
    'a compression of x128',
    { vectors: one, quantization_config: { product: { compression: 'x128' } } },
    'bad-format',
    `${format}quantization_config.product.compression: unknown variant \`x128\`, expected one of \`x4\`, \`x8\`, \`x16\`, \`x32\`, \`x64\``,
  ],
  [
    'a compression as a number',
    { vectors: one, quantization_config: { product: { compression: 32 } } },
    'bad-format',
    `${format}quantization_config.product.compression: invalid type: integer \`32\`, expected a string`,
  ],
  [
    'an unknown binary encoding',
    { vectors: one, quantization_config: { binary: { encoding: 'three_bits' } } },
    'bad-format',
    `${format}quantization_config.binary.encoding: unknown variant \`three_bits\`, expected one of \`one_bit\`, \`two_bits\`, \`one_and_half_bits\``,
  ],
  [
    'an unknown query encoding',
    { vectors: one, quantization_config: { binary: { query_encoding: 'scalar2bits' } } },
    'bad-format',
    `${format}quantization_config.binary.query_encoding: unknown variant \`scalar2bits\`, expected one of \`default\`, \`binary\`, \`scalar4bits\`, \`scalar8bits\``,
  ],
  [
    'unknown bits of turbo',
    { vectors: one, quantization_config: { turbo: { bits: 'bits3' } } },
    'bad-format',
    `${format}quantization_config.turbo.bits: unknown variant \`bits3\`, expected one of \`bits1\`, \`bits1_5\`, \`bits2\`, \`bits4\``,
  ],
  [
    'a form of quantization that is a list',
    { vectors: one, quantization_config: { binary: [] } },
    'bad-format',
    `${format}quantization_config.binary: invalid type: sequence, expected a map`,
  ],
  [
    'no form of quantization',
    { vectors: one, quantization_config: { other: {} } },
    'bad-format',
    `${format}quantization_config: expected one of \`scalar\`, \`product\`, \`binary\`, \`turbo\``,
  ],
  [
    'Disabled at create',
    { vectors: one, quantization_config: 'Disabled' },
    'bad-format',
    `${format}quantization_config: invalid type: string "Disabled", expected a map`,
  ],
  [
    'a vector name with a slash',
    { vectors: { 'a/b': one } },
    'validation',
    `${range}[vectors.?: vector name cannot contain "/" char]`,
  ],
  ['an empty vector name', { vectors: { '': one } }, 'validation', `${range}[vectors.?: vector name must not be empty]`],
  [
    'a vector name of 201 bytes',
    { vectors: { ['x'.repeat(201)]: one } },
    'validation',
    `${range}[vectors.?: vector name must be at most 200 bytes]`,
  ],
  [
    'metadata beyond 2^53',
    { vectors: one, metadata: { a: [9007199254740993n] } },
    'bad-format',
    `${format}metadata: integer 9007199254740993 lies beyond 2^53-1 and would lose digits; send it as text`,
  ],
];
for (const [title, json, code, text] of bad) {
  test(`create: ${title} is refused`, () => {
    assert.throws(() => decodeCreateCollection(json), { code, message: text });
  });
}

test('update: every part', () => {
  const json = {
    vectors: { '': { on_disk: true, hnsw_config: { m: 3 }, quantization_config: 'Disabled' } },
    optimizers_config: { indexing_threshold: 0 },
    params: { replication_factor: 2, read_fan_out_factor: 0, on_disk_payload: true },
    hnsw_config: { m: 5 },
    quantization_config: 'Disabled',
    strict_mode_config: { enabled: false },
    metadata: {},
    sparse_vectors: {},
  };
  assert.deepEqual(decodeUpdateCollection(json), {
    vectors: { '': { on_disk: true, hnsw_config: { m: 3 }, quantization_config: 'Disabled' } },
    optimizersConfig: { indexing_threshold: 0 },
    params: { replication_factor: 2, read_fan_out_factor: 0, on_disk_payload: true },
    hnswConfig: { m: 5 },
    quantizationConfig: 'Disabled',
    strictModeConfig: { enabled: false },
    metadata: {},
  });
  assert.deepEqual(decodeUpdateCollection({}), {});
});

const badUpdates: readonly [string, unknown, RequestError['code']][] = [
  ['vectors as a list', { vectors: [] }, 'bad-format'],
  ['replication 0', { params: { replication_factor: 0 } }, 'validation'],
  ['sparse vectors', { sparse_vectors: { s: {} } }, 'bad-input'],
  ['strict mode', { strict_mode_config: { enabled: true } }, 'bad-input'],
  ['another word than Disabled', { quantization_config: 'disabled' }, 'bad-format'],
  ['a low quantile of a vector', { vectors: { a: { quantization_config: { scalar: { type: 'int8', quantile: 0 } } } } }, 'validation'],
  ['a change of a member alone', { quantization_config: { scalar: { quantile: 0.9 } } }, 'bad-format'],
  ['a range below a vector', { vectors: { a: { hnsw_config: { ef_construct: 1 } } } }, 'validation'],
];
for (const [title, json, code] of badUpdates) {
  test(`update: ${title} is refused`, () => {
    assert.throws(() => decodeUpdateCollection(json), { code });
  });
}
