// The form of a filter inside log entries: JSON of the Filter type itself, paths as their text, a bigint as {"big":"<digits>"}.
// Exact both ways (a -0 comes back as 0, which no comparison can tell). decodeFilter checks every part: an entry that passed
// its checksum can still be of another release.
import { CorruptionError, RequestError } from '../base/errors.ts';
import { parsePointId, type PointId } from '../base/ids.ts';
import type { Condition, Filter, GeoPoint, MatchValue, RangeBounds } from './filter.ts';
import { isJsonObject, parseJsonPath, type JsonObject, type JsonPath } from './json-path.ts';

const depthMax = 512; // each level of the wire's filter is at most three here

export function encodeFilter(filter: Filter): string {
  return JSON.stringify(filter, (name, value: unknown) => {
    if (typeof value === 'bigint') return { big: value.toString() };
    return name === 'key' && isJsonObject(value) ? value['text'] : value;
  });
}

/** @throws CorruptionError that names `file`, where the text is not what encodeFilter writes. */
export function decodeFilter(text: string, file = 'log entry'): Filter {
  try {
    return filterOf(JSON.parse(text), 0);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RequestError)
      throw new CorruptionError({ file, problem: 'filter is damaged' }, { cause: error });
    throw error;
  }
}

function refuse(what: string): RequestError {
  return new RequestError('bad-format', `no ${what}`);
}

function filterOf(json: unknown, depth: number): Filter {
  const { must, should, mustNot, minShould, ...rest } = objectOf(json);
  if (Object.keys(rest).length > 0 || depth > depthMax) throw refuse('filter');
  return {
    ...(must === undefined ? {} : { must: conditionsOf(must, depth) }),
    ...(should === undefined ? {} : { should: conditionsOf(should, depth) }),
    ...(mustNot === undefined ? {} : { mustNot: conditionsOf(mustNot, depth) }),
    ...(minShould === undefined ? {} : { minShould: minShouldOf(objectOf(minShould), depth) }),
  };
}

function minShouldOf(json: JsonObject, depth: number): NonNullable<Filter['minShould']> {
  return { conditions: conditionsOf(json['conditions'], depth), minCount: countOf(json['minCount']) };
}

function conditionsOf(json: unknown, depth: number): readonly Condition[] {
  return listOf(json, (one) => conditionOf(objectOf(one), depth + 1));
}

function conditionOf(json: JsonObject, depth: number): Condition {
  if (depth > depthMax) throw refuse('condition');
  const kind = textOf(json['kind']);
  const decode = Object.hasOwn(decoders, kind) ? decoders[kind] : undefined;
  if (decode === undefined) throw refuse('condition');
  return decode(json, depth);
}

