// Random payloads and filters over a small world of values, so that conditions often hold and often nearly hold.
import fc from 'fast-check';
import { must } from '../../base/assert.ts';
import { parsePointId, type PointId } from '../../base/ids.ts';
import type { Condition, Filter, GeoPoint, MatchValue, RangeBounds } from '../filter.ts';
import { parseJsonPath, type JsonObject, type JsonPath } from '../json-path.ts';

const uuid = '0b31e274-dc65-40e4-8493-67ebed4bcf10';
const uuids = [uuid, uuid.toUpperCase(), uuid.replaceAll('-', ''), uuid.replace('0b', '0c')];
const dates = [
  '2020-03-01',
  '2020-03-01T00:00:00Z',
  '2020-03-01T00:00:00.000001Z',
  '2019-01-01 12:00',
  '0001-01-01',
  '9999-12-31T23:59:59Z',
];
const words = ['x', 'y', 'xy', 'x y', '', '\u{1F600}', '\uFFFD', '\uD800', '\uFF5E'];
const safe = [0, 1, 2, 3, -1, 2 ** 53 - 1, -(2 ** 53 - 1)];
const wide = [2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)];
const beyond = [2n ** 64n, -(2n ** 63n) - 1n];
const floats = [0.5, 1.5, 2 ** 53, 2 ** 60, 1e300, -0.5, 1e-7];

const point: fc.Arbitrary<GeoPoint> = fc.record(
  { lon: fc.constantFrom(-180, -1, 0, 0.5, 13.4, 180), lat: fc.constantFrom(-90, -1, 0, 0.5, 52.5) },
  { noNullPrototype: true },
);
const scalar: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false),
  fc.constantFrom<unknown>(...safe),
  fc.constantFrom<unknown>(...wide, ...beyond),
  fc.constantFrom<unknown>(...floats),
  fc.constantFrom<unknown>(...words),
  fc.constantFrom<unknown>(...uuids, ...dates),
  point,
);
const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalar, fc.array(tie('value'), { maxLength: 4 }), tie('object')),
  object: fc.dictionary(fc.constantFrom('a', 'b', 'x'), tie('value'), { maxKeys: 2, noNullPrototype: true }),
})).value;

/** Payloads as parseExact reads them. */
export const arbitraryPayload: fc.Arbitrary<JsonObject> = fc.dictionary(fc.constantFrom('a', 'b', 'c'), value, {
  maxKeys: 3,
  noNullPrototype: true,
});

export const arbitraryPaths: readonly JsonPath[] = ['a', 'b', 'c', 'a.b', 'a[]', 'b[].x', 'a[0]', 'c[]."a"'].map(parseJsonPath);

const id: fc.Arbitrary<PointId> = fc
  .oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(2n ** 64n - 1n), fc.constantFrom(uuid))
  .map((one) => must(parsePointId(one), 'an id'));
const integer = fc.constantFrom<MatchValue>(...safe, ...wide);
const word = fc.constantFrom<MatchValue>(...words, ...uuids, ...dates);
const matchList = fc.oneof(fc.array(integer, { maxLength: 4 }), fc.array(word, { maxLength: 4 }));
const bound = fc.constantFrom<number | bigint>(...safe, ...wide, ...floats);
const micros = fc.constantFrom<number | bigint>(
  Date.UTC(2020, 2, 1) * 1000,
  Date.UTC(2020, 2, 1) * 1000 + 1,
  0,
  10n ** 17n,
  -(10n ** 17n),
);
const bounds = <T extends number | bigint>(one: fc.Arbitrary<T>): fc.Arbitrary<RangeBounds> =>
  fc.record({ lt: one, gt: one, lte: one, gte: one }, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<RangeBounds>;
const ring = fc.array(point, { minLength: 3, maxLength: 5 }).map((points) => [...points, must(points[0], 'a ring has points')]);

function conditionOf(fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Condition> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<unknown> as fc.Arbitrary<Condition>;
}

/** Conditions on one field. */
export function arbitraryFieldCondition(key: fc.Arbitrary<JsonPath>): fc.Arbitrary<Condition> {
  const of = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Condition> =>
    conditionOf({ key, ...fields });
  const kind = <K extends string>(name: K): fc.Arbitrary<K> => fc.constant(name);
  const form = fc.constantFrom('condition', 'field');
  return fc.oneof(
    of({ kind: kind('match-value'), value: fc.oneof(integer, word, fc.boolean()) }),
    of({ kind: kind('match-any'), values: matchList }),
    of({ kind: kind('match-except'), values: matchList }),
    of({
      kind: kind('match-text'),
      text: fc.constantFrom(...words),
      mode: fc.constantFrom('text', 'text-any', 'phrase', 'prefix'),
    }),
    of({ kind: kind('range'), bounds: bounds(bound) }),
    of({ kind: kind('datetime-range'), bounds: bounds(micros) }),
    of({ kind: kind('values-count'), bounds: bounds(fc.nat(3)) }),
    of({ kind: kind('is-empty'), form, wanted: fc.boolean() }),
    of({ kind: kind('is-null'), form, wanted: fc.boolean() }),
    of({ kind: kind('geo-bounding-box'), topLeft: point, bottomRight: point }),
    of({ kind: kind('geo-radius'), center: point, radiusMeters: fc.constantFrom(0, 1000, 1e6) }),
    of({ kind: kind('geo-polygon'), exterior: ring, interiors: fc.array(ring, { maxLength: 1 }) }),
  );
}

export const arbitraryFilter: fc.Arbitrary<Filter> = fc.letrec<{ filter: Filter; condition: Condition }>((tie) => {
  const list = fc.array(tie('condition'), { maxLength: 3 });
  const key = fc.constantFrom(...arbitraryPaths);
  const others = [
    conditionOf({ kind: fc.constant('has-id'), ids: fc.uniqueArray(id, { maxLength: 20 }) }),
    conditionOf({ kind: fc.constant('has-vector'), name: fc.constantFrom('', 'v', 'none') }),
    conditionOf({ kind: fc.constant('slice'), total: fc.constantFrom(1, 3), index: fc.constant(0) }),
    conditionOf({ kind: fc.constant('filter'), filter: tie('filter') }),
    conditionOf({ kind: fc.constant('nested'), key, filter: tie('filter') }),
    conditionOf({ kind: fc.constant('any-of'), conditions: list }),
  ];
  return {
    condition: fc.oneof({ depthSize: 'small' }, { weight: 6, arbitrary: arbitraryFieldCondition(key) }, ...others),
    filter: fc.record(
      {
        must: list,
        should: list,
        mustNot: list,
        minShould: fc.record({ conditions: list, minCount: fc.integer({ min: 1, max: 2 }) }, { noNullPrototype: true }),
      },
      { requiredKeys: [], noNullPrototype: true },
    ) as fc.Arbitrary<Filter>,
  };
}).filter;

/** JSON text of a payload, integers with all their digits. */
export function payloadToJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return /e/.test(`${value}`) ? `${value}` : `${value}.0`;
  if (Array.isArray(value)) return `[${value.map(payloadToJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, one]) => `${JSON.stringify(name)}:${payloadToJson(one)}`)
    .join(',')}}`;
}
