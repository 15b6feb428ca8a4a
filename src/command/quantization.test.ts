import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeptJson, VectorParams } from './collection-config.ts';
import { fillConfig, mergeConfig } from './config-defaults.ts';
import { indexingOf, noIndexing } from './indexing-config.ts';
import { quantizationOf, turboVectors, type Quantization } from './quantization.ts';

const params: VectorParams = { size: 4, distance: 'Dot' };
const none: Quantization = { codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default' };

const oneBit = { codes: { kind: 'binary', encoding: 'one-bit' } } as const;

const forms: readonly (readonly [string, KeptJson, Partial<Quantization>])[] = [
  ['scalar without a quantile cuts nothing', { scalar: { type: 'int8' } }, { codes: { kind: 'scalar', quantile: 1 } }],
  ['scalar with a quantile', { scalar: { type: 'int8', quantile: 0.99 } }, { codes: { kind: 'scalar', quantile: 0.99 } }],
  ['a quantile is kept in whole millionths', { scalar: { type: 'int8', quantile: 0.99999999 } }, { codes: { kind: 'scalar', quantile: 1 } }],
  ['product x4', { product: { compression: 'x4' } }, { codes: { kind: 'product', compression: 4 } }],
  ['product x8', { product: { compression: 'x8' } }, { codes: { kind: 'product', compression: 8 } }],
  ['product x16', { product: { compression: 'x16' } }, { codes: { kind: 'product', compression: 16 } }],
  ['product x32', { product: { compression: 'x32' } }, { codes: { kind: 'product', compression: 32 } }],
  ['product x64', { product: { compression: 'x64' } }, { codes: { kind: 'product', compression: 64 } }],
  ['binary has one bit', { binary: {} }, oneBit],
  ['binary one_bit', { binary: { encoding: 'one_bit' } }, oneBit],
  ['binary one_and_half_bits', { binary: { encoding: 'one_and_half_bits' } }, { codes: { kind: 'binary', encoding: 'one-and-half-bits' } }],
  ['binary two_bits', { binary: { encoding: 'two_bits' } }, { codes: { kind: 'binary', encoding: 'two-bits' } }],
  ['query_encoding default', { binary: { query_encoding: 'default' } }, { ...oneBit, binaryQuery: 'default' }],
  ['query_encoding binary', { binary: { query_encoding: 'binary' } }, { ...oneBit, binaryQuery: 'binary' }],
  ['query_encoding scalar4bits', { binary: { query_encoding: 'scalar4bits' } }, { ...oneBit, binaryQuery: 'scalar4bits' }],
  ['query_encoding scalar8bits', { binary: { query_encoding: 'scalar8bits' } }, { ...oneBit, binaryQuery: 'scalar8bits' }],
  ['turbo is the internal codes', { turbo: { bits: 'bits2' } }, {}],
  ['turbo may be mapped', { turbo: { always_ram: false } }, { codesInMemory: false }],
];
for (const [title, config, wanted] of forms) {
  test(`quantization: ${title}`, () => {
    assert.deepEqual(quantizationOf(params, config), { ...none, ...wanted });
    assert.deepEqual(quantizationOf({ ...params, quantization_config: config }, null), { ...none, ...wanted });
  });
}

const places: readonly (readonly [string, KeptJson, Partial<VectorParams>, boolean])[] = [
  ['in memory where nothing is said', {}, {}, true],
  ['mapped with vectors on disk', {}, { on_disk: true }, false],
  ['in memory with vectors not on disk', {}, { on_disk: false }, true],
  ['mapped with cold vectors', {}, { memory: 'cold' }, false],
  ['in memory with cached vectors, though on_disk', {}, { memory: 'cached', on_disk: true }, true],
  ['always_ram beside vectors on disk', { always_ram: true }, { on_disk: true }, true],
  ['always_ram false', { always_ram: false }, {}, false],
  ['pinned', { memory: 'pinned', always_ram: false }, { on_disk: true }, true],
  ['cached, which goes before always_ram', { memory: 'cached', always_ram: true }, {}, false],
  ['cold', { memory: 'cold' }, {}, false],
];
for (const [title, placement, vector, inMemory] of places) {
  test(`codes lie: ${title}`, () => {
    for (const config of [{ scalar: { type: 'int8', ...placement } }, { product: { compression: 'x8', ...placement } }, { binary: placement }, { turbo: placement }])
      assert.equal(quantizationOf({ ...params, ...vector }, config).codesInMemory, inMemory);
  });
}

test("quantization: a vector's own goes before the collection's, Disabled clears each, and there are internal codes in memory without any", () => {
  const scalar = { scalar: { type: 'int8' } };
  const product = { product: { compression: 'x16' } };
  const created = fillConfig({ vectors: { own: { ...params, quantization_config: product }, other: { ...params, on_disk: true } }, quantizationConfig: scalar });
  const kinds = (config: typeof created): readonly unknown[] => ['own', 'other'].map((name) => {
    const { codes, codesInMemory } = indexingOf(config)(name);
    return [codes.kind, codesInMemory];
  });
  assert.deepEqual(kinds(created), [['product', true], ['scalar', false]]);
  const cleared = mergeConfig(created, { vectors: { own: { quantization_config: 'Disabled' } } });
  assert.deepEqual(kinds(cleared), [['scalar', true], ['scalar', false]]);
  assert.deepEqual(kinds(mergeConfig(created, { quantizationConfig: 'Disabled' })), [['product', true], ['internal', true]]);
  assert.deepEqual(kinds(mergeConfig(cleared, { quantizationConfig: 'Disabled' })), [['internal', true], ['internal', true]]);
  assert.deepEqual(noIndexing('own').codes, { kind: 'internal' });
});

test('quantization: vectors whose turbo codes are stood in for', () => {
  const turbo = { turbo: {} };
  assert.deepEqual(turboVectors(fillConfig({ vectors: params })), []);
  assert.deepEqual(turboVectors(fillConfig({ vectors: params, quantizationConfig: turbo })), ['']);
  assert.deepEqual(turboVectors(fillConfig({ vectors: { a: { ...params, quantization_config: { binary: {} } }, b: params }, quantizationConfig: turbo })), ['b']);
});
