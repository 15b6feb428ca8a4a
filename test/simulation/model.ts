// A collection as a map: what the engine must be equal to after any sequence of operations. It knows nothing of logs, segments or
// indexes. Values are chosen so that f32 arithmetic is exact: scores can be compared with ===.
import { must } from '../../src/base/assert.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import type { Random } from '../../src/base/testing/random.ts';
import type { Filter } from '../../src/payload/filter.ts';
import { parseJsonPath } from '../../src/payload/json-path.ts';

export const dim = 4;

export interface ModelPoint {
  readonly vectors: ReadonlyMap<string, readonly number[]>;
  readonly payload: Readonly<Record<string, unknown>>;
}

export type Model = ReadonlyMap<PointId, ModelPoint>;

const idCount = 120;

/** Small and huge integers and UUIDs. */
export function pickId(random: Random): PointId {
  const number = random.below(idCount);
  const kind = number % 3;
  const value = kind === 0 ? number : kind === 1 ? 2n ** 63n + BigInt(number) : `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
  return must(parsePointId(value), 'a good id');
}

export function pickVector(random: Random): number[] {
  return Array.from({ length: dim }, () => random.below(16) - 8);
}

export function pickPayload(random: Random): Record<string, unknown> {
  const payload: Record<string, unknown> = {};
  if (random.next() < 0.8) payload['n'] = random.below(20);
  if (random.next() < 0.5) payload['tag'] = Array.from({ length: random.below(3) }, () => `t${random.below(5)}`);
  if (random.next() < 0.3) payload['text'] = `prose ${random.below(1000)} äöü "quoted"`;
  return payload;
}

/** A filter of the engine and the same as a predicate. */
export interface TwinFilter {
  readonly filter: Filter;
  readonly matches: (id: PointId, point: ModelPoint) => boolean;
}

export function pickFilter(random: Random): TwinFilter {
  const bound = random.below(20);
  const tag = `t${random.below(5)}`;
  const range: TwinFilter = {
    filter: { must: [{ kind: 'range', key: parseJsonPath('n'), bounds: { gte: bound, lt: bound + 5 } }] },
    matches: (_, { payload }) => typeof payload['n'] === 'number' && payload['n'] >= bound && payload['n'] < bound + 5,
  };
  const tagged: TwinFilter = {
    filter: { must: [{ kind: 'match-value', key: parseJsonPath('tag'), value: tag }] },
    matches: (_, { payload }) => Array.isArray(payload['tag']) && payload['tag'].includes(tag),
  };
  const ids = Array.from({ length: 5 }, () => pickId(random));
  const hasId: TwinFilter = { filter: { must: [{ kind: 'has-id', ids }] }, matches: (id) => ids.includes(id) };
  switch (random.below(5)) {
    case 0: return range;
    case 1: return tagged;
    case 2: return hasId;
    case 3: return { filter: { should: [...(range.filter.must ?? []), ...(tagged.filter.must ?? [])] }, matches: (id, point) => range.matches(id, point) || tagged.matches(id, point) };
    default: return { filter: { ...range.filter, mustNot: tagged.filter.must ?? [] }, matches: (id, point) => range.matches(id, point) && !tagged.matches(id, point) };
  }
}

/** Dot products with the vector `name`, best first, equal scores in any order. */
export function modelScores(model: Model, name: string, query: readonly number[], allowed: (id: PointId, point: ModelPoint) => boolean): Map<PointId, number> {
  const scores = new Map<PointId, number>();
  for (const [id, point] of model) {
    const vector = point.vectors.get(name);
    if (vector !== undefined && allowed(id, point)) scores.set(id, vector.reduce((sum, value, at) => sum + value * (query[at] ?? 0), 0));
  }
  return scores;
}
