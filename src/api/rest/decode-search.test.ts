import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../../base/errors.ts';
import { parseBody } from '../../vector/lift-json.ts';
import { decodeCount, decodeRetrieve, decodeScroll } from './decode-reads.ts';
import { decodeBatch, decodeQuery, decodeSearch } from './decode-search.ts';
import { decodeBody, type WireValue } from './wire-value.ts';

type Decode = (at: WireValue) => unknown;
const decodeText = async (decode: Decode, text: string): Promise<unknown> => decodeBody(await parseBody(Buffer.from(text)), decode);
const decodeQueries: Decode = (at) => decodeBatch(at, decodeQuery);
const decodeSearches: Decode = (at) => decodeBatch(at, decodeSearch);

const path = (name: string): unknown => ({ text: name, steps: [{ kind: 'key', name }] });
const byVector = (...values: readonly number[]): unknown => ({ kind: 'vector', vector: Float32Array.from(values) });
const isRed = { must: [{ kind: 'match-value', key: path('color'), value: 'red' }] };
const isRedText = '{"must":{"key":"color","match":{"value":"red"}}}';
const all = { payload: { kind: 'all' }, vectors: { kind: 'none' } };
const none = { payload: { kind: 'none' }, vectors: { kind: 'none' } };
const plain = { limit: 10, offset: 0, selectors: none };

const good: readonly (readonly [string, Decode, string, unknown])[] = [
  ['retrieve: payload and no vectors by default', decodeRetrieve, '{"ids":[3,18446744073709551615]}', { ids: [3, 18_446_744_073_709_551_615n], selectors: all }],
  ['retrieve: selectors by name', decodeRetrieve, '{"ids":[],"with_payload":["a","b"],"with_vector":["x"]}',
    { ids: [], selectors: { payload: { kind: 'include', paths: [path('a'), path('b')] }, vectors: { kind: 'names', names: ['x'] } } }],
  ['retrieve: selectors as objects and under their other name', decodeRetrieve, '{"ids":[],"with_payload":{"exclude":["a"]},"with_vectors":true}',
    { ids: [], selectors: { payload: { kind: 'exclude', paths: [path('a')] }, vectors: { kind: 'all' } } }],
  ['scroll: defaults', decodeScroll, '{}', { limit: 10, selectors: all }],
  ['scroll: everything', decodeScroll, `{"offset":7,"limit":3,"filter":${isRedText},"with_payload":false,"with_vector":false}`, { offset: 7, limit: 3, filter: isRed, selectors: none }],
  ['scroll: order by a key', decodeScroll, '{"order_by":"year"}', { limit: 10, selectors: all, orderBy: { key: path('year'), direction: 'asc' } }],
  ['scroll: order downwards from a datetime', decodeScroll, '{"order_by":{"key":"at","direction":"desc","start_from":"1970-01-01T00:00:01Z"}}',
    { limit: 10, selectors: all, orderBy: { key: path('at'), direction: 'desc', startFrom: 1_000_000 } }],
  ['scroll: order from a large integer', decodeScroll, '{"order_by":{"key":"n","start_from":9223372036854775807}}',
    { limit: 10, selectors: all, orderBy: { key: path('n'), direction: 'asc', startFrom: 9_223_372_036_854_775_807n } }],
  ['scroll: a limit beyond all points', decodeScroll, '{"limit":18446744073709551615}', { limit: 2 ** 48, selectors: all }],
  ['shard keys of a retrieve', decodeRetrieve, '{"ids":[],"shard_key":["a",1]}', { ids: [], selectors: all, shardKey: { kind: 'keys', keys: ['"a"', '1'] } }],
  ['shard keys of a scroll', decodeScroll, '{"shard_key":"a"}', { limit: 10, selectors: all, shardKey: { kind: 'keys', keys: ['"a"'] } }],
  ['shard keys of a count', decodeCount, '{"shard_key":{"target":1,"fallback":2}}', { exact: true, shardKey: { kind: 'fallback', target: '1', fallback: '2' } }],
  ['shard keys of a query', decodeQuery, '{"query":[1],"shard_key":3}', { kind: 'nearest', search: { target: byVector(1), using: '', ...plain, shardKey: { kind: 'keys', keys: ['3'] } } }],
  ['shard keys of a query without query', decodeQuery, '{"shard_key":3}', { kind: 'plain', query: { ...plain, shardKey: { kind: 'keys', keys: ['3'] } } }],
  ['shard keys of a search', decodeSearch, '{"vector":[1],"limit":10,"shard_key":3}', { target: byVector(1), using: '', ...plain, shardKey: { kind: 'keys', keys: ['3'] } }],
  ['count: exact by default', decodeCount, '{}', { exact: true }],
  ['count: by filter', decodeCount, `{"filter":${isRedText},"exact":false}`, { exact: false, filter: isRed }],
  ['query: by vector', decodeQuery, '{"query":[1,2]}', { kind: 'nearest', search: { target: byVector(1, 2), using: '', ...plain } }],
  ['query: by id', decodeQuery, '{"query":18446744073709551615}', { kind: 'nearest', search: { target: { kind: 'id', id: 18_446_744_073_709_551_615n }, using: '', ...plain } }],
  ['query: nearest, with all that goes with it', decodeQuery,
    `{"query":{"nearest":[1],"mmr":null},"using":"a","limit":5,"offset":2,"filter":${isRedText},"score_threshold":0.1,"with_payload":true,"with_vector":["a"],"prefetch":[],"lookup_from":null,"params":{"hnsw_ef":64,"exact":true,"indexed_only":false,"acorn":{"enable":true,"max_selectivity":0.4},"quantization":{"ignore":true,"rescore":false,"oversampling":1.5}}}`,
    { kind: 'nearest', search: {
      target: byVector(1), using: 'a', limit: 5, offset: 2, filter: isRed, scoreThreshold: Math.fround(0.1),
      params: { hnswEf: 64, exact: true, indexedOnly: false, quantization: { ignore: true, rescore: false, oversampling: 1.5 } },
      selectors: { payload: { kind: 'all' }, vectors: { kind: 'names', names: ['a'] } },
    } }],
  ['query: none', decodeQuery, `{"limit":3,"filter":${isRedText}}`, { kind: 'plain', query: { limit: 3, offset: 0, filter: isRed, selectors: none } }],
  ['query: several', decodeQueries, '{"searches":[{"query":[1]},{}]}', [{ kind: 'nearest', search: { target: byVector(1), using: '', ...plain } }, { kind: 'plain', query: plain }]],
  ['search: the unnamed vector', decodeSearch, '{"vector":[1,2],"limit":4}', { target: byVector(1, 2), using: '', ...plain, limit: 4 }],
  ['search: a named vector', decodeSearch, '{"vector":{"name":"a","vector":[1]},"limit":4,"offset":1,"with_vectors":true}',
    { target: byVector(1), using: 'a', limit: 4, offset: 1, selectors: { payload: { kind: 'none' }, vectors: { kind: 'all' } } }],
];

