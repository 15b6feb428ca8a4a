// What a filter means: the reference that indexes and select-rows must agree with. Rules as Qdrant 1.19 has them without a
// payload index:
// - An array matches if any element does (match, ranges, geo); arrays inside arrays are not opened.
// - No value at the path: is_empty true, is_null false (so field form `is_null: false` holds), values_count 0, all else false.
// - Field form of is_empty and is_null holds if any value at the path satisfies it, and an array with a null in it counts as
//   null; condition form looks at all values: empty if each is null or [], null if any is null itself.
// - `except` holds for elements of other types too, never for null.
// - An empty `should` or `min_should` list is as if absent, but inside `nested` it is taken literally; has_id, has_vector and
//   slice never hold inside `nested`.
import type { PointId } from '../base/ids.ts';
import { unreachable } from '../base/assert.ts';
import { parseDatetime } from './datetime.ts';
import { inBounds, integerOf, numberOf } from './exact-number.ts';
import type { Condition, Filter, GeoPoint } from './filter.ts';
import { geoPointOf, isInBox, isInPolygon, isInRadius } from './geo.ts';
import { elementsOf, isJsonObject, valuesAt, type JsonObject } from './json-path.ts';
import { sliceOf } from './slice-hash.ts';

export interface FilterPoint {
  readonly id: PointId;
  /** As parseExact reads it. */
  readonly payload: JsonObject;
  hasVector(name: string): boolean;
}

/** `point` is absent inside `nested`. */
interface Scope {
  readonly payload: JsonObject;
  readonly point: FilterPoint | undefined;
}

export function matches(filter: Filter, point: FilterPoint): boolean {
  return holds(filter, { payload: point.payload, point });
}

export function matchesCondition(condition: Condition, point: FilterPoint): boolean {
  return check(condition, { payload: point.payload, point });
}

function holds(filter: Filter, scope: Scope): boolean {
  const { must, should, mustNot, minShould } = filter;
  const test = (condition: Condition): boolean => check(condition, scope);
  const isLiteral = scope.point === undefined;
  if (should !== undefined && (should.length > 0 || isLiteral) && !should.some(test)) return false;
  if (minShould !== undefined && (minShould.conditions.length > 0 || isLiteral)) {
    let missing = minShould.minCount;
    for (const condition of minShould.conditions) {
      if (missing <= 0) break;
      if (test(condition)) missing -= 1;
    }
    if (missing > 0) return false;
  }
  return (must ?? []).every(test) && !(mustNot ?? []).some(test);
}

function check(condition: Condition, scope: Scope): boolean {
  switch (condition.kind) {
    case 'filter':
      return holds(condition.filter, scope);
    case 'any-of':
      return condition.conditions.some((one) => check(one, scope));
    case 'nested':
      return nestedObjects(scope.payload, condition).some((payload) => holds(condition.filter, { payload, point: undefined }));
    case 'has-id':
      return scope.point !== undefined && setOf(condition.ids).has(scope.point.id);
    case 'has-vector':
      return scope.point?.hasVector(condition.name) ?? false;
    case 'slice':
      return scope.point !== undefined && sliceOf(scope.point.id, condition.total) === condition.index;
    case 'is-empty':
    case 'is-null':
    case 'values-count':
      return checkValues(condition, valuesAt(scope.payload, condition.key));
    case 'match-value':
    case 'match-any':
    case 'match-except':
    case 'match-text':
    case 'range':
    case 'datetime-range':
    case 'geo-bounding-box':
    case 'geo-radius':
    case 'geo-polygon':
      return elementsOf(valuesAt(scope.payload, condition.key)).some((element) => checkElement(condition, element));
    default:
      return unreachable(condition);
  }
}

/** The key of `nested` means the elements of the array there, with or without `[]` at its end. */
function nestedObjects(payload: JsonObject, condition: OfKind<'nested'>): readonly JsonObject[] {
  const { key } = condition;
  const values = valuesAt(payload, key);
  const opened =
    key.steps.at(-1)?.kind === 'all'
      ? values
      : values.flatMap((value): readonly unknown[] => (Array.isArray(value) ? value : []));
  return opened.filter(isJsonObject);
}

