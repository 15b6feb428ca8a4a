// Graphs over the segments of a shard: when they are built, that they travel, and that searches and configuration honour them.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { PointDraft } from '../command/write.ts';
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { SearchParams } from '../command/read.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { nativeIndexes } from '../index/native-scan.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
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
const spec: VectorSpec = { size: 16, distance: 'Euclid', datatype: 'float32' };
const rowBytes = 64;
const limits: ShardLimits = { headBytesMax: 16 << 20, headRowsMax: 500, unsealedBytesMax: 64 << 20, logBytesMax: 64 << 20, mergedBytesMax: 512 << 20, quietMs: 20, vacuumRowsMin: 100_000 };
const graphs: VectorIndexing = {
  m: 8, payloadM: 8, payloadFields: 'tenants', efConstruct: 40, threadsMax: 0, graphBytesMin: 400 * rowBytes, scanBytesMax: 0,
  codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default',
};

interface Rig {
  readonly indexes: VectorIndexes;
  readonly options: ShardOptions;
  readonly root: string;
}

function openRig(t: TestContext, changes: Partial<ShardOptions> = {}): Rig {
  const native = must(addon, 'skipped without it');
  const root = mkdtempSync(path.join(tmpdir(), 'nearkeep-graphs-'));
  const indexes = nativeIndexes(native, must(native.kernels[0], 'a kernel').name);
  t.after(async () => {
    await indexes.close();
    rmSync(root, { recursive: true });
  });
  const options = shardOptions(new NodeDisk(), path.join(root, 'shard'), { indexes, vectors: new Map([['', spec]]), limits, indexing: () => graphs, ...changes });
  return { indexes, options, root };
}

/** Of one of 20 clusters, which follow one another in no order. */
function vectorOf(id: number): Float32Array {
  const random = seededRandom(id + 1);
  const cluster = ((id * 7_919) % 101) % 20;
  return Float32Array.from({ length: spec.size }, (_, at) => (cluster * (at % 3)) + random.below(1000) / 1000);
}

async function fill(shard: Shard, from: number, to: number): Promise<void> {
  for (let first = from; first < to; first += 250) {
    const points = Array.from({ length: Math.min(250, to - first) }, (_, at) => ({ id: pointId(first + at), vectors: new Map([['', vectorOf(first + at)]]), payload: '{}' }));
    await upsert(shard, ...points);
  }
}

/** Everything into files; a checkpoint under way would only be joined. */
async function seal(shard: Shard): Promise<void> {
  await shard.settle();
  await shard.checkpoint();
  await shard.settle();
}

async function nearest(shard: Shard, id: number, params: SearchParams = {}): Promise<readonly (readonly [unknown, number])[]> {
  const [hits] = await shard.search([{ vector: vectorOf(id), using: '', limit: 10, offset: 0, params, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } }]);
  return must(hits, 'one list').map((hit) => [hit.id, hit.score]);
}

/** Share of the exact hits. */
async function recall(shard: Shard): Promise<number> {
  let hits = 0;
  for (let id = 0; id < 400; id += 20) {
    const truth = new Map(await nearest(shard, id, { exact: true }));
    for (const [found, score] of await nearest(shard, id)) if (truth.get(found) === score) hits += 1;
  }
  return hits / 200;
}

function kinds(directory: string, kind: string): readonly string[] {
  return readdirSync(path.join(directory, 'files')).filter((name) => name.endsWith(`.${kind}`));
}

const skip = addon === undefined ? 'NEARKEEP_NATIVE=off' : false;

test('a settled shard has few graphs, and searches find by them what the scan finds', { skip }, async (t) => {
  const { options, indexes } = openRig(t);
  await using shard = await Shard.create(options);
  await fill(shard, 0, 6_000);
  await seal(shard);
  const info = shard.info();
  assert.equal(info.optimizerError, undefined);
  assert.ok(info.segments <= 4, `${info.segments} segments`); // the head among them
  assert.equal(info.indexedVectors, 6_000);
  assert.equal(info.status, 'green');
  assert.ok(indexes.graphsBuilt >= 1);
  assert.ok(await recall(shard) >= 0.97);
  await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: [pointId(0), pointId(20)] } }, { wait: true });
  assert.ok((await nearest(shard, 0)).every(([id]) => id !== 0 && id !== 20));
  assert.equal(shard.info().indexedVectors, 5_998);
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
});