const decoders: Readonly<Record<string, (json: JsonObject, depth: number) => Condition>> = {
  'match-value': (json) => ({ kind: 'match-value', key: pathOf(json), value: matchValueOf(json['value']) }),
  'match-any': (json) => ({ kind: 'match-any', key: pathOf(json), values: listOf(json['values'], matchValueOf) }),
  'match-except': (json) => ({ kind: 'match-except', key: pathOf(json), values: listOf(json['values'], matchValueOf) }),
  'match-text': (json) => ({
    kind: 'match-text',
    key: pathOf(json),
    text: textOf(json['text']),
    mode: oneOf(json['mode'], ['text', 'text-any', 'phrase', 'prefix']),
  }),
  range: (json) => ({ kind: 'range', key: pathOf(json), bounds: boundsOf(json['bounds']) }),
  'datetime-range': (json) => ({ kind: 'datetime-range', key: pathOf(json), bounds: boundsOf(json['bounds']) }),
  'values-count': (json) => ({ kind: 'values-count', key: pathOf(json), bounds: boundsOf(json['bounds']) }),
  'geo-bounding-box': (json) => ({
    kind: 'geo-bounding-box',
    key: pathOf(json),
    topLeft: pointOf(json['topLeft']),
    bottomRight: pointOf(json['bottomRight']),
  }),
  'geo-radius': (json) => ({
    kind: 'geo-radius',
    key: pathOf(json),
    center: pointOf(json['center']),
    radiusMeters: finiteOf(json['radiusMeters']),
  }),
  'geo-polygon': (json) => ({
    kind: 'geo-polygon',
    key: pathOf(json),
    exterior: listOf(json['exterior'], pointOf),
    interiors: listOf(json['interiors'], (ring) => listOf(ring, pointOf)),
  }),
  'is-empty': (json) => ({
    kind: 'is-empty',
    key: pathOf(json),
    form: oneOf(json['form'], ['condition', 'field']),
    wanted: booleanOf(json['wanted']),
  }),
  'is-null': (json) => ({
    kind: 'is-null',
    key: pathOf(json),
    form: oneOf(json['form'], ['condition', 'field']),
    wanted: booleanOf(json['wanted']),
  }),
  'has-id': (json) => ({ kind: 'has-id', ids: listOf(json['ids'], idOf) }),
  'has-vector': (json) => ({ kind: 'has-vector', name: textOf(json['name']) }),
  nested: (json, depth) => ({ kind: 'nested', key: pathOf(json), filter: filterOf(json['filter'], depth + 1) }),
  slice: (json) => ({ kind: 'slice', total: countOf(json['total']), index: countOf(json['index']) }),
  'any-of': (json, depth) => ({ kind: 'any-of', conditions: conditionsOf(json['conditions'], depth) }),
  filter: (json, depth) => ({ kind: 'filter', filter: filterOf(json['filter'], depth + 1) }),
} satisfies { [Kind in Condition['kind']]: (json: JsonObject, depth: number) => Condition & { kind: Kind } };

function objectOf(json: unknown): JsonObject {
  if (!isJsonObject(json)) throw refuse('object');
  return json;
}

function listOf<T>(json: unknown, decode: (one: unknown) => T): readonly T[] {
  if (!Array.isArray(json)) throw refuse('list');
  return json.map((one) => decode(one));
}

function textOf(json: unknown): string {
  if (typeof json !== 'string') throw refuse('text');
  return json;
}

function booleanOf(json: unknown): boolean {
  if (typeof json !== 'boolean') throw refuse('boolean');
  return json;
}

function finiteOf(json: unknown): number {
  if (typeof json !== 'number' || !Number.isFinite(json)) throw refuse('number');
  return json;
}

function countOf(json: unknown): number {
  const count = finiteOf(json);
  if (!Number.isSafeInteger(count) || count < 0) throw refuse('count');
  return count;
}

function oneOf<T extends string>(json: unknown, words: readonly T[]): T {
  const word = words.find((one) => one === json);
  if (word === undefined) throw refuse('such word');
  return word;
}

function numberOf(json: unknown): number | bigint {
  if (!isJsonObject(json)) return finiteOf(json);
  const digits = json['big'];
  if (typeof digits !== 'string' || !/^-?\d{16,20}$/.test(digits)) throw refuse('integer');
  return BigInt(digits);
}

function matchValueOf(json: unknown): MatchValue {
  return typeof json === 'string' || typeof json === 'boolean' ? json : numberOf(json);
}

function idOf(json: unknown): PointId {
  const id = parsePointId(isJsonObject(json) ? numberOf(json) : json);
  if (id === undefined) throw refuse('point id');
  return id;
}

function pathOf(json: JsonObject): JsonPath {
  return parseJsonPath(textOf(json['key']));
}

function pointOf(json: unknown): GeoPoint {
  const { lon, lat } = objectOf(json);
  return { lon: finiteOf(lon), lat: finiteOf(lat) };
}

function boundsOf(json: unknown): RangeBounds {
  const { lt, gt, lte, gte } = objectOf(json);
  return {
    ...(lt === undefined ? {} : { lt: numberOf(lt) }),
    ...(gt === undefined ? {} : { gt: numberOf(gt) }),
    ...(lte === undefined ? {} : { lte: numberOf(lte) }),
    ...(gte === undefined ? {} : { gte: numberOf(gte) }),
  };
}
