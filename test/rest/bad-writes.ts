// Bad inputs to the routes that write points.
import { withJson, type BadInput, type Refusal } from './bad-input-world.ts';

const format = 'Format error in JSON body: ';
const range = 'Validation error in JSON body: ';
const good = { id: 100, vector: [1, 2, 3, 4] };

/** Title, body, refusal; each both ways of waiting, with a good point before the bad one: of a batch nothing is stored. */
const upserts: readonly (readonly [string, unknown, ...Refusal])[] = [
  [
    'a vector that is too short',
    [{ id: 101, vector: [1, 2, 3] }],
    400,
    'Wrong input: Vector dimension error: expected dim: 4, got 3',
  ],
  [
    'a vector that is too long',
    [{ id: 101, vector: [1, 2, 3, 4, 5] }],
    400,
    'Wrong input: Vector dimension error: expected dim: 4, got 5',
  ],
  ['an empty vector', [{ id: 101, vector: [] }], 400, 'Wrong input: Vector dimension error: expected dim: 4, got 0'],
  [
    'a long vector that is one too long',
    [{ id: 101, vector: Array.from({ length: 129 }, () => 0.5) }],
    400,
    'Wrong input: Vector dimension error: expected dim: 4, got 129',
  ],
  [
    'a value beyond 32-bit floats',
    [{ id: 101, vector: [1, 1e39, 3, 4] }],
    400,
    'Wrong input: Vector value error: value at index 1 is not a finite 32-bit float',
  ],
  [
    'a null in a vector',
    [{ id: 101, vector: [1, null, 3, 4] }],
    400,
    `${format}points[1].vector[1]: invalid type: null, expected f32`,
  ],
  [
    'a text in a vector',
    [{ id: 101, vector: [1, '2', 3, 4] }],
    400,
    `${format}points[1].vector[1]: invalid type: string "2", expected f32`,
  ],
  [
    'a vector that is a number',
    [{ id: 101, vector: 1 }],
    400,
    `${format}points[1].vector: invalid type: integer \`1\`, expected a vector`,
  ],
  ['an unknown vector name', [{ id: 101, vector: { foo: [1, 2] } }], 400, 'Wrong input: Not existing vector name error: foo'],
  ['no vector', [{ id: 101 }], 400, `${format}points[1]: missing field \`vector\``],
  ['no id', [{ vector: [1, 2, 3, 4] }], 400, `${format}points[1]: missing field \`id\``],
  [
    'a sparse vector',
    [{ id: 101, vector: { '': { indices: [1], values: [1] } } }],
    400,
    /^Wrong input: Conversion between sparse and regular vectors failed/,
  ],
  [
    'a multi-vector',
    [{ id: 101, vector: [[1, 2, 3, 4]] }],
    400,
    /^Wrong input: Conversion between multi and regular vectors failed/,
  ],
  [
    'a payload that is a list',
    [{ id: 101, vector: [1, 2, 3, 4], payload: [] }],
    400,
    `${format}points[1].payload: invalid type: sequence, expected a map`,
  ],
];

/** Body of points, as JSON text of the id, and what its error names. */
const badIds: readonly (readonly [string, string])[] = [
  ['-1', '-1'],
  ['1.5', '1.5'],
  ['"x"', '"x"'],
  ['18446744073709551616', '18446744073709551616'],
  ['true', 'true'],
  ['[]', 'sequence'],
  ['{}', 'map'],
  ['""', '""'],
  ['null', 'null'],
];

