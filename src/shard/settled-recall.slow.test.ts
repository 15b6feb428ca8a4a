// A shard that streamed in and came to rest: how many graphs it has, and that several graphs with short walks find what one finds.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import { fillConfig } from '../command/config-defaults.ts';
import { indexingOf, type Merging } from '../command/indexing-config.ts';
import type { SearchParams } from '../command/read.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { nativeIndexes } from '../index/native-scan.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import { loadAddon } from '../vector/addon.ts';
import { fromStored } from '../vector/stored-vector.ts';
import { Shard } from './shard.ts';
import { shardLimits } from './shard-limits.ts';
import { pointId, shardOptions, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const addon = loadAddon();
const skip = addon === undefined ? 'NEARKEEP_NATIVE=off' : false;
const papersFolder = process.env['NEARKEEP_PAPERS'] ?? path.resolve(import.meta.dirname, '../../../../shared/data/arxiv');
const k = 10;
/** The first is so short that it is never cut, the fourth is the default. */
const efs: readonly number[] = [16, 32, 64, 100, 256];
/** For the mean over list lengths; two builds of one graph differ by more at one of them. */
const slack = 0.005;
const slackEach = 0.02;

interface Data {
  readonly size: number;
  readonly rows: readonly Float32Array[];
  readonly queries: readonly Float32Array[];
}

/** Draws from clusters in few dimensions, spread over many. Rows one after another in the order of their clusters, or mixed. */
function clusters(order: 'by cluster' | 'mixed'): Data {
  const random = seededRandom(7);
  const [size, latent] = [768, 32];
  const noise = (): number => random.next() + random.next() - 1;
  const centres = Array.from({ length: 60 }, () => Float32Array.from({ length: latent }, noise));
  const spread = Array.from({ length: latent }, () => Float32Array.from({ length: size }, noise));
  const draw = (cluster: number): Float32Array => {
    const point = Float32Array.from(must(centres[cluster], 'a cluster'), (value) => value + 1.2 * noise());
    const row = new Float32Array(size);
    for (const [at, weights] of spread.entries()) for (let i = 0; i < size; i += 1) row[i] = (row[i] ?? 0) + (point[at] ?? 0) * (weights[i] ?? 0);
    return row;
  };
  const rows = Array.from({ length: 12_000 }, (_, at) => draw(order === 'mixed' ? random.below(centres.length) : Math.floor((at * centres.length) / 12_000)));
  return { size, rows, queries: Array.from({ length: 200 }, () => draw(random.below(centres.length))) };
}

function papers(): Data {
  const size = 768;
  const read = (name: string, count: number): readonly Float32Array[] => {
    const bytes = readFileSync(path.join(papersFolder, name));
    const spec = { size, distance: 'Cosine', datatype: 'float16' } as const;
    return Array.from({ length: count }, (_, at) => fromStored(spec, bytes.subarray(at * size * 2, (at + 1) * size * 2)));
  };
  return { size, rows: read('vectors-768.f16', 15_000), queries: read('queries-768.f16', 200) };
}

interface Settled {
  readonly shard: Shard;
  readonly indexes: VectorIndexes;
  readonly data: Data;
  readonly setMerging: (merging: Merging) => Promise<void>;
}

/** Streamed in, a twentieth of it written again, left alone. */
async function settled(t: TestContext, data: Data, merging: Merging): Promise<Settled> {
  const native = must(addon, 'skipped without it');
  const root = mkdtempSync(path.join(tmpdir(), 'nearkeep-settled-'));
  const indexes = nativeIndexes(native, must(native.kernels[0], 'a kernel').name);
  const rowBytes = data.size * 4;
  const config = fillConfig({ vectors: { size: data.size, distance: 'Cosine' }, hnswConfig: { full_scan_threshold: 10 }, optimizersConfig: { indexing_threshold: Math.ceil((500 * rowBytes) / 1024) } });
  const disk = new NodeDisk();
  const options = shardOptions(disk, path.join(root, 'shard'), {
    indexes, vectors: new Map([['', { size: data.size, distance: 'Cosine', datatype: 'float32' }]]), indexing: indexingOf(config), merging,
    limits: { ...shardLimits, quietMs: 50 },
  });
  const shard = await Shard.create(options);
  t.after(async () => {
    await shard.close();
    assert.deepEqual((await verifyShard({ disk, directory: options.directory, deep: true })).findings, []);
    await indexes.close();
    rmSync(root, { recursive: true });
  });
  const write = (ids: readonly number[]): Promise<unknown> =>
    upsert(shard, ...ids.map((id) => ({ id: pointId(id), vectors: new Map([['', must(data.rows[id], 'a row')]]), payload: '{}' })));
  for (let from = 0; from < data.rows.length; from += 250) {
    if (from > 0 && from % 1_500 === 0) await shard.checkpoint();
    await write(Array.from({ length: Math.min(250, data.rows.length - from) }, (_, at) => from + at));
  }
  const random = seededRandom(5);
  for (let at = 0; at < data.rows.length / 20; at += 50) await write([...new Set(Array.from({ length: 50 }, () => random.below(data.rows.length)))]);
  await shard.settle();
  await shard.checkpoint(); // a head of little is left in memory
  await shard.settle();
  const setMerging = async (changed: Merging): Promise<void> => {
    shard.setIndexing(indexingOf(config), changed);
    await shard.settle();
  };
  return { shard, indexes, data, setMerging };
}

async function find({ shard }: Settled, vector: Float32Array, params: SearchParams): Promise<readonly unknown[]> {
  const [hits] = await shard.search([{ vector, using: '', limit: k, offset: 0, params, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } }]);
  return must(hits, 'one list').map(({ id }) => id);
}

