// What clients read of three nodes: through every node, with any number of shards and replicas, the answers of a single node; with a
// consistency or the places of writes, answers that show what was acknowledged, and refusals where nobody can vouch for them.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call, type Answer } from '../support/rest-client.ts';
import { serveFolder, type ServedFolder } from '../support/server-process.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const nodes = [0, 1, 2];
const size = 4;
const vectors = { a: { size, distance: 'Dot' }, b: { size, distance: 'Euclid' } };
const seqHeader = 'x-nearkeep-seq';
const roundsOfWrites = 12;
const requestsMin = 40;

/** Numbers and UUIDs; few enough that operations meet. */
function pickId(random: Random): number | string {
  const value = random.below(160);
  return value % 4 === 3 ? `00000000-0000-4000-8000-${String(value).padStart(12, '0')}` : value;
}

const some = <T>(random: Random, values: readonly T[]): T => must(values[random.below(values.length)], 'one of them');
/** No two scores are equal: which of equal ones is the last of a list is nobody's promise. */
const pickVector = (random: Random): readonly number[] => Array.from({ length: size }, () => random.next() * 2 - 1);
const pickIds = (random: Random): readonly (number | string)[] => Array.from({ length: 1 + random.below(6) }, () => pickId(random));

function pickPayload(random: Random): object {
  return {
    n: random.below(9), city: Array.from({ length: 1 + random.below(2) }, () => some(random, ['Kyiv', 'Oslo', 'Lima'])), f: random.below(40) / 8,
    at: `2024-0${1 + random.below(9)}-11T00:00:00Z`, ...(random.below(3) === 0 ? { tag: { deep: random.below(3) } } : {}),
  };
}

function pickFilter(random: Random): object {
  const conditions = (): readonly object[] => Array.from({ length: 1 + random.below(2) }, () => some(random, [
    { key: 'n', range: { gte: random.below(9), lt: 9 } }, { key: 'city', match: { value: some(random, ['Kyiv', 'Oslo', 'Lima']) } }, { has_id: pickIds(random) },
    { key: 'tag.deep', match: { any: [0, random.below(3)] } }, { is_empty: { key: 'tag' } }, { key: 'city', values_count: { gte: 2 } }, { has_vector: 'b' },
  ]));
  return { [some(random, ['must', 'should', 'must_not'])]: conditions() };
}

type Request = readonly [method: string, path: string, body?: object];

function pickPoint(random: Random): object {
  return { id: pickId(random), vector: { a: pickVector(random), ...(random.below(4) === 0 ? {} : { b: pickVector(random) }) }, payload: pickPayload(random) };
}

function pickWrite(random: Random): Request {
  const filter = pickFilter(random);
  return some<() => Request>(random, [
    () => ['PUT', '/points', { points: Array.from({ length: 1 + random.below(60) }, () => pickPoint(random)) }],
    () => ['PUT', '/points', { points: Array.from({ length: 30 }, () => pickPoint(random)) }],
    () => ['POST', '/points/delete', { points: pickIds(random) }],
    () => ['POST', '/points/delete', { filter: { must: [filter, { key: 'n', match: { value: random.below(9) } }] } }],
    () => ['POST', '/points/payload', { payload: { n: random.below(9), tag: { deep: random.below(3) } }, filter }],
    () => ['PUT', '/points/payload', { payload: pickPayload(random), filter }],
    () => ['POST', '/points/payload/delete', { keys: ['tag', 'f'], filter }],
    () => ['POST', '/points/payload/clear', { filter: { must: [filter, { key: 'n', match: { value: random.below(9) } }] } }],
    () => ['POST', '/points/vectors/delete', { vector: ['b'], filter }],
    () => ['PUT', '/index', { field_name: some(random, ['city', 'tag.deep']), field_schema: 'keyword' }],
  ])();
}