for (const isEach of [true, false]) {
  test(`a merge takes over the links of its largest part${isEach ? '' : ', where some points have no vector'}`, { skip }, async (t) => {
    const { options, indexes } = openRig(t);
    await using shard = await Shard.create(options);
    const points = (from: number, to: number): readonly PointDraft[] => Array.from({ length: to - from }, (_, at) => ({
      id: pointId(from + at), vectors: new Map(isEach || (from + at) % 7 !== 3 ? [['', vectorOf(from + at)]] : []), payload: '{}',
    }));
    for (let from = 0; from < 4_000; from += 500) await upsert(shard, ...points(from, from + 500));
    await seal(shard);
    assert.ok(await recall(shard) >= 0.97);
    const before = indexes.pointsKept;
    await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: Array.from({ length: 300 }, (_, at) => pointId(at * 10 + 5)) } }, { wait: true });
    await upsert(shard, ...points(1_000, 1_200), ...points(4_000, 4_300));
    await seal(shard);
    const { indexedVectors, status } = shard.info();
    const carried = points(0, 4_300).filter(({ id, vectors }) => vectors.size > 0 && (Number(id) % 10 !== 5 || Number(id) >= 3_000 || (Number(id) >= 1_000 && Number(id) < 1_200))).length;
    assert.deepEqual([indexedVectors, status], [carried, 'green']);
    assert.ok(indexes.pointsKept - before > 2_500, `${indexes.pointsKept - before} kept`);
    assert.ok(await recall(shard) >= 0.97);
    assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
  });
}

test('while writes come, small segments wait for their merge without a graph', { skip }, async (t) => {
  const { options, indexes } = openRig(t, { limits: { ...limits, headRowsMax: 10_000, quietMs: 1_000_000 } });
  await using shard = await Shard.create(options);
  for (let from = 0; from < 2_000; from += 500) {
    assert.equal(indexes.graphsBuilt, 0);
    await fill(shard, from, from + 500);
    await shard.checkpoint();
  }
  await shard.settle();
  assert.deepEqual([indexes.graphsBuilt, shard.info().segments, shard.info().indexedVectors], [1, 2, 2_000]);
});

test('graphs outlive a restart and travel through freeze and adoption: none is built again', { skip }, async (t) => {
  const { options, root } = openRig(t);
  const shard = await Shard.create(options);
  await fill(shard, 0, 3_000);
  await seal(shard);
  const before = await nearest(shard, 7);
  const staged = await stageFrozen(shard, path.join(root, 'staging'));
  await shard.close();

  const again = openRig(t).indexes;
  await using reopened = await Shard.open({ ...options, indexes: again });
  await reopened.settle();
  assert.equal(reopened.info().indexedVectors, 3_000);
  assert.deepEqual(await nearest(reopened, 7), before);
  assert.equal(again.graphsBuilt, 0);

  const there = openRig(t).indexes;
  await using restored = await adoptShard({ ...options, indexes: there, directory: path.join(root, 'restored'), generation: 1, staging: staged });
  await restored.settle();
  assert.equal(restored.info().indexedVectors, 3_000);
  assert.deepEqual(await nearest(restored, 7), before);
  assert.equal(there.graphsBuilt, 0);
});

test('a changed configuration builds other graphs, m 0 drops them', { skip }, async (t) => {
  const { options, indexes } = openRig(t, { indexing: () => ({ ...graphs, m: 0 }) });
  await using shard = await Shard.create(options);
  await fill(shard, 0, 2_000);
  await seal(shard);
  assert.deepEqual([shard.info().indexedVectors, indexes.graphsBuilt, kinds(options.directory, 'graph')], [0, 0, []]);
  shard.setIndexing(() => graphs);
  assert.equal(shard.info().status, 'yellow');
  await shard.settle();
  assert.equal(shard.info().indexedVectors, 2_000);
  const first = kinds(options.directory, 'graph');
  shard.setIndexing(() => ({ ...graphs, m: 12 }));
  await shard.settle();
  assert.equal(shard.info().indexedVectors, 2_000);
  while (kinds(options.directory, 'graph').length > first.length) await new Promise(setImmediate);
  assert.notDeepEqual(kinds(options.directory, 'graph'), first);
  shard.setIndexing(() => ({ ...graphs, m: 0 }));
  await shard.settle();
  assert.equal(shard.info().indexedVectors, 0);
  assert.equal(await recall(shard), 1);
  while (kinds(options.directory, 'graph').length + kinds(options.directory, 'code').length > 0) await new Promise(setImmediate); // swept when no search reads them
});

