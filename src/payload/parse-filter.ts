// The filter of a request → Filter. The wire's rules, as Qdrant's parser has them:
// - A condition is the first form that fits: field, is_empty, is_null, has_id, has_vector, slice, nested, filter. If none fits,
//   the error is one fixed text, whatever is wrong inside.
// - Unknown fields are ignored, but not in a filter. A null is as if absent. One condition may stand for a list of one.
// - What has the right form but a wrong value (polygons, coordinates, counts) is a validation error and names its place.
import { parsePointId, type PointId } from '../base/ids.ts';
import { RequestError } from '../base/errors.ts';
import { describeValue, formatError } from './format-error.ts';
import { parseDatetime } from './datetime.ts';
import { integerOf, numberOf } from './exact-number.ts';
import type { Condition, Filter, GeoPoint, MatchValue, RangeBounds } from './filter.ts';
import { isJsonObject, parseJsonPath, type JsonObject, type JsonPath } from './json-path.ts';

const filterFields = ['should', 'min_should', 'must', 'must_not'];
const depthMax = 128;
const anyConditionText =
  'Expected some form of condition, which can be a field condition (like {"key": ..., "match": ... }), or some other ' +
  'mentioned in the documentation: https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions';

/** Where the parser is: place names the value in validation errors. */
interface Context {
  readonly place: string;
  readonly depth: number;
  readonly problems: string[];
}

/** `place`: the filter's name in the body, for validation errors.
 *  @throws RequestError bad-format where the form is wrong, validation where a value is. */
export function parseFilter(json: unknown, place = 'filter'): Filter {
  if (!isJsonObject(json)) throw formatError(`invalid type: ${describeValue(json)}, expected struct Filter`);
  const unknownField = Object.keys(json).find((name) => !filterFields.includes(name));
  if (unknownField !== undefined) {
    throw formatError(
      `unknown field \`${unknownField}\`, expected one of ${filterFields.map((name) => `\`${name}\``).join(', ')}`,
    );
  }
  const problems: string[] = [];
  const filter = filterOf(json, { place, depth: 0, problems });
  if (filter === undefined) throw formatError(minShouldProblem(json['min_should']) ?? anyConditionText);
  if (problems.length > 0) throw new RequestError('validation', `Validation error in JSON body: [${problems.join('; ')}]`);
  return filter;
}

function minShouldProblem(json: unknown): string | undefined {
  if (json === undefined || json === null) return undefined;
  if (!isJsonObject(json)) return `invalid type: ${describeValue(json)}, expected struct MinShould`;
  const missing = ['conditions', 'min_count'].find((name) => !Object.hasOwn(json, name));
  if (missing !== undefined) return `missing field \`${missing}\``;
  if (!Array.isArray(json['conditions'])) return `invalid type: ${describeValue(json['conditions'])}, expected a sequence`;
  const count = json['min_count'];
  return countOf(count) === undefined ? `invalid type: ${describeValue(count)}, expected usize` : undefined;
}

/** undefined, here and below, where the value has not the wanted form. */
function filterOf(json: unknown, context: Context): Filter | undefined {
  if (!isJsonObject(json) || Object.keys(json).some((name) => !filterFields.includes(name))) return undefined;
  if (context.depth > depthMax) throw formatError('recursion limit exceeded');
  const must = isAbsent(json['must']) ? [] : conditionsOf(json['must'], below(context, 'must'));
  const should = isAbsent(json['should']) ? [] : conditionsOf(json['should'], below(context, 'should'));
  const mustNot = isAbsent(json['must_not']) ? [] : conditionsOf(json['must_not'], below(context, 'must_not'));
  const minShould = isAbsent(json['min_should']) ? null : minShouldOf(json['min_should'], below(context, 'min_should'));
  if (must === undefined || should === undefined || mustNot === undefined || minShould === undefined) return undefined;
  return {
    ...(isAbsent(json['must']) ? {} : { must }),
    ...(isAbsent(json['should']) ? {} : { should }),
    ...(isAbsent(json['must_not']) ? {} : { mustNot }),
    ...(minShould === null ? {} : { minShould }),
  };
}

function minShouldOf(json: unknown, context: Context): Filter['minShould'] {
  if (!isJsonObject(json) || !Array.isArray(json['conditions'])) return undefined;
  const conditions = conditionsOf(json['conditions'], below(context, 'conditions'));
  const minCount = countOf(json['min_count']);
  if (conditions === undefined || minCount === undefined) return undefined;
  if (minCount < 1) context.problems.push(`${context.place}.min_count: value 0 invalid, must be 1 or larger`);
  return { conditions, minCount };
}

function conditionsOf(json: unknown, context: Context): readonly Condition[] | undefined {
  const list = Array.isArray(json) ? json : [json];
  const conditions: Condition[] = [];
  for (const [at, one] of list.entries()) {
    const condition = conditionOf(one, { ...context, place: `${context.place}[${at}]` });
    if (condition === undefined) return undefined;
    conditions.push(condition);
  }
  return conditions;
}