const selectors: readonly object[] = [
  { with_payload: true, with_vector: true }, { with_payload: false, with_vector: ['b'] }, { with_payload: { include: ['n', 'tag.deep'] } }, { with_payload: ['city'] }, {},
];

function pickRead(random: Random): Request {
  const shown = { ...some(random, selectors), ...(random.below(2) === 0 ? {} : { filter: pickFilter(random) }) };
  const page = { limit: 1 + random.below(30), ...(random.below(2) === 0 ? {} : { offset: random.below(20) }) };
  const threshold = random.below(3) === 0 ? { score_threshold: random.next() } : {};
  const nearest = (): object => ({ query: random.below(3) === 0 ? pickId(random) : pickVector(random), using: some(random, ['a', 'b']), params: { exact: true }, ...page, ...shown, ...threshold });
  const older = (): object => ({ vector: { name: some(random, ['a', 'b']), vector: pickVector(random) }, params: { exact: true }, ...page, ...shown, ...threshold });
  const plain = (): object => ({ ...page, ...shown });
  return some<() => Request>(random, [
    () => ['POST', '/points/query', nearest()],
    () => ['POST', '/points/query', plain()],
    () => ['POST', '/points/query', { query: Array.from({ length: size }, () => 0), using: 'a', limit: 1000, ...shown }], // all scores are equal
    () => ['POST', '/points/query/batch', { searches: [nearest(), plain(), nearest()] }],
    () => ['POST', '/points/search', older()],
    () => ['POST', '/points/search/batch', { searches: [older(), older()] }],
    () => ['POST', '/points/scroll', { ...shown, limit: page.limit, ...(random.below(2) === 0 ? {} : { offset: pickId(random) }) }],
    () => ['POST', '/points/scroll', { ...shown, limit: page.limit, order_by: { key: some(random, ['n', 'f', 'at']), direction: some(random, ['asc', 'desc']) } }],
    () => ['POST', '/points/scroll', { ...shown, limit: page.limit, order_by: { key: 'n', start_from: random.below(9) } }],
    () => ['POST', '/points/count', { exact: true, filter: pickFilter(random) }],
    () => ['POST', '/points', { ids: [...pickIds(random), ...pickIds(random)], ...some(random, selectors) }],
    () => ['GET', `/points/${pickId(random)}`],
  ])();
}

/** What one server knows of versions, another number of shards tells otherwise. */
function withoutVersions(result: unknown): unknown {
  return JSON.parse(JSON.stringify(result ?? null), (key, value: unknown) => (key === 'version' || key === 'operation_id' ? undefined : value)) as unknown;
}

const told = ({ status, result, error }: Answer): unknown => ({ status, result, error });

