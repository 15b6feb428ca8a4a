// Links within the values of payload fields: when they are built and rebuilt, that they travel, and that filtered searches find by them
// what the scan finds.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { VectorIndexing } from '../command/indexing-config.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { nativeIndexes } from '../index/native-scan.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { Filter } from '../payload/filter.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { loadAddon } from '../vector/addon.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { adoptShard } from './adopt.ts';
import { freezeShards } from './freeze.ts';
import { Shard, type ShardOptions } from './shard.ts';
import type { ShardLimits } from './shard-limits.ts';
import { pointId, shardOptions, upsert } from './testing/shard-fixtures.ts';
import { stageCopy } from './testing/staged-copy.ts';
import { verifyShard } from './verify-shard.ts';

const addon = loadAddon();
const skip = addon === undefined ? 'NEARKEEP_NATIVE=off' : false;
const spec: VectorSpec = { size: 16, distance: 'Euclid', datatype: 'float32' };
const limits: ShardLimits = { headBytesMax: 64 << 20, headRowsMax: 20_000, unsealedBytesMax: 256 << 20, logBytesMax: 64 << 20, mergedBytesMax: 512 << 20, quietMs: 20, vacuumRowsMin: 100_000 };
const indexing: VectorIndexing = {
  m: 8, payloadM: 8, payloadFields: 'tenants', efConstruct: 60, threadsMax: 0, graphBytesMin: 64_000, scanBytesMax: 0,
  codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default',
};
const tenant: FieldSchema = { type: 'keyword', params: { type: 'keyword', is_tenant: true } };
const rowCount = 8_000;

/** 45 %, 20 % and 15 % of the rows; the others have a value each. Every third carries the number 1. */
function payloadOf(id: number): string {
  const at = id % 20;
  const value = at < 9 ? 'large' : at < 13 ? 'middle' : at < 16 ? 'small' : `own ${id}`;
  return JSON.stringify({ t: value, n: id % 3 === 0 ? 1 : 2 });
}

function vectorOf(id: number): Float32Array {
  const random = seededRandom(id + 1);
  return Float32Array.from({ length: spec.size }, (_, at) => ((id % 23) * (at % 3)) + random.below(1000) / 1000);
}

interface Rig {
  readonly indexes: VectorIndexes;
  readonly options: ShardOptions;
  readonly root: string;
}

function openRig(t: TestContext, changes: Partial<VectorIndexing> = {}): Rig {
  const native = must(addon, 'skipped without it');
  const root = mkdtempSync(path.join(tmpdir(), 'nearkeep-links-'));
  const indexes = nativeIndexes(native, must(native.kernels[0], 'a kernel').name);
  t.after(async () => {
    await indexes.close();
    rmSync(root, { recursive: true });
  });
  const options = shardOptions(new NodeDisk(), path.join(root, 'shard'), { indexes, vectors: new Map([['', spec]]), limits, indexing: () => ({ ...indexing, ...changes }) });
  return { indexes, options, root };
}

async function fill(shard: Shard): Promise<void> {
  for (let first = 0; first < rowCount; first += 500) {
    await upsert(shard, ...Array.from({ length: 500 }, (_, at) => ({ id: pointId(first + at), vectors: new Map([['', vectorOf(first + at)]]), payload: payloadOf(first + at) })));
  }
  await shard.settle();
  await shard.checkpoint();
  await shard.settle();
}

async function index(shard: Shard, field: string, schema: FieldSchema): Promise<void> {
  await shard.write({ kind: 'create-index', field, schema }, { wait: true });
  await shard.settle();
}

async function nearest(shard: Shard, id: number, filter: Filter | undefined, exact: boolean): Promise<readonly (readonly [unknown, number])[]> {
  const request = { vector: vectorOf(id), using: '', limit: 10, offset: 0, params: { exact, hnswEf: 48 }, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } } as const;
  const [hits] = await shard.search([filter === undefined ? request : { ...request, filter }]);
  return must(hits, 'one list').map((hit) => [hit.id, hit.score]);
}

async function recall(shard: Shard, filter?: Filter): Promise<number> {
  let hits = 0;
  for (let id = 0; id < 40; id += 1) {
    const truth = new Map(await nearest(shard, id, filter, true));
    const found = await nearest(shard, id, filter, false);
    assert.equal(found.length, truth.size);
    for (const [one, score] of found) if (truth.get(one) === score) hits += 1;
  }
  return hits / 400;
}

