import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExact } from '../base/exact-json.ts';
import { must } from '../base/assert.ts';
import { parsePointId } from '../base/ids.ts';
import { matches, matchesCondition } from './evaluate.ts';
import type { Condition, Filter, GeoPoint } from './filter.ts';
import { isJsonObject, parseJsonPath } from './json-path.ts';
import { sliceOf } from './slice-hash.ts';

const id = must(parsePointId(7), 'an id');
const payload = parseExact(`{
  "location": {"lon": 13.404954, "lat": 52.520008}, "price": 499.90, "amount": 10, "rating": [3, 7, 9, 9], "color": "red",
  "delivery": true, "shipped": "2020-02-15T00:00:00Z", "parts": [], "packaging": null, "nulls": [null, 1], "big": 18446744073709551615,
  "huge": 9007199254740993, "matrix": [[1, 2]], "object": {}, "text": "The quick brown fox",
  "diet": [{"food": "leaves", "likes": false}, {"food": "meat", "likes": true}, "odd", {"tags": []}]}`);
assert.ok(isJsonObject(payload));
const point = { id, payload, hasVector: (name: string) => name === 'image' };

const key = parseJsonPath;
const value = (path: string, wanted: string | number | bigint | boolean): Condition => ({
  kind: 'match-value',
  key: key(path),
  value: wanted,
});
const any = (path: string, ...values: (string | number)[]): Condition => ({ kind: 'match-any', key: key(path), values });
const except = (path: string, ...values: (string | number)[]): Condition => ({ kind: 'match-except', key: key(path), values });
const text = (path: string, mode: 'text' | 'text-any' | 'phrase' | 'prefix', words: string): Condition => ({
  kind: 'match-text',
  key: key(path),
  text: words,
  mode,
});
const range = (path: string, bounds: object): Condition => ({ kind: 'range', key: key(path), bounds });
const dates = (path: string, bounds: object): Condition => ({ kind: 'datetime-range', key: key(path), bounds });
const count = (path: string, bounds: object): Condition => ({ kind: 'values-count', key: key(path), bounds });
const empty = (form: 'condition' | 'field', path: string, wanted = true): Condition => ({
  kind: 'is-empty',
  key: key(path),
  form,
  wanted,
});
const isNull = (form: 'condition' | 'field', path: string, wanted = true): Condition => ({
  kind: 'is-null',
  key: key(path),
  form,
  wanted,
});
const nested = (path: string, filter: Filter): Condition => ({ kind: 'nested', key: key(path), filter });

const shipped = Date.UTC(2020, 1, 15) * 1000;