test('segments below the threshold get no graph; indexed_only leaves out what waits for one', { skip }, async (t) => {
  const { options } = openRig(t, { indexing: () => ({ ...graphs, graphBytesMin: Infinity }) });
  await using shard = await Shard.create(options);
  await fill(shard, 0, 1_000);
  await seal(shard);
  assert.equal(shard.info().indexedVectors, 0);
  assert.equal((await nearest(shard, 3, { indexedOnly: true })).length, 10, 'too small for a graph: searched');
  await shard.close();
  const waiting = await Shard.open({ ...options, indexing: () => ({ ...graphs, threadsMax: 1 }) });
  const early = await nearest(waiting, 3, { indexedOnly: true });
  await waiting.settle();
  assert.equal((await nearest(waiting, 3, { indexedOnly: true })).length, 10);
  assert.ok(early.length === 0 || early.length === 10);
  await waiting.close();
});

const damagesOfAFile = {
  flipped: (file) => {
    const bytes = readFileSync(file);
    bytes[4096 + 100] = (bytes[4096 + 100] ?? 0) ^ 4;
    writeFileSync(file, bytes);
  },
  cut: (file) => { writeFileSync(file, readFileSync(file).subarray(0, -1)); },
  missing: (file) => { rmSync(file); },
} satisfies Record<string, (file: string) => void>;

/** A closed shard of one segment with a graph, one of whose files is damaged. */
async function withDamagedGraph(t: TestContext, kind: string, damage: (file: string) => void): Promise<Rig & { readonly file: string; readonly exact: readonly unknown[] }> {
  const rig = openRig(t);
  const shard = await Shard.create(rig.options);
  await fill(shard, 0, 1_000);
  await seal(shard);
  const exact = await nearest(shard, 7, { exact: true });
  await shard.close();
  const file = path.join(rig.options.directory, 'files', must(kinds(rig.options.directory, kind)[0], 'a file'));
  damage(file);
  return { ...rig, file, exact };
}

for (const kind of ['graph', 'code']) {
  for (const [title, damage] of Object.entries(damagesOfAFile)) {
    test(`a ${title} ${kind} file: the graph is dropped, searches scan, and it is built again`, { skip }, async (t) => {
      const { options, indexes, file } = await withDamagedGraph(t, kind, damage);
      const verdict = (): ReturnType<typeof verifyShard> => verifyShard({ disk: options.disk, directory: options.directory, deep: true });
      assert.deepEqual((await verdict()).findings.map((finding) => finding.file), [file]);
      await assert.rejects(Shard.open(options), (error) => error instanceof CorruptionError && error.file === file, 'what comes from elsewhere is refused');
      const logged: object[] = [];
      const logger = { ...silentLogger, error: (fields: object) => { logged.push(fields); } };
      const before = indexes.graphsBuilt;

      const shard = await Shard.open({ ...options, logger, damagedGraphs: 'drop' });
      const early = shard.info();
      assert.deepEqual([early.status, early.indexedVectors, early.damagedGraphs.get(''), early.damagedGraphsFound], ['yellow', 0, 1_000, 1]);
      assert.deepEqual(logged.map((fields) => 'file' in fields && fields.file), [file]);
      await shard.settle();
      const late = shard.info();
      assert.deepEqual([late.status, late.indexedVectors, late.damagedGraphs.size, late.damagedGraphsFound], ['green', 1_000, 0, 1]);
      assert.equal(indexes.graphsBuilt, before + 1);
      assert.ok(await recall(shard) >= 0.97);
      await shard.close();
      const { findings, leftovers } = await verdict();
      assert.deepEqual([findings, leftovers], [[], []]);
      await using again = await Shard.open(options);
      assert.equal(again.info().damagedGraphsFound, 0);
    });
  }
}

for (const [title, change] of [['m 0', { m: 0 }], ['a threshold above it', { graphBytesMin: Infinity }]] as const) {
  test(`${title}: a damaged graph is dropped for good, and no manifest names it`, { skip }, async (t) => {
    const { options, indexes } = await withDamagedGraph(t, 'graph', damagesOfAFile.flipped);
    const before = indexes.graphsBuilt;
    const shard = await Shard.open({ ...options, damagedGraphs: 'drop', indexing: () => ({ ...graphs, ...change }) });
    await shard.settle();
    const { status, indexedVectors, damagedGraphs } = shard.info();
    assert.deepEqual([status, indexedVectors, damagedGraphs.size, indexes.graphsBuilt], ['green', 0, 0, before]);
    await shard.close();
    assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
  });
}

