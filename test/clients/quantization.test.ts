// Quantization as a user meets it: the official JS client creates, changes and searches collections with every kind of codes, while
// /metrics tells what is held and what walks cost.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { QdrantClient, type Schemas } from '@qdrant/js-client-rest';
import { must } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { temporaryFolder, type TemporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { loadAddon } from '../../src/vector/addon.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

type Quantization = NonNullable<Schemas['CreateCollection']['quantization_config']>;

const pointCount = 20_000;
const size = 64;
const topK = 10;
const queryCount = 25;
const skip = loadAddon() === undefined ? 'NEARKEEP_NATIVE=off' : false;
const tuning = { hnsw_config: { full_scan_threshold: 10 }, optimizers_config: { indexing_threshold: 100, default_segment_number: 1 } };
const selection = { limit: topK, with_payload: false, with_vector: false };

let folder: TemporaryFolder;
let data: string;
let server: ServerProcess;
let client: QdrantClient;

before(async () => {
  folder = await temporaryFolder();
  data = path.join(folder.path, 'data');
  await start();
  if (skip !== false) return;
  await client.createCollection('main', { vectors: { size, distance: 'Cosine' }, ...tuning });
  await upload('main', points);
  assert.equal((await untilGreen('main')).indexed_vectors_count, pointCount);
});

after(async () => {
  await server.stop();
  verifySound(data);
  await folder[Symbol.asyncDispose]();
});

async function start(): Promise<void> {
  server = await startServer({ data });
  client = new QdrantClient({ url: server.url, timeout: 120_000 });
}

/** Around 200 centres in a space of few dimensions, so that neighbours are meaningful, as those of real embeddings are. */
function makeVectors(count: number, seed: number): readonly (readonly number[])[] {
  const random = seededRandom(77);
  const gauss = (from: { next(): number }): number => from.next() + from.next() + from.next() + from.next() - 2;
  const basis = Array.from({ length: 12 }, () => Array.from({ length: size }, () => gauss(random)));
  const centres = Array.from({ length: 200 }, () => basis.map(() => gauss(random)));
  const own = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const centre = must(centres[own.below(centres.length)], 'a centre');
    const weights = centre.map((weight) => weight + 0.5 * gauss(own));
    const component = (at: number): number => weights.reduce((sum, weight, of) => sum + weight * must(basis[of]?.[at], 'a component'), 0.1 * gauss(own));
    return Array.from({ length: size }, (_, at) => Math.round(component(at) * 1_000) / 1_000);
  });
}

const points = skip === false ? makeVectors(pointCount, 1) : [];
const queries = skip === false ? makeVectors(queryCount, 2) : [];

/** In one request, so that the shard does not come to rest in the middle and all rows are sealed together. */
async function upload(name: string, vectors: readonly (readonly number[])[], of: (vector: readonly number[]) => Schemas['VectorStruct'] = (vector) => [...vector]): Promise<void> {
  await client.upsert(name, { wait: true, points: vectors.map((vector, id) => ({ id, vector: of(vector) })) });
}

/** Until everything is in one place that is indexed, and nothing is at work. */
async function untilGreen(name: string): Promise<Schemas['CollectionInfo']> {
  for (;;) {
    const info = await client.getCollection(name);
    assert.equal(info.optimizer_status, 'ok');
    if (info.status === 'green') return info;
  }
}

type Params = NonNullable<Schemas['QueryRequest']['params']>;

async function search(name: string, params: Params, using?: string): Promise<readonly (readonly Schemas['ScoredPoint'][])[]> {
  const searches = queries.map((query) => ({ query: [...query], params, ...selection, ...(using === undefined ? {} : { using }) }));
  const answers = await client.queryBatch(name, { searches });
  return answers.map((answer) => answer.points);
}

/** By collection and vector: what a scan answers. No test changes points. */
const truths = new Map<string, Awaited<ReturnType<typeof search>>>();

/** Share of the exact hits; those that are found have their exact score. */
async function recall(name: string, params: Params, using?: string): Promise<number> {
  const key = `${name}/${using ?? ''}`;
  const truth = truths.get(key) ?? (await search(name, { exact: true }, using));
  truths.set(key, truth);
  const found = await search(name, params, using);
  let hits = 0;
  for (const [at, list] of found.entries()) {
    assert.equal(list.length, topK);
    const exact = new Map(must(truth[at], 'one list for each query').map(({ id, score }) => [id, score]));
    for (const { id, score } of list) {
      if (!exact.has(id)) continue;
      assert.equal(score, exact.get(id));
      hits += 1;
    }
  }
  return hits / (queryCount * topK);
}

async function metric(name: string, collection?: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const start = collection === undefined ? `${name} ` : `${name}{id="${collection}"} `;
  const line = must(text.split('\n').find((each) => each.startsWith(start)), name);
  return Number(line.slice(start.length));
}