const ofTenant = (value: string): Filter => parseFilter({ must: [{ key: 't', match: { value } }] });

function files(shard: ShardOptions, kind: string): readonly string[] {
  return readdirSync(path.join(shard.directory, 'files')).filter((name) => name.endsWith(`.${kind}`));
}

/** Bytes behind the header of the one file of the kind, without the table of checksums. */
function dataBytes(options: ShardOptions, kind: string): number {
  const [name, ...more] = files(options, kind);
  assert.equal(more.length, 0);
  return Number(readFileSync(path.join(options.directory, 'files', must(name, 'a file'))).readBigUInt64LE(24));
}

async function untilSwept(options: ShardOptions, kind: string, count: number): Promise<void> {
  while (files(options, kind).length !== count) await new Promise(setImmediate);
}

async function expectVerified(options: ShardOptions): Promise<void> {
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
}

test('a tenant index gives its values links, by which filtered searches find what the scan finds', { skip }, async (t) => {
  const { options, indexes } = openRig(t);
  await using shard = await Shard.create(options);
  await fill(shard);
  assert.deepEqual([files(options, 'block').length, files(options, 'graph').length, indexes.graphsBuilt], [0, 1, 1]);
  const [graph] = files(options, 'graph');
  await index(shard, 't', tenant);
  assert.deepEqual([files(options, 'block').length, indexes.graphsBuilt], [1, 2]);
  assert.deepEqual(files(options, 'graph'), [graph], 'the links over all rows stay');
  for (const value of ['large', 'middle', 'small']) assert.ok(await recall(shard, ofTenant(value)) >= 0.95, value);
  for (const [value, count] of [['own 16', 1], ['absent', 0]] as const) assert.equal((await nearest(shard, 3, ofTenant(value), false)).length, count);
  assert.ok(await recall(shard, parseFilter({ must: [{ key: 't', match: { value: 'small' } }, { key: 'n', match: { value: 1 } }] })) >= 0.95);
  assert.ok(await recall(shard, parseFilter({ must: [{ key: 't', match: { any: ['small', 'middle'] } }] })) >= 0.95);
  assert.ok(await recall(shard) >= 0.95);
  await shard.write({ kind: 'delete-points', selector: { kind: 'filter', filter: parseFilter({ must: [{ key: 'n', match: { value: 1 } }] }) } }, { wait: true });
  assert.ok(await recall(shard, ofTenant('small')) >= 0.95, 'with a third of its rows dead');
  await expectVerified(options);
});

test('links within values outlive a restart and travel through freeze and adoption: none is built again', { skip }, async (t) => {
  const { options, root } = openRig(t);
  const shard = await Shard.create(options);
  await index(shard, 't', tenant);
  await fill(shard);
  const before = await nearest(shard, 7, ofTenant('small'), false);
  const [frozen] = await freezeShards([shard]);
  const staging = await stageCopy(new NodeDisk(), must(frozen, 'one shard'), path.join(root, 'staging'));
  frozen?.release();
  await shard.close();

  const again = openRig(t).indexes;
  await using reopened = await Shard.open({ ...options, indexes: again });
  await reopened.settle();
  assert.deepEqual(await nearest(reopened, 7, ofTenant('small'), false), before);
  assert.deepEqual([files(options, 'block').length, again.graphsBuilt], [1, 0]);

  const there = openRig(t).indexes;
  const restoredOptions = { ...options, indexes: there, directory: path.join(root, 'restored') };
  await using restored = await adoptShard({ ...restoredOptions, generation: 1, staging });
  await restored.settle();
  assert.deepEqual(await nearest(restored, 7, ofTenant('small'), false), before);
  assert.deepEqual([files(restoredOptions, 'block').length, there.graphsBuilt], [1, 0]);
});

