// Bad inputs to the routes that write, read and search points and their schema.
import { withJson, type BadInput, type Refusal } from './bad-input-world.ts';

const format = 'Format error in JSON body: ';
const range = 'Validation error in JSON body: ';
const good = { id: 100, vector: [1, 2, 3, 4] };

/** Title, body, refusal; each both ways of waiting, with a good point before the bad one: of a batch nothing is stored. */
const upserts: readonly (readonly [string, unknown, ...Refusal])[] = [
  ['a vector that is too short', [{ id: 101, vector: [1, 2, 3] }], 400, 'Wrong input: Vector dimension error: expected dim: 4, got 3'],
  ['a vector that is too long', [{ id: 101, vector: [1, 2, 3, 4, 5] }], 400, 'Wrong input: Vector dimension error: expected dim: 4, got 5'],
  ['an empty vector', [{ id: 101, vector: [] }], 400, 'Wrong input: Vector dimension error: expected dim: 4, got 0'],
  ['a long vector that is one too long', [{ id: 101, vector: Array.from({ length: 129 }, () => 0.5) }], 400, 'Wrong input: Vector dimension error: expected dim: 4, got 129'],
  ['a value beyond 32-bit floats', [{ id: 101, vector: [1, 1e39, 3, 4] }], 400, 'Wrong input: Vector value error: value at index 1 is not a finite 32-bit float'],
  ['a null in a vector', [{ id: 101, vector: [1, null, 3, 4] }], 400, `${format}points[1].vector[1]: invalid type: null, expected f32`],
  ['a text in a vector', [{ id: 101, vector: [1, '2', 3, 4] }], 400, `${format}points[1].vector[1]: invalid type: string "2", expected f32`],
  ['a vector that is a number', [{ id: 101, vector: 1 }], 400, `${format}points[1].vector: invalid type: integer \`1\`, expected a vector`],
  ['an unknown vector name', [{ id: 101, vector: { foo: [1, 2] } }], 400, 'Wrong input: Not existing vector name error: foo'],
  ['no vector', [{ id: 101 }], 400, `${format}points[1]: missing field \`vector\``],
  ['no id', [{ vector: [1, 2, 3, 4] }], 400, `${format}points[1]: missing field \`id\``],
  ['a sparse vector', [{ id: 101, vector: { '': { indices: [1], values: [1] } } }], 400, /^Wrong input: Conversion between sparse and regular vectors failed/],
  ['a multi-vector', [{ id: 101, vector: [[1, 2, 3, 4]] }], 400, /^Wrong input: Conversion between multi and regular vectors failed/],
  ['an inference object', [{ id: 101, vector: { text: 'x', model: 'y' } }], 400, 'Bad request: points[1].vector: inference objects are not supported by this version of nearkeep'],
  ['a payload that is a list', [{ id: 101, vector: [1, 2, 3, 4], payload: [] }], 400, `${format}points[1].payload: invalid type: sequence, expected a map`],
];

/** Body of points, as JSON text of the id, and what its error names. */
const badIds: readonly (readonly [string, string])[] = [
  ['-1', '-1'], ['1.5', '1.5'], ['"x"', '"x"'], ['18446744073709551616', '18446744073709551616'], ['true', 'true'], ['[]', 'sequence'], ['{}', 'map'], ['""', '""'], ['null', 'null'],
];