describe('reads of three nodes', { skip: noNats ?? false }, () => {
  let cluster: ProcessCluster | undefined;
  let single: ServedFolder | undefined;
  const url = (at: number): string => must(cluster, 'it runs').node(at).url;
  const alone = (): string => must(single, 'it runs').server.url;

  before(async () => {
    single = await serveFolder();
    cluster = await startProcesses(3);
  });
  after(async () => {
    await single?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  for (const [title, shards, replicas] of [['three shards of one replica', 3, 1], ['four shards of two', 4, 2], ['six shards of three', 6, 3]] as const) {
    test(`${title}: every node answers what one node does`, async (t) => {
      t.diagnostic(`NEARKEEP_SEED=${seed}`);
      const random = seededRandom(seed + shards);
      const name = `twin-${shards}`;
      const body = { vectors, shard_number: shards, replication_factor: replicas };
      assert.equal((await call(url(0), 'PUT', `/collections/${name}`, { body })).status, 200);
      await call(alone(), 'PUT', `/collections/${name}`, { body });
      await call(alone(), 'PUT', `/collections/${name}-whole`, { body: { vectors } });
      const places: string[] = [];
      const write = async ([method, path, sent]: Request): Promise<void> => {
        const send = (server: string, of: string): Promise<Answer> => call(server, method, `/collections/${of}${path}?wait=true&ordering=${some(random, ['weak', 'medium', 'strong'])}`, { body: sent });
        const answer = await send(url(random.below(3)), name);
        assert.deepEqual(told(answer), told(await send(alone(), name)), `${method} ${path} ${JSON.stringify(sent)}`);
        await send(alone(), `${name}-whole`);
        const place = answer.headers.get(seqHeader);
        if (place !== null) places.push(place);
      };
      for (const field of [['n', 'integer'], ['f', 'float'], ['at', 'datetime']] as const) await write(['PUT', '/index', { field_name: field[0], field_schema: field[1] }]);
      let hits = 0;
      for (let round = 0; round < roundsOfWrites; round += 1) {
        for (let more = 0; more < 3; more += 1) await write(round === 0 ? ['PUT', '/points', { points: Array.from({ length: 60 }, () => pickPoint(random)) }] : pickWrite(random));
        for (let asked = 0; asked < requestsMin / 4; asked += 1) {
          const [method, path, sent] = pickRead(random);
          const what = `${method} ${path} ${JSON.stringify(sent)}`;
          const wanted = told(await call(alone(), method, `/collections/${name}${path}`, { body: sent }));
          const whole = await call(alone(), method, `/collections/${name}-whole${path}`, { body: sent });
          assert.deepEqual(withoutVersions(told(whole)), withoutVersions(wanted), `one shard: ${what}`);
          if (whole.text.includes('"id"')) hits += 1;
          const query = some(random, ['', '?consistency=2', '?consistency=all', '?consistency=majority', '?consistency=9']);
          for (const at of nodes) {
            const answer = await call(url(at), method, `/collections/${name}${path}${query}`, { body: sent, headers: { [seqHeader]: places.join(',') } });
            assert.deepEqual(told(answer), wanted, `node ${at}, ${query}: ${what}`);
          }
        }
      }
      assert.ok(hits > requestsMin, `${hits} answers have points`);
    });
  }

  test('writes of every ordering are in one order: all nodes end with the same, and every write has a place of its own', async () => {
    assert.equal((await call(url(0), 'PUT', '/collections/ordered', { body: { vectors, shard_number: 2, replication_factor: 3 } })).status, 200);
    const orderings = ['weak', 'medium', 'strong'];
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => call(url(n % 3), 'PUT', `/collections/ordered/points?wait=true&ordering=${orderings[Math.floor(n / 3) % 3]}`, {
      body: { points: [{ id: 1, vector: {}, payload: { n } }] },
    })));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const places = answers.map(({ headers }) => must(headers.get(seqHeader) ?? undefined, 'a write has a place'));
    assert.equal(new Set(places).size, answers.length);
    const last = places.map((place) => Number(place.split(':')[2])).reduce((best, seq, at, all) => (seq > (all[best] ?? 0) ? at : best), 0);
    for (const at of nodes) {
      const { result } = await call(url(at), 'GET', '/collections/ordered/points/1', { headers: { [seqHeader]: places.join(',') } });
      assert.deepEqual((result as { readonly payload: unknown }).payload, { n: last });
    }
    for (const at of nodes) {
      const refused = await call(url(at), 'PUT', '/collections/ordered/points?ordering=strongest', { body: { points: [] } });
      assert.deepEqual([refused.status, refused.error], [400, 'Deserialize error in query parameters: ordering: unknown variant `strongest`, expected one of `weak`, `medium`, `strong`']);
    }
  });

  test('a node that stood still shows what was written meanwhile, where the read asks for it', async () => {
    assert.equal((await call(url(0), 'PUT', '/collections/paused', { body: { vectors, shard_number: 2, replication_factor: 3 } })).status, 200);
    const paused = must(cluster, 'it runs').node(2);
    for (let round = 0; round < 8; round += 1) {
      process.kill(paused.pid, 'SIGSTOP');
      let place: string | null;
      try {
        const points = Array.from({ length: 400 }, (_, at) => ({ id: round * 400 + at, vector: { a: [at, 0, 0, 1] } }));
        place = (await call(url(round % 2), 'PUT', '/collections/paused/points?wait=true', { body: { points } })).headers.get(seqHeader);
      } finally {
        process.kill(paused.pid, 'SIGCONT');
      }
      const [query, headers] = round % 2 === 0 ? ['?consistency=majority', {}] : ['', { [seqHeader]: must(place ?? undefined, 'a write has a place') }];
      const answer = await call(paused.url, 'POST', `/collections/paused/points/count${query}`, { body: { exact: true }, headers });
      assert.deepEqual(told(answer), { status: 200, result: { count: (round + 1) * 400 }, error: '' }, `round ${round}`);
    }
  });

  test('places that no write has told: 408 in the time of the read, 400 for what is none and for a shard that is not there', async () => {
    assert.equal((await call(url(0), 'PUT', '/collections/places', { body: { vectors, shard_number: 2, replication_factor: 2 } })).status, 200);
    const ask = async (place: string): Promise<readonly unknown[]> => {
      const answers = await Promise.all(nodes.map((at) => call(url(at), 'POST', '/collections/places/points/count?timeout=1', { body: { exact: true }, headers: { [seqHeader]: place } })));
      return [...new Set(answers.map(({ status, error }) => `${status} ${error}`))];
    };
    assert.deepEqual(await ask('0:0:900'), ['408 Timeout: Operation timed out after 1 seconds']);
    assert.deepEqual(await ask('1:7:1'), ['408 Timeout: Operation timed out after 1 seconds']);
    assert.deepEqual(await ask('2:0:1'), ['400 Bad request: the collection has no shard 2']);
    assert.deepEqual(await ask('0;0;1'), ['400 Header x-nearkeep-seq: "0;0;1" is not <shard>:<generation>:<seq>']);
  });

  test('a node is gone: a majority still reads, all do not, nor does a number that only all can be', async () => {
    for (const replicas of [2, 3]) {
      assert.equal((await call(url(0), 'PUT', `/collections/lost-${replicas}`, { body: { vectors, shard_number: 3, replication_factor: replicas, write_consistency_factor: replicas } })).status, 200);
      await call(url(0), 'PUT', `/collections/lost-${replicas}/points?wait=true`, { body: { points: Array.from({ length: 30 }, (_, id) => ({ id, vector: {} })) } });
    }
    await must(cluster, 'it runs').kill(2);
    const count = async (at: number, of: string, consistency: string): Promise<string> => {
      const { status, result, error } = await call(url(at), 'POST', `/collections/${of}/points/count?consistency=${consistency}`, { body: { exact: true } });
      return status === 200 ? `${status} ${(result as { readonly count: number }).count}` : `${status} ${error}`;
    };
    for (const at of [0, 1]) {
      for (const fine of ['1', '2', 'majority', 'quorum']) assert.equal(await count(at, 'lost-3', fine), '200 30', `${fine} through node ${at}`);
      assert.equal(await count(at, 'lost-2', '1'), '200 30');
      for (const tooMany of ['3', '9', 'all']) assert.match(await count(at, 'lost-3', tooMany), /^503 Shard temporarily unavailable: shard \d has 2 (active replicas|replicas that answer) of the 3 that this consistency asks for$/, tooMany);
      for (const tooMany of ['2', 'majority', 'all']) assert.match(await count(at, 'lost-2', tooMany), /^503 Shard temporarily unavailable: shard \d has 1 (active replicas|replicas that answer) of the 2 /, tooMany);
    }
    await must(cluster, 'it runs').start(2);
    await must(cluster, 'it runs').until('all replicas answer again', async () => assert.equal(await count(2, 'lost-3', 'all'), '200 30'));
  });
});