interface Found {
  readonly recall: number;
  /** Distances computed, a query. */
  readonly evaluations: number;
  /** Graphs walked, a query. */
  readonly walks: number;
}

async function recall(settledShard: Settled, params: SearchParams): Promise<Found> {
  const { indexes, data: { queries } } = settledShard;
  const before = { ...indexes.walked };
  let hits = 0;
  for (const query of queries) {
    const truth = new Set(await find(settledShard, query, { exact: true })); // a scan is no walk
    for (const id of await find(settledShard, query, params)) if (truth.has(id)) hits += 1;
  }
  const { codeEvaluations, walks } = indexes.walked;
  return { recall: hits / k / queries.length, evaluations: (codeEvaluations - before.codeEvaluations) / queries.length, walks: (walks - before.walks) / queries.length };
}

/** Sealed ones. */
const segmentsOf = ({ shard }: Settled): number => shard.info().segments - 1;

/** What is found in several graphs, in the order of `efs`. */
async function checkManyAgainstOne(t: TestContext, data: Data): Promise<{ readonly many: readonly Found[]; readonly areShort: boolean; readonly shown: string }> {
  const rig = await settled(t, data, { segmentsMin: 1, bytesMax: 3_400 * data.size * 4 });
  const several = segmentsOf(rig);
  assert.ok(several >= 4, `${several} segments`);
  assert.equal(rig.shard.info().indexedVectors, data.rows.length);
  const many: Found[] = [];
  for (const hnswEf of efs) many.push(await recall(rig, { hnswEf }));
  await rig.setMerging({ segmentsMin: 1 });
  assert.deepEqual([segmentsOf(rig), rig.shard.info().indexedVectors, rig.shard.info().points], [1, data.rows.length, data.rows.length]);
  const one: Found[] = [];
  for (const hnswEf of efs) one.push(await recall(rig, { hnswEf }));
  const shown = efs.map((ef, at) => `ef ${ef}: ${JSON.stringify(many[at])} in ${several} graphs, ${JSON.stringify(one[at])} in one`).join('\n');
  t.diagnostic(shown);
  const at64 = efs.indexOf(64);
  for (const at of efs.keys()) assert.ok((many[at]?.recall ?? 0) >= (one[at]?.recall ?? 1) - slackEach, shown);
  assert.ok(mean(many) >= mean(one) - slack, shown);
  return { many, areShort: (many[at64]?.evaluations ?? Infinity) < 0.7 * several * (one[at64]?.evaluations ?? 0), shown };
}

function mean(found: readonly Found[]): number {
  return found.reduce((sum, { recall: each }) => sum + each / found.length, 0);
}

test('a shard that streamed in comes to rest as one graph', { skip }, async (t) => {
  const data = clusters('mixed');
  const rig = await settled(t, data, { segmentsMin: 1 });
  const { status, indexedVectors, points, segments } = rig.shard.info();
  assert.deepEqual([status, indexedVectors, points, segments], ['green', data.rows.length, data.rows.length, 2]); // the empty head among them
  assert.ok((await recall(rig, {})).recall >= 0.97);
});

test('several graphs with short walks find what one finds', { skip }, async (t) => {
  const { areShort, shown } = await checkManyAgainstOne(t, clusters('mixed'));
  assert.ok(areShort, `whole lists everywhere?\n${shown}`);
});

test('several graphs, each of clusters of its own: those that crowd the answer are walked again', { skip }, async (t) => {
  const { many } = await checkManyAgainstOne(t, clusters('by cluster'));
  const walksAt = (ef: number): number => many[efs.indexOf(ef)]?.walks ?? NaN;
  assert.ok(walksAt(64) > walksAt(16) + 0.3, `${walksAt(64)} walks a query, ${walksAt(16)} where no list is cut`);
});

const skipPapers = skip === false && !existsSync(path.join(papersFolder, 'vectors-768.f16')) ? `no data set at ${papersFolder}` : skip;
test('several graphs find what one finds, on real vectors', { skip: skipPapers }, async (t) => {
  await checkManyAgainstOne(t, papers());
});
