// Custom sharding over three nodes, through REST: keys come and go, writes and reads go where their keys say, and snapshots bring every
// key back, in any order of uploads and on one node.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call, type Answer } from '../support/rest-client.ts';
import { program, serveFolder } from '../support/server-process.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

interface ShardJson {
  readonly shard_id: number;
  readonly shard_key?: string | number;
  readonly points_count?: number;
  readonly peer_id?: number;
  readonly state: string;
}

interface PointJson {
  readonly id: number;
  readonly shard_key?: string | number;
  readonly score?: number;
}

const all = [0, 1, 2];
const vectors = { size: 2, distance: 'Dot' };
const largeKey = '18446744073709551615';

describe('custom sharding over three nodes', { skip: noNats ?? false }, () => {
  let cluster: ProcessCluster | undefined;
  let peers: readonly number[] = [];
  const urlOf = (at: number): string => must(cluster, 'it runs').node(at).url;
  const send = (at: number, method: string, url: string, body?: unknown): Promise<Answer> => call(urlOf(at), method, url, body === undefined ? {} : { body });
  const ok = async (at: number, method: string, url: string, body?: unknown): Promise<unknown> => {
    const answer = await send(at, method, url, body);
    assert.equal(answer.status, 200, answer.error);
    return answer.result;
  };
  const refused = async (status: number, error: string, method: string, url: string, body: unknown): Promise<void> => {
    const answer = await send(1, method, url, body);
    assert.deepEqual([answer.status, answer.error], [status, error]);
  };

  const keysOf = async (at: number, name: string): Promise<unknown> => ((await ok(at, 'GET', `/collections/${name}/shards`)) as { readonly shard_keys: readonly { readonly key: unknown }[] | null }).shard_keys?.map(({ key }) => key) ?? null;
  const shardsOf = async (at: number, name: string): Promise<readonly ShardJson[]> => {
    const { local_shards: local, remote_shards: remote } = (await ok(at, 'GET', `/collections/${name}/cluster`)) as { readonly local_shards: readonly ShardJson[]; readonly remote_shards: readonly ShardJson[] };
    return [...local, ...remote];
  };
  const count = async (at: number, name: string, shardKey?: unknown): Promise<unknown> => ((await ok(at, 'POST', `/collections/${name}/points/count`, { exact: true, ...(shardKey === undefined ? {} : { shard_key: shardKey }) })) as { readonly count: number }).count;
  const scroll = async (at: number, name: string, shardKey?: unknown): Promise<readonly PointJson[]> => ((await ok(at, 'POST', `/collections/${name}/points/scroll`, { limit: 1000, ...(shardKey === undefined ? {} : { shard_key: shardKey }) })) as { readonly points: readonly PointJson[] }).points;
  const idsOf = (points: readonly PointJson[]): readonly number[] => points.map(({ id }) => id);
  const range = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, at) => from + at);
  const pointsOf = (ids: readonly number[]): unknown => ids.map((id) => ({ id, vector: [id, 1], payload: { n: id } }));
  const put = (at: number, name: string, ids: readonly number[], shardKey: unknown): Promise<unknown> => ok(at, 'PUT', `/collections/${name}/points?wait=true`, { points: pointsOf(ids), shard_key: shardKey });

  const create = async (name: string, more: object = {}): Promise<void> => {
    await ok(0, 'PUT', `/collections/${name}`, { vectors, sharding_method: 'custom', ...more });
  };

  /** Three keys over all nodes: 60 points under `eu`, 40 under 7, id 0 under both. */
  const fill = async (name: string): Promise<void> => {
    await create(name, { shard_number: 2 });
    await ok(1, 'PUT', `/collections/${name}/index?wait=true`, { field_name: 'n', field_schema: 'integer' });
    await ok(0, 'PUT', `/collections/${name}/shards`, { shard_key: 'eu', shards_number: 3 });
    await ok(2, 'PUT', `/collections/${name}/shards`, { shard_key: 7 });
    await call(urlOf(1), 'PUT', `/collections/${name}/shards`, { body: `{"shard_key":${largeKey},"shards_number":1,"placement":[${must(peers[2], 'three')}]}` });
    await put(0, name, range(0, 60), 'eu');
    await put(1, name, [0, ...range(100, 139)], 7);
  };

  before(async () => {
    cluster = await processCluster(3);
    await Promise.all(all.map((at) => must(cluster, 'it is made').start(at)));
    peers = await Promise.all(all.map(async (at) => ((await ok(at, 'GET', '/cluster')) as { readonly peer_id: number }).peer_id));
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  test('a collection begins without shards; keys come, are listed, and go', async () => {
    await create('keys', { shard_number: 2, replication_factor: 2 });
    assert.deepEqual(await keysOf(2, 'keys'), []);
    assert.deepEqual(await shardsOf(1, 'keys'), []);
    const { config } = (await ok(0, 'GET', '/collections/keys')) as { readonly config: { readonly params: { readonly sharding_method: string; readonly shard_number: number } } };
    assert.deepEqual([config.params.sharding_method, config.params.shard_number], ['custom', 2]);
    assert.equal(await count(0, 'keys'), 0);
    assert.equal(await ok(0, 'PUT', '/collections/keys/shards', { shard_key: 'a' }), true);
    assert.equal(await ok(1, 'POST', '/collections/keys/cluster', { create_sharding_key: { shard_key: 'b', shards_number: 1, replication_factor: 3, initial_state: 'Partial' } }), true);
    assert.equal(await ok(2, 'PUT', '/collections/keys/shards', { shard_key: 5, shards_number: 3, replication_factor: 1, placement: [must(peers[1], 'three')] }), true);
    for (const at of all) assert.deepEqual(await keysOf(at, 'keys'), ['a', 'b', 5]);
    const shards = await shardsOf(1, 'keys');
    const of = (key: unknown): readonly ShardJson[] => shards.filter(({ shard_key: own }) => own === key);
    assert.deepEqual([of('a').length, of('b').length, of(5).length], [4, 3, 3]);
    assert.deepEqual(new Set(of(5).map(({ peer_id: peer }) => peer)), new Set([undefined]), 'all of them on the node that was asked for, and asked');
    await must(cluster, 'it runs').until('every replica is Active', async () => (await shardsOf(0, 'keys')).every(({ state }) => state === 'Active'));
    await put(1, 'keys', range(0, 10), 'b');
    assert.equal(await ok(0, 'POST', '/collections/keys/shards/delete', { shard_key: 'b' }), true);
    assert.equal(await ok(0, 'POST', '/collections/keys/cluster', { drop_sharding_key: { shard_key: 5 } }), true);
    for (const at of all) assert.deepEqual([await keysOf(at, 'keys'), await count(at, 'keys')], [['a'], 0]);
    await ok(0, 'PUT', '/collections/keys/shards', { shard_key: 'b', shards_number: 1 });
    const ids = (await shardsOf(1, 'keys')).filter(({ shard_key: key }) => key === 'b').map(({ shard_id: shard }) => shard);
    assert.deepEqual(new Set(ids), new Set([6]), 'the ids of dropped shards are never used again');
    assert.equal(await count(2, 'keys', 'b'), 0);
  });

  test('of two creations of one key at once one is told that it is there', async () => {
    await create('race');
    const answers = await Promise.all(all.map((at) => send(at, 'PUT', '/collections/race/shards', { shard_key: 'k' })));
    assert.deepEqual(answers.map(({ status }) => status).toSorted((a, b) => a - b), [200, 400, 400]);
    for (const { status, error } of answers) if (status === 400) assert.equal(error, 'Bad request: Sharding key "k" already exists for collection race');
    assert.deepEqual((await shardsOf(0, 'race')).map(({ shard_key: key }) => key), ['k']);
  });

  test('what cannot be is told in the words of the API', async () => {
    await create('told');
    await ok(0, 'PUT', '/collections/told/shards', { shard_key: 'a' });
    await ok(0, 'PUT', '/collections/automatic', { vectors, shard_number: 2 });
    const shards = '/collections/told/shards';
    const points = '/collections/told/points';
    await refused(400, 'Bad request: Shard Key cannot be created with Auto sharding method', 'PUT', '/collections/automatic/shards', { shard_key: 'a' });
    await refused(400, 'Bad request: Shard Key cannot be removed with Auto sharding method', 'POST', '/collections/automatic/shards/delete', { shard_key: 'a' });
    await refused(400, 'Bad request: Sharding key "a" already exists for collection told', 'PUT', shards, { shard_key: 'a' });
    await refused(400, 'Bad request: Sharding key 3 does not exist for collection told', 'POST', `${shards}/delete`, { shard_key: 3 });
    await refused(400, 'Bad request: Initial state cannot be Dead, only Active or Partial are allowed', 'PUT', shards, { shard_key: 'x', initial_state: 'Dead' });
    await refused(400, 'Bad request: Peer 1 does not exist', 'PUT', shards, { shard_key: 'x', placement: [1] });
    await refused(400, 'Bad request: Sharding key "x" placement cannot be empty. If you want to use random placement, do not specify placement', 'PUT', shards, { shard_key: 'x', placement: [] });
    await refused(422, 'Validation error in JSON body: [shards_number: value 0 invalid, must be 1 or larger]', 'PUT', shards, { shard_key: 'x', shards_number: 0 });
    await refused(400, 'Format error in JSON body: missing field `shard_key`', 'PUT', shards, {});
    await refused(400, 'Format error in JSON body: shard_key: data did not match any variant of untagged enum ShardKey', 'PUT', shards, { shard_key: -1 });
    await refused(400, 'Format error in JSON body: data did not match any variant of untagged enum ClusterOperations', 'POST', '/collections/told/cluster', { dance: {} });
    await refused(404, 'Not found: Collection `absent` doesn\'t exist!', 'PUT', '/collections/absent/shards', { shard_key: 'x' });
    await refused(400, 'Wrong input: Shard key not specified', 'PUT', points, { points: pointsOf([1]) });
    await refused(400, 'Wrong input: Shard key not specified', 'POST', `${points}/delete`, { filter: {} });
    await refused(400, 'Wrong input: Empty shard keys selection', 'PUT', points, { points: pointsOf([1]), shard_key: [] });
    await refused(400, 'Wrong input: Shard key "b" not found', 'PUT', points, { points: pointsOf([1]), shard_key: ['a', 'b'] });
    await refused(400, 'Wrong input: Shard key "a" not found', 'PUT', '/collections/automatic/points', { points: pointsOf([1]), shard_key: 'a' });
    await refused(404, 'Not found: Neither target shard key "x" nor fallback shard key 1 exist', 'PUT', points, { points: pointsOf([1]), shard_key: { target: 'x', fallback: 1 } });
    for (const [at, body] of [['/count', {}], ['/scroll', {}], ['', { ids: [1] }], ['/query', { query: [1, 1] }], ['/search', { vector: [1, 1], limit: 1 }], ['/query/batch', { searches: [] }]] as const) {
      const send1 = at === '/query/batch' ? { searches: [{ query: [1, 1], shard_key: 'nope' }] } : { ...body, shard_key: 'nope' };
      await refused(400, 'Bad request: Shard key "nope" not found', 'POST', `${points}${at}`, send1);
    }
    assert.equal(await keysOf(0, 'automatic'), null);
    assert.deepEqual([await count(0, 'told'), await keysOf(2, 'told')], [0, ['a']]);
  });

  test('a timeout that is none is refused', async () => {
    await create('timed');
    const error = 'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]';
    await refused(422, error, 'PUT', '/collections/timed/shards?timeout=0', { shard_key: 'a' });
    await refused(422, error, 'POST', '/collections/timed/shards/delete?timeout=0', { shard_key: 'a' });
    await refused(422, error, 'POST', '/collections/timed/cluster?timeout=0', { create_sharding_key: { shard_key: 'a' } });
    assert.equal(await ok(0, 'PUT', '/collections/timed/shards?timeout=60', { shard_key: 'a' }), true);
    assert.deepEqual(await keysOf(2, 'timed'), ['a']);
  });

  test('reads and writes go where their keys say, through every node', async () => {
    await fill('routed');
    for (const at of all) {
      assert.deepEqual([await count(at, 'routed', 'eu'), await count(at, 'routed', 7), await count(at, 'routed', ['eu', 7]), await count(at, 'routed')], [60, 40, 100, 100]);
      assert.deepEqual(idsOf(await scroll(at, 'routed', 7)), [0, ...range(100, 139)]);
      const whole = await scroll(at, 'routed');
      assert.deepEqual(idsOf(whole), [...range(0, 60), ...range(100, 139)], 'an id under two keys is there once');
      assert.ok(whole.every(({ id, shard_key: key }) => id === 0 || key === (id < 60 ? 'eu' : 7)));
    }
    const ordered = (await ok(2, 'POST', '/collections/routed/points/scroll', { limit: 2, order_by: { key: 'n', direction: 'desc' }, shard_key: 'eu' })) as { readonly points: readonly PointJson[] };
    assert.deepEqual(idsOf(ordered.points), [59, 58], 'a new key has the indexes of its collection');
    const large = await call(urlOf(0), 'POST', '/collections/routed/points/count', { body: `{"shard_key":${largeKey}}` });
    assert.deepEqual(large.result, { count: 0 });
    assert.match((await call(urlOf(0), 'GET', '/collections/routed/shards')).text, new RegExp(`\\{"key":${largeKey}\\}`));
    const query = async (shardKey?: unknown): Promise<readonly PointJson[]> => ((await ok(2, 'POST', '/collections/routed/points/query', { query: [1, 0], limit: 3, ...(shardKey === undefined ? {} : { shard_key: shardKey }) })) as { readonly points: readonly PointJson[] }).points;
    assert.deepEqual([idsOf(await query()), idsOf(await query('eu')), idsOf(await query({ target: 'none', fallback: 'eu' }))], [[138, 137, 136], [59, 58, 57], [59, 58, 57]]);
    assert.deepEqual((await query(7)).map(({ id, shard_key: key, score }) => [id, key, score]), [[138, 7, 138], [137, 7, 137], [136, 7, 136]]);
    const batch = (await ok(1, 'POST', '/collections/routed/points/query/batch', { searches: [{ query: [1, 0], limit: 1, shard_key: 'eu' }, { query: [1, 0], limit: 1 }, { query: 0, limit: 1, shard_key: 7 }] })) as readonly { readonly points: readonly PointJson[] }[];
    assert.deepEqual(batch.map(({ points }) => idsOf(points)), [[59], [138], [100]]);
    const found = (await ok(0, 'POST', '/collections/routed/points', { ids: [120, 3, 0, 5000] })) as readonly PointJson[];
    assert.deepEqual(found.map(({ id, shard_key: key }) => [id, key]), [[120, 7], [3, 'eu'], [0, 'eu']]);
    assert.deepEqual(await ok(0, 'POST', '/collections/routed/points', { ids: [3], shard_key: 7 }), []);
  });

  test('every write takes a key, a list of keys or a fallback', async () => {
    await fill('written');
    const points = '/collections/written/points';
    await ok(0, 'POST', `${points}/payload?wait=true`, { payload: { seen: true }, points: [3, 120], shard_key: ['eu', 7] });
    await ok(1, 'PUT', `${points}/payload?wait=true`, { payload: { only: 1 }, points: [4], shard_key: { target: 'gone', fallback: 'eu' } });
    await ok(2, 'POST', `${points}/payload/delete?wait=true`, { keys: ['n'], points: [5], shard_key: 'eu' });
    await ok(0, 'POST', `${points}/payload/clear?wait=true`, { points: [6], shard_key: 'eu' });
    await ok(1, 'PUT', `${points}/vectors?wait=true`, { points: [{ id: 0, vector: [900, 1] }], shard_key: 7 });
    await ok(2, 'POST', `${points}/delete?wait=true`, { filter: { must: [{ key: 'n', range: { gte: 50 } }] }, shard_key: 'eu' });
    await ok(0, 'POST', `${points}/batch?wait=true`, { operations: [{ upsert: { batch: { ids: [500, 501], vectors: [[1, 1], [2, 1]] }, shard_key: 'eu' } }, { delete: { points: [501], shard_key: ['eu', 7] } }] });
    await refused(404, 'Not found: No point with id 77 found', 'POST', `${points}/payload`, { payload: {}, points: [3, 77], shard_key: ['eu', 7] });
    const payloads = new Map(((await ok(2, 'POST', `${points}`, { ids: [3, 4, 5, 6, 120], with_payload: true })) as readonly { readonly id: number; readonly payload: unknown }[]).map(({ id, payload }) => [id, payload]));
    assert.deepEqual([...payloads], [[3, { n: 3, seen: true }], [4, { only: 1 }], [5, {}], [6, {}], [120, { n: 120, seen: true }]]);
    assert.deepEqual([await count(0, 'written', 'eu'), await count(1, 'written', 7)], [51, 40]);
    const best = async (key: unknown): Promise<number | undefined> => ((await ok(0, 'POST', `${points}/query`, { query: [1, 0], limit: 1, shard_key: key })) as { readonly points: readonly PointJson[] }).points[0]?.id;
    assert.deepEqual([await best(7), await best('eu')], [0, 49]);
    const { payload_schema: schema } = (await ok(1, 'GET', '/collections/written')) as { readonly payload_schema: Readonly<Record<string, { readonly points: number }>> };
    assert.deepEqual(Object.keys(schema), ['n']);
  });

  const archive = async (at: number, name: string): Promise<Uint8Array> => {
    const { name: snapshot } = (await ok(at, 'POST', `/collections/${name}/snapshots`)) as { readonly name: string };
    const response = await fetch(`${urlOf(at)}/collections/${name}/snapshots/${snapshot}`);
    assert.equal(response.status, 200);
    return new Uint8Array(await response.arrayBuffer());
  };
  const upload = async (url: string, name: string, bytes: Uint8Array, more = ''): Promise<Answer> => {
    const form = new FormData();
    form.append('snapshot', new Blob([bytes]), 's.snapshot');
    return await call(url, 'POST', `/collections/${name}/snapshots/upload?priority=snapshot${more}`, { body: form });
  };
  const uploaded = async (url: string, name: string, bytes: Uint8Array): Promise<void> => {
    const answer = await upload(url, name, bytes);
    assert.equal(answer.status, 200, answer.error);
  };
  const checkSame = async (name: string, source: string): Promise<void> => {
    const wanted = [await scroll(0, source), await scroll(0, source, 7), await scroll(0, source, 'eu')];
    for (const at of all) {
      assert.deepEqual(await keysOf(at, name), await keysOf(at, source));
      assert.deepEqual([await scroll(at, name), await scroll(at, name, 7), await scroll(at, name, 'eu')], wanted);
      const { payload_schema: schema } = (await ok(at, 'GET', `/collections/${name}`)) as { readonly payload_schema: object };
      assert.deepEqual(Object.keys(schema), ['n']);
    }
  };

  test('snapshots of each node bring all keys back, in any order and at once', async () => {
    await fill('source');
    const files = await Promise.all(all.map((at) => archive(at, 'source')));
    for (const order of [[0, 1, 2], [2, 0, 1]]) {
      const name = `back-${order.join('')}`;
      for (const [step, at] of order.entries()) {
        await uploaded(urlOf(at), name, must(files[at], 'three'));
        assert.match((await call(urlOf(0), 'GET', `/collections/${name}/shards`)).text, new RegExp(`"eu".*7.*${largeKey}`), 'every file names all keys');
        if (step === 0) assert.equal((await shardsOf(0, name)).length, 6);
      }
      await checkSame(name, 'source');
    }
    await Promise.all(all.map((at) => uploaded(urlOf((at + 1) % 3), 'at-once', must(files[at], 'three'))));
    await checkSame('at-once', 'source');
    await put(0, 'at-once', [9000], 'eu');
    await ok(1, 'PUT', '/collections/at-once/shards', { shard_key: 'new' });
    await put(2, 'at-once', [9001], 'new');
    assert.deepEqual(idsOf(await scroll(1, 'at-once', 'new')), [9001]);
  });

  test('into a collection with other keys: missing ones are made, present ones replaced, others untouched', async () => {
    await fill('origin');
    const files = await Promise.all(all.map((at) => archive(at, 'origin')));
    await create('mixed', { shard_number: 2 });
    await ok(0, 'PUT', '/collections/mixed/shards', { shard_key: 'own' });
    await ok(0, 'PUT', '/collections/mixed/shards', { shard_key: 7 });
    await ok(0, 'PUT', '/collections/mixed/index?wait=true', { field_name: 'city', field_schema: 'keyword' });
    await put(0, 'mixed', [1, 2, 3], 'own');
    await put(0, 'mixed', [4, 5], 7);
    for (const at of all) await uploaded(urlOf(at), 'mixed', must(files[at], 'three'));
    assert.deepEqual(idsOf(await scroll(1, 'mixed', 'own')), [1, 2, 3]);
    for (const key of ['eu', 7]) assert.deepEqual(idsOf(await scroll(2, 'mixed', key)), idsOf(await scroll(0, 'origin', key)));
    const before = await shardsOf(0, 'mixed');
    for (const at of all) await uploaded(urlOf(at), 'mixed', must(files[at], 'three'));
    assert.deepEqual(await shardsOf(0, 'mixed'), before, 'no shard comes or goes');
    for (const at of all) {
      assert.equal(await count(at, 'mixed'), 103);
      const { payload_schema: schema } = (await ok(at, 'GET', '/collections/mixed')) as { readonly payload_schema: object };
      assert.deepEqual(Object.keys(schema), ['city'], 'a collection that exists keeps its indexes');
    }
    const withSchema = (): Promise<Answer> => upload(urlOf(0), 'mixed', must(files[0], 'three'), '&schema=snapshot');
    const other = await withSchema();
    assert.deepEqual([other.status, other.error], [400, 'Bad request: in a cluster a collection with shard keys keeps its payload indexes: schema=snapshot cannot replace them; restore without it, then create and drop indexes']);
    await ok(0, 'PUT', '/collections/mixed/index?wait=true', { field_name: 'n', field_schema: 'integer' });
    await ok(0, 'DELETE', '/collections/mixed/index/city?wait=true');
    const same = await withSchema();
    assert.equal(same.status, 200, same.error);
    await create('joined', { shard_number: 2 });
    await ok(0, 'PUT', '/collections/joined/shards', { shard_key: 'own' });
    await Promise.all(all.map((at) => uploaded(urlOf(at), 'joined', must(files[at], 'three'))));
    assert.deepEqual([(await shardsOf(1, 'joined')).length, await count(1, 'joined', ['eu', 7])], [8, 100]);
    await create('narrow', { shard_number: 2 });
    await ok(0, 'PUT', '/collections/narrow/shards', { shard_key: 'eu' });
    const narrow = await upload(urlOf(0), 'narrow', must(files[0], 'three'));
    assert.deepEqual([narrow.status, narrow.error], [400, 'Wrong input: Snapshot is not compatible with existing collection: Collection shard number of key "eu": 2 Snapshot shard number: 3']);
    assert.deepEqual(await keysOf(0, 'narrow'), ['eu']);
    await ok(0, 'PUT', '/collections/spread', { vectors, shard_number: 2 });
    const spread = await upload(urlOf(0), 'spread', must(files[0], 'three'));
    assert.deepEqual([spread.status, spread.error], [400, 'Wrong input: Snapshot is not compatible with existing collection: Collection sharding method: auto Snapshot sharding method: custom']);
  });

  test('on one node: a file with all shards brings the keys, one without some is refused', async () => {
    await fill('parted');
    await create('whole');
    await ok(0, 'PUT', '/collections/whole/shards', { shard_key: 'eu', shards_number: 2, placement: [must(peers[1], 'three')] });
    await ok(0, 'PUT', '/collections/whole/shards', { shard_key: 7, placement: [must(peers[1], 'three')] });
    await put(0, 'whole', range(0, 30), 'eu');
    await put(0, 'whole', range(0, 20), 7);
    await using one = await serveFolder();
    const parted = await upload(one.server.url, 'parted', await archive(0, 'parted'));
    assert.equal(parted.status, 500);
    assert.match(parted.error, /Can't restore snapshot in local mode with missing data at shard: \d+/);
    const bytes = await archive(1, 'whole');
    await uploaded(one.server.url, 'whole', bytes);
    const there = async (method: string, at: string, body?: unknown): Promise<Answer> => await call(one.server.url, method, `/collections/whole${at}`, body === undefined ? {} : { body });
    assert.deepEqual((await there('GET', '/shards')).result, { shard_keys: [{ key: 'eu' }, { key: 7 }] });
    assert.deepEqual((await there('POST', '/points/count', { shard_key: 'eu' })).result, { count: 30 });
    assert.deepEqual((await there('POST', '/points/count', {})).result, { count: 50 });
    assert.equal((await there('PUT', '/points?wait=true', { points: pointsOf([400]), shard_key: 7 })).status, 200);
    assert.equal((await there('PUT', '/points', { points: pointsOf([400]) })).error, 'Wrong input: Shard key not specified');
    for (const [method, at] of [['PUT', '/shards'], ['POST', '/shards/delete'], ['POST', '/cluster']] as const) {
      const answer = await there(method, at, { shard_key: 'x' });
      assert.deepEqual([answer.status, answer.error], [405, 'Qdrant is running in standalone mode']);
    }
    await uploaded(one.server.url, 'whole', bytes);
    assert.deepEqual((await there('POST', '/points/count', {})).result, { count: 50 });
    await using folder = await temporaryFolder();
    const file = path.join(folder.path, 'whole.snapshot');
    await writeFile(file, bytes);
    assert.match(spawnSync(process.execPath, [program, 'snapshot', 'inspect', file], { encoding: 'utf8' }).stdout, /key "eu": shards 0, 1\n {2}key 7: shard 2\n/);
    assert.match(spawnSync(process.execPath, [program, 'verify', file, '--deep'], { encoding: 'utf8' }).stdout, /3 shards, 2 shard keys,/);
  });

  test('a shard\'s snapshot goes into the shard of its key', async () => {
    await create('single');
    await ok(0, 'PUT', '/collections/single/shards', { shard_key: 'a', placement: [must(peers[0], 'three')] });
    await put(0, 'single', range(0, 10), 'a');
    const { name } = (await ok(0, 'POST', '/collections/single/shards/0/snapshots')) as { readonly name: string };
    await ok(0, 'POST', '/collections/single/points/delete?wait=true', { filter: {}, shard_key: 'a' });
    const bytes = new Uint8Array(await (await fetch(`${urlOf(0)}/collections/single/shards/0/snapshots/${name}`)).arrayBuffer());
    const form = (): FormData => {
      const made = new FormData();
      made.append('snapshot', new Blob([bytes]), 's.snapshot');
      return made;
    };
    const back = await call(urlOf(0), 'POST', '/collections/single/shards/0/snapshots/upload', { body: form() });
    assert.equal(back.status, 200, back.error);
    assert.equal(await count(1, 'single', 'a'), 10);
    await create('other');
    await ok(0, 'PUT', '/collections/other/shards', { shard_key: 'b', placement: [must(peers[0], 'three')] });
    const other = await call(urlOf(0), 'POST', '/collections/other/shards/0/snapshots/upload', { body: form() });
    assert.deepEqual([other.status, other.error], [400, 'Bad request: Invalid snapshot: shard 0 has the key "a" in it, and "b" here']);
  });

  test('a key that was dropped while a node was away is gone there when it is back', async () => {
    await create('away', { replication_factor: 3 });
    for (const key of ['stays', 'goes']) {
      await ok(0, 'PUT', '/collections/away/shards', { shard_key: key });
      await put(0, 'away', range(0, 10), key);
    }
    const args = must(cluster, 'it runs').node(2).child.spawnargs;
    const shardFolders = (): number => readdirSync(path.join(args[args.indexOf('--data') + 1] ?? '', 'collections'), { recursive: true, encoding: 'utf8' }).filter((name) => /\/shards\/\d+\.g\d+$/.test(name)).length;
    const before = shardFolders();
    await must(cluster, 'it runs').stop(2);
    await ok(0, 'POST', '/collections/away/shards/delete', { shard_key: 'goes' });
    await must(cluster, 'it runs').start(2);
    await must(cluster, 'it runs').until('the node is ready', async () => (await send(2, 'GET', '/readyz')).status === 200);
    assert.deepEqual([await keysOf(2, 'away'), await count(2, 'away')], [['stays'], 10]);
    await must(cluster, 'it runs').until('every replica is Active', async () => (await shardsOf(0, 'away')).every(({ state }) => state === 'Active'));
    assert.equal(shardFolders(), before - 1, 'its folder went with it');
  });
});
