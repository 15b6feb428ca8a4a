import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../../base/errors.ts';
import type { WriteOperation } from '../../command/write.ts';
import { parseBody } from '../../vector/lift-json.ts';
import { decodeBatchUpdate, decodeClearPayload, decodeDeletePayload, decodeDeletePoints, decodeDeleteVectors, decodeOverwritePayload, decodeSetPayload, decodeUpdateVectors, decodeUpsert, decodeWrite } from './decode-points.ts';
import { decodeBody, type WireValue } from './wire-value.ts';

type Decode = (at: WireValue) => unknown;
const decodeText = async (decode: Decode, text: string): Promise<unknown> => decodeBody(await parseBody(Buffer.from(text)), decode);

const uuid = '550e8400-e29b-41d4-a716-446655440000';
const unnamed = (...values: readonly number[]): ReadonlyMap<string, Float32Array> => new Map([['', Float32Array.from(values)]]);
const ids = (...values: readonly unknown[]): unknown => ({ kind: 'ids', ids: values });
const isRed = { must: [{ kind: 'match-value', key: { text: 'color', steps: [{ kind: 'key', name: 'color' }] }, value: 'red' }] };
const isRedText = '{"must":[{"key":"color","match":{"value":"red"}}]}';
const long = Array.from({ length: 20 }, (_, index) => index / 4);

const none = { kind: 'upsert', points: [] };
const decodeKeyed: Decode = (at) => decodeWrite(at, decodeUpsert);