const cases: readonly (readonly [string, Condition, boolean])[] = [
  ['a string equals', value('color', 'red'), true],
  ['a string differs', value('color', 'Red'), false],
  ['an integer equals', value('amount', 10), true],
  ['a string is no integer', value('amount', '10'), false],
  ['a bool is no string', value('delivery', 'true'), false],
  ['a bool equals', value('delivery', true), true],
  ['any element of an array matches', value('rating', 7), true],
  ['arrays in arrays are not opened', value('matrix', 1), false],
  ['a u64 is exact', value('big', 18446744073709551615n), true],
  ['2^53+1 is not 2^53', value('huge', 9007199254740992n), false],
  ['2^53+1 equals itself', value('huge', 9007199254740993n), true],
  ['a missing field matches nothing', value('nope', 'red'), false],
  ['any: one of the list', any('color', 'blue', 'red'), true],
  ['any: an empty list matches nothing', any('color'), false],
  ['except: not in the list', except('color', 'blue'), true],
  ['except: in the list', except('color', 'red'), false],
  ['except: other types count', except('price', 'red'), true],
  ['except: null does not', except('packaging', 'red'), false],
  ['except: missing does not', except('nope', 'red'), false],
  ['except: an empty array does not', except('parts', 'red'), false],
  ['except: an empty list takes any value', except('color'), true],
  ['except: one other element is enough', except('rating', 3, 9), true],
  ['except: all elements listed', except('rating', 3, 7, 9), false],
  ['except: an array in an array is another type', except('matrix', 1), true],
  ['text: substring', text('text', 'text', 'quick bro'), true],
  ['text: case matters', text('text', 'text', 'the'), false],
  ['text-any: one word', text('text', 'text-any', 'cat  fox'), true],
  ['text-any: no word at all', text('text', 'text-any', ' '), false],
  ['phrase: substring', text('text', 'phrase', 'brown fox'), true],
  ['prefix: at the start', text('text', 'prefix', 'The'), true],
  ['prefix: not elsewhere', text('text', 'prefix', 'quick'), false],
  ['range: inside', range('price', { gt: 499, lt: 500 }), true],
  ['range: open edges', range('amount', { gt: 10 }), false],
  ['range: closed edges', range('amount', { gte: 10, lte: 10 }), true],
  ['range: no bound takes any number', range('amount', {}), true],
  ['range: strings are no numbers', range('color', {}), false],
  ['range: 2^53+1 is above 2^53', range('huge', { gt: 9007199254740992 }), true],
  ['range: 2^53+1 is not above itself', range('huge', { gt: 9007199254740993n }), false],
  ['datetime: inside', dates('shipped', { gte: shipped, lt: shipped + 1 }), true],
  ['datetime: outside', dates('shipped', { gt: shipped }), false],
  ['datetime: other text is none', dates('color', {}), false],
  ['values_count: array', count('rating', { gte: 4, lte: 4 }), true],
  ['values_count: scalar is 1', count('color', { gte: 1, lte: 1 }), true],
  ['values_count: null is 0', count('packaging', { lt: 1 }), true],
  ['values_count: missing is 0', count('nope', { lte: 0 }), true],
  ['is_empty condition: missing', empty('condition', 'nope'), true],
  ['is_empty condition: null', empty('condition', 'packaging'), true],
  ['is_empty condition: []', empty('condition', 'parts'), true],
  ['is_empty condition: [null] is not', empty('condition', 'nulls'), false],
  ['is_empty condition: {} is not', empty('condition', 'object'), false],
  ['is_empty condition: all of many', empty('condition', 'diet[].tags'), true],
  ['is_empty field: false on a value', empty('field', 'color', false), true],
  ['is_empty field: false on missing', empty('field', 'nope', false), false],
  ['is_empty field: true on missing', empty('field', 'nope'), true],
  ['is_null condition: null', isNull('condition', 'packaging'), true],
  ['is_null condition: an array with null is not', isNull('condition', 'nulls'), false],
  ['is_null condition: through []', isNull('condition', 'nulls[]'), true],
  ['is_null condition: missing is not', isNull('condition', 'nope'), false],
  ['is_null field: an array with null is', isNull('field', 'nulls'), true],
  ['is_null field: false on missing', isNull('field', 'nope', false), true],
  ['is_null field: true on missing', isNull('field', 'nope'), false],
  ['nested: both on one object', nested('diet', { must: [value('food', 'meat'), value('likes', true)] }), true],
  ['nested: not across objects', nested('diet[]', { must: [value('food', 'leaves'), value('likes', true)] }), false],
  ['nested: an object is no array', nested('location', {}), false],
  ['nested: has_id never holds', nested('diet', { must: [{ kind: 'has-id', ids: [id] }] }), false],
  ['nested: an empty should matches nothing', nested('diet', { should: [] }), false],
  ['has_id', { kind: 'has-id', ids: [id] }, true],
  ['has_id of others', { kind: 'has-id', ids: [must(parsePointId(8), 'an id')] }, false],
  ['has_vector', { kind: 'has-vector', name: 'image' }, true],
  ['has_vector of another name', { kind: 'has-vector', name: '' }, false],
  ['slice: its own', { kind: 'slice', total: 5, index: sliceOf(id, 5) }, true],
  ['slice: another', { kind: 'slice', total: 5, index: (sliceOf(id, 5) + 1) % 5 }, false],
  ['several operators are an OR', { kind: 'any-of', conditions: [value('color', 'blue'), range('price', {})] }, true],
];

for (const [title, condition, want] of cases) {
  test(`evaluate: ${title}`, () => {
    assert.equal(matchesCondition(condition, point), want);
  });
}

