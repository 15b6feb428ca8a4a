// The filter language after parsing. Plain data: it travels in log entries as JSON (filter-json.ts keeps integers above 2^53
// and point ids exact). Semantics: Qdrant 1.19, "Filtering"; evaluate.ts is the reference, indexes must agree with it.
import type { PointId } from '../base/ids.ts';
import type { JsonPath } from './json-path.ts';

export type MatchValue = string | number | bigint | boolean;

export interface Filter {
  readonly must?: readonly Condition[];
  readonly should?: readonly Condition[];
  readonly mustNot?: readonly Condition[];
  readonly minShould?: { readonly conditions: readonly Condition[]; readonly minCount: number };
}

/** Bounds that are present all hold. Datetimes are microseconds since 1970. bigint: integers beyond ±(2^53-1). */
export interface RangeBounds {
  readonly lt?: number | bigint;
  readonly gt?: number | bigint;
  readonly lte?: number | bigint;
  readonly gte?: number | bigint;
}

export type Condition =
  | { readonly kind: 'match-value'; readonly key: JsonPath; readonly value: MatchValue }
  | { readonly kind: 'match-any'; readonly key: JsonPath; readonly values: readonly MatchValue[] }
  | { readonly kind: 'match-except'; readonly key: JsonPath; readonly values: readonly MatchValue[] }
  | {
      readonly kind: 'match-text';
      readonly key: JsonPath;
      readonly text: string;
      readonly mode: 'text' | 'text-any' | 'phrase' | 'prefix';
    }
  | { readonly kind: 'range'; readonly key: JsonPath; readonly bounds: RangeBounds }
  | { readonly kind: 'datetime-range'; readonly key: JsonPath; readonly bounds: RangeBounds }
  | { readonly kind: 'values-count'; readonly key: JsonPath; readonly bounds: RangeBounds }
  | { readonly kind: 'geo-bounding-box'; readonly key: JsonPath; readonly topLeft: GeoPoint; readonly bottomRight: GeoPoint }
  | { readonly kind: 'geo-radius'; readonly key: JsonPath; readonly center: GeoPoint; readonly radiusMeters: number }
  | {
      readonly kind: 'geo-polygon';
      readonly key: JsonPath;
      readonly exterior: readonly GeoPoint[];
      readonly interiors: readonly (readonly GeoPoint[])[];
    }
  /** `form` condition: `{is_empty: {key}}`; field: `{key, is_empty: …}`. The two differ on arrays (see evaluate.ts). */
  | { readonly kind: 'is-empty'; readonly key: JsonPath; readonly form: 'condition' | 'field'; readonly wanted: boolean }
  | { readonly kind: 'is-null'; readonly key: JsonPath; readonly form: 'condition' | 'field'; readonly wanted: boolean }
  | { readonly kind: 'has-id'; readonly ids: readonly PointId[] }
  | { readonly kind: 'has-vector'; readonly name: string }
  | { readonly kind: 'nested'; readonly key: JsonPath; readonly filter: Filter }
  | { readonly kind: 'slice'; readonly total: number; readonly index: number }
  /** Several operators in one field condition: an OR of them. */
  | { readonly kind: 'any-of'; readonly conditions: readonly Condition[] }
  | { readonly kind: 'filter'; readonly filter: Filter };

export interface GeoPoint {
  readonly lon: number;
  readonly lat: number;
}
