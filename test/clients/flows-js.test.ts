// The official JS client through the judging proxy: the essentials of flows.py once more, with the values that must come back.
// Ids above 2^53 are flows.py's: this client reads them as rounded numbers.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { QdrantClient, type Schemas } from '@qdrant/js-client-rest';
import { judgingProxy, type JudgingProxy } from '../support/judging-proxy.ts';
import { serveFolder, type ServedFolder } from '../support/server-process.ts';

const key = 'flows-js-key';
const uuid = 'aaaaaaaa-0000-4000-8000-000000000001';
let served: ServedFolder;
let proxy: JudgingProxy;
let client: QdrantClient;

before(async () => {
  served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: key } });
  proxy = await judgingProxy(served.server.url);
  client = new QdrantClient({ url: proxy.url, apiKey: key, timeout: 60_000 });
});

after(async () => {
  await proxy[Symbol.asyncDispose]();
  await served[Symbol.asyncDispose]();
});

interface Failure {
  readonly status: number;
  readonly data: { readonly status: { readonly error: string } };
}

async function refused(status: number, text: string, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => {
    const failure = error as Failure;
    assert.deepEqual([failure.status, failure.data.status.error], [status, text]);
    return true;
  });
}

async function fresh(
  name: string,
  vectors: Schemas['VectorsConfig'] = { size: 4, distance: 'Dot' },
  shards = 3,
): Promise<string> {
  assert.equal(await client.createCollection(name, { vectors, shard_number: shards }), true);
  return name;
}

/** Ids, payloads and vectors of every point, by page. */
async function everything(name: string, limit = 3): Promise<readonly { id: unknown; payload: unknown; vector: unknown }[]> {
  const points = [];
  for (let offset: Schemas['ExtendedPointId'] | undefined | null; offset !== null; ) {
    const page: Schemas['ScrollResult'] = await client.scroll(name, {
      limit,
      with_vector: true,
      ...(offset === undefined ? {} : { offset }),
    });
    points.push(...page.points.map(({ id, payload, vector }) => ({ id, payload, vector })));
    offset = (page.next_page_offset ?? null) as Schemas['ExtendedPointId'] | null;
  }
  return points;
}

test('JS client: version and collections', async () => {
  assert.equal((await client.versionInfo()).version, '1.19.0');
  const name = 'js-life';
  assert.equal((await client.collectionExists(name)).exists, false);
  await fresh(name, {
    a: { size: 4, distance: 'Cosine', datatype: 'float16', on_disk: true },
    b: { size: 2, distance: 'Euclid' },
  });
  assert.equal((await client.collectionExists(name)).exists, true);
  assert.deepEqual((await client.getCollections()).collections, [{ name }]);
  await client.updateCollection(name, {
    optimizers_config: { indexing_threshold: 5 },
    hnsw_config: { m: 7 },
    vectors: { b: { on_disk: true } },
  });
  const info = await client.getCollection(name);
  assert.deepEqual(info.config.params.vectors, {
    a: { size: 4, distance: 'Cosine', datatype: 'float16', on_disk: true },
    b: { size: 2, distance: 'Euclid', on_disk: true },
  });
  assert.deepEqual(
    [
      info.config.params.shard_number,
      info.config.hnsw_config.m,
      info.config.optimizer_config?.indexing_threshold,
      info.status,
      info.points_count,
    ],
    [3, 7, 5, 'green', 0],
  );
  assert.equal((await client.collectionClusterInfo(name)).local_shards.length, 3);
  await refused(
    409,
    `Wrong input: Collection \`${name}\` already exists!`,
    client.createCollection(name, { vectors: { size: 4, distance: 'Dot' } }),
  );
  assert.equal(await client.deleteCollection(name), true);
  assert.equal(await client.deleteCollection(name), false);
  await refused(404, `Not found: Collection \`${name}\` doesn't exist!`, client.getCollection(name));
});

test('JS client: aliases', async () => {
  const name = await fresh('js-aliased');
  await client.updateCollectionAliases({
    actions: [
      { create_alias: { collection_name: name, alias_name: 'one' } },
      { create_alias: { collection_name: name, alias_name: 'two' } },
    ],
  });
  await client.updateCollectionAliases({
    actions: [{ rename_alias: { old_alias_name: 'one', new_alias_name: 'three' } }, { delete_alias: { alias_name: 'two' } }],
  });
  const want = { aliases: [{ alias_name: 'three', collection_name: name }] };
  assert.deepEqual(await client.getAliases(), want);
  assert.deepEqual(await client.getCollectionAliases(name), want);
  await client.upsert('three', { wait: true, points: [{ id: 1, vector: [1, 2, 3, 4] }] });
  assert.equal((await client.count(name)).count, 1);
  await client.deleteCollection(name);
  assert.deepEqual(await client.getAliases(), { aliases: [] });
});

