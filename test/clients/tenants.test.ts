// A collection of many tenants through the official JS client: only the values of the tenant field have links, a search of one tenant
// finds what the exact search finds, and a snapshot brings the links back without building any.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { QdrantClient } from '@qdrant/js-client-rest';
import { seededRandom } from '../../src/base/testing/random.ts';
import { loadAddon } from '../../src/vector/addon.ts';
import { serveFolder } from '../support/server-process.ts';

const size = 64;
const pointCount = 6_000;
const skip = loadAddon() === undefined ? 'NEARKEEP_NATIVE=off' : false;

function vectorOf(id: number): number[] {
  const random = seededRandom(id + 1);
  return Array.from({ length: size }, (_, at) => (id % 17) * (at % 3) + random.next());
}

/** Tenants of 2,400 and 1,500 points; the others have one each. */
function tenantOf(id: number): string {
  const at = id % 20;
  return at < 8 ? 'acme' : at < 13 ? 'globex' : `own-${id}`;
}

function filesOf(folder: string, kind: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(`.${kind}`));
}

/** Until nothing is under way and the files of some graph are there. */
async function untilLinked(client: QdrantClient, data: string, kind: string): Promise<void> {
  while ((await client.getCollection('tenants')).status !== 'green' || filesOf(data, kind).length === 0);
}

async function graphsBuilt(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^graphs_built (\d+)/m.exec(text)?.[1]);
}

test('JS client: tenants with links of their own, alone and through a snapshot', { skip }, async () => {
  await using served = await serveFolder();
  const client = new QdrantClient({ url: served.server.url, timeout: 120_000, checkCompatibility: false });
  await client.createCollection('tenants', {
    vectors: { size, distance: 'Euclid' }, shard_number: 1,
    hnsw_config: { m: 0, payload_m: 12, full_scan_threshold: 10 }, optimizers_config: { indexing_threshold: 10 },
  });
  await client.createPayloadIndex('tenants', { field_name: 'tenant', field_schema: { type: 'keyword', is_tenant: true }, wait: true });
  // in one request: all go from the head into one segment, and a restore finds nothing left to merge
  const points = Array.from({ length: pointCount }, (_, id) => ({ id, vector: vectorOf(id), payload: { tenant: tenantOf(id) } }));
  await client.upsert('tenants', { wait: true, points });
  await untilLinked(client, served.data, 'block');

  const recall = async (collection: string): Promise<number> => {
    let hits = 0;
    for (let id = 0; id < 20; id += 1) {
      for (const tenant of ['acme', 'globex']) {
        const request = { query: vectorOf(id), limit: 10, filter: { must: [{ key: 'tenant', match: { value: tenant } }] }, with_payload: true };
        const truth = await client.query(collection, { ...request, params: { exact: true } });
        const found = await client.query(collection, { ...request, params: { hnsw_ef: 40 } });
        assert.equal(found.points.length, 10);
        for (const point of found.points) {
          assert.equal(point.payload?.['tenant'], tenant);
          if (truth.points.some(({ id: wanted, score }) => wanted === point.id && score === point.score)) hits += 1;
        }
      }
    }
    return hits / 400;
  };
  assert.ok(await recall('tenants') >= 0.95);
  const alone = await client.query('tenants', { query: vectorOf(19), limit: 3, filter: { must: [{ key: 'tenant', match: { value: 'own-19' } }] } });
  assert.deepEqual(alone.points.map(({ id }) => id), [19]);
  const blocks = filesOf(served.data, 'block');
  const built = await graphsBuilt(served.server.url);
  assert.ok(built >= 1);

  await client.updateCollection('tenants', { hnsw_config: { payload_m: 24 } });
  do await untilLinked(client, served.data, 'block');
  while (filesOf(served.data, 'block').some((name) => blocks.includes(name)));
  const rebuilt = await graphsBuilt(served.server.url);
  assert.ok(rebuilt > built, 'a PATCH of payload_m builds them anew');

  const snapshot = await client.createSnapshot('tenants');
  assert.ok(snapshot !== null);
  await client.recoverSnapshot('restored', { location: `file://${path.join(served.data, 'snapshots', 'tenants', snapshot.name)}` });
  assert.ok(await recall('restored') >= 0.95);
  assert.equal((await client.getCollection('restored')).status, 'green');
  assert.equal(await graphsBuilt(served.server.url), rebuilt);
});
