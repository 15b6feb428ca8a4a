// Parts that many bodies share: ids, choices of points, of payload and of vectors.
import { parsePointId, type PointId } from '../../base/ids.ts';
import type { PayloadSelector, Selectors, VectorSelector } from '../../command/read.ts';
import { parseShardKey, shardKeyCharsMax, type ShardKey, type ShardKeySelector } from '../../command/shard-key.ts';
import type { PointSelector } from '../../command/write.ts';
import type { Filter } from '../../payload/filter.ts';
import { parseJsonPath, type JsonPath } from '../../payload/json-path.ts';
import { parseFilter } from '../../payload/parse-filter.ts';
import {
  child, formatError, isObject, mapList, noVariant, notSupported, optional, readList, readString, required, shown,
  validationPath, type WireValue,
} from './wire-value.ts';

const namesMax = 10_000;

export function readPointId(at: WireValue): PointId {
  const id = parsePointId(at.value);
  if (id !== undefined) return id;
  const problem = `value ${shown(at.value)} is not a valid point ID`;
  throw formatError(at, `${problem}, valid values are either an unsigned integer or a UUID`);
}

export function readPointIds(at: WireValue): Promise<PointId[]> {
  return mapList(at, readPointId);
}

export function readFilter(of: WireValue, key = 'filter'): Filter | undefined {
  const at = optional(of, key);
  return at === undefined ? undefined : parseFilter(at.value, validationPath(at));
}

export function readPath(at: WireValue): JsonPath {
  return parseJsonPath(readString(at));
}

export function readNames(at: WireValue): readonly string[] {
  return readShortList(at, readString);
}

export function readPaths(at: WireValue): readonly JsonPath[] {
  return readShortList(at, readPath);
}

/** Lists of names are read in one go, so they have an end. */
function readShortList<T>(at: WireValue, read: (item: WireValue) => T): readonly T[] {
  const list = readList(at);
  if (list.length > namesMax) throw notSupported(at, `more than ${namesMax} names are`);
  return list.map((value, index) => read(child(at, index, value)));
}

export function readShardKey(at: WireValue): ShardKey {
  const key = parseShardKey(at.value);
  if (key !== undefined) return key;
  if (typeof at.value === 'string') throw formatError(at, `a shard key has at most ${shardKeyCharsMax} characters`);
  throw noVariant(at, 'ShardKey');
}

/** `shard_key`: one key, a list of them, or `{target, fallback}`. */
export function readShardSelector(of: WireValue): { readonly shardKey?: ShardKeySelector } {
  const at = optional(of, 'shard_key');
  if (at === undefined) return {};
  if (isObject(at.value)) return { shardKey: { kind: 'fallback', target: readShardKey(required(at, 'target')), fallback: readShardKey(required(at, 'fallback')) } };
  const keys = Array.isArray(at.value) ? readShortList(at, readShardKey) : [readShardKey(at)];
  return { shardKey: { kind: 'keys', keys: [...new Set(keys)] } };
}

/** `{points}` or `{filter}`; both: the points. */
export async function readPointSelector(of: WireValue): Promise<PointSelector> {
  const selector = await readOptionalSelector(of);
  if (selector === undefined) throw noVariant(of, 'PointsSelector');
  return selector;
}

/** The same as members of a larger body. */
export async function readMemberSelector(of: WireValue): Promise<PointSelector> {
  const selector = await readOptionalSelector(of);
  if (selector === undefined) throw formatError(of, 'Either list of point ids or filter must be provided');
  return selector;
}

/** `{points}`, `{filter}` or both, which together mean either. */
export async function readUnionSelector(of: WireValue): Promise<PointSelector> {
  const selector = await readMemberSelector(of);
  const filter = readFilter(of);
  if (selector.kind === 'filter' || filter === undefined) return selector;
  return { kind: 'filter', filter: { should: [{ kind: 'has-id', ids: selector.ids }, { kind: 'filter', filter }] } };
}

async function readOptionalSelector(of: WireValue): Promise<PointSelector | undefined> {
  const points = optional(of, 'points');
  if (points !== undefined) return { kind: 'ids', ids: await readPointIds(points) };
  const filter = readFilter(of);
  return filter === undefined ? undefined : { kind: 'filter', filter };
}

/** `with_payload` and `with_vector`; vectors are left out unless asked for. */
export function readSelectors(of: WireValue, defaults: { readonly payload: boolean }): Selectors {
  const payload = optional(of, 'with_payload');
  const vectors = optional(of, 'with_vector', 'with_vectors');
  return {
    payload: payload === undefined ? { kind: defaults.payload ? 'all' : 'none' } : readPayloadSelector(payload),
    vectors: vectors === undefined ? { kind: 'none' } : readVectorSelector(vectors),
  };
}

function readPayloadSelector(at: WireValue): PayloadSelector {
  if (typeof at.value === 'boolean') return { kind: at.value ? 'all' : 'none' };
  if (Array.isArray(at.value)) return { kind: 'include', paths: readPaths(at) };
  const [kind, ...rest] = isObject(at.value) ? Object.keys(at.value) : [];
  if ((kind !== 'include' && kind !== 'exclude') || rest.length > 0) throw noVariant(at, 'WithPayloadInterface');
  return { kind, paths: readPaths(required(at, kind)) };
}

function readVectorSelector(at: WireValue): VectorSelector {
  if (typeof at.value === 'boolean') return { kind: at.value ? 'all' : 'none' };
  if (!Array.isArray(at.value)) throw noVariant(at, 'WithVector');
  return { kind: 'names', names: readNames(at) };
}