const writes: readonly (readonly [string, string, string, unknown, ...Refusal])[] = [
  ['a wrong dimension by name', 'PUT', '/collections/named/points', { points: [{ id: 9, vector: { a: [1, 2] } }, { id: 10, vector: { a: [1, 2, 3] } }] }, 400,
    "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'a'"],
  ['an unnamed vector where all are named', 'PUT', '/collections/named/points', { points: [{ id: 9, vector: [1, 2] }] }, 400, 'Wrong input: Not existing vector name error: '],
  ['a batch with too few vectors', 'PUT', '/collections/c/points', { batch: { ids: [9, 10], vectors: [[1, 2, 3, 4]] } }, 422, `${range}[batch: number of ids and vectors must be equal (2 != 1)]`],
  ['a batch with too many payloads', 'PUT', '/collections/c/points', { batch: { ids: [9], vectors: [[1, 2, 3, 4]], payloads: [{}, {}] } }, 422, `${range}[batch: number of ids and payloads must be equal (1 != 2)]`],
  ['a batch with a wrong dimension', 'PUT', '/collections/c/points', { batch: { ids: [9, 10], vectors: [[1, 2, 3, 4], [1]] } }, 400, 'Wrong input: Vector dimension error: expected dim: 4, got 1'],
  ['neither points nor a batch', 'PUT', '/collections/c/points', {}, 400, `${format}data did not match any variant of untagged enum PointInsertOperations`],
  ['an unknown update_mode', 'PUT', '/collections/c/points', { points: [good], update_mode: 'all' }, 400, `${format}update_mode: unknown variant \`all\`, expected one of \`upsert\`, \`insert_only\`, \`update_only\``],
  ['a shard key', 'PUT', '/collections/c/points', { points: [good], shard_key: 'x' }, 400, 'Bad request: shard_key: shard keys are not supported by this version of nearkeep'],
  ['vectors of a missing point', 'PUT', '/collections/c/points/vectors', { points: [{ id: 1, vector: [9, 9, 9, 9] }, { id: 777, vector: [1, 2, 3, 4] }] }, 404, 'Not found: No point with id 777 found'],
  ['no vectors to update', 'PUT', '/collections/c/points/vectors', { points: [] }, 422, `${range}[points: must specify points to update]`],
  ['an unknown vector to update', 'PUT', '/collections/c/points/vectors', { points: [{ id: 1, vector: { foo: [1] } }] }, 400, 'Wrong input: Not existing vector name error: foo'],
  ['an unknown vector to delete', 'POST', '/collections/c/points/vectors/delete', { points: [1], vector: ['foo'] }, 400, 'Wrong input: Not existing vector name error: foo'],
  ['no vector names to delete', 'POST', '/collections/c/points/vectors/delete', { points: [1], vector: [] }, 422, `${range}[vector: must specify vector names to delete]`],
  ['a payload for a missing point', 'POST', '/collections/c/points/payload', { payload: { a: 1 }, points: [1, 777] }, 404, 'Not found: No point with id 777 found'],
  ['a payload for nobody', 'POST', '/collections/c/points/payload', { payload: { a: 1 } }, 400, `${format}Either list of point ids or filter must be provided`],
  ['no payload', 'PUT', '/collections/c/points/payload', { points: [1] }, 400, `${format}missing field \`payload\``],
  ['a bad path below the payload', 'POST', '/collections/c/points/payload', { payload: { a: 1 }, points: [1], key: 'a[' }, 400, /^Format error in JSON body: .*path/i],
  ['a bad path to delete', 'POST', '/collections/c/points/payload/delete', { keys: ['a..b'], points: [1] }, 400, /^Format error in JSON body: .*path/i],
  ['nothing selected to delete', 'POST', '/collections/c/points/delete', {}, 400, `${format}data did not match any variant of untagged enum PointsSelector`],
  ['an unknown operation', 'POST', '/collections/c/points/batch', { operations: [{ truncate: {} }] }, 400, `${format}operations[0]: data did not match any variant of untagged enum UpdateOperation`],
  ['a bad operation behind a good one', 'POST', '/collections/c/points/batch', { operations: [{ upsert: { points: [good] } }, { delete: { points: ['x'] } }] }, 400,
    `${format}operations[1].delete.points[0]: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`],
];

