// Collections, aliases, cluster questions and probes over a real socket.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillConfig } from '../../command/config-defaults.ts';
import { startRest, type Answer } from './testing/rest-harness.ts';

const vectors = { size: 4, distance: 'Cosine' } as const;
const errorOf = (answer: Answer): string => (answer.json().status as { error: string }).error;

test('a collection is created, shown, changed and deleted', async (t) => {
  const rest = await startRest(t);
  assert.equal((await rest.send('PUT', '/collections/c', { json: { vectors } })).json().result, true);
  const again = await rest.send('PUT', '/collections/c', { json: { vectors } });
  assert.deepEqual([again.status, errorOf(again)], [409, 'Wrong input: Collection `c` already exists!']);
  assert.deepEqual((await rest.send('GET', '/collections')).json().result, { collections: [{ name: 'c' }] });
  assert.deepEqual((await rest.send('GET', '/collections/c')).json().result, {
    status: 'green',
    optimizer_status: 'ok',
    indexed_vectors_count: 3,
    points_count: 3,
    segments_count: 2,
    config: fillConfig({ vectors }),
    payload_schema: { city: { data_type: 'keyword', points: 1 } },
    update_queue: { length: 0 },
  });
  assert.equal((await rest.send('PATCH', '/collections/c', { json: { hnsw_config: { m: 7 } } })).json().result, true);
  assert.equal(rest.engine.configs.get('c')?.hnsw_config['m'], 7);
  assert.equal((await rest.send('PATCH', '/collections/none', { json: {} })).status, 404);
  assert.deepEqual((await rest.send('GET', '/collections/c/exists')).json().result, { exists: true });
  assert.equal((await rest.send('DELETE', '/collections/c')).json().result, true);
  assert.equal((await rest.send('DELETE', '/collections/c')).json().result, false);
  assert.deepEqual((await rest.send('GET', '/collections/c/exists')).json().result, { exists: false });
});

test('a damaged graph is a warning of its collection, and counted', async (t) => {
  const rest = await startRest(t);
  await rest.send('PUT', '/collections/c', { json: { vectors } });
  rest.engine.damagedGraphs = new Map([['', 7], ['b', 9]]);
  const { warnings } = (await rest.send('GET', '/collections/c')).json().result as { warnings: { message: string }[] };
  assert.deepEqual(warnings.map(({ message }) => message.slice(0, message.indexOf(':'))), [
    '7 rows of the vector are searched by exact scan until their graph is built again',
    "9 rows of vector 'b' are searched by exact scan until their graph is built again",
  ]);
  assert.match((await rest.send('GET', '/metrics')).text, /^collection_damaged_graphs_total\{id="c"\} 2$/m);
});

test('a collection with turbo quantization says what stands in for its codes', async (t) => {
  const rest = await startRest(t);
  const named = { a: { ...vectors, quantization_config: { turbo: {} } }, b: vectors };
  await rest.send('PUT', '/collections/c', { json: { vectors: named } });
  const warningsOf = async (): Promise<unknown> =>
    ((await rest.send('GET', '/collections/c')).json().result as { readonly warnings?: unknown }).warnings;
  const warning = (vector: string): unknown => ({
    message: `graphs of vector '${vector}' are walked by codes of 8 bits a component: this version has no codes of the form 'turbo'`,
  });
  assert.deepEqual(await warningsOf(), [warning('a')]);
  await rest.send('PATCH', '/collections/c', { json: { quantization_config: { turbo: { bits: 'bits4' } } } });
  assert.deepEqual(await warningsOf(), [warning('a'), warning('b')]);
  await rest.send('PATCH', '/collections/c', {
    json: { quantization_config: 'Disabled', vectors: { a: { quantization_config: 'Disabled' } } },
  });
  assert.equal(await warningsOf(), undefined);
});

test('a collection may be called like a route', async (t) => {
  const rest = await startRest(t);
  assert.equal((await rest.send('PUT', '/collections/aliases', { json: { vectors } })).status, 200);
  assert.equal((await rest.send('GET', '/collections/aliases')).status, 200);
});

test('one node answers what a cluster would', async (t) => {
  const rest = await startRest(t);
  await rest.send('PUT', '/collections/c', { json: { vectors } });
  assert.deepEqual((await rest.send('GET', '/cluster')).json().result, { status: 'disabled' });
  assert.deepEqual((await rest.send('GET', '/collections/c/cluster')).json().result, {
    peer_id: 4711,
    shard_count: 1,
    local_shards: [{ shard_id: 0, points_count: 3, state: 'Active' }],
    remote_shards: [],
    shard_transfers: [],
  });
  const move = await rest.send('POST', '/collections/c/cluster', { json: { move_shard: {} } });
  assert.deepEqual([move.status, errorOf(move)], [405, 'Qdrant is running in standalone mode']);
});

test('aliases are changed as a batch and listed', async (t) => {
  const rest = await startRest(t);
  await rest.send('PUT', '/collections/c', { json: { vectors } });
  const actions = [
    { create_alias: { collection_name: 'c', alias_name: 'a' } },
    { create_alias: { collection_name: 'c', alias_name: 'b' } },
    { delete_alias: { alias_name: 'b' } },
  ];
  assert.equal((await rest.send('POST', '/collections/aliases', { json: { actions } })).json().result, true);
  const want = { aliases: [{ alias_name: 'a', collection_name: 'c' }] };
  assert.deepEqual((await rest.send('GET', '/aliases')).json().result, want);
  assert.deepEqual((await rest.send('GET', '/collections/c/aliases')).json().result, want);
});

