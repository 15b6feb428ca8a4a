// A shard that streamed in and came to rest: how many graphs it has, and that several graphs with short walks find what one finds.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import { fillConfig } from '../command/config-defaults.ts';
import { indexingOf } from '../command/indexing-config.ts';
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
const slack = 0.005;

interface Data {
  readonly size: number;
  readonly rows: readonly Float32Array[];
  readonly queries: readonly Float32Array[];
}

/** Rows one after another in the order of their clusters, or mixed. */
function clusters(order: 'by cluster' | 'mixed'): Data {
  const random = seededRandom(7);
  const size = 48;
  const centres = Array.from({ length: 120 }, () => Float32Array.from({ length: size }, () => random.next() - 0.5));
  const draw = (cluster: number): Float32Array => Float32Array.from(must(centres[cluster], 'a cluster'), (value) => value + 0.9 * (random.next() - 0.5));
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
  return { size, rows: read('vectors-768.f16', 16_000), queries: read('queries-768.f16', 200) };
}

interface Settled {
  readonly shard: Shard;
  readonly indexes: VectorIndexes;
  readonly data: Data;
  readonly setMerging: (segmentsMin: number) => Promise<void>;
}

/** Streamed in, a twentieth of it written again, left alone. */
async function settled(t: TestContext, data: Data, segmentsMin: number): Promise<Settled> {
  const native = must(addon, 'skipped without it');
  const root = mkdtempSync(path.join(tmpdir(), 'nearkeep-settled-'));
  const indexes = nativeIndexes(native, must(native.kernels[0], 'a kernel').name);
  const rowBytes = data.size * 4;
  const config = fillConfig({ vectors: { size: data.size, distance: 'Cosine' }, hnswConfig: { full_scan_threshold: 10 }, optimizersConfig: { indexing_threshold: Math.ceil((500 * rowBytes) / 1024) } });
  const disk = new NodeDisk();
  const options = shardOptions(disk, path.join(root, 'shard'), {
    indexes, vectors: new Map([['', { size: data.size, distance: 'Cosine', datatype: 'float32' }]]), indexing: indexingOf(config), merging: { segmentsMin },
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
  const setMerging = async (wanted: number): Promise<void> => {
    shard.setIndexing(indexingOf(config), { segmentsMin: wanted });
    await shard.settle();
  };
  return { shard, indexes, data, setMerging };
}

async function find({ shard }: Settled, vector: Float32Array, params: SearchParams): Promise<readonly unknown[]> {
  const [hits] = await shard.search([{ vector, using: '', limit: k, offset: 0, params, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } }]);
  return must(hits, 'one list').map(({ id }) => id);
}

/** And the distances computed for it, a query. */
async function recall(settledShard: Settled, params: SearchParams): Promise<{ readonly recall: number; readonly evaluations: number }> {
  const { indexes, data: { queries } } = settledShard;
  let hits = 0;
  let evaluations = 0;
  for (const query of queries) {
    const truth = new Set(await find(settledShard, query, { exact: true }));
    const before = indexes.walked.codeEvaluations;
    for (const id of await find(settledShard, query, params)) if (truth.has(id)) hits += 1;
    evaluations += indexes.walked.codeEvaluations - before;
  }
  return { recall: hits / k / queries.length, evaluations: evaluations / queries.length };
}

/** Sealed ones. */
const segmentsOf = ({ shard }: Settled): number => shard.info().segments - 1;

async function checkManyAgainstOne(t: TestContext, data: Data): Promise<void> {
  const rig = await settled(t, data, 5);
  const several = segmentsOf(rig);
  assert.ok(several >= 5, `${several} segments`);
  assert.equal(rig.shard.info().indexedVectors, data.rows.length);
  const settings: readonly SearchParams[] = [{}, { hnswEf: 16 }, { hnswEf: 32 }, { hnswEf: 64 }, { hnswEf: 256 }];
  const many: Awaited<ReturnType<typeof recall>>[] = [];
  for (const params of settings) many.push(await recall(rig, params));
  await rig.setMerging(1);
  assert.deepEqual([segmentsOf(rig), rig.shard.info().indexedVectors, rig.shard.info().points], [1, data.rows.length, data.rows.length]);
  const one: Awaited<ReturnType<typeof recall>>[] = [];
  for (const params of settings) one.push(await recall(rig, params));
  const shown = settings.map((params, at) => `ef ${params.hnswEf ?? 'default'}: ${JSON.stringify(many[at])} in ${several} graphs, ${JSON.stringify(one[at])} in one`).join('\n');
  t.diagnostic(shown);
  for (const at of settings.keys()) assert.ok((many[at]?.recall ?? 0) >= (one[at]?.recall ?? 1) - slack, shown);
  assert.ok((many[0]?.evaluations ?? Infinity) < 0.75 * several * (one[0]?.evaluations ?? 0), `whole lists everywhere?\n${shown}`);
}

test('a shard that streamed in comes to rest as one graph', { skip }, async (t) => {
  const data = clusters('mixed');
  const rig = await settled(t, data, 1);
  const { status, indexedVectors, points, segments } = rig.shard.info();
  assert.deepEqual([status, indexedVectors, points, segments], ['green', data.rows.length, data.rows.length, 2]); // the empty head among them
  assert.ok((await recall(rig, {})).recall >= 0.97);
});

test('several graphs with short walks find what one finds', { skip }, (t) => checkManyAgainstOne(t, clusters('mixed')));

test('several graphs, each of clusters of its own: those that crowd the answer are walked again', { skip }, (t) => checkManyAgainstOne(t, clusters('by cluster')));

const skipPapers = skip === false && !existsSync(path.join(papersFolder, 'vectors-768.f16')) ? `no data set at ${papersFolder}` : skip;
test('several graphs find what one finds, on real vectors', { skip: skipPapers }, (t) => checkManyAgainstOne(t, papers()));