test('indexes that come and go, enable_hnsw and payload_m decide which values have links', { skip }, async (t) => {
  const { options } = openRig(t);
  await using shard = await Shard.create(options);
  await fill(shard);
  const [graph] = files(options, 'graph');
  await index(shard, 't', { type: 'keyword' });
  assert.equal(files(options, 'block').length, 0, 'no tenant, and no payload_m');
  await index(shard, 't', { type: 'keyword', params: { type: 'keyword', is_tenant: true, enable_hnsw: false } });
  assert.equal(files(options, 'block').length, 0, 'opted out');
  await index(shard, 't', tenant);
  await untilSwept(options, 'block', 1);
  const tenantBytes = dataBytes(options, 'block');
  await index(shard, 'n', { type: 'integer' });
  assert.equal(dataBytes(options, 'block'), tenantBytes);
  shard.setIndexing(() => ({ ...indexing, payloadFields: 'all' }));
  await shard.settle();
  await untilSwept(options, 'block', 1);
  assert.ok(dataBytes(options, 'block') > tenantBytes * 1.2, 'values of the other field, too');
  shard.setIndexing(() => ({ ...indexing, payloadM: 16 }));
  await shard.settle();
  await untilSwept(options, 'block', 1);
  assert.ok(dataBytes(options, 'block') > tenantBytes * 1.5, 'twice as many links of a row');
  assert.deepEqual(files(options, 'graph'), [graph], 'the links over all rows stay');
  await shard.write({ kind: 'drop-index', field: 't' }, { wait: true });
  await shard.settle();
  await untilSwept(options, 'block', 0);
  assert.ok(await recall(shard, ofTenant('small')) >= 0.95);
  await expectVerified(options);
});

test('m 0 with payload_m: links within values alone, and all rows are scanned', { skip }, async (t) => {
  const { options, indexes } = openRig(t, { m: 0, payloadM: 8, payloadFields: 'all' });
  await using shard = await Shard.create(options);
  await fill(shard);
  assert.deepEqual([files(options, 'graph').length, indexes.graphsBuilt], [0, 0]);
  await index(shard, 't', tenant);
  assert.deepEqual([files(options, 'block').length, dataBytes(options, 'graph'), indexes.graphsBuilt], [1, 0, 1]);
  for (const value of ['large', 'middle', 'small']) assert.ok(await recall(shard, ofTenant(value)) >= 0.95, value);
  assert.ok(await recall(shard) >= 0.95);
  await expectVerified(options);
  await shard.write({ kind: 'drop-index', field: 't' }, { wait: true });
  await shard.settle();
  await untilSwept(options, 'code', 0);
  assert.equal(files(options, 'graph').length, 0);
  await index(shard, 'own', tenant);
  assert.deepEqual([files(options, 'block').length, files(options, 'code').length], [1, 0], 'no value is large enough: said, and nothing built');
  assert.equal(shard.info().status, 'green');
  await expectVerified(options);
});

test('a merge builds the links within values anew', { skip }, async (t) => {
  const { options } = openRig(t);
  await using shard = await Shard.create({ ...options, limits: { ...limits, headRowsMax: 2_500 } });
  await index(shard, 't', tenant);
  await fill(shard);
  const sealed = shard.info().segments - 1; // without the head
  assert.ok(sealed < rowCount / 2_500, `${sealed} segments`);
  await untilSwept(options, 'block', sealed);
  for (const value of ['large', 'middle', 'small']) assert.ok(await recall(shard, ofTenant(value)) >= 0.95, value);
  await expectVerified(options);
});

