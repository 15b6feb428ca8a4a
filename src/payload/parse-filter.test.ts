import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFilter } from './parse-filter.ts';
import { parseJsonPath } from './json-path.ts';

const key = parseJsonPath('a');
const anyCondition =
  'Format error in JSON body: Expected some form of condition, which can be a field condition (like {"key": ..., "match": ... }), or some other ' +
  'mentioned in the documentation: https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions';
const zero = { lon: 0, lat: 0 };
const ring = { points: [zero, { lon: 1, lat: 0 }, { lon: 1, lat: 1 }, zero] };

const conditions: readonly (readonly [object, object])[] = [
  [
    { key: 'a', match: { value: 'x' } },
    { kind: 'match-value', key, value: 'x' },
  ],
  [
    { key: 'a', match: { value: 5, ignored: 1 }, ignored: 2 },
    { kind: 'match-value', key, value: 5 },
  ],
  [
    { key: 'a', match: { value: 18446744073709551615n } },
    { kind: 'match-value', key, value: 18446744073709551615n },
  ],
  [
    { key: 'a', match: { value: true }, range: null },
    { kind: 'match-value', key, value: true },
  ],
  [
    { key: 'a', match: { text: 'x' } },
    { kind: 'match-text', key, text: 'x', mode: 'text' },
  ],
  [
    { key: 'a', match: { text_any: 'x' } },
    { kind: 'match-text', key, text: 'x', mode: 'text-any' },
  ],
  [
    { key: 'a', match: { phrase: 'x' } },
    { kind: 'match-text', key, text: 'x', mode: 'phrase' },
  ],
  [
    { key: 'a', match: { prefix: 'x' } },
    { kind: 'match-text', key, text: 'x', mode: 'prefix' },
  ],
  [
    { key: 'a', match: { any: ['x', 'y', 'x'] } },
    { kind: 'match-any', key, values: ['x', 'y'] },
  ],
  [
    { key: 'a', match: { except: [1, 2] } },
    { kind: 'match-except', key, values: [1, 2] },
  ],
  [
    { key: 'a', range: { gt: 1.5, lte: 2, lt: null } },
    { kind: 'range', key, bounds: { gt: 1.5, lte: 2 } },
  ],
  [
    { key: 'a', range: {} },
    { kind: 'range', key, bounds: {} },
  ],
  [
    { key: 'a', range: { gte: '1970-01-01T00:00:01Z' } },
    { kind: 'datetime-range', key, bounds: { gte: 1e6 } },
  ],
  [
    { key: 'a', values_count: { lt: 3 } },
    { kind: 'values-count', key, bounds: { lt: 3 } },
  ],
  [
    { key: 'a', is_empty: true },
    { kind: 'is-empty', key, form: 'field', wanted: true },
  ],
  [
    { key: 'a', is_null: false },
    { kind: 'is-null', key, form: 'field', wanted: false },
  ],
  [{ is_empty: { key: 'a' } }, { kind: 'is-empty', key, form: 'condition', wanted: true }],
  [{ is_null: { key: 'a' } }, { kind: 'is-null', key, form: 'condition', wanted: true }],
  [
    { key: 'a', geo_bounding_box: { top_left: zero, bottom_right: zero } },
    { kind: 'geo-bounding-box', key, topLeft: zero, bottomRight: zero },
  ],
  [
    { key: 'a', geo_radius: { center: zero, radius: 5 } },
    { kind: 'geo-radius', key, center: zero, radiusMeters: 5 },
  ],
  [
    { key: 'a', geo_polygon: { exterior: ring, interiors: null } },
    { kind: 'geo-polygon', key, exterior: ring.points, interiors: [] },
  ],
  [
    { key: 'a', geo_polygon: { exterior: ring, interiors: [ring] } },
    { kind: 'geo-polygon', key, exterior: ring.points, interiors: [ring.points] },
  ],
  [{ has_id: [1, 1, '0B31E274DC6540E4849367EBED4BCF10'] }, { kind: 'has-id', ids: [1, '0b31e274-dc65-40e4-8493-67ebed4bcf10'] }],
  [{ has_vector: '' }, { kind: 'has-vector', name: '' }],
  [{ slice: { total: 4, index: 3 } }, { kind: 'slice', total: 4, index: 3 }],
  [{ nested: { key: 'a', filter: { must: [] } } }, { kind: 'nested', key, filter: { must: [] } }],
  [
    { should: { key: 'a', is_null: true } },
    { kind: 'filter', filter: { should: [{ kind: 'is-null', key, form: 'field', wanted: true }] } },
  ],
  [{}, { kind: 'filter', filter: {} }],
  [
    { key: 'a', match: { value: 1 }, is_null: true },
    {
      kind: 'any-of',
      conditions: [
        { kind: 'match-value', key, value: 1 },
        { kind: 'is-null', key, form: 'field', wanted: true },
      ],
    },
  ],
];

