// What this version does not have is refused by its name, never ignored. Titles are the names of docs/compatibility.md.
import { withJson, type BadInput, type Refusal } from './bad-input-world.ts';

const points = '/collections/c/points';
const dense = { size: 4, distance: 'Dot' };
const query = [1, 0, 0, 0];

const inThisVersion = (what: string): string => `Wrong input: ${what} is not supported by this version`;
const refused = (path: string, what: string): string => `Bad request: ${path}: ${what} not supported by this version of nearkeep`;
const conversion = (kind: string, path: string): string =>
  `Wrong input: Conversion between ${kind} and regular vectors failed: this version of nearkeep has dense vectors only, ${path} is none`;

const creates: readonly (readonly [string, unknown, string])[] = [
  ['sparse_vectors', { vectors: dense, sparse_vectors: { s: {} } }, inThisVersion('sparse_vectors')],
  [
    'strict_mode_config.enabled',
    { vectors: dense, strict_mode_config: { enabled: true } },
    `${inThisVersion('strict_mode_config.enabled')}: its limits would not be enforced`,
  ],
  [
    'strict_mode_config.multivector_config',
    { vectors: dense, strict_mode_config: { multivector_config: { v: { max_vectors: 5 } } } },
    inThisVersion('strict_mode_config.multivector_config'),
  ],
  [
    'strict_mode_config.sparse_config',
    { vectors: dense, strict_mode_config: { sparse_config: { s: { max_length: 5 } } } },
    inThisVersion('strict_mode_config.sparse_config'),
  ],
];

const updates: readonly (readonly [string, unknown, string])[] = [
  ['sparse_vectors', { sparse_vectors: { s: {} } }, inThisVersion('sparse_vectors')],
  [
    'strict_mode_config.enabled',
    { strict_mode_config: { enabled: true } },
    `${inThisVersion('strict_mode_config.enabled')}: its limits would not be enforced`,
  ],
  [
    'strict_mode_config.multivector_config',
    { strict_mode_config: { multivector_config: {} } },
    inThisVersion('strict_mode_config.multivector_config'),
  ],
  [
    'strict_mode_config.sparse_config',
    { strict_mode_config: { sparse_config: {} } },
    inThisVersion('strict_mode_config.sparse_config'),
  ],
];

const queryForms: readonly (readonly [string, unknown])[] = [
  ['recommend', { positive: [1] }],
  ['discover', { target: 1, context: [] }],
  ['context', []],
  ['order_by', 'n'],
  ['fusion', 'rrf'],
  ['rrf', {}],
  ['formula', '$score'],
  ['sample', 'random'],
  ['relevance_feedback', { target: 1, feedback: [], strategy: {} }],
];

const others: readonly (readonly [string, string, string, unknown, ...Refusal])[] = [
  [
    'QueryRequest.prefetch',
    'POST',
    `${points}/query`,
    { query, prefetch: [{ query }] },
    400,
    refused('prefetch', 'prefetches are'),
  ],
  [
    'QueryRequest.lookup_from',
    'POST',
    `${points}/query`,
    { query: 1, lookup_from: { collection: 'named' } },
    400,
    refused('lookup_from', 'lookups in other collections are'),
  ],
  [
    'Query.mmr',
    'POST',
    `${points}/query`,
    { query: { nearest: query, mmr: { diversity: 0.5 } } },
    400,
    refused('query.mmr', 'maximal marginal relevance is'),
  ],
  [
    'SearchParams.idf',
    'POST',
    `${points}/query`,
    { query, params: { idf: 'global' } },
    400,
    refused('params.idf', 'params of sparse vectors are'),
  ],
  ['SparseVector', 'POST', `${points}/query`, { query: { indices: [1], values: [1] } }, 400, conversion('sparse', 'query')],
  ['a query by a multi-vector', 'POST', `${points}/query`, { query: [query] }, 400, conversion('multi', 'query')],
  [
    'Document',
    'PUT',
    points,
    { points: [{ id: 1, vector: { text: 'x', model: 'm' } }] },
    400,
    refused('points[0].vector', 'inference objects are'),
  ],
  [
    'Image',
    'PUT',
    points,
    { points: [{ id: 1, vector: { image: 'x', model: 'm' } }] },
    400,
    refused('points[0].vector', 'inference objects are'),
  ],
  [
    'InferenceObject',
    'POST',
    `${points}/query`,
    { query: { object: {}, model: 'm' } },
    400,
    refused('query', 'inference objects are'),
  ],
  [
    'SetPayload.key of an overwrite',
    'PUT',
    `${points}/payload`,
    { payload: {}, points: [1], key: 'a' },
    400,
    refused('key', 'overwriting payload below a key is'),
  ],
  [
    'VectorParams.multivector_config',
    'PUT',
    '/collections/fresh',
    { vectors: { ...dense, multivector_config: { comparator: 'max_sim' } } },
    400,
    inThisVersion('vectors.multivector_config'),
  ],
  [
    'a datatype turbo4',
    'PUT',
    '/collections/fresh',
    { vectors: { ...dense, datatype: 'turbo4' } },
    400,
    inThisVersion('vectors.datatype turbo4'),
  ],
  ['VectorNameConfig.sparse', 'PUT', '/collections/c/vectors/v', { sparse: {} }, 400, refused('sparse', 'sparse vectors are')],
  [
    'VectorNameConfig.dense.multivector_config',
    'PUT',
    '/collections/c/vectors/v',
    { dense: { ...dense, multivector_config: { comparator: 'max_sim' } } },
    400,
    refused('dense.multivector_config', 'multi-vectors are'),
  ],
  [
    'an index of text',
    'PUT',
    '/collections/c/index',
    { field_name: 'x', field_schema: { type: 'text', tokenizer: 'word' } },
    400,
    inThisVersion('text index'),
  ],
  [
    'an index of places',
    'PUT',
    '/collections/c/index',
    { field_name: 'x', field_schema: 'geo' },
    400,
    inThisVersion('geo index'),
  ],
];

