// The same steps as tutorial.py with the official JS client: create, fill, search, snapshot, download, restore under a new
// name, compare. Environment: QDRANT_MAIN_URL, QDRANT_NODES (comma-separated), QDRANT_API_KEY, PAPERS, LIMIT; QDRANT_OTHER_MAIN_URL and
// QDRANT_OTHER_NODES of another service of as many nodes; NODE_EXTRA_CA_CERTS for an authority of one's own.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { QdrantClient } from '@qdrant/js-client-rest';

const mainUrl = process.env['QDRANT_MAIN_URL'] ?? 'http://127.0.0.1:6333';
const nodes = (process.env['QDRANT_NODES'] ?? mainUrl).split(',');
const apiKey = process.env['QDRANT_API_KEY'] ?? '';
const otherUrl = process.env['QDRANT_OTHER_MAIN_URL'];
const otherNodes = (process.env['QDRANT_OTHER_NODES'] ?? '').split(',');
const papers = process.env['PAPERS'] ?? path.join('examples', 'tutorial', 'papers');
const limit = Number(process.env['LIMIT'] ?? 1_000_000);

const collection = 'test_collection';
const imported = 'test_collection_import';
const dim = 768;
const batchSize = 100;

interface Paper {
  readonly id: number;
  readonly vector: number[];
  readonly payload: { readonly title: string; readonly DOI: string | null };
}

/** One by one: the data set never lies in memory as a whole. */
async function* readPapers(): AsyncGenerator<Paper> {
  await using vectors = await open(path.join(papers, 'vectors-768.f16'));
  const row = Buffer.alloc(dim * 2);
  let count = 0;
  for await (const line of createInterface({ input: createReadStream(path.join(papers, 'points.jsonl')) })) {
    if (count === limit) return;
    await vectors.read(row, 0, row.length, count * row.length);
    const { id, payload } = JSON.parse(line) as Paper;
    yield { id, vector: Array.from({ length: dim }, (_, at) => fromHalf(row.readUInt16LE(at * 2))), payload: { title: payload.title, DOI: payload.DOI } };
    count += 1;
  }
}

function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

async function scrollAll(client: QdrantClient, name: string): Promise<Map<unknown, unknown>> {
  const points = new Map<unknown, unknown>();
  let offset: Parameters<QdrantClient['scroll']>[1] = {};
  for (;;) {
    const page = await client.scroll(name, { ...offset, limit: 256, with_payload: true, with_vector: true });
    for (const { id, vector, payload } of page.points) points.set(id, { vector, payload });
    if (page.next_page_offset === null || page.next_page_offset === undefined) return points;
    offset = { offset: page.next_page_offset as number };
  }
}

async function fill(client: QdrantClient): Promise<number> {
  let batch: Paper[] = [];
  let sent = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await client.upsert(collection, { wait: true, points: batch.map((paper) => ({ ...paper, payload: { ...paper.payload } })) });
    sent += batch.length;
    batch = [];
  };
  for await (const paper of readPapers()) {
    batch.push(paper);
    if (batch.length === batchSize) await flush();
  }
  await flush();
  return sent;
}

async function download(node: string, name: string, file: string): Promise<string> {
  const response = await fetch(`${node}/collections/${collection}/snapshots/${name}`, { headers: { 'api-key': apiKey } });
  assert.equal(response.status, 200);
  assert.ok(response.body !== null);
  const digest = createHash('sha256');
  await writeFile(file, (async function* () {
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      digest.update(piece);
      yield piece;
    }
  })());
  return digest.digest('hex');
}

async function upload(node: string, file: string): Promise<void> {
  const form = new FormData();
  form.set('snapshot', await openAsBlob(file), path.basename(file));
  const response = await fetch(`${node}/collections/${imported}/snapshots/upload?priority=snapshot`, { method: 'POST', headers: { 'api-key': apiKey }, body: form });
  assert.equal(response.status, 200, await response.text());
}

const client = new QdrantClient({ url: mainUrl, apiKey, checkCompatibility: false });
for (const name of [collection, imported]) await client.deleteCollection(name);

await client.createCollection(collection, { vectors: { size: dim, distance: 'Cosine' } });
await client.createPayloadIndex(collection, { field_name: 'DOI', field_schema: 'keyword', wait: true });
const sent = await fill(client);
assert.equal((await client.count(collection, { exact: true })).count, sent);
console.log(`filled     ${collection} with ${sent} papers`);

const [probe] = await client.retrieve(collection, { ids: [1], with_vector: true });
assert.ok(probe !== undefined);
const query = { query: probe.vector as number[], limit: 10, with_payload: true };
const before = (await client.query(collection, query)).points;
assert.equal(before[0]?.id, 1);
console.log(`searched   nearest to "${String(probe.payload?.['title'])}": "${String(before[1]?.payload?.['title'])}"`);

const folder = await mkdtemp(path.join(tmpdir(), 'nearkeep-tutorial-'));
try {
  const files: string[] = [];
  for (const [index, node] of nodes.entries()) {
    const description = await new QdrantClient({ url: node, apiKey, checkCompatibility: false }).createSnapshot(collection);
    assert.ok(description !== null);
    const file = path.join(folder, `${index}-${description.name}`);
    assert.equal(await download(node, description.name, file), description.checksum, 'the sha256 is the announced one');
    console.log(`downloaded ${description.name} (${description.size} bytes), sha256 as announced`);
    files.push(file);
  }
  for (const [index, file] of files.entries()) {
    await upload(nodes[index] ?? mainUrl, file);
    if (otherUrl !== undefined) await upload(otherNodes[index] ?? otherUrl, file);
  }
} finally {
  await rm(folder, { recursive: true });
}
console.log(`restored   ${imported}`);

const original = await scrollAll(client, collection);
const { payload_schema: schema } = await client.getCollection(collection);
const places = [mainUrl, ...nodes, ...(otherUrl === undefined ? [] : [otherUrl, ...otherNodes])];
for (const url of places) {
  const restored = new QdrantClient({ url, apiKey, checkCompatibility: false });
  assert.deepEqual(await scrollAll(restored, imported), original, 'the same ids, vectors and payloads');
  assert.deepEqual((await restored.getCollection(imported)).payload_schema, schema, 'the same payload indexes');
  assert.deepEqual((await restored.query(imported, query)).points.map(({ id, score }) => [id, score]), before.map(({ id, score }) => [id, score]));
}
console.log(`proved     ${original.size} points equal at ${places.length} addresses: ids, vectors, payloads, payload indexes, search results`);