const writes: readonly (readonly [string, string, string, unknown, ...Refusal])[] = [
  [
    'a wrong dimension by name',
    'PUT',
    '/collections/named/points',
    {
      points: [
        { id: 9, vector: { a: [1, 2] } },
        { id: 10, vector: { a: [1, 2, 3] } },
      ],
    },
    400,
    "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'a'",
  ],
  [
    'an unnamed vector where all are named',
    'PUT',
    '/collections/named/points',
    { points: [{ id: 9, vector: [1, 2] }] },
    400,
    'Wrong input: Not existing vector name error: ',
  ],
  [
    'a batch with too few vectors',
    'PUT',
    '/collections/c/points',
    { batch: { ids: [9, 10], vectors: [[1, 2, 3, 4]] } },
    422,
    `${range}[batch: number of ids and vectors must be equal (2 != 1)]`,
  ],
  [
    'a batch with too many payloads',
    'PUT',
    '/collections/c/points',
    { batch: { ids: [9], vectors: [[1, 2, 3, 4]], payloads: [{}, {}] } },
    422,
    `${range}[batch: number of ids and payloads must be equal (1 != 2)]`,
  ],
  [
    'a batch with a wrong dimension',
    'PUT',
    '/collections/c/points',
    { batch: { ids: [9, 10], vectors: [[1, 2, 3, 4], [1]] } },
    400,
    'Wrong input: Vector dimension error: expected dim: 4, got 1',
  ],
  [
    'neither points nor a batch',
    'PUT',
    '/collections/c/points',
    {},
    400,
    `${format}data did not match any variant of untagged enum PointInsertOperations`,
  ],
  [
    'an unknown update_mode',
    'PUT',
    '/collections/c/points',
    { points: [good], update_mode: 'all' },
    400,
    `${format}update_mode: unknown variant \`all\`, expected one of \`upsert\`, \`insert_only\`, \`update_only\``,
  ],
  [
    'vectors of a missing point',
    'PUT',
    '/collections/c/points/vectors',
    {
      points: [
        { id: 1, vector: [9, 9, 9, 9] },
        { id: 777, vector: [1, 2, 3, 4] },
      ],
    },
    404,
    'Not found: No point with id 777 found',
  ],
  [
    'no vectors to update',
    'PUT',
    '/collections/c/points/vectors',
    { points: [] },
    422,
    `${range}[points: must specify points to update]`,
  ],
  [
    'an unknown vector to update',
    'PUT',
    '/collections/c/points/vectors',
    { points: [{ id: 1, vector: { foo: [1] } }] },
    400,
    'Wrong input: Not existing vector name error: foo',
  ],
  [
    'an unknown vector to delete',
    'POST',
    '/collections/c/points/vectors/delete',
    { points: [1], vector: ['foo'] },
    400,
    'Wrong input: Not existing vector name error: foo',
  ],
  [
    'no vector names to delete',
    'POST',
    '/collections/c/points/vectors/delete',
    { points: [1], vector: [] },
    422,
    `${range}[vector: must specify vector names to delete]`,
  ],
  [
    'a payload for a missing point',
    'POST',
    '/collections/c/points/payload',
    { payload: { a: 1 }, points: [1, 777] },
    404,
    'Not found: No point with id 777 found',
  ],
  [
    'a payload for a missing point of several shards',
    'POST',
    '/collections/named/points/payload',
    { payload: { a: 1 }, points: [1, 2, 3, 777] },
    404,
    'Not found: No point with id 777 found',
  ],
  [
    'vectors of a missing point of several shards',
    'PUT',
    '/collections/named/points/vectors',
    { points: [1, 2, 3, 777].map((id) => ({ id, vector: { a: [9, 9] } })) },
    404,
    'Not found: No point with id 777 found',
  ],
  [
    'a payload for nobody',
    'POST',
    '/collections/c/points/payload',
    { payload: { a: 1 } },
    400,
    `${format}Either list of point ids or filter must be provided`,
  ],
  ['no payload', 'PUT', '/collections/c/points/payload', { points: [1] }, 400, `${format}missing field \`payload\``],
  [
    'a bad path below the payload',
    'POST',
    '/collections/c/points/payload',
    { payload: { a: 1 }, points: [1], key: 'a[' },
    400,
    /^Format error in JSON body: .*path/i,
  ],
  [
    'a bad path to delete',
    'POST',
    '/collections/c/points/payload/delete',
    { keys: ['a..b'], points: [1] },
    400,
    /^Format error in JSON body: .*path/i,
  ],
  [
    'nothing selected to delete',
    'POST',
    '/collections/c/points/delete',
    {},
    400,
    `${format}data did not match any variant of untagged enum PointsSelector`,
  ],
  [
    'an unknown operation',
    'POST',
    '/collections/c/points/batch',
    { operations: [{ truncate: {} }] },
    400,
    `${format}operations[0]: data did not match any variant of untagged enum UpdateOperation`,
  ],
  [
    'a bad operation behind a good one',
    'POST',
    '/collections/c/points/batch',
    { operations: [{ upsert: { points: [good] } }, { delete: { points: ['x'] } }] },
    400,
    `${format}operations[1].delete.points[0]: value "x" is not a valid point ID, valid values are either an unsigned integer or a UUID`,
  ],
];

export const badWrites: readonly BadInput[] = [
  ...upserts.flatMap(([title, points, status, error]) =>
    [true, false].map((wait) => ({
      title: `${title}, wait=${wait}`,
      send: withJson('PUT', `/collections/c/points?wait=${wait}`, { points: [good, ...(points as unknown[])] }),
      status,
      error,
    })),
  ),
  {
    title: 'NaN in a vector',
    send: withJson('PUT', '/collections/c/points', '{"points":[{"id":1,"vector":[1,NaN,3,4]}]}'),
    status: 400,
    error: `${format}expected value at line 1 column 32`,
  },
  ...badIds.flatMap(([id, shown]) => [
    {
      title: `the id ${id} of a new point`,
      send: withJson(
        'PUT',
        '/collections/c/points?wait=true',
        `{"points":[{"id":7,"vector":[1,2,3,4]},{"id":${id},"vector":[1,2,3,4]}]}`,
      ),
      status: 400,
      error: `${format}points[1].id: value ${shown} is not a valid point ID, valid values are either an unsigned integer or a UUID`,
    },
    {
      title: `the id ${id} to retrieve`,
      send: withJson('POST', '/collections/c/points', `{"ids":[1,${id}]}`),
      status: 400,
      error: `${format}ids[1]: value ${shown} is not a valid point ID, valid values are either an unsigned integer or a UUID`,
    },
  ]),
  ...writes.map(([title, method, path, body, status, error]) => ({
    title,
    send: withJson(method, `${path}?wait=true`, body),
    status,
    error,
  })),
];