test('JS client: points are written, read, scrolled, counted and deleted', async () => {
  const name = await fresh('js-points');
  const payload = { text: 'é – 日本 😀', nested: [[1, 2.5, [3]], { none: null }], flag: true };
  const done = await client.upsert(name, {
    wait: true,
    points: [
      { id: 5, vector: [1, 2, 3, 4], payload },
      { id: uuid, vector: [0, 0, 0, 1], payload: {} },
    ],
  });
  assert.equal(done.status, 'completed');
  await client.upsert(name, {
    wait: true,
    ordering: 'strong',
    batch: {
      ids: [1, 2, 3],
      vectors: [
        [1, 0, 0, 0],
        [2, 0, 0, 0],
        [3, 0, 0, 0],
      ],
      payloads: [{ n: 1 }, {}, { n: 3 }],
    },
  });
  assert.deepEqual(await client.retrieve(name, { ids: [5, 77, uuid], with_vector: true }), [
    { id: 5, payload, vector: [1, 2, 3, 4] },
    { id: uuid, payload: {}, vector: [0, 0, 0, 1] },
  ]);
  const all = await everything(name);
  assert.deepEqual(
    all.map(({ id }) => id),
    [1, 2, 3, 5, uuid],
  );
  assert.deepEqual(all[2], { id: 3, payload: { n: 3 }, vector: [3, 0, 0, 0] });
  await client.createPayloadIndex(name, { field_name: 'n', field_schema: 'integer', wait: true });
  const ordered = await client.scroll(name, { order_by: { key: 'n', direction: 'desc' }, with_payload: false });
  assert.deepEqual(
    ordered.points.map(({ id, order_value }) => [id, order_value]),
    [
      [3, 3],
      [1, 1],
    ],
  );
  assert.equal((await client.count(name, { filter: { must: [{ key: 'n', range: { gte: 2 } }] }, exact: true })).count, 1);
  await client.delete(name, { wait: true, points: [5] });
  await client.delete(name, { wait: true, filter: { must: [{ key: 'n', match: { value: 1 } }] } });
  assert.deepEqual(
    (await everything(name)).map(({ id }) => id),
    [2, 3, uuid],
  );
  assert.equal((await client.upsert(name, { wait: false, points: [{ id: 9, vector: [1, 1, 1, 1] }] })).status, 'acknowledged');
  await refused(
    400,
    'Wrong input: Vector dimension error: expected dim: 4, got 2',
    client.upsert(name, { wait: false, points: [{ id: 1, vector: [1, 2] }] }),
  );
  await client.deleteCollection(name);
});

test('JS client: payloads and vectors are edited, one by one and in a batch', async () => {
  const name = await fresh('js-edits', { a: { size: 2, distance: 'Dot' }, b: { size: 2, distance: 'Dot' } });
  await client.upsert(name, {
    wait: true,
    points: [1, 2, 3].map((id) => ({ id, vector: { a: [id, 0], b: [0, id] }, payload: { id, deep: { x: 1, y: 2 } } })),
  });
  await client.setPayload(name, { payload: { more: 1 }, points: [1], wait: true });
  await client.setPayload(name, { payload: { x: 9 }, key: 'deep', filter: { must: [{ has_id: [2] }] }, wait: true });
  await client.overwritePayload(name, { payload: { only: true }, points: [3], wait: true });
  await client.deletePayload(name, { keys: ['deep.y'], points: [1, 2], wait: true });
  await client.updateVectors(name, { points: [{ id: 1, vector: { a: [7, 7] } }], wait: true });
  await client.deleteVectors(name, { points: [2], vector: ['b'], wait: true });
  assert.deepEqual(await everything(name), [
    { id: 1, payload: { id: 1, deep: { x: 1 }, more: 1 }, vector: { a: [7, 7], b: [0, 1] } },
    { id: 2, payload: { id: 2, deep: { x: 9 } }, vector: { a: [2, 0] } },
    { id: 3, payload: { only: true }, vector: { a: [3, 0], b: [0, 3] } },
  ]);
  await client.clearPayload(name, { points: [1], wait: true });
  const results = await client.batchUpdate(name, {
    wait: true,
    operations: [
      { upsert: { points: [{ id: 4, vector: { a: [4, 4] } }] } },
      { delete: { points: [3] } },
      { set_payload: { payload: { s: 1 }, points: [4] } },
      { overwrite_payload: { payload: { o: 1 }, points: [2] } },
      { delete_payload: { keys: ['o'], points: [2] } },
      { clear_payload: { points: [1] } },
      { update_vectors: { points: [{ id: 4, vector: { b: [5, 5] } }] } },
      { delete_vectors: { points: [1], vector: ['a'] } },
    ],
  });
  assert.deepEqual(
    results.map(({ status }) => status),
    Array.from({ length: 8 }, () => 'completed'),
  );
  assert.deepEqual(await everything(name), [
    { id: 1, payload: {}, vector: { b: [0, 1] } },
    { id: 2, payload: {}, vector: { a: [2, 0] } },
    { id: 4, payload: { s: 1 }, vector: { a: [4, 4], b: [5, 5] } },
  ]);
  await client.createVectorName(name, 'c', { dense: { size: 3, distance: 'Euclid' } }, { wait: true });
  assert.deepEqual((await client.getCollection(name)).config.params.vectors?.['c' as never], { size: 3, distance: 'Euclid' });
  await client.deleteVectorName(name, 'c', { wait: true });
  await client.deleteCollection(name);
});