for (const [json, want] of conditions) {
  test(`condition ${JSON.stringify(json, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}`, () => {
    assert.deepEqual(parseFilter({ must: [json] }), { must: [want] });
    assert.deepEqual(parseFilter({ must_not: json }), { mustNot: [want] });
  });
}

test('clauses keep their names and nulls are as if absent', () => {
  assert.deepEqual(parseFilter({ must: null, should: [], min_should: { conditions: [{ has_vector: 'v' }], min_count: 1 } }), {
    should: [],
    minShould: { conditions: [{ kind: 'has-vector', name: 'v' }], minCount: 1 },
  });
});

const noConditions: readonly unknown[] = [
  5,
  'x',
  null,
  [],
  { key: 'a', match: { value: 1.5 } },
  { key: 'a', match: {} },
  { key: 'a', match: { any: ['x', 1] } },
  { key: 'a', range: { gt: 'soon' } },
  { key: 'a', range: { gt: 1, lt: '2020-01-01' } },
  { key: 'a', range: { gt: Infinity } },
  { key: 'a', values_count: { gt: -1 } },
  { key: 'a[', is_null: true },
  { key: 5, is_null: true },
  { has_id: [-1] },
  { has_id: 1 },
  { must: [{ oops: 1 }] },
  { nested: { key: 'a', filter: { oops: 1 } } },
  { slice: { total: 2 ** 32, index: 0 } },
  { key: 'a', match: { value: 2n ** 64n } },
  { key: 'a', geo_radius: { center: { lon: 0 }, radius: 1 } },
];

for (const json of noConditions) {
  test(`no condition: ${JSON.stringify(json, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}`, () => {
    assert.throws(() => parseFilter({ must: [json] }), { code: 'bad-format', message: anyCondition });
  });
}

const formatErrors: readonly (readonly [unknown, string])[] = [
  [{ musst: [] }, 'unknown field `musst`, expected one of `should`, `min_should`, `must`, `must_not`'],
  [5, 'invalid type: integer `5`, expected struct Filter'],
  [[], 'invalid type: sequence, expected struct Filter'],
  [{ min_should: { conditions: [] } }, 'missing field `min_count`'],
  [{ min_should: { conditions: [], min_count: 'x' } }, 'invalid type: string "x", expected usize'],
];

for (const [json, text] of formatErrors) {
  test(`format error: ${text}`, () => {
    assert.throws(() => parseFilter(json), { code: 'bad-format', message: `Format error in JSON body: ${text}` });
  });
}

const validationErrors: readonly (readonly [object, string])[] = [
  [{ must: { key: 'a' } }, 'filter.must[0].__all__: Validation error: At least one field condition must be specified [{}]'],
  [{ min_should: { conditions: [], min_count: 0 } }, 'filter.min_should.min_count: value 0 invalid, must be 1 or larger'],
  [{ must: [{ slice: { total: 0, index: 0 } }] }, 'filter.must[0].slice.total: value 0 invalid, must be 1 or larger'],
  [{ must: [{ slice: { total: 2, index: 2 } }] }, 'filter.must[0].slice.index: value 2 invalid, must be from 0 to 1'],
  [
    { must: [{ key: 'a', geo_polygon: { exterior: { points: [zero, zero, zero] } } }] },
    'filter.must[0].geo_polygon.exterior: value invalid, the size must be at least 4, got 3',
  ],
  [
    { must: [{ key: 'a', geo_polygon: { exterior: ring, interiors: [{ points: [zero, zero, zero, { lon: 1, lat: 1 }] }] } }] },
    'filter.must[0].geo_polygon.interiors[0]: value invalid, the first and the last points should be same to form a closed line',
  ],
  [
    {
      should: [
        { nested: { key: 'x', filter: { must: [{ key: 'a', geo_radius: { center: { lon: 181, lat: 0 }, radius: 1 } }] } } },
      ],
    },
    'filter.should[0].nested.filter.must[0].geo_radius.center: Wrong format of GeoPoint payload: expected `lat` = 0 within [-90;90] and `lon` = 181 within [-180;180]',
  ],
];

for (const [json, text] of validationErrors) {
  test(`validation: ${text}`, () => {
    assert.throws(() => parseFilter(json), { code: 'validation', message: `Validation error in JSON body: [${text}]` });
  });
}

test('a wrong value in a form that does not fit is no problem', () => {
  const json = { key: 'a', geo_polygon: { exterior: { points: [] } }, is_empty: { key: 'b' } };
  assert.deepEqual(parseFilter({ must: json }), {
    must: [{ kind: 'is-empty', key: parseJsonPath('b'), form: 'condition', wanted: true }],
  });
});

test('several problems are listed together', () => {
  assert.throws(() => parseFilter({ must: [{ key: 'a' }, { key: 'b' }] }), /must\[0\].*; filter\.must\[1\]/);
});

test('filters nest only so deep', () => {
  let json: object = {};
  for (let level = 0; level < 10_000; level += 1) json = { must: [json] };
  assert.throws(() => parseFilter(json), { code: 'bad-format', message: 'Format error in JSON body: recursion limit exceeded' });
});