/** Routes of the API that are not served: 404, or 405 where another method of the path is. */
const routes: readonly (readonly [string, string, number])[] = [
  ['POST', '/audit/logs', 404],
  ['GET', '/cluster/metadata/keys', 404],
  ['GET', '/cluster/metadata/keys/k', 404],
  ['PUT', '/cluster/metadata/keys/k', 404],
  ['DELETE', '/cluster/metadata/keys/k', 404],
  ['POST', '/cluster/recover', 404],
  ['GET', '/cluster/telemetry', 404],
  ['POST', '/collections/c/debug', 404],
  ['POST', '/collections/c/facet', 404],
  ['GET', '/collections/c/memory', 404],
  ['GET', '/collections/c/optimizations', 404],
  ['POST', '/collections/c/points/discover', 405],
  ['POST', '/collections/c/points/discover/batch', 404],
  ['POST', '/collections/c/points/query/groups', 404],
  ['POST', '/collections/c/points/recommend', 405],
  ['POST', '/collections/c/points/recommend/batch', 404],
  ['POST', '/collections/c/points/recommend/groups', 404],
  ['POST', '/collections/c/points/search/groups', 404],
  ['POST', '/collections/c/points/search/matrix/offsets', 404],
  ['POST', '/collections/c/points/search/matrix/pairs', 404],
  ['POST', '/collections/c/shards/0/cleanup', 404],
  ['POST', '/collections/c/shards/0/points', 404],
  ['POST', '/collections/c/shards/0/points/count', 404],
  ['POST', '/collections/c/shards/0/points/scroll', 404],
  ['POST', '/collections/c/truncate_unapplied_wal', 404],
  ['GET', '/debugger', 404],
  ['PATCH', '/debugger', 404],
  ['DELETE', '/issues', 404],
  ['GET', '/issues', 404],
  ['GET', '/logger', 404],
  ['POST', '/logger', 404],
  ['GET', '/profiler/slow_requests', 404],
  ['GET', '/quotas', 404],
  ['PUT', '/quotas', 404],
  ['GET', '/stacktrace', 404],
];

export const notYet: readonly BadInput[] = [
  ...creates.map(([title, body, error]) => ({
    title: `CreateCollection.${title}`,
    send: withJson('PUT', '/collections/fresh', body),
    status: 400,
    error,
  })),
  ...updates.map(([title, body, error]) => ({
    title: `UpdateCollection.${title}`,
    send: withJson('PATCH', '/collections/c', body),
    status: 400,
    error,
  })),
  ...queryForms.map(([form, value]) => ({
    title: `Query.${form}`,
    send: withJson('POST', `${points}/query`, { query: { [form]: value } }),
    status: 400,
    error: refused('query', `${form} queries are`),
  })),
  ...others.map(([title, method, at, body, status, error]) => ({ title, send: withJson(method, at, body), status, error })),
  ...routes.map(([method, at, status]) => ({
    title: `not yet: ${method} ${at}`,
    send: withJson(method, at, method === 'GET' || method === 'DELETE' ? undefined : {}),
    status,
    error: '',
  })),
];