const good: readonly (readonly [string, Decode, string, unknown])[] = [
  ['a list of points, short and lifted vectors', decodeUpsert, `{"points":[{"id":1,"vector":[0.5,-1]},{"id":2,"vector":[${long.join()}],"payload":null}]}`,
    { kind: 'upsert', points: [{ id: 1, vectors: unnamed(0.5, -1), payload: '{}' }, { id: 2, vectors: unnamed(...long), payload: '{}' }] }],
  ['payload text is kept as it was sent', decodeUpsert, '{"points":[{"id":1,"vector":[],"payload":{ "a": 1.0, "big":12345678901234567890 }}]}',
    { kind: 'upsert', points: [{ id: 1, vectors: unnamed(), payload: '{ "a": 1.0, "big":12345678901234567890 }' }] }],
  ['ids of 64 bits and UUIDs in any form', decodeUpsert, `{"points":[{"id":18446744073709551615,"vector":{}},{"id":"urn:uuid:${uuid.toUpperCase()}","vector":{}},{"id":"${uuid.replaceAll('-', '')}","vector":{}}]}`,
    { kind: 'upsert', points: [18_446_744_073_709_551_615n, uuid, uuid].map((id) => ({ id, vectors: new Map(), payload: '{}' })) }],
  ['named vectors', decodeUpsert, '{"points":[{"id":1,"vector":{"a":[1],"":[2]}}]}',
    { kind: 'upsert', points: [{ id: 1, vectors: new Map([['a', Float32Array.of(1)], ['', Float32Array.of(2)]]), payload: '{}' }] }],
  ['a batch of columns', decodeUpsert, '{"batch":{"ids":[1,2],"vectors":[[1],[2]],"payloads":[{"a":1},null]}}',
    { kind: 'upsert', points: [{ id: 1, vectors: unnamed(1), payload: '{"a":1}' }, { id: 2, vectors: unnamed(2), payload: '{}' }] }],
  ['a batch of named columns', decodeUpsert, '{"batch":{"ids":[1,2],"vectors":{"a":[[1],[2]],"b":[[3],[4]]}}}',
    { kind: 'upsert', points: [1, 2].map((id) => ({ id, vectors: new Map([['a', Float32Array.of(id)], ['b', Float32Array.of(id + 2)]]), payload: '{}' })) }],
  ['conditions of an upsert, unknown fields', decodeUpsert, `{"points":[],"update_filter":${isRedText},"update_mode":"insert_only","whatever":1}`,
    { kind: 'upsert', points: [], updateFilter: isRed, updateMode: 'insert_only' }],
  ['delete by ids', decodeDeletePoints, `{"points":[1,"${uuid}"],"shard_key":null}`, { kind: 'delete-points', selector: ids(1, uuid) }],
  ['delete by filter', decodeDeletePoints, `{"filter":${isRedText}}`, { kind: 'delete-points', selector: { kind: 'filter', filter: isRed } }],
  ['update vectors', decodeUpdateVectors, `{"points":[{"id":1,"vectors":{"a":[1]}}],"update_filter":${isRedText}}`,
    { kind: 'update-vectors', points: [{ id: 1, vectors: new Map([['a', Float32Array.of(1)]]) }], updateFilter: isRed }],
  ['delete vectors, each name once', decodeDeleteVectors, '{"points":[1],"vector":["a","","a"]}', { kind: 'delete-vectors', selector: ids(1), names: ['a', ''] }],
  ['delete vectors of points and of a filter: of either', decodeDeleteVectors, `{"points":[1],"filter":${isRedText},"vector":["a"]}`,
    { kind: 'delete-vectors', selector: { kind: 'filter', filter: { should: [{ kind: 'has-id', ids: [1] }, { kind: 'filter', filter: isRed }] } }, names: ['a'] }],
  ['set payload below a key', decodeSetPayload, '{"payload":{"a":null},"points":[1],"key":"b.c"}', { kind: 'set-payload', selector: ids(1), payload: '{"a":null}', key: 'b.c' }],
  ['set payload by filter', decodeSetPayload, `{"payload":{},"filter":${isRedText}}`, { kind: 'set-payload', selector: { kind: 'filter', filter: isRed }, payload: '{}' }],
  ['overwrite payload', decodeOverwritePayload, '{"payload":{"a":1},"points":[]}', { kind: 'overwrite-payload', selector: ids(), payload: '{"a":1}' }],
  ['delete payload keys', decodeDeletePayload, '{"keys":["a","b[].c"],"points":[1]}', { kind: 'delete-payload', selector: ids(1), keys: ['a', 'b[].c'] }],
  ['clear payload', decodeClearPayload, '{"points":[1]}', { kind: 'clear-payload', selector: ids(1) }],
  ['a batch of operations in order', decodeBatchUpdate,
    '{"operations":[{"upsert":{"points":[{"id":1,"vector":[1]}]}},{"set_payload":{"payload":{"a":1},"points":[1]}},{"overwrite_payload":{"payload":{},"points":[1]}},{"delete_payload":{"keys":["a"],"points":[1]}},{"clear_payload":{"points":[1]}},{"update_vectors":{"points":[{"id":1,"vector":[2]}]}},{"delete_vectors":{"points":[1],"vector":[""]}},{"delete":{"points":[1]}}]}',
    [
      { kind: 'upsert', points: [{ id: 1, vectors: unnamed(1), payload: '{}' }] },
      { kind: 'set-payload', selector: ids(1), payload: '{"a":1}' },
      { kind: 'overwrite-payload', selector: ids(1), payload: '{}' },
      { kind: 'delete-payload', selector: ids(1), keys: ['a'] },
      { kind: 'clear-payload', selector: ids(1) },
      { kind: 'update-vectors', points: [{ id: 1, vectors: unnamed(2) }] },
      { kind: 'delete-vectors', selector: ids(1), names: [''] },
      { kind: 'delete-points', selector: ids(1) },
    ].map((operation) => ({ operation }))],
  ['without a key', decodeKeyed, '{"points":[],"shard_key":null}', { operation: none }],
  ['for a key', decodeKeyed, '{"points":[],"shard_key":"7"}', { operation: none, shardKey: { kind: 'keys', keys: ['"7"'] } }],
  ['for keys, each once', decodeKeyed, '{"points":[],"shard_key":["7",7,18446744073709551615,7,""]}', { operation: none, shardKey: { kind: 'keys', keys: ['"7"', '7', '18446744073709551615', '""'] } }],
  ['for a key or a fallback', decodeKeyed, '{"points":[],"shard_key":{"target":"a","fallback":0}}', { operation: none, shardKey: { kind: 'fallback', target: '"a"', fallback: '0' } }],
  ['each operation of a batch for keys of its own', decodeBatchUpdate, '{"operations":[{"upsert":{"points":[],"shard_key":1}},{"delete":{"points":[1]}}]}',
    [{ operation: none, shardKey: { kind: 'keys', keys: ['1'] } }, { operation: { kind: 'delete-points', selector: ids(1) } }]],
];