function conditionOf(json: unknown, context: Context): Condition | undefined {
  if (!isJsonObject(json)) return undefined;
  return (
    fieldConditionOf(json, context) ??
    keyConditionOf(json) ??
    pointConditionOf(json, context) ??
    nestedOf(json, context) ??
    subFilterOf(json, context)
  );
}

function keyConditionOf(json: JsonObject): Condition | undefined {
  for (const [name, kind] of [
    ['is_empty', 'is-empty'],
    ['is_null', 'is-null'],
  ] as const) {
    const field = json[name];
    const key = isJsonObject(field) ? pathOf(field['key']) : undefined;
    if (key !== undefined) return { kind, key, form: 'condition', wanted: true };
  }
  return undefined;
}

function pointConditionOf(json: JsonObject, context: Context): Condition | undefined {
  const { has_id: idList, has_vector: name, slice } = json;
  if (Array.isArray(idList)) {
    const ids = idList.map(parsePointId);
    if (ids.every((id): id is PointId => id !== undefined)) return { kind: 'has-id', ids: [...new Set(ids)] };
  }
  if (typeof name === 'string') return { kind: 'has-vector', name };
  if (!isJsonObject(slice)) return undefined;
  const total = countOf(slice['total']);
  const index = countOf(slice['index']);
  if (total === undefined || index === undefined || Math.max(total, index) >= 2 ** 32) return undefined;
  if (total < 1) context.problems.push(`${context.place}.slice.total: value 0 invalid, must be 1 or larger`);
  else if (index >= total)
    context.problems.push(`${context.place}.slice.index: value ${index} invalid, must be from 0 to ${total - 1}`);
  return { kind: 'slice', total, index };
}

function nestedOf(json: JsonObject, context: Context): Condition | undefined {
  const { nested } = json;
  if (!isJsonObject(nested)) return undefined;
  const key = pathOf(nested['key']);
  const filter = filterOf(nested['filter'], below(below(context, 'nested'), 'filter'));
  return key === undefined || filter === undefined ? undefined : { kind: 'nested', key, filter };
}

function subFilterOf(json: JsonObject, context: Context): Condition | undefined {
  const filter = filterOf(json, { ...context, depth: context.depth + 1 });
  return filter === undefined ? undefined : { kind: 'filter', filter };
}

const operators: Readonly<Record<string, (json: unknown, key: JsonPath, context: Context) => Condition | undefined>> = {
  match: matchOf,
  range: rangeOf,
  geo_bounding_box: boxOf,
  geo_radius: radiusOf,
  geo_polygon: polygonOf,
  values_count: valuesCountOf,
  is_empty: (json, key) => (typeof json === 'boolean' ? { kind: 'is-empty', key, form: 'field', wanted: json } : undefined),
  is_null: (json, key) => (typeof json === 'boolean' ? { kind: 'is-null', key, form: 'field', wanted: json } : undefined),
};

function fieldConditionOf(json: JsonObject, context: Context): Condition | undefined {
  const key = pathOf(json['key']);
  if (key === undefined) return undefined;
  const conditions: Condition[] = [];
  const problemsBefore = context.problems.length;
  for (const [name, parse] of Object.entries(operators)) {
    if (isAbsent(json[name])) continue;
    const condition = parse(json[name], key, below(context, name));
    if (condition === undefined) {
      context.problems.length = problemsBefore; // another form may fit
      return undefined;
    }
    conditions.push(condition);
  }
  const [first] = conditions;
  if (first === undefined) {
    context.problems.push(`${context.place}.__all__: Validation error: At least one field condition must be specified [{}]`);
    return { kind: 'any-of', conditions };
  }
  return conditions.length === 1 ? first : { kind: 'any-of', conditions };
}

const textModes = [
  ['text', 'text'],
  ['text_any', 'text-any'],
  ['phrase', 'phrase'],
  ['prefix', 'prefix'],
] as const;

function matchOf(json: unknown, key: JsonPath): Condition | undefined {
  if (!isJsonObject(json)) return undefined;
  const value = matchValueOf(json['value']);
  if (value !== undefined) return { kind: 'match-value', key, value };
  for (const [name, mode] of textModes) {
    const text = json[name];
    if (typeof text === 'string') return { kind: 'match-text', key, text, mode };
  }
  const any = matchListOf(json['any']);
  if (any !== undefined) return { kind: 'match-any', key, values: any };
  const except = matchListOf(json['except']);
  return except === undefined ? undefined : { kind: 'match-except', key, values: except };
}

function matchValueOf(json: unknown): MatchValue | undefined {
  return typeof json === 'string' || typeof json === 'boolean' ? json : integerOf(json);
}

/** All strings or all integers, each once. */
function matchListOf(json: unknown): readonly MatchValue[] | undefined {
  if (!Array.isArray(json)) return undefined;
  if (json.every((value) => typeof value === 'string')) return [...new Set(json)];
  const integers = json.map(integerOf);
  return integers.every((value) => value !== undefined) ? [...new Set(integers)] : undefined;
}

