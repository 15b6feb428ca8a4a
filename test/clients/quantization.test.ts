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
const queryCount = 40;
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
    return Array.from({ length: size }, (_, at) => weights.reduce((sum, weight, of) => sum + weight * must(basis[of]?.[at], 'a component'), 0.1 * gauss(own)));
  });
}

const points = skip === false ? makeVectors(pointCount, 1) : [];
const queries = skip === false ? makeVectors(queryCount, 2) : [];

async function upload(name: string, vectorOf: (vector: readonly number[]) => Schemas['VectorStruct'] = (vector) => [...vector]): Promise<void> {
  for (let first = 0; first < points.length; first += 1_000) {
    const batch = points.slice(first, first + 1_000).map((vector, at) => ({ id: first + at, vector: vectorOf(vector) }));
    await client.upsert(name, { wait: true, points: batch });
  }
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

/** Share of the exact hits; those that are found have their exact score. */
async function recall(name: string, params: Params, using?: string): Promise<number> {
  const truth = await search(name, { exact: true }, using);
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