for (const [title, decode, text, want] of good) {
  test(`write: ${title}`, async () => {
    assert.deepEqual(await decodeText(decode, text), want);
  });
}

const idText = 'is not a valid point ID, valid values are either an unsigned integer or a UUID';
const format = 'Format error in JSON body: ';
const bad: readonly (readonly [Decode, string, string])[] = [
  [decodeUpsert, '[]', `${format}invalid type: sequence, expected a map`],
  [decodeUpsert, '{}', `${format}data did not match any variant of untagged enum PointInsertOperations`],
  [decodeUpsert, '{"points":5}', `${format}points: invalid type: integer \`5\`, expected a sequence`],
  [decodeUpsert, '{"points":[{"vector":[1]}]}', `${format}points[0]: missing field \`id\``],
  [decodeUpsert, '{"points":[{"id":1}]}', `${format}points[0]: missing field \`vector\``],
  [decodeUpsert, '{"points":[{"id":1,"vector":[1]},{"id":-1,"vector":[1]}]}', `${format}points[1].id: value -1 ${idText}`],
  [decodeUpsert, '{"points":[{"id":1.5,"vector":[1]}]}', `${format}points[0].id: value 1.5 ${idText}`],
  [decodeUpsert, '{"points":[{"id":"x","vector":[1]}]}', `${format}points[0].id: value "x" ${idText}`],
  [decodeUpsert, '{"points":[{"id":18446744073709551616,"vector":[1]}]}', `${format}points[0].id: value 18446744073709551616 ${idText}`],
  [decodeUpsert, '{"points":[{"id":null,"vector":[1]}]}', `${format}points[0].id: value null ${idText}`],
  [decodeUpsert, '{"points":[{"id":1,"vector":[1,"2"]}]}', `${format}points[0].vector[1]: invalid type: string "2", expected f32`],
  [decodeUpsert, '{"points":[{"id":1,"vector":{"a":null}}]}', `${format}points[0].vector.a: invalid type: null, expected a vector`],
  [decodeUpsert, '{"points":[{"id":1,"vector":[1],"payload":[]}]}', `${format}points[0].payload: invalid type: sequence, expected a map`],
  [decodeUpsert, '{"points":[],"update_mode":"replace"}', `${format}update_mode: unknown variant \`replace\`, expected one of \`upsert\`, \`insert_only\`, \`update_only\``],
  [decodeUpsert, '{"points":[{"id":1,"vector":[[1,2],[3,4]]}]}', 'Wrong input: Conversion between multi and regular vectors failed: this version of nearkeep has dense vectors only, points[0].vector is none'],
  [decodeUpsert, `{"points":[{"id":1,"vector":{"a":[[${long.join()}]]}}]}`, 'Wrong input: Conversion between multi and regular vectors failed: this version of nearkeep has dense vectors only, points[0].vector.a is none'],
  [decodeUpsert, '{"points":[{"id":1,"vector":{"s":{"indices":[1],"values":[2]}}}]}', 'Wrong input: Conversion between sparse and regular vectors failed: this version of nearkeep has dense vectors only, points[0].vector.s is none'],
  [decodeUpsert, '{"points":[{"id":1,"vector":{"text":"x","model":"m"}}]}', 'Bad request: points[0].vector: inference objects are not supported by this version of nearkeep'],
  [decodeKeyed, '{"points":[],"shard_key":true}', `${format}shard_key: data did not match any variant of untagged enum ShardKey`],
  [decodeKeyed, '{"points":[],"shard_key":["a",-1]}', `${format}shard_key[1]: data did not match any variant of untagged enum ShardKey`],
  [decodeKeyed, '{"points":[],"shard_key":18446744073709551616}', `${format}shard_key: data did not match any variant of untagged enum ShardKey`],
  [decodeKeyed, '{"points":[],"shard_key":{"target":"a"}}', `${format}shard_key: missing field \`fallback\``],
  [decodeKeyed, `{"points":[],"shard_key":"${'k'.repeat(1025)}"}`, `${format}shard_key: a shard key has at most 1024 characters`],
  [decodeUpsert, `{"points":[{"id":1,"vector":[1e400${',1'.repeat(65_536)}]}]}`, 'Wrong input: Vector dimension error: at most 65536 dimensions are possible, got 65537'],
  [decodeUpsert, '{"batch":{"ids":[1,2],"vectors":[[1]]}}', 'Validation error in JSON body: [batch: number of ids and vectors must be equal (2 != 1)]'],
  [decodeUpsert, '{"batch":{"ids":[1],"vectors":{"a":[[1]],"b":[]},"payloads":[]}}', 'Validation error in JSON body: [batch: number of ids and vectors must be equal (1 != 0); batch: number of ids and payloads must be equal (1 != 0)]'],
  [decodeUpsert, '{"points":[],"update_filter":{"must":[],"x":1}}', `${format}unknown field \`x\`, expected one of \`should\`, \`min_should\`, \`must\`, \`must_not\``],
  [decodeDeletePoints, '{}', `${format}data did not match any variant of untagged enum PointsSelector`],
  [decodeDeletePoints, '{"points":[1,true]}', `${format}points[1]: value true ${idText}`],
  [decodeUpdateVectors, '{"points":[]}', 'Validation error in JSON body: [points: must specify points to update]'],
  [decodeUpdateVectors, '{"points":[{"id":1,"vector":{}},{"id":2,"vector":[]}]}', 'Validation error in JSON body: [points[0].vector: must specify vectors to update for point; points[1].vector: must specify vectors to update for point]'],
  [decodeDeleteVectors, '{"points":[1],"vector":[]}', 'Validation error in JSON body: [vector: must specify vector names to delete]'],
  [decodeDeleteVectors, '{"vector":["a"]}', `${format}Either list of point ids or filter must be provided`],
  [decodeSetPayload, '{"points":[1]}', `${format}missing field \`payload\``],
  [decodeSetPayload, '{"payload":{},"points":null}', `${format}Either list of point ids or filter must be provided`],
  [decodeSetPayload, '{"payload":{},"points":[1],"key":"a..b"}', `${format}Invalid json path: 'a..b'`],
  [decodeOverwritePayload, '{"payload":{},"points":[1],"key":"a"}', 'Bad request: key: overwriting payload below a key is not supported by this version of nearkeep'],
  [decodeDeletePayload, `{"points":[1],"keys":[${Array.from({ length: 10_001 }, () => '"a"').join()}]}`, 'Bad request: keys: more than 10000 names are not supported by this version of nearkeep'],
  [decodeBatchUpdate, '{"operations":[{"clear_payload":{"points":[1]}},{"upsert":{"points":[{"id":"x","vector":[]}]}}]}', `${format}operations[1].upsert.points[0].id: value "x" ${idText}`],
  [decodeBatchUpdate, '{"operations":[{"explode":{}}]}', `${format}operations[0]: data did not match any variant of untagged enum UpdateOperation`],
  [decodeBatchUpdate, '{"operations":[{"update_vectors":{"points":[]}}]}', 'Validation error in JSON body: [operations[0].update_vectors.points: must specify points to update]'],
];

for (const [decode, text, want] of bad) {
  test(`write: refuses ${text.slice(0, 100)}`, async () => {
    await assert.rejects(decodeText(decode, text), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.wireText, want);
      return true;
    });
  });
}

test('write: a body of many small points does not hold the event loop', async () => {
  const count = 200_000;
  const body = { points: Array.from({ length: count }, (_, id) => ({ id, vector: [1, 2] })) };
  let turns = 0;
  let going = true;
  const turn = (): void => {
    turns += 1;
    if (going) setImmediate(turn);
  };
  setImmediate(turn);
  const operation = (await decodeBody(body, decodeUpsert)) as WriteOperation & { kind: 'upsert' };
  going = false;
  assert.equal(operation.points.length, count);
  assert.ok(turns > 2, `the loop ran ${turns} times meanwhile`);
});