const badActions: readonly [string, unknown, number, RegExp][] = [
  ['no actions', {}, 400, /missing field `actions`/],
  ['actions that are no list', { actions: {} }, 400, /actions: invalid type: map, expected a sequence/],
  [
    'an unknown action',
    { actions: [{ other: {} }] },
    400,
    /actions\[0\]: expected one of `create_alias`, `delete_alias`, `rename_alias`/,
  ],
  [
    'no collection',
    { actions: [{ create_alias: { alias_name: 'a' } }] },
    400,
    /actions\[0\]\.create_alias: missing field `collection_name`/,
  ],
  [
    'a slash',
    { actions: [{ rename_alias: { old_alias_name: 'a', new_alias_name: 'b/c' } }] },
    422,
    /actions\[0\]\.rename_alias\.new_alias_name: collection name cannot contain "\/" char/,
  ],
];
for (const [title, json, status, text] of badActions) {
  test(`alias actions with ${title} are ${status}`, async (t) => {
    const rest = await startRest(t);
    const answer = await rest.send('POST', '/collections/aliases', { json });
    assert.equal(answer.status, status);
    assert.match(errorOf(answer), text);
  });
}

test('probes answer as clients expect', async (t) => {
  let isReady = true;
  const rest = await startRest(t, { isReady: () => isReady });
  assert.deepEqual(JSON.parse((await rest.send('GET', '/')).text), {
    title: 'qdrant - vector search engine',
    version: '1.19.0',
    commit: '0'.repeat(40),
  });
  for (const path of ['/healthz', '/livez']) assert.deepEqual((await rest.send('GET', path)).text, 'healthz check passed');
  assert.equal((await rest.send('GET', '/readyz')).text, 'all shards are ready');
  isReady = false;
  const { status, text } = await rest.send('GET', '/readyz');
  assert.deepEqual([status, text], [503, 'some shards are not ready']);
});

test('a node whose shards take no writes is not ready and says why', async (t) => {
  let reason: string | undefined = 'the disk is full';
  const rest = await startRest(t, { writesRefused: () => reason });
  const { status, text } = await rest.send('GET', '/readyz');
  assert.deepEqual([status, text], [503, 'some shards are not ready: the disk is full']);
  reason = undefined;
  assert.equal((await rest.send('GET', '/readyz')).status, 200);
});

test('metrics count answers by route and status, with a prefix and a histogram', async (t) => {
  const rest = await startRest(t, { settings: { metricsPrefix: 'db_' } });
  await rest.send('PUT', '/collections/c', { json: { vectors } });
  await rest.send('GET', '/collections/c');
  await rest.send('GET', '/collections/c');
  await rest.send('GET', '/collections/none');
  const { text, headers } = await rest.send('GET', '/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const labels = 'method="GET",endpoint="/collections/{collection}",status="200"';
  assert.ok(text.includes(`db_rest_responses_total{${labels}} 2\n`));
  assert.ok(text.includes('status="404"} 1\n'));
  assert.ok(text.includes(`db_rest_responses_duration_seconds_bucket{${labels},le="+Inf"} 2\n`));
  assert.ok(text.includes(`db_rest_responses_duration_seconds_count{${labels}} 2\n`));
  assert.match(text, /^db_collections_total 1$/m);
  assert.match(text, /^db_collection_points\{id="c"\} 3$/m);
  assert.match(text, /^db_snapshot_created_total 2$/m);
  assert.match(text, /^db_collection_codes_memory_bytes\{id="c"\} 5$/m);
  assert.match(text, /^db_collection_codes_mapped_bytes\{id="c"\} 6$/m);
  for (const [at, name] of ['walks', 'code_evaluations', 'row_evaluations', 'rescored_rows'].entries())
    assert.ok(text.includes(`# TYPE db_graph_${name}_total counter\ndb_graph_${name}_total ${at + 1}\n`), name);
  assert.match(text, /^db_process_threads 7$/m);
  assert.doesNotMatch(text, /process_open_mmaps/); // unknown here, so absent
  assert.doesNotMatch((await rest.send('GET', '/metrics?anonymize=true')).text, /id="c"/);
  for (const line of text.trimEnd().split('\n')) assert.match(line, /^(# (HELP|TYPE) db_\w+ .+|db_\w+(\{.*\})? [-+\d.e]+)$/);
});

interface FullTelemetry {
  readonly app: { readonly features: { readonly gpu: boolean } };
  readonly collections: { readonly collections: readonly { readonly id: string; readonly shards: readonly unknown[] }[] };
  readonly requests: { readonly rest: { readonly responses: object } };
}

test('telemetry tells more with each level, and no names when asked', async (t) => {
  const rest = await startRest(t);
  await rest.send('PUT', '/collections/private', { json: { vectors: { secretname: vectors } } });
  const at = async (query: string): Promise<Record<string, Record<string, unknown>>> =>
    (await rest.send('GET', `/telemetry${query}`)).json().result as Record<string, Record<string, unknown>>;
  const brief = await at('');
  assert.deepEqual(brief['collections'], { number_of_collections: 1 });
  assert.deepEqual(brief['app']?.['nearkeep'], { version: '0.0.0-test', kernel: 'test', node: process.version, graphs_built: 0 });
  const full = (await rest.send('GET', '/telemetry?details_level=10')).json().result as FullTelemetry;
  assert.equal(full.app.features.gpu, false);
  assert.deepEqual(
    full.collections.collections.map(({ id, shards }) => [id, shards.length]),
    [['private', 1]],
  );
  assert.ok('PUT /collections/{collection}' in full.requests.rest.responses);
  for (const query of ['?details_level=1&anonymize=true', '?details_level=10&anonymize=true']) {
    assert.doesNotMatch(JSON.stringify(await at(query)), /private|secretname/);
  }
  assert.equal((await rest.send('GET', '/telemetry?details_level=-1')).status, 400);
});