async function held(collection: string): Promise<{ readonly memory: number; readonly mapped: number }> {
  return { memory: await metric('collection_codes_memory_bytes', collection), mapped: await metric('collection_codes_mapped_bytes', collection) };
}

interface Cost {
  readonly walks: number;
  readonly code_evaluations: number;
  readonly row_evaluations: number;
  readonly rescored_rows: number;
}

/** What one search costs, by the counters. */
async function costOf(name: string, params: Params): Promise<Cost> {
  const read = async (): Promise<readonly number[]> =>
    await Promise.all(['walks', 'code_evaluations', 'row_evaluations', 'rescored_rows'].map((counter) => metric(`graph_${counter}_total`)));
  const first = await read();
  await search(name, params);
  const last = await read();
  const [walks = 0, code_evaluations = 0, row_evaluations = 0, rescored_rows = 0] = last.map((value, at) => (value - must(first[at], 'a counter')) / queryCount);
  return { walks, code_evaluations, row_evaluations, rescored_rows };
}

/** What one graph's codes weigh: for each row, and once. */
interface Weight {
  readonly row: number;
  readonly shared: number;
}

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;
const bytesWeight: Weight = { row: roundUp(size + 12, 16), shared: 4 * size };
const productWeight = (compression: number): Weight => ({ row: Math.ceil(size / (compression / 4)), shared: 256 * 4 * size });
/** Bits lie in words of 64 components, shared ones in words of 128. */
const bitBytes = (bits: number): number => (bits === 1.5 ? (1.5 * roundUp(size, 128)) / 8 : (bits * roundUp(size, 64)) / 8);
const binaryWeight = (bits: number): Weight => ({ row: roundUp(bitBytes(bits) + 12, 16), shared: 2 * 4 * size });

/** All rows are in one graph. */
async function checkHeld(name: string, weight: Weight, isMapped: boolean, rows = pointCount): Promise<void> {
  const found = await held(name);
  const wanted = { memory: (isMapped ? 0 : weight.row * rows) + weight.shared, mapped: isMapped ? weight.row * rows : 0 };
  for (const where of ['memory', 'mapped'] as const) {
    assert.ok(Math.abs(found[where] - wanted[where]) <= 0.05 * wanted[where] + 64, `${name} ${where}: ${found[where]} bytes of codes, ${wanted[where]} expected`);
  }
}

/** Changes the quantization while searches run; they are whole at every moment. */
async function change(name: string, update: Schemas['UpdateCollection']): Promise<void> {
  await client.updateCollection(name, update);
  do assert.ok(await recall(name, { hnsw_ef: 400, quantization: { oversampling: 20 } }) >= 0.9);
  while ((await client.getCollection(name)).status !== 'green');
  await untilGreen(name);
}

const kinds: readonly (readonly [title: string, config: Quantization | 'Disabled', weight: Weight, params: Params])[] = [
  ['scalar', { scalar: { type: 'int8', quantile: 0.99 } }, bytesWeight, { quantization: { oversampling: 3 } }],
  ['product x32', { product: { compression: 'x32' } }, productWeight(32), { hnsw_ef: 300, quantization: { oversampling: 25 } }],
  ['binary', { binary: { encoding: 'one_bit' } }, binaryWeight(1), { hnsw_ef: 400, quantization: { oversampling: 40 } }],
  ['none again', 'Disabled', bytesWeight, {}],
];

test('quantization changes by PATCH while searches run: bytes, evaluations and recall follow', { skip }, async () => {
  await checkHeld('main', bytesWeight, false);
  for (const [title, config, weight, params] of kinds) {
    const built = await metric('graphs_built');
    await change('main', { quantization_config: config });
    assert.equal((await client.getCollection('main')).indexed_vectors_count, pointCount, title);
    assert.ok(await metric('graphs_built') > built, title);
    await checkHeld('main', weight, false);
    const found = await recall('main', params);
    assert.ok(found >= 0.95, `${title}: recall ${found}`);
    const few = await costOf('main', { quantization: { oversampling: 2 } });
    const many = await costOf('main', { quantization: { oversampling: 8 } });
    assert.deepEqual([few.walks, few.row_evaluations, few.rescored_rows], [1, 0, 2 * topK], title);
    assert.equal(many.rescored_rows, 8 * topK, title);
    assert.ok(few.code_evaluations > topK && few.code_evaluations < pointCount / 4, `${title}: ${few.code_evaluations} evaluations`);
    const wide = await costOf('main', { hnsw_ef: 400 });
    assert.ok(wide.code_evaluations > 1.5 * few.code_evaluations, `${title}: ${wide.code_evaluations} evaluations with a long list`);
    assert.equal((await costOf('main', { quantization: { rescore: false } })).rescored_rows, topK, title);
    const ignoring = await costOf('main', { quantization: { ignore: true } });
    assert.deepEqual([ignoring.walks, ignoring.code_evaluations, ignoring.rescored_rows], [1, 0, 0], title);
    assert.ok(ignoring.row_evaluations > topK, title);
    assert.ok(await recall('main', { quantization: { ignore: true } }) >= 0.95, title);
    assert.equal((await costOf('main', { exact: true })).walks, 0, title);
  }
});