function rangeOf(json: unknown, key: JsonPath): Condition | undefined {
  const bounds = boundsOf(json, (bound) => (Number.isFinite(Number(numberOf(bound))) ? numberOf(bound) : undefined));
  if (bounds !== undefined) return { kind: 'range', key, bounds };
  const datetimes = boundsOf(json, (bound) => (typeof bound === 'string' ? parseDatetime(bound) : undefined));
  return datetimes === undefined ? undefined : { kind: 'datetime-range', key, bounds: datetimes };
}

function valuesCountOf(json: unknown, key: JsonPath): Condition | undefined {
  const bounds = boundsOf(json, countOf);
  return bounds === undefined ? undefined : { kind: 'values-count', key, bounds };
}

function boundsOf(json: unknown, parse: (bound: unknown) => number | bigint | undefined): RangeBounds | undefined {
  if (!isJsonObject(json)) return undefined;
  const bounds: { -readonly [Name in keyof RangeBounds]: RangeBounds[Name] } = {};
  for (const name of ['lt', 'gt', 'gte', 'lte'] as const) {
    if (isAbsent(json[name])) continue;
    const bound = parse(json[name]);
    if (bound === undefined) return undefined;
    bounds[name] = bound;
  }
  return bounds;
}

function boxOf(json: unknown, key: JsonPath, context: Context): Condition | undefined {
  if (!isJsonObject(json)) return undefined;
  const topLeft = geoPointOf(json['top_left'], below(context, 'top_left'));
  const bottomRight = geoPointOf(json['bottom_right'], below(context, 'bottom_right'));
  return topLeft === undefined || bottomRight === undefined ? undefined : { kind: 'geo-bounding-box', key, topLeft, bottomRight };
}

function radiusOf(json: unknown, key: JsonPath, context: Context): Condition | undefined {
  if (!isJsonObject(json)) return undefined;
  const center = geoPointOf(json['center'], below(context, 'center'));
  const radiusMeters = finiteOf(json['radius']);
  return center === undefined || radiusMeters === undefined ? undefined : { kind: 'geo-radius', key, center, radiusMeters };
}

function polygonOf(json: unknown, key: JsonPath, context: Context): Condition | undefined {
  if (!isJsonObject(json)) return undefined;
  const exterior = ringOf(json['exterior'], below(context, 'exterior'));
  const list = json['interiors'] ?? [];
  if (exterior === undefined || !Array.isArray(list)) return undefined;
  const interiors: (readonly GeoPoint[])[] = [];
  for (const [at, ring] of list.entries()) {
    const interior = ringOf(ring, below(context, `interiors[${at}]`));
    if (interior === undefined) return undefined;
    interiors.push(interior);
  }
  return { kind: 'geo-polygon', key, exterior, interiors };
}

function ringOf(json: unknown, context: Context): readonly GeoPoint[] | undefined {
  const list = isJsonObject(json) ? json['points'] : undefined;
  if (!Array.isArray(list)) return undefined;
  const points: GeoPoint[] = [];
  for (const [at, one] of list.entries()) {
    const point = geoPointOf(one, below(context, `points[${at}]`));
    if (point === undefined) return undefined;
    points.push(point);
  }
  const [first, last] = [points[0], points.at(-1)];
  if (points.length < 4)
    context.problems.push(`${context.place}: value invalid, the size must be at least 4, got ${points.length}`);
  else if (first !== undefined && last !== undefined && (first.lon !== last.lon || first.lat !== last.lat)) {
    context.problems.push(`${context.place}: value invalid, the first and the last points should be same to form a closed line`);
  }
  return points;
}

function geoPointOf(json: unknown, context: Context): GeoPoint | undefined {
  if (!isJsonObject(json)) return undefined;
  const lon = finiteOf(json['lon']);
  const lat = finiteOf(json['lat']);
  if (lon === undefined || lat === undefined) return undefined;
  if (Math.abs(lon) > 180 || Math.abs(lat) > 90) {
    const rule = `expected \`lat\` = ${lat} within [-90;90] and \`lon\` = ${lon} within [-180;180]`;
    context.problems.push(`${context.place}: Wrong format of GeoPoint payload: ${rule}`);
  }
  return { lon, lat };
}

function pathOf(json: unknown): JsonPath | undefined {
  if (typeof json !== 'string') return undefined;
  try {
    return parseJsonPath(json);
  } catch (error) {
    if (error instanceof RequestError) return undefined; // as any other part that does not fit
    throw error;
  }
}

function countOf(json: unknown): number | undefined {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 ? json : undefined;
}

function finiteOf(json: unknown): number | undefined {
  const number = Number(numberOf(json));
  return Number.isFinite(number) ? number : undefined;
}

function isAbsent(json: unknown): boolean {
  return json === undefined || json === null;
}

function below(context: Context, name: string): Context {
  return { ...context, place: `${context.place}.${name}`, depth: context.depth + 1 };
}