for (const [title, decode, text, want] of good) {
  test(title, async () => {
    assert.deepEqual(await decodeText(decode, text), want);
  });
}

const format = 'Format error in JSON body: ';
const notBuilt = 'not supported by this version of nearkeep';
const range = (problem: string): string => `Validation error in JSON body: [${problem}]`;
const bad: readonly (readonly [Decode, string, string])[] = [
  [decodeRetrieve, '{}', `${format}missing field \`ids\``],
  [decodeRetrieve, '{"ids":[1],"with_payload":5}', `${format}with_payload: data did not match any variant of untagged enum WithPayloadInterface`],
  [decodeRetrieve, '{"ids":[1],"with_payload":{"include":["a"],"more":1}}', `${format}with_payload: data did not match any variant of untagged enum WithPayloadInterface`],
  [decodeRetrieve, '{"ids":[1],"with_vector":"a"}', `${format}with_vector: data did not match any variant of untagged enum WithVector`],
  [decodeRetrieve, '{"ids":[1],"with_vector":true,"with_vectors":true}', `${format}duplicate field \`with_vector\``],
  [decodeRetrieve, '{"ids":[1],"with_payload":["a."]}', `${format}Invalid json path: 'a.'`],
  [decodeScroll, '{"limit":0}', range('limit: value 0 invalid, must be 1 or larger')],
  [decodeScroll, '{"limit":-1}', `${format}limit: invalid value: integer \`-1\`, expected usize`],
  [decodeScroll, '{"limit":1.5}', `${format}limit: invalid type: floating point \`1.5\`, expected usize`],
  [decodeScroll, '{"limit":"5"}', `${format}limit: invalid type: string "5", expected usize`],
  [decodeScroll, '{"offset":"x"}', `${format}offset: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`],
  [decodeScroll, '{"order_by":{"key":"a","direction":"up"}}', `${format}order_by.direction: unknown variant \`up\`, expected \`asc\` or \`desc\``],
  [decodeScroll, '{"order_by":{"key":"a","start_from":"soon"}}', `${format}order_by.start_from: data did not match any variant of untagged enum StartFrom`],
  [decodeScroll, '{"order_by":"a","offset":1}', "Wrong input: Cannot use an `offset` when using `order_by`. The alternative for paging is to use `order_by.start_from` and a filter to exclude the IDs that you've already seen for the `order_by.start_from` value"],
  [decodeScroll, '{"shard_key":["a",1.5]}', `${format}shard_key[1]: data did not match any variant of untagged enum ShardKey`],
  [decodeCount, '{"exact":1}', `${format}exact: invalid type: integer \`1\`, expected a boolean`],
  [decodeCount, '{"filter":[]}', `${format}invalid type: sequence, expected struct Filter`],
  [decodeQuery, '{"limit":0,"params":{"hnsw_ef":0,"quantization":{"oversampling":0.5},"acorn":{"max_selectivity":2}}}',
    range('internal.limit: value 0 invalid, must be 1 or larger; internal.params.acorn.max_selectivity: value 2.0 invalid, must be from 0.0 to 1.0; internal.params.hnsw_ef: value 0 invalid, must be 1 or larger; internal.params.quantization.oversampling: value 0.5 invalid, must be 1.0 or larger')],
  [decodeQuery, '{"offset":-1}', `${format}offset: invalid value: integer \`-1\`, expected usize`],
  [decodeQuery, '{"query":{"what":1}}', `${format}query: data did not match any variant of untagged enum QueryInterface`],
  [decodeQuery, '{"query":true}', `${format}query: data did not match any variant of untagged enum QueryInterface`],
  [decodeQuery, '{"query":"x"}', `${format}query: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`],
  [decodeQuery, '{"score_threshold":0.5}', "Bad request: A query is needed to use the score_threshold. Can't have score_threshold without defining a query."],
  [decodeQuery, '{"query":[[1],[2]]}', 'Wrong input: Conversion between multi and regular vectors failed: this version of nearkeep has dense vectors only, query is none'],
  [decodeQuery, '{"query":{"indices":[1],"values":[1]}}', 'Wrong input: Conversion between sparse and regular vectors failed: this version of nearkeep has dense vectors only, query is none'],
  [decodeQuery, '{"query":{"nearest":{"indices":[1],"values":[1]}}}', 'Wrong input: Conversion between sparse and regular vectors failed: this version of nearkeep has dense vectors only, query.nearest is none'],
  [decodeQuery, '{"query":{"text":"x","model":"m"}}', `Bad request: query: inference objects are ${notBuilt}`],
  [decodeQuery, '{"query":{"nearest":[1],"mmr":{}}}', `Bad request: query.mmr: maximal marginal relevance is ${notBuilt}`],
  ...['recommend', 'discover', 'context', 'order_by', 'fusion', 'rrf', 'formula', 'sample', 'relevance_feedback'].map(
    (name) => [decodeQuery, `{"query":{"${name}":{}}}`, `Bad request: query: ${name} queries are ${notBuilt}`] as const,
  ),
  [decodeQuery, '{"query":[1],"prefetch":{"query":[1]}}', `Bad request: prefetch: prefetches are ${notBuilt}`],
  [decodeQuery, '{"query":1,"lookup_from":{"collection":"b"}}', `Bad request: lookup_from: lookups in other collections are ${notBuilt}`],
  [decodeQuery, '{"query":[1],"params":{"idf":"global"}}', `Bad request: params.idf: params of sparse vectors are ${notBuilt}`],
  [decodeQuery, '{"query":[1],"filter":{"must":[{"key":"a","geo_polygon":{"exterior":{"points":[]}}}]}}',
    range('internal.filter.must[0].geo_polygon.exterior: value invalid, the size must be at least 4, got 0')],
  [decodeQueries, '{"searches":[{"query":[1]},{"limit":0}]}', range('searches[1].internal.limit: value 0 invalid, must be 1 or larger')],
  [decodeQueries, '{}', `${format}missing field \`searches\``],
  [decodeSearch, '{"vector":[1]}', `${format}missing field \`limit\``],
  [decodeSearch, '{"limit":1}', `${format}missing field \`vector\``],
  [decodeSearch, '{"vector":[1],"limit":0}', range('limit: value 0 invalid, must be 1 or larger')],
  [decodeSearch, '{"vector":{"name":"s","vector":{"indices":[],"values":[]}},"limit":1}', 'Wrong input: Conversion between sparse and regular vectors failed: this version of nearkeep has dense vectors only, vector.vector is none'],
  [decodeSearches, '{"searches":[{"vector":[1],"limit":0}]}', range('searches[0].limit: value 0 invalid, must be 1 or larger')],
];

for (const [decode, text, want] of bad) {
  test(`refuses ${text.slice(0, 100)}`, async () => {
    await assert.rejects(decodeText(decode, text), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.wireText, want);
      return true;
    });
  });
}