test('JS client: indexes and filters', async () => {
  const name = await fresh('js-filters');
  await client.upsert(name, {
    wait: true,
    points: Array.from({ length: 20 }, (_, id) => ({
      id,
      vector: [id, 0, 0, 1],
      payload: {
        n: id,
        even: id % 2 === 0,
        day: `2026-01-${String(id + 1).padStart(2, '0')}T00:00:00Z`,
        list: [{ a: id, b: id % 3 }],
        ...(id < 5 ? { none: null } : {}),
      },
    })),
  });
  const filters: readonly [Schemas['Filter'], (id: number) => boolean][] = [
    [{ must: [{ key: 'n', match: { any: [1, 5, 99] } }] }, (id) => [1, 5].includes(id)],
    [{ must: [{ key: 'n', match: { except: [1, 5] } }] }, (id) => ![1, 5].includes(id)],
    [
      { must: [{ key: 'even', match: { value: true } }], must_not: [{ key: 'n', range: { lt: 10 } }] },
      (id) => id % 2 === 0 && id >= 10,
    ],
    [
      { must: [{ key: 'day', range: { gte: '2026-01-10T00:00:00Z', lt: '2026-01-12T00:00:00Z' } }] },
      (id) => id === 9 || id === 10,
    ],
    [{ should: [{ has_id: [3] }, { key: 'n', range: { gt: 17 } }] }, (id) => id === 3 || id > 17],
    [
      {
        must: [
          {
            nested: {
              key: 'list',
              filter: {
                must: [
                  { key: 'b', match: { value: 1 } },
                  { key: 'a', range: { gte: 7 } },
                ],
              },
            },
          },
        ],
      },
      (id) => id >= 7 && id % 3 === 1,
    ],
    [{ must: [{ is_null: { key: 'none' } }] }, (id) => id < 5],
    [{ must: [{ is_empty: { key: 'absent' } }] }, () => true],
    [
      {
        min_should: {
          conditions: [{ key: 'even', match: { value: true } }, { key: 'n', range: { gte: 18 } }, { has_id: [19] }],
          min_count: 2,
        },
      },
      (id) => id >= 18,
    ],
  ];
  for (const round of ['without indexes', 'with indexes']) {
    for (const [filter, means] of filters) {
      const { points } = await client.scroll(name, { filter, limit: 100 });
      const want = Array.from({ length: 20 }, (_, id) => id).filter(means);
      assert.deepEqual(
        points.map(({ id }) => id),
        want,
        `${round}: ${JSON.stringify(filter)}`,
      );
    }
    for (const [field, schema] of [
      ['n', 'integer'],
      ['even', 'bool'],
      ['day', 'datetime'],
      ['list[].b', { type: 'integer', lookup: true, range: false }],
    ] as const) {
      await client.createPayloadIndex(name, { field_name: field, field_schema: schema, wait: true });
    }
  }
  assert.deepEqual(Object.keys((await client.getCollection(name)).payload_schema).sort(), ['day', 'even', 'list[].b', 'n']);
  await client.deletePayloadIndex(name, 'n', { wait: true });
  assert.equal('n' in (await client.getCollection(name)).payload_schema, false);
  await client.deleteCollection(name);
});