/** Of 16 components there are 32 bits, which say little; and a scan of them takes less time than looking up product codes. */
for (const [title, codes, { recallMin, walks }] of [
  ['scalar', { kind: 'scalar', quantile: 0.99 }, { recallMin: 0.95, walks: 1 }],
  ['product', { kind: 'product', compression: 4 }, { recallMin: 0.95, walks: 0 }],
  ['binary', { kind: 'binary', encoding: 'two-bits' }, { recallMin: 0.3, walks: 1 }],
] as const) {
  for (const codesInMemory of [true, false]) {
    test(`links within values come and go beside ${title} codes, ${codesInMemory ? 'in memory' : 'mapped'}: the files of codes and links stay`, { skip }, async (t) => {
      const { options, indexes } = openRig(t, { codes, codesInMemory });
      const shard = await Shard.create(options);
      t.after(() => shard.close());
      await fill(shard);
      const [before, { codesBytes }] = [['code', 'graph'].map((kind) => files(options, kind)), shard.info()];
      assert.equal(codesBytes.mapped > 0, !codesInMemory);
      await index(shard, 't', tenant);
      assert.deepEqual([files(options, 'block').length, indexes.graphsBuilt, dataBytes(options, 'block') > 0], [1, 2, true]);
      assert.deepEqual([['code', 'graph'].map((kind) => files(options, kind)), shard.info().codesBytes], [before, codesBytes]);
      for (const value of ['middle', 'small']) {
        const share = await recall(shard, ofTenant(value));
        assert.ok(share >= recallMin, `${value}: ${share}`);
      }
      const found = await nearest(shard, 7, ofTenant('small'), false);
      const walked = indexes.walked.walks;
      assert.deepEqual(await nearest(shard, 7, ofTenant('small'), false), found);
      assert.equal(indexes.walked.walks, walked + walks);
      await shard.close();

      const again = openRig(t).indexes;
      await using reopened = await Shard.open({ ...options, indexes: again });
      await reopened.settle();
      assert.deepEqual([await nearest(reopened, 7, ofTenant('small'), false), again.graphsBuilt], [found, 0]);
      reopened.setIndexing(() => ({ ...indexing, codes, codesInMemory: !codesInMemory }));
      await reopened.settle();
      assert.equal(reopened.info().codesBytes.mapped > 0, codesInMemory);
      assert.deepEqual([await nearest(reopened, 7, ofTenant('small'), false), again.graphsBuilt], [found, 0], 'the blocks are loaded with them');
      await reopened.write({ kind: 'drop-index', field: 't' }, { wait: true });
      await reopened.settle();
      await untilSwept(options, 'block', 0);
      assert.deepEqual(['code', 'graph'].map((kind) => files(options, kind)), before);
      await expectVerified(options);
      reopened.setIndexing(() => indexing);
      await reopened.settle();
      await untilSwept(options, 'code', 1);
      assert.notDeepEqual(files(options, 'code'), before[0], 'other codes are made');
      assert.ok(await recall(reopened, ofTenant('small')) >= 0.95);
      await expectVerified(options);
    });
  }
}

test('a damaged block file drops its graph, which is built again with all that belongs to it', { skip }, async (t) => {
  const { options } = openRig(t, { codes: { kind: 'product', compression: 4 } });
  const shard = await Shard.create(options);
  await index(shard, 't', tenant);
  await fill(shard);
  await shard.close();
  const file = path.join(options.directory, 'files', must(files(options, 'block')[0], 'a file'));
  const damaged = readFileSync(file);
  damaged[4096 + 100] = (damaged[4096 + 100] ?? 0) ^ 4;
  writeFileSync(file, damaged);
  const there = openRig(t).indexes;
  await using reopened = await Shard.open({ ...options, indexes: there, damagedGraphs: 'drop' });
  const { status, damagedGraphs, damagedGraphsFound, indexedVectors } = reopened.info();
  assert.deepEqual([status, damagedGraphs.get(''), damagedGraphsFound, indexedVectors], ['yellow', rowCount, 1, 0]);
  await reopened.settle();
  assert.deepEqual([reopened.info().status, reopened.info().indexedVectors, there.graphsBuilt], ['green', rowCount, 1]);
  await untilSwept(options, 'block', 1);
  assert.ok(await recall(reopened, ofTenant('small')) >= 0.95);
  await expectVerified(options);
});

test('a damaged block file is named', { skip }, async (t) => {
  const { options } = openRig(t);
  const shard = await Shard.create(options);
  await index(shard, 't', tenant);
  await fill(shard);
  await shard.close();
  const file = path.join(options.directory, 'files', must(files(options, 'block')[0], 'a file'));
  const whole = readFileSync(file);
  for (const place of [3, 40, 4096 + 100, whole.length - 2]) {
    const damaged = Buffer.from(whole);
    damaged[place] = (damaged[place] ?? 0) ^ 4;
    writeFileSync(file, damaged);
    await assert.rejects(Shard.open(options), (error) => error instanceof Error && error.message.includes(path.basename(file)));
  }
  writeFileSync(file, whole);
  await using reopened = await Shard.open(options);
  assert.ok(await recall(reopened, ofTenant('small')) >= 0.95);
});