test('a freeze before the graph is built again is without it, and the damage is in no manifest any more', { skip }, async (t) => {
  const { options, root, indexes, exact } = await withDamagedGraph(t, 'graph', damagesOfAFile.flipped);
  let isHeld = true;
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => { letGo = resolve; });
  // the first file that is made afterwards is that of the new graph
  const create: typeof options.disk.create = async (file) => {
    if (isHeld && path.basename(file).startsWith('.tmp-')) await held;
    return await options.disk.create(file);
  };
  const disk = new Proxy(options.disk, {
    get: (of, name) => {
      const found: unknown = name === 'create' ? create : Reflect.get(of, name);
      return typeof found === 'function' ? (found.bind(of) as unknown) : found;
    },
  });
  const shard = await Shard.open({ ...options, disk, damagedGraphs: 'drop' });
  const staged = await stageFrozen(shard, path.join(root, 'staging'));
  assert.equal(shard.info().damagedGraphs.get(''), 1_000, 'it is not built yet');
  assert.deepEqual(await nearest(shard, 7), exact);
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
  isHeld = false;
  letGo();
  await shard.settle();
  assert.equal(shard.info().indexedVectors, 1_000);
  await shard.close();
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: staged.directory, deep: true })).findings, []);
  await using restored = await adoptShard({ ...options, indexes, directory: path.join(root, 'restored'), generation: 1, staging: staged, indexing: () => ({ ...graphs, m: 0 }) });
  assert.equal(restored.info().indexedVectors, 0);
  assert.deepEqual(await nearest(restored, 7), exact);
});

test('codes are those of the configuration, lie where it says, and are there again after a start', { skip }, async (t) => {
  const product = { ...graphs, codes: { kind: 'product', compression: 8 } } as const;
  const binary = { ...graphs, codes: { kind: 'binary', encoding: 'one-bit' }, codesInMemory: false } as const;
  const { options, indexes } = openRig(t, { indexing: () => product });
  const shard = await Shard.create(options);
  t.after(() => shard.close());
  await fill(shard, 0, 400);
  await seal(shard);
  assert.deepEqual([shard.info().indexedVectors, shard.info().codesBytes.mapped], [400, 0]);
  assert.ok(shard.info().codesBytes.memory >= 400 * 8 + 256 * rowBytes);
  const first = kinds(options.directory, 'code');
  shard.setIndexing(() => binary);
  assert.equal(shard.info().status, 'yellow');
  await shard.settle();
  assert.equal(shard.info().codesBytes.mapped, 400 * 32);
  assert.ok(shard.info().codesBytes.memory < 1_000);
  const built = indexes.graphsBuilt;
  shard.setIndexing(() => ({ ...binary, codesInMemory: true }));
  assert.equal(shard.info().status, 'yellow');
  await shard.settle();
  assert.equal(shard.info().codesBytes.mapped, 0);
  assert.ok(shard.info().codesBytes.memory >= 400 * 32);
  shard.setIndexing(() => binary);
  await shard.settle();
  const before = await nearest(shard, 7);
  assert.equal(indexes.graphsBuilt, built);
  while (kinds(options.directory, 'code').length > 1) await new Promise(setImmediate); // the first is swept
  assert.notDeepEqual(kinds(options.directory, 'code'), first);
  await shard.close();

  const again = openRig(t).indexes;
  {
    await using reopened = await Shard.open({ ...options, indexes: again, indexing: () => binary });
    assert.equal(reopened.info().codesBytes.mapped, 400 * 32);
    await reopened.settle();
    assert.deepEqual(await nearest(reopened, 7), before);
    assert.equal(again.graphsBuilt, 0);
  }
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
});

async function stageFrozen(shard: Shard, directory: string): Promise<Awaited<ReturnType<typeof stageCopy>>> {
  const [frozen] = await freezeShards([shard]);
  try {
    return await stageCopy(new NodeDisk(), must(frozen, 'one shard'), directory);
  } finally {
    frozen?.release();
  }
}