test('JS client: queries and the older search routes answer the same', async () => {
  const name = await fresh('js-search', { v: { size: 2, distance: 'Euclid' } });
  await client.upsert(name, {
    wait: true,
    points: Array.from({ length: 10 }, (_, id) => ({ id, vector: { v: [id * 3, id * 4] }, payload: { id, other: id } })),
  });
  const found = await client.query(name, {
    query: [0, 0],
    using: 'v',
    limit: 3,
    offset: 1,
    with_payload: ['id'],
    with_vector: ['v'],
    params: { exact: true },
  });
  assert.deepEqual(
    found.points.map(({ id, score, payload, vector }) => ({ id, score, payload, vector })),
    [1, 2, 3].map((id) => ({
      id,
      score: id * 5,
      payload: { id },
      vector: { v: [id * 3, id * 4] },
    })),
  );
  assert.deepEqual(
    (await client.query(name, { query: 4, using: 'v', limit: 1, with_payload: { exclude: ['other'] } })).points[0]?.payload,
    { id: 3 },
  );
  const filter = { must: [{ key: 'id', range: { gte: 5 } }] };
  const hits = [
    [5, 25],
    [6, 30],
  ];
  const shown = (points: readonly { readonly id: unknown; readonly score: number }[]): unknown =>
    points.map(({ id, score }) => [id, score]);
  assert.deepEqual(shown((await client.query(name, { query: [0, 0], using: 'v', limit: 2, filter })).points), hits);
  assert.deepEqual(
    shown(await client.search(name, { vector: { name: 'v', vector: [0, 0] }, limit: 2, filter, with_payload: false })),
    hits,
  );
  const search = { vector: { name: 'v', vector: [0, 0] }, limit: 2, filter };
  assert.deepEqual((await client.searchBatch(name, { searches: [search, { ...search, score_threshold: 30 }] })).map(shown), [
    hits,
    [hits[0]],
  ]);
  const shownWhole = await client.search(name, {
    ...search,
    offset: 1,
    limit: 1,
    with_payload: true,
    with_vector: true,
    params: { exact: true, hnsw_ef: 16 },
  });
  assert.deepEqual(
    shownWhole.map(({ id, score, payload, vector }) => ({ id, score, payload, vector })),
    [{ id: 6, score: 30, payload: { id: 6, other: 6 }, vector: { v: [18, 24] } }],
  );
  const query = { query: [0, 0], using: 'v', limit: 2, filter };
  assert.deepEqual(
    (await client.queryBatch(name, { searches: [query, { ...query, offset: 1, limit: 1 }] })).map(({ points }) => shown(points)),
    [hits, [hits[1]]],
  );
  await refused(404, 'Not found: No point with id 404 found', client.query(name, { query: 404, using: 'v' }));
  await client.deleteCollection(name);
});

test('JS client: snapshots are made, listed, downloaded, restored and deleted', async () => {
  const name = await fresh('js-source', { size: 4, distance: 'Cosine' });
  await client.createPayloadIndex(name, { field_name: 'id', field_schema: 'integer', wait: true });
  await client.upsert(name, {
    wait: true,
    points: Array.from({ length: 30 }, (_, id) => ({ id, vector: [id, 1, 2, 3], payload: { id, list: [null, { id }] } })),
  });
  const points = await everything(name);
  const search = (of: string): Promise<unknown> =>
    client.query(of, { query: [1, 2, 3, 4], limit: 5 }).then(({ points: hits }) => hits.map(({ id, score }) => [id, score]));
  const snapshot = await client.createSnapshot(name);
  assert.ok(snapshot !== null);
  assert.deepEqual(await client.listSnapshots(name), [snapshot]);
  const archive = Buffer.from(
    await (
      await fetch(`${proxy.url}/collections/${name}/snapshots/${snapshot.name}`, { headers: { 'api-key': key } })
    ).arrayBuffer(),
  );
  assert.deepEqual([archive.length, createHash('sha256').update(archive).digest('hex')], [snapshot.size, snapshot.checksum]);
  const locations: readonly Schemas['SnapshotRecover'][] = [
    { location: `file://${path.join(served.data, 'snapshots', name, snapshot.name)}` },
    {
      location: `${served.server.url}/collections/${name}/snapshots/${snapshot.name}`,
      api_key: key,
      checksum: snapshot.checksum ?? null,
      priority: 'snapshot',
    },
  ];
  for (const [at, location] of locations.entries()) {
    const target = `js-restored-${at}`;
    assert.equal(await client.recoverSnapshot(target, location), true);
    assert.deepEqual(await everything(target), points);
    assert.deepEqual(await search(target), await search(name));
    assert.deepEqual((await client.getCollection(target)).payload_schema, (await client.getCollection(name)).payload_schema);
    await client.deleteCollection(target);
  }
  await refused(
    400,
    `Wrong input: Snapshot checksum mismatch: expected ${'0'.repeat(64)}, got ${snapshot.checksum}`,
    client.recoverSnapshot('js-refused', { location: locations[0]?.location ?? '', checksum: '0'.repeat(64) }),
  );
  assert.equal((await client.collectionExists('js-refused')).exists, false);
  assert.equal(await client.deleteSnapshot(name, snapshot.name), true);
  assert.deepEqual(await client.listSnapshots(name), []);
  await refused(404, `Not found: Snapshot ${snapshot.name} not found`, client.deleteSnapshot(name, snapshot.name));
  await client.deleteCollection(name);
});

test('JS client: every answer had its schema', () => {
  assert.ok(proxy.count() > 100);
  assert.deepEqual(proxy.complaints(), []);
});
