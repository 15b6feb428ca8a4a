// The routes' handlers over an engine that notes what it is asked and answers from a list: what decodes, what is passed on, what
// is answered. How the real engine answers is tested where it is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { RequestError } from '../../base/errors.ts';
import { parsePointId, type PointId } from '../../base/ids.ts';
import type { PointRecord, ReadOptions, RetrieveRequest, ScoredRecord, ScrollPage, ScrollRequest, SearchRequest } from '../../command/read.ts';
import type { ShardSeq, WriteResult } from '../../command/write.ts';
import { parseBody } from '../../vector/lift-json.ts';
import { pointRoutes, type PointEngine } from './points.ts';
import type { RestAnswer, RestCall } from './route.ts';
import { searchRoutes, type SearchEngine } from './search.ts';

const id = (value: unknown): PointId => must(parsePointId(value), 'a point id');

class NotingEngine implements PointEngine, SearchEngine {
  readonly writes: Parameters<PointEngine['write']>[] = [];
  searches = 0;
  readonly stored: readonly PointId[] = [1, 2, 3, 4, 5].map(id);
  failAt = Number.POSITIVE_INFINITY;
  /** Of each read. */
  readonly options: (ReadOptions | undefined)[] = [];
  /** Where the n-th write stands. */
  places: readonly (readonly ShardSeq[])[] = [];

  async write(...call: Parameters<PointEngine['write']>): Promise<WriteResult> {
    if (this.writes.length === this.failAt) throw new RequestError('bad-input', 'no');
    this.writes.push(call);
    const [, operation, options] = call;
    return { operationId: operation.kind === 'clear-payload' ? null : this.writes.length, status: options.wait ? 'completed' : 'acknowledged', places: this.places[this.writes.length - 1] ?? [] };
  }

  async retrieve(_collection: string, request: RetrieveRequest, options?: ReadOptions): Promise<readonly PointRecord[]> {
    this.options.push(options);
    return request.ids.filter((one) => this.stored.includes(one)).map((one) => ({ id: one, version: 1, payload: '{"a":1}', vectors: new Map([['', Float32Array.of(1)]]) }));
  }

  async scroll(_collection: string, request: ScrollRequest, options?: ReadOptions): Promise<ScrollPage> {
    this.options.push(options);
    const from = request.offset === undefined ? 0 : this.stored.indexOf(request.offset);
    assert.ok(from >= 0, 'an offset is an id');
    const points = this.stored.slice(from, from + request.limit).map((one) => ({ id: one, version: 9 }));
    return { points, nextPageOffset: this.stored[from + request.limit] ?? null };
  }

  async count(_collection: string, _request: object, options?: ReadOptions): Promise<number> {
    this.options.push(options);
    return this.stored.length;
  }

  async search(_collection: string, requests: readonly SearchRequest[], options?: ReadOptions): Promise<readonly (readonly ScoredRecord[])[]> {
    this.options.push(options);
    this.searches += 1;
    return requests.map((request, index) => [{ id: id(index), version: 2, score: request.limit / 10 }]);
  }
}

interface Sent {
  readonly route: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Told what headers the answer has. */
  readonly told?: (name: string, value: string) => void;
}

async function send(engine: NotingEngine, sent: Sent): Promise<unknown> {
  const routes = [...pointRoutes({ engine }), ...searchRoutes({ engine })];
  const route = must(routes.find(({ method, path }) => `${method} ${path.replace('/collections/:collection', '')}` === sent.route), `there is a route ${sent.route}`);
  const body = sent.body === undefined ? undefined : await parseBody(Buffer.from(sent.body));
  const params = { collection: 'c', ...sent.params };
  const call = { params, query: sent.query ?? {}, body, idleMs: 1000, signal: new AbortController().signal, request: { headers: sent.headers ?? {} }, reply: { header: sent.told ?? (() => undefined) } };
  return valueOf(await route.handle(call as RestCall & typeof call));
}

async function valueOf(answer: RestAnswer): Promise<unknown> {
  if (answer.kind === 'result') return answer.value;
  assert.equal(answer.kind, 'result-text');
  let text = '';
  if (answer.kind === 'result-text') for await (const piece of answer.pieces) text += piece;
  return JSON.parse(text) as unknown;
}