const yes = value('color', 'red');
const no = value('color', 'blue');
const filters: readonly (readonly [string, Filter, boolean])[] = [
  ['an empty filter', {}, true],
  ['must: all', { must: [yes, no] }, false],
  ['should: one', { should: [no, yes] }, true],
  ['should: none', { should: [no] }, false],
  ['should: an empty list is as if absent', { should: [] }, true],
  ['must_not', { mustNot: [no] }, true],
  ['must_not: any', { mustNot: [no, yes] }, false],
  ['min_should: enough', { minShould: { conditions: [yes, no, yes], minCount: 2 } }, true],
  ['min_should: too few', { minShould: { conditions: [yes, no], minCount: 2 } }, false],
  ['min_should: an empty list is as if absent', { minShould: { conditions: [], minCount: 1 } }, true],
  ['clauses are joined by and', { must: [yes], should: [yes], mustNot: [yes] }, false],
  ['filters nest', { must: [{ kind: 'filter', filter: { should: [no, { kind: 'filter', filter: { mustNot: [no] } }] } }] }, true],
];

for (const [title, filter, want] of filters) {
  test(`filter: ${title}`, () => {
    assert.equal(matches(filter, point), want);
  });
}

const at = (lon: number, lat: number): GeoPoint => ({ lon, lat });
const square = [at(-1, -1), at(1, -1), at(1, 1), at(-1, 1), at(-1, -1)];
const twisted = [at(-1, -1), at(1, 1), at(1, -1), at(-1, 1), at(-1, -1)];
const hole = [at(-0.5, -0.5), at(0.5, -0.5), at(0.5, 0.5), at(-0.5, 0.5), at(-0.5, -0.5)];
const box = (topLeft: GeoPoint, bottomRight: GeoPoint): object => ({ kind: 'geo-bounding-box', topLeft, bottomRight });
const radius = (center: GeoPoint, radiusMeters: number): object => ({ kind: 'geo-radius', center, radiusMeters });
const polygon = (exterior: readonly GeoPoint[], ...interiors: GeoPoint[][]): object => ({
  kind: 'geo-polygon',
  exterior,
  interiors,
});

const geoCases: readonly (readonly [string, object, unknown, boolean])[] = [
  ['box: inside', box(at(-1, 1), at(1, -1)), at(-0.5, 0.5), true],
  ['box: outside', box(at(-1, 1), at(1, -1)), at(1.5, 0.5), false],
  ['box: the edge is outside', box(at(-1, 1), at(1, -1)), at(1, 0), false],
  ['box: over the antimeridian', box(at(167, 74), at(-66.9, 18.8)), at(-73.99, 40.76), true],
  ['box: beside the antimeridian', box(at(167, 74), at(-66.9, 18.8)), at(13.4, 52.5), false],
  ['radius: inside', radius(at(0, 0), 78_627), at(0.5, 0.5), true],
  ['radius: outside', radius(at(0, 0), 78_626), at(0.5, 0.5), false],
  ['polygon: inside', polygon(square), at(0.5, 0.5), true],
  ['polygon: outside', polygon(square), at(1.5, 0), false],
  ['polygon: the edge is outside', polygon(square), at(1, 0), false],
  ['polygon: twisted, a wing', polygon(twisted), at(0.5, 0), true],
  ['polygon: twisted, between the wings', polygon(twisted), at(0, 0.5), false],
  ['polygon: in the hole', polygon(square, hole), at(0.1, 0.1), false],
  ['polygon: on the edge of the hole', polygon(square, hole), at(0.5, 0), false],
  ['polygon: beside the hole', polygon(square, hole), at(0.75, 0.75), true],
  ['an array of points: any', radius(at(0, 0), 1000), [at(9, 9), at(0, 0)], true],
  ['no point', radius(at(0, 0), 1000), { lon: 0 }, false],
  ['text is no coordinate', radius(at(0, 0), 1000), { lon: '0', lat: 0 }, false],
];

for (const [title, condition, place, want] of geoCases) {
  test(`geo: ${title}`, () => {
    assert.equal(matchesCondition({ key: key('place'), ...condition } as Condition, { ...point, payload: { place } }), want);
  });
}