test('where codes lie and how queries are encoded changes at once, without a build', { skip }, async () => {
  const place = async (config: Quantization): Promise<void> => { await change('main', { quantization_config: config }); };
  await place({ binary: { encoding: 'two_bits', always_ram: true } });
  const built = await metric('graphs_built');
  await checkHeld('main', binaryWeight(2), false);
  const params: Params = { hnsw_ef: 400, quantization: { oversampling: 40 } };
  const byBits = await search('main', params);
  await place({ binary: { encoding: 'two_bits', always_ram: false } });
  await checkHeld('main', binaryWeight(2), true);
  assert.deepEqual(await search('main', params), byBits);
  const coarse = await recall('main', { quantization: { rescore: false } });
  await place({ binary: { encoding: 'two_bits', always_ram: false, query_encoding: 'scalar8bits' } });
  await checkHeld('main', binaryWeight(2), true);
  assert.ok(await recall('main', { quantization: { rescore: false } }) > coarse);
  await place({ binary: { encoding: 'two_bits' } });
  await checkHeld('main', binaryWeight(2), false);
  await change('main', { vectors: { '': { on_disk: true } } });
  await checkHeld('main', binaryWeight(2), true);
  assert.equal(await metric('graphs_built'), built);
});

test('codes come back with a restart and a restore, and nothing is built', { skip }, async () => {
  await change('main', { quantization_config: { product: { compression: 'x16', always_ram: false } } });
  const params: Params = { hnsw_ef: 200, quantization: { oversampling: 10 } };
  const before = await search('main', params);
  await checkHeld('main', productWeight(16), true);
  assert.equal(await server.stop(), 0);
  await start();
  await untilGreen('main');
  await checkHeld('main', productWeight(16), true);
  assert.deepEqual(await search('main', params), before);
  const snapshot = must(await client.createSnapshot('main'), 'a snapshot');
  await client.recoverSnapshot('copy', { location: `file://${path.join(data, 'snapshots', 'main', snapshot.name)}`, priority: 'snapshot' });
  await untilGreen('copy');
  await checkHeld('copy', productWeight(16), true);
  assert.deepEqual(await search('copy', params), before);
  assert.equal(await metric('graphs_built'), 0);
  await change('copy', { quantization_config: { product: { compression: 'x16', always_ram: true } } });
  await checkHeld('copy', productWeight(16), false);
  assert.equal(await metric('graphs_built'), 0);
});

const options: readonly (readonly [title: string, config: Quantization | undefined, weight: Weight])[] = [
  ['none', undefined, bytesWeight],
  ['scalar', { scalar: { type: 'int8' } }, bytesWeight],
  ...([4, 8, 16, 32, 64] as const).map((compression) =>
    [`x${compression}`, { product: { compression: `x${compression}` } } as Quantization, productWeight(compression)] as const),
  ['one_bit', { binary: {} }, binaryWeight(1)],
  ['one_and_half_bits', { binary: { encoding: 'one_and_half_bits', query_encoding: 'scalar4bits' } }, binaryWeight(1.5)],
  ['two_bits', { binary: { encoding: 'two_bits', query_encoding: 'scalar8bits' } }, binaryWeight(2)],
];

test('each vector of a collection has codes of its own, created with each option', { skip }, async () => {
  const vectors = Object.fromEntries(options.map(([title, config]) => [title, { size, distance: 'Euclid', ...(config === undefined ? {} : { quantization_config: config }) }] as const));
  await client.createCollection('many', { vectors, quantization_config: { scalar: { type: 'int8', quantile: 0.9, always_ram: false } }, ...tuning });
  const names = options.map(([title]) => title);
  const some = points.slice(0, 4_000);
  await upload('many', some, (vector) => Object.fromEntries(names.map((name) => [name, [...vector]])));
  const info = await untilGreen('many');
  assert.equal(info.indexed_vectors_count, some.length * names.length);
  const found = await held('many');
  const wanted = options.slice(1).reduce((sum, [, , { row, shared }]) => sum + row * some.length + shared, bytesWeight.shared);
  assert.ok(Math.abs(found.memory - wanted) <= 0.05 * wanted, `${found.memory} bytes of codes in memory, ${wanted} expected`);
  assert.equal(found.mapped, bytesWeight.row * some.length, 'the vector without a quantization of its own has the collection\'s');
  for (const name of names) {
    const hits = await recall('many', { hnsw_ef: 400, quantization: { oversampling: 40 } }, name);
    assert.ok(hits >= 0.95, `${name}: recall ${hits}`);
  }
});