test('a write tells where it stands: a batch, the last of its operations on each shard; what reached none tells nothing', async () => {
  const engine = new NotingEngine();
  const place = (shardId: number, seq: number): ShardSeq => ({ shardId, generation: 2, seq });
  engine.places = [[place(0, 7), place(1, 3)], [place(0, 8)], [place(1, 4), place(2, 1)]];
  const told: string[] = [];
  const note = (name: string, value: string): void => void told.push(`${name}: ${value}`);
  const points = '"points":[1]';
  await send(engine, { route: 'POST /points/delete', body: `{${points}}`, told: note });
  await send(engine, { route: 'POST /points/batch', body: `{"operations":[{"delete":{${points}}},{"clear_payload":{${points}}}]}`, told: note });
  await send(engine, { route: 'POST /points/delete', body: `{${points}}`, told: note });
  assert.deepEqual(told, ['x-nearkeep-seq: 0:2:7,1:2:3', 'x-nearkeep-seq: 0:2:8,1:2:4,2:2:1']);
});

const reads: readonly Sent[] = [
  { route: 'GET /points/:id', params: { id: '1' } },
  { route: 'POST /points', body: '{"ids":[1]}' },
  { route: 'POST /points/scroll', body: '{}' },
  { route: 'POST /points/count', body: '{}' },
  { route: 'POST /points/query', body: '{"query":[1]}' },
  { route: 'POST /points/query/batch', body: '{"searches":[{"query":[1]},{"limit":3}]}' },
  { route: 'POST /points/search', body: '{"vector":[1],"limit":1}' },
  { route: 'POST /points/search/batch', body: '{"searches":[{"vector":[1],"limit":1}]}' },
];

for (const read of reads) {
  test(`${read.route} passes on its consistency and the writes that it must show`, async () => {
    for (const [consistency, wanted] of [['3', 3], ['majority', 'majority'], ['quorum', 'quorum'], ['all', 'all'], ['99999999999999999999', 1e20]] as const) {
      const engine = new NotingEngine();
      await send(engine, { ...read, query: { consistency }, headers: { 'x-nearkeep-seq': '0:1:7, 2:0:3,0:1:9,0:0:11' } });
      assert.ok(engine.options.length > 0);
      for (const options of engine.options) {
        assert.deepEqual([options?.consistency, options?.after], [wanted, [{ shardId: 0, generation: 1, seq: 9 }, { shardId: 2, generation: 0, seq: 3 }]]);
      }
    }
    const plain = new NotingEngine();
    await send(plain, read);
    assert.deepEqual(Object.keys(plain.options[0] ?? {}), ['signal']);
    for (const header of ['', '0:1', '0:1:-2', '0:1:2,', 'a:b:c', '0:0:9999999999999999']) {
      await assert.rejects(send(plain, { ...read, headers: { 'x-nearkeep-seq': header } }), /^RequestError: Header x-nearkeep-seq: ".*" is not <shard>:<generation>:<seq>$/);
    }
  });
}

const kindsOf = (engine: NotingEngine): readonly string[] => engine.writes.map(([, operation]) => operation.kind);

const writes: readonly (readonly [string, string | undefined, string])[] = [
  ['PUT /points', '{"points":[]}', 'upsert'],
  ['POST /points/delete', '{"points":[1]}', 'delete-points'],
  ['PUT /points/vectors', '{"points":[{"id":1,"vector":[1]}]}', 'update-vectors'],
  ['POST /points/vectors/delete', '{"points":[1],"vector":["a"]}', 'delete-vectors'],
  ['POST /points/payload', '{"points":[1],"payload":{}}', 'set-payload'],
  ['PUT /points/payload', '{"points":[1],"payload":{}}', 'overwrite-payload'],
  ['POST /points/payload/delete', '{"points":[1],"keys":["a"]}', 'delete-payload'],
  ['PUT /index', '{"field_name":"a.b","field_schema":"keyword"}', 'create-index'],
  ['DELETE /index/:field', undefined, 'drop-index'],
  ['PUT /vectors/:name', '{"dense":{"size":4,"distance":"Dot"}}', 'create-vector'],
  ['DELETE /vectors/:name', undefined, 'drop-vector'],
];