type OfKind<K extends Condition['kind']> = Extract<Condition, { kind: K }>;

function checkValues(condition: OfKind<'is-empty' | 'is-null' | 'values-count'>, values: readonly unknown[]): boolean {
  switch (condition.kind) {
    case 'is-empty':
      if (condition.form === 'condition') return values.every(isEmpty) === condition.wanted;
      return values.length === 0 ? condition.wanted : values.some((value) => isEmpty(value) === condition.wanted);
    case 'is-null':
      if (condition.form === 'condition') return values.includes(null) === condition.wanted;
      return values.length === 0 ? !condition.wanted : values.some((value) => hasNull(value) === condition.wanted);
    case 'values-count':
      return values.length === 0
        ? inBounds(0, condition.bounds)
        : values.some((value) => inBounds(countOf(value), condition.bounds));
    default:
      return unreachable(condition);
  }
}

type GeoCondition = OfKind<'geo-bounding-box' | 'geo-radius' | 'geo-polygon'>;
type ElementCondition =
  | GeoCondition
  | OfKind<'match-value' | 'match-any' | 'match-except' | 'match-text' | 'range' | 'datetime-range'>;

function checkElement(condition: ElementCondition, element: unknown): boolean {
  switch (condition.kind) {
    case 'match-value':
      return comparable(element) === condition.value;
    case 'match-any':
      return setOf(condition.values).has(comparable(element));
    case 'match-except':
      return element !== null && !setOf(condition.values).has(comparable(element));
    case 'match-text':
      return typeof element === 'string' && matchesText(element, condition.text, condition.mode);
    case 'range': {
      const number = numberOf(element);
      return number !== undefined && inBounds(number, condition.bounds);
    }
    case 'datetime-range': {
      const micros = typeof element === 'string' ? parseDatetime(element) : undefined;
      return micros !== undefined && inBounds(micros, condition.bounds);
    }
    case 'geo-bounding-box':
    case 'geo-radius':
    case 'geo-polygon': {
      const point = geoPointOf(element);
      return point !== undefined && matchesGeo(condition, point);
    }
    default:
      return unreachable(condition);
  }
}

function matchesGeo(condition: GeoCondition, point: GeoPoint): boolean {
  switch (condition.kind) {
    case 'geo-bounding-box':
      return isInBox(point, condition.topLeft, condition.bottomRight);
    case 'geo-radius':
      return isInRadius(point, condition.center, condition.radiusMeters);
    case 'geo-polygon':
      return isInPolygon(point, condition.exterior, condition.interiors);
    default:
      return unreachable(condition);
  }
}

/** What `===` compares with a MatchValue; a number that is no integer equals none. */
function comparable(element: unknown): unknown {
  return typeof element === 'bigint' || typeof element === 'number' ? integerOf(element) : element;
}

// Lists can hold thousands of values and are asked once per row.
const sets = new WeakMap<readonly unknown[], ReadonlySet<unknown>>();

function setOf(list: readonly unknown[]): ReadonlySet<unknown> {
  const known = sets.get(list);
  if (known !== undefined) return known;
  const made = new Set(list);
  sets.set(list, made);
  return made;
}

function matchesText(element: string, text: string, mode: 'text' | 'text-any' | 'phrase' | 'prefix'): boolean {
  switch (mode) {
    case 'text':
    case 'phrase':
      return element.includes(text);
    case 'text-any':
      return text.split(/\p{White_Space}+/u).some((token) => token !== '' && element.includes(token));
    case 'prefix':
      return element.startsWith(text);
  }
}

function isEmpty(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.length === 0);
}

function hasNull(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.includes(null));
}

function countOf(value: unknown): number {
  return value === null ? 0 : Array.isArray(value) ? value.length : 1;
}