const reads: readonly (readonly [string, string, unknown, ...Refusal])[] = [
  ['limit 0 of a scroll', '/points/scroll', { limit: 0 }, 422, `${range}[limit: value 0 invalid, must be 1 or larger]`],
  ['limit -1 of a scroll', '/points/scroll', { limit: -1 }, 400, `${format}limit: invalid value: integer \`-1\`, expected usize`],
  ['limit 0 of a query', '/points/query', { query: [1, 0, 0, 0], limit: 0 }, 422, `${range}[internal.limit: value 0 invalid, must be 1 or larger]`],
  ['limit 0 of a search', '/points/search', { vector: [1, 0, 0, 0], limit: 0 }, 422, `${range}[limit: value 0 invalid, must be 1 or larger]`],
  ['no limit of a search', '/points/search', { vector: [1, 0, 0, 0] }, 400, `${format}missing field \`limit\``],
  ['a query of a wrong dimension', '/points/query', { query: [1, 0] }, 400, 'Wrong input: Vector dimension error: expected dim: 4, got 2'],
  ['a query beyond 32-bit floats', '/points/query', { query: [1, 0, 1e39, 0] }, 400, 'Wrong input: Vector value error: value at index 2 is not a finite 32-bit float'],
  ['a query of an unknown vector', '/points/query', { query: [1, 0, 0, 0], using: 'foo' }, 400, 'Wrong input: Not existing vector name error: foo'],
  ['a query by a missing point', '/points/query', { query: 777 }, 404, 'Not found: No point with id 777 found'],
  ['a query by a bad id', '/points/query', { query: 'x' }, 400, `${format}query: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`],
  ['a sparse query', '/points/query', { query: { indices: [1], values: [1] } }, 400, /^Wrong input: Conversion between sparse and regular vectors failed/],
  ['a multi-vector query', '/points/query', { query: [[1, 2, 3, 4]] }, 400, /^Wrong input: Conversion between multi and regular vectors failed/],
  ['a query of a later kind', '/points/query', { query: { fusion: 'rrf' } }, 400, 'Bad request: query: fusion queries are not supported by this version of nearkeep'],
  ['a prefetch', '/points/query', { query: [1, 0, 0, 0], prefetch: [{ query: [1, 0, 0, 0] }] }, 400, 'Bad request: prefetch: prefetches are not supported by this version of nearkeep'],
  ['hnsw_ef 0', '/points/query', { query: [1, 0, 0, 0], params: { hnsw_ef: 0 } }, 422, /^Validation error in JSON body: \[internal\.params\.hnsw_ef: value 0 invalid/],
  ['oversampling below 1', '/points/query', { query: [1, 0, 0, 0], params: { quantization: { oversampling: 0.5 } } }, 422, `${range}[internal.params.quantization.oversampling: value 0.5 invalid, must be 1.0 or larger]`],
  ['an unknown member of a filter', '/points/scroll', { filter: { must: [], may: [] } }, 400, `${format}unknown field \`may\`, expected one of \`should\`, \`min_should\`, \`must\`, \`must_not\``],
  ['a bad condition', '/points/scroll', { filter: { must: [{ key: 'n', match: {} }] } }, 400, /^Format error in JSON body: Expected some form of condition/],
  ['a condition without a key', '/points/count', { filter: { must: [{ match: { value: 1 } }] } }, 400, /^Format error in JSON body: Expected some form of condition/],
  ['a filter that is a list', '/points/count', { filter: [] }, 400, `${format}invalid type: sequence, expected struct Filter`],
  ['min_should without a count', '/points/count', { filter: { min_should: { conditions: [] } } }, 400, `${format}missing field \`min_count\``],
  ['a polygon of three corners', '/points/count', { filter: { must: [{ key: 'p', geo_polygon: { exterior: { points: [{ lon: 0, lat: 0 }, { lon: 1, lat: 1 }, { lon: 0, lat: 0 }] } } }] } }, 422, /the size must be at least 4, got 3/],
  ['order_by without an index', '/points/scroll', { order_by: 'text' }, 400, /^Wrong input: No range index for `order_by` key: `text`\. Please create one/],
  ['order_by with an offset', '/points/scroll', { order_by: 'n', offset: 1 }, 400, /^Wrong input: Cannot use an `offset` when using `order_by`/],
  ['an unknown direction', '/points/scroll', { order_by: { key: 'n', direction: 'up' } }, 400, `${format}order_by.direction: unknown variant \`up\`, expected \`asc\` or \`desc\``],
  ['a bad start_from', '/points/scroll', { order_by: { key: 'n', start_from: 'soon' } }, 400, `${format}order_by.start_from: data did not match any variant of untagged enum StartFrom`],
  ['an unknown payload selector', '/points/scroll', { with_payload: { include: ['a'], other: [] } }, 400, `${format}with_payload: data did not match any variant of untagged enum WithPayloadInterface`],
  ['a bad offset', '/points/scroll', { offset: 'x' }, 400, `${format}offset: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`],
  ['a query by score without a query', '/points/query', { score_threshold: 1 }, 400, /^Bad request: A query is needed to use the score_threshold/],
  ['one bad search of a batch', '/points/query/batch', { searches: [{ query: [1, 0, 0, 0] }, { query: [1, 0, 0, 0], limit: 0 }] }, 422, /^Validation error in JSON body: \[searches\[1\]\.internal\.limit: value 0 invalid, must be 1 or larger\]$/],
];

const schemas: readonly (readonly [string, string, string, unknown, ...Refusal])[] = [
  ['an unknown type of index', 'PUT', '/index', { field_name: 'x', field_schema: 'number' }, 400, /^Format error in JSON body: .*unknown variant `number`, expected one of `keyword`, `integer`, `float`/],
  ['a text index', 'PUT', '/index', { field_name: 'x', field_schema: 'text' }, 400, 'Wrong input: text index is not supported by this version'],
  ['a geo index', 'PUT', '/index', { field_name: 'x', field_schema: { type: 'geo' } }, 400, 'Wrong input: geo index is not supported by this version'],
  ['an integer index for nothing', 'PUT', '/index', { field_name: 'x', field_schema: { type: 'integer', lookup: false, range: false } }, 422, /the 'lookup' and 'range' capabilities can't be both disabled/],
  ['an index without a field', 'PUT', '/index', { field_schema: 'keyword' }, 400, `${format}missing field \`field_name\``],
  ['an index without a type', 'PUT', '/index', { field_name: 'x' }, 400, "Bad request: Can't auto-detect field type, please specify `field_schema` in the request"],
  ['a bad path to index', 'PUT', '/index', { field_name: 'a[', field_schema: 'keyword' }, 400, /^Format error in JSON body: .*path/i],
  ['a bad path of an index', 'DELETE', '/index/a%5B', undefined, 400, "Deserialize error in path parameters: Invalid json path: 'a['"],
  ['a vector name with a slash', 'PUT', '/vectors/a%2Fb', { dense: { size: 4, distance: 'Dot' } }, 422, 'Validation error in path parameters: [vector_name: vector name cannot contain "/" char]'],
  ['a new vector of size 0', 'PUT', '/vectors/v', { dense: { size: 0, distance: 'Dot' } }, 422, `${range}[dense.size: value 0 invalid, must be from 1 to 65536]`],
  ['a new sparse vector', 'PUT', '/vectors/v', { sparse: {} }, 400, 'Bad request: sparse: sparse vectors are not supported by this version of nearkeep'],
  ['an unknown vector to drop', 'DELETE', '/vectors/absent', undefined, 400, 'Wrong input: Not existing vector name error: absent'],
];

export const badPoints: readonly BadInput[] = [
  ...upserts.flatMap(([title, points, status, error]) => [true, false].map((wait) => ({
    title: `${title}, wait=${wait}`, send: withJson('PUT', `/collections/c/points?wait=${wait}`, { points: [good, ...(points as unknown[])] }), status, error,
  }))),
  { title: 'NaN in a vector', send: withJson('PUT', '/collections/c/points', '{"points":[{"id":1,"vector":[1,NaN,3,4]}]}'), status: 400, error: `${format}expected value at line 1 column 32` },
  ...badIds.flatMap(([id, shown]) => [
    { title: `the id ${id} of a new point`, send: withJson('PUT', '/collections/c/points?wait=true', `{"points":[{"id":7,"vector":[1,2,3,4]},{"id":${id},"vector":[1,2,3,4]}]}`), status: 400,
      error: `${format}points[1].id: value ${shown} is not a valid point ID, valid values are either an unsigned integer or a UUID` },
    { title: `the id ${id} to retrieve`, send: withJson('POST', '/collections/c/points', `{"ids":[1,${id}]}`), status: 400,
      error: `${format}ids[1]: value ${shown} is not a valid point ID, valid values are either an unsigned integer or a UUID` },
  ]),
  ...['-1', '1.5', 'x', '18446744073709551616', 'true'].map((id) => (
    { title: `the id ${id} in a path`, send: withJson('GET', `/collections/c/points/${id}`), status: 400, error: `Wrong input: Can not recognize "${id}" as point id` })),
  { title: 'a missing point', send: withJson('GET', '/collections/c/points/777'), status: 404, error: 'Not found: Point with id 777 does not exists!' },
  ...writes.map(([title, method, path, body, status, error]) => ({ title, send: withJson(method, `${path}?wait=true`, body), status, error })),
  ...reads.map(([title, path, body, status, error]) => ({ title, send: withJson('POST', `/collections/c${path}`, body), status, error })),
  ...schemas.map(([title, method, path, body, status, error]) => ({ title, send: withJson(method, `/collections/c${path}?wait=true`, body), status, error })),
];