for (const [route, body, kind] of writes) {
  test(`${route}: writes, by default without waiting`, async () => {
    const engine = new NotingEngine();
    const sent = { route, params: { field: 'a.b', name: 'v' }, ...(body === undefined ? {} : { body }) };
    assert.deepEqual(await send(engine, sent), { operation_id: 1, status: 'acknowledged' });
    assert.deepEqual(await send(engine, { ...sent, query: { wait: 'true', timeout: '3', ordering: 'strong' } }), { operation_id: 2, status: 'completed' });
    assert.deepEqual(kindsOf(engine), [kind, kind]);
    assert.deepEqual(engine.writes.map(([, , options]) => options), [{ wait: false }, { wait: true, timeoutMs: 3000 }]);
  });
}

test('an operation that reached no shard has no operation_id', async () => {
  assert.deepEqual(await send(new NotingEngine(), { route: 'POST /points/payload/clear', body: '{"points":[]}' }), { status: 'acknowledged' });
});

test('schema: what is asked of the engine', async () => {
  const engine = new NotingEngine();
  await send(engine, { route: 'PUT /index', body: '{"field_name":"n","field_schema":{"type":"integer","lookup":true,"range":false}}' });
  await send(engine, { route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{"dense":{"size":4,"distance":"Cosine","datatype":"float16"}}' });
  await send(engine, { route: 'DELETE /index/:field', params: { field: '"a.b"[].c' } });
  assert.deepEqual(engine.writes.map(([, operation]) => operation), [
    { kind: 'create-index', field: 'n', schema: { type: 'integer', params: { type: 'integer', lookup: true, range: false } } },
    { kind: 'create-vector', name: 'v', params: { size: 4, distance: 'Cosine', datatype: 'float16' } },
    { kind: 'drop-index', field: '"a.b"[].c' },
  ]);
});

test('batch: in order, one result each; a failure ends it', async () => {
  const engine = new NotingEngine();
  const body = '{"operations":[{"upsert":{"points":[]}},{"clear_payload":{"points":[1]}},{"delete":{"points":[1]}}]}';
  assert.deepEqual(await send(engine, { route: 'POST /points/batch', query: { wait: 'true' }, body }), [
    { operation_id: 1, status: 'completed' }, { status: 'completed' }, { operation_id: 3, status: 'completed' },
  ]);
  assert.deepEqual(kindsOf(engine), ['upsert', 'clear-payload', 'delete-points']);
  engine.failAt = engine.writes.length + 1;
  await assert.rejects(send(engine, { route: 'POST /points/batch', body }), new RequestError('bad-input', 'no'));
  assert.equal(engine.writes.length, 4);
});

test('reads: point, points, page and count', async () => {
  const engine = new NotingEngine();
  assert.deepEqual(await send(engine, { route: 'GET /points/:id', params: { id: '3' } }), { id: 3, payload: { a: 1 }, vector: [1] });
  assert.deepEqual(await send(engine, { route: 'POST /points', body: '{"ids":[5,77,1]}' }), [5, 1].map((one) => ({ id: one, payload: { a: 1 }, vector: [1] })));
  assert.deepEqual(await send(engine, { route: 'POST /points/scroll', body: '{"limit":2,"offset":2}' }), { points: [{ id: 2 }, { id: 3 }], next_page_offset: 4 });
  assert.deepEqual(await send(engine, { route: 'POST /points/count', body: '{}' }), { count: 5 });
});

const oneHit = { id: 0, version: 2, score: 0.4 };

test('search: the old form answers a list, the new one an object', async () => {
  const engine = new NotingEngine();
  assert.deepEqual(await send(engine, { route: 'POST /points/search', body: '{"vector":[1],"limit":4}' }), [oneHit]);
  assert.deepEqual(await send(engine, { route: 'POST /points/query', body: '{"query":[1],"limit":4}' }), { points: [oneHit] });
  assert.deepEqual(await send(engine, { route: 'POST /points/search/batch', body: '{"searches":[{"vector":[1],"limit":4},{"vector":[2],"limit":5}]}' }), [[oneHit], [{ id: 1, version: 2, score: 0.5 }]]);
  assert.equal(engine.searches, 3, 'a batch is one search');
});

test('query: without a query, points by id with score 0, also beyond an offset', async () => {
  const engine = new NotingEngine();
  const zero = (...ids: readonly number[]): unknown => ({ points: ids.map((one) => ({ id: one, version: 9, score: 0 })) });
  assert.deepEqual(await send(engine, { route: 'POST /points/query', body: '{"limit":2}' }), zero(1, 2));
  assert.deepEqual(await send(engine, { route: 'POST /points/query', body: '{"limit":2,"offset":3}' }), zero(4, 5));
  assert.deepEqual(await send(engine, { route: 'POST /points/query', body: '{"limit":2,"offset":5}' }), zero());
  assert.deepEqual(await send(engine, { route: 'POST /points/query/batch', body: '{"searches":[{"limit":1},{"query":[1],"limit":4},{"limit":1,"offset":1}]}' }), [zero(1), { points: [oneHit] }, zero(2)]);
});

const refusals: readonly (readonly [Sent, string])[] = [
  [{ route: 'PUT /points', query: { wait: 'yes' }, body: '{"points":[]}' }, 'Deserialize error in query parameters: wait: provided string was not `true` or `false`'],
  [{ route: 'PUT /points', query: { timeout: 'soon' }, body: '{"points":[]}' }, 'Deserialize error in query parameters: timeout: invalid digit found in string'],
  [{ route: 'PUT /points', query: { timeout: '0' }, body: '{"points":[]}' }, 'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]'],
  [{ route: 'PUT /points', query: { ordering: 'none' }, body: '{"points":[]}' }, 'Deserialize error in query parameters: ordering: unknown variant `none`, expected one of `weak`, `medium`, `strong`'],
  [{ route: 'POST /points/scroll', query: { consistency: 'most' }, body: '{}' }, 'Deserialize error in query parameters: consistency: data did not match any variant of untagged enum ReadConsistency'],
  [{ route: 'POST /points/query', query: { consistency: '0' }, body: '{}' }, 'Validation error in query parameters: [consistency: value 0 invalid, must be 1 or larger]'],
  [{ route: 'GET /points/:id', params: { id: 'x' } }, 'Wrong input: Can not recognize "x" as point id'],
  [{ route: 'GET /points/:id', params: { id: '77' } }, 'Not found: Point with id 77 does not exists!'],
  [{ route: 'PUT /index', body: '{"field_name":"a"}' }, "Bad request: Can't auto-detect field type, please specify `field_schema` in the request"],
  [{ route: 'PUT /index', body: '{"field_schema":"keyword"}' }, 'Format error in JSON body: missing field `field_name`'],
  [{ route: 'DELETE /index/:field', params: { field: 'a..b' } }, "Deserialize error in path parameters: Invalid json path: 'a..b'"],
  [{ route: 'PUT /vectors/:name', params: { name: 'a/b' }, body: '{"dense":{"size":4,"distance":"Dot"}}' }, 'Validation error in path parameters: [vector_name: vector name cannot contain "/" char]'],
  [{ route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{"dense":{"size":0,"distance":"Dot"}}' }, 'Validation error in JSON body: [dense.size: value 0 invalid, must be from 1 to 65536]'],
  [{ route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{"dense":{"size":4,"distance":"Hamming"}}' }, 'Format error in JSON body: dense.distance: unknown variant `Hamming`, expected one of `Cosine`, `Dot`, `Euclid`, `Manhattan`'],
  [{ route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{"sparse":{}}' }, 'Bad request: sparse: sparse vectors are not supported by this version of nearkeep'],
  [{ route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{}' }, 'Format error in JSON body: data did not match any variant of untagged enum VectorNameConfig'],
  [{ route: 'PUT /vectors/:name', params: { name: 'v' }, body: '{"dense":{"size":4,"distance":"Dot","datatype":"turbo4"}}' }, 'Bad request: dense.datatype: vectors of datatype turbo4 are not supported by this version of nearkeep'],
];

for (const [sent, want] of refusals) {
  test(`${sent.route} ${JSON.stringify(sent.query ?? sent.params ?? '')} ${sent.body ?? ''}: refused`, async () => {
    const engine = new NotingEngine();
    await assert.rejects(send(engine, sent), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.wireText, want);
      return true;
    });
    assert.equal(engine.writes.length, 0);
  });
}
