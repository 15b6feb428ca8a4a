// Bodies of the query and search routes → search requests. Of the query forms, nearest to a vector or to a stored point and
// "no query" (points by id) are built; every other form is refused by its name.
import { RequestError } from '../../base/errors.ts';
import type { OfShards, QueryTarget, SearchParams, SearchRequest, Selectors } from '../../command/read.ts';
import type { Filter } from '../../payload/filter.ts';
import { readFilter, readPointId, readSelectors, readShardSelector } from './decode-selectors.ts';
import { readDense, refuseOtherVectors } from './decode-vectors.ts';
import {
  defined, inside, isObject, mapList, noVariant, notSupported, optional, readBoolean, readCount, readNumber, readString,
  required, violation, type WireValue,
} from './wire-value.ts';

const queryLimitDefault = 10;
const otherQueries = ['recommend', 'discover', 'context', 'order_by', 'fusion', 'rrf', 'formula', 'sample', 'relevance_feedback'];

/** A query without `query`: points by id, all with score 0. */
export interface PlainQuery extends OfShards {
  readonly filter?: Filter;
  readonly limit: number;
  readonly offset: number;
  readonly selectors: Selectors;
}

export type PointQuery =
  | { readonly kind: 'nearest'; readonly search: SearchRequest }
  | { readonly kind: 'plain'; readonly query: PlainQuery };

/** The body of `POST /points/query`, or one of a batch. Range errors name its members below `internal`, as Qdrant's do. */
export function decodeQuery(body: WireValue): PointQuery {
  const at = inside(body, 'internal');
  refuseValue(at, 'lookup_from', 'lookups in other collections are');
  refusePrefetch(at);
  const limit = optional(at, 'limit');
  const query = {
    ...readShardSelector(body),
    limit: limit === undefined ? queryLimitDefault : readCount(limit, 1),
    offset: readOffset(at),
    selectors: readSelectors(at, { payload: false }),
    ...defined({ filter: readFilter(at) }),
  };
  const using = optional(at, 'using');
  const usingName = using === undefined ? '' : readString(using);
  const options = defined({ scoreThreshold: readThreshold(at), params: readParams(at) });
  const target = optional(at, 'query');
  if (target !== undefined) return { kind: 'nearest', search: { target: readQuery(target), using: usingName, ...query, ...options } };
  if (options.scoreThreshold === undefined) return { kind: 'plain', query };
  const needed = "A query is needed to use the score_threshold. Can't have score_threshold without defining a query.";
  throw new RequestError('bad-request', needed);
}

/** The body of `POST /points/search`, or one of a batch: the older form, with the name beside the vector. */
export function decodeSearch(at: WireValue): SearchRequest {
  return {
    ...readShardSelector(at),
    ...readNamedTarget(required(at, 'vector')),
    limit: readCount(required(at, 'limit'), 1),
    offset: readOffset(at),
    selectors: readSelectors(at, { payload: false }),
    ...defined({ filter: readFilter(at), scoreThreshold: readThreshold(at), params: readParams(at) }),
  };
}

/** `{searches: […]}`. */
export function decodeBatch<T>(body: WireValue, decode: (at: WireValue) => T): Promise<readonly T[]> {
  return mapList(required(body, 'searches'), decode);
}

function readQuery(at: WireValue): QueryTarget {
  if (isObject(at.value)) {
    const nearest = optional(at, 'nearest');
    if (nearest !== undefined) {
      refuseValue(at, 'mmr', 'maximal marginal relevance is');
      return readNearest(nearest);
    }
    const other = otherQueries.find((name) => at.value !== null && name in (at.value as object));
    if (other !== undefined) throw notSupported(at, `${other} queries are`);
  }
  return readNearest(at);
}

function readNearest(at: WireValue): QueryTarget {
  const { value } = at;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string') return { kind: 'id', id: readPointId(at) };
  if (Array.isArray(value) || value instanceof Float32Array) return { kind: 'vector', vector: readDense(at) };
  refuseOtherVectors(at);
  throw noVariant(at, 'QueryInterface');
}

function readNamedTarget(at: WireValue): Pick<SearchRequest, 'target' | 'using'> {
  if (!isObject(at.value)) return { target: { kind: 'vector', vector: readDense(at) }, using: '' };
  const using = readString(required(at, 'name'));
  return { target: { kind: 'vector', vector: readDense(required(at, 'vector')) }, using };
}

function readOffset(at: WireValue): number {
  const offset = optional(at, 'offset');
  return offset === undefined ? 0 : readCount(offset);
}

/** As f32, like the scores that are compared with it. */
function readThreshold(at: WireValue): number | undefined {
  const threshold = optional(at, 'score_threshold');
  return threshold === undefined ? undefined : Math.fround(readNumber(threshold, 'f32'));
}

function readParams(of: WireValue): SearchParams | undefined {
  const at = optional(of, 'params');
  if (at === undefined) return undefined;
  refuseValue(at, 'idf', 'params of sparse vectors are');
  checkAcorn(at);
  const hnswEf = optional(at, 'hnsw_ef');
  const quantization = optional(at, 'quantization');
  return defined({
    hnswEf: hnswEf && readCount(hnswEf, 1),
    exact: readOptionalBoolean(at, 'exact'),
    indexedOnly: readOptionalBoolean(at, 'indexed_only'),
    quantization: quantization && readQuantization(quantization),
  });
}

function readQuantization(at: WireValue): SearchParams['quantization'] {
  const oversampling = optional(at, 'oversampling');
  return defined({
    ignore: readOptionalBoolean(at, 'ignore'),
    rescore: readOptionalBoolean(at, 'rescore'),
    oversampling: oversampling && readFloat(oversampling, 1),
  });
}

/** A hint for walking a graph under a filter. Checked only: no answer here gets worse without it. */
function checkAcorn(of: WireValue): void {
  const at = optional(of, 'acorn');
  if (at === undefined) return;
  readOptionalBoolean(at, 'enable');
  const selectivity = optional(at, 'max_selectivity');
  if (selectivity !== undefined) readFloat(selectivity, 0, 1);
}

function readFloat(at: WireValue, min: number, max?: number): number {
  const value = readNumber(at, 'f64');
  const range = max === undefined ? `${doubleText(min)} or larger` : `from ${doubleText(min)} to ${doubleText(max)}`;
  if (value < min || (max !== undefined && value > max)) violation(at, `value ${doubleText(value)} invalid, must be ${range}`);
  return value;
}

function doubleText(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

function readOptionalBoolean(of: WireValue, key: string): boolean | undefined {
  const at = optional(of, key);
  return at === undefined ? undefined : readBoolean(at);
}

function refuseValue(of: WireValue, key: string, what: string): void {
  const at = optional(of, key);
  if (at !== undefined) throw notSupported(at, what);
}

function refusePrefetch(of: WireValue): void {
  const at = optional(of, 'prefetch');
  if (at !== undefined && !(Array.isArray(at.value) && at.value.length === 0)) throw notSupported(at, 'prefetches are');
}
