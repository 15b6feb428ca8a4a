// What a shard should hold, as a plain map, and random writes for both. Payloads are {n, tag, deep: {x}} with members missing at
// random; filters are on `n` and `tag`.
import assert from 'node:assert/strict';
import { must } from '../../base/assert.ts';
import { comparePointIds, type PointId } from '../../base/ids.ts';
import type { Random } from '../../base/testing/random.ts';
import type { PointDraft, PointSelector, WriteOperation } from '../../command/write.ts';
import type { Filter } from '../../payload/filter.ts';
import { parseFilter } from '../../payload/parse-filter.ts';
import type { Shard } from '../shard.ts';
import { allPoints, everything, pointId } from './shard-fixtures.ts';

type Payload = Readonly<Record<string, unknown>>;

interface ModelPoint {
  readonly version: number;
  readonly payload: Payload;
  readonly vectors: ReadonlyMap<string, readonly number[]>;
}

interface ModelFilter {
  readonly filter: Filter;
  readonly passes: (payload: Payload) => boolean;
}

/** A write and what it does to the model. */
export interface ModelWrite {
  readonly operation: WriteOperation;
  readonly apply: (model: ShardModel, version: number) => void;
}

const idCount = 40;

export class ShardModel {
  readonly points = new Map<PointId, ModelPoint>();
  readonly extraSizes = { current: undefined as number | undefined };
  readonly indexes = new Set<string>();

  copy(): ShardModel {
    const copy = new ShardModel();
    for (const [id, point] of this.points) copy.points.set(id, point);
    copy.extraSizes.current = this.extraSizes.current;
    for (const field of this.indexes) copy.indexes.add(field);
    return copy;
  }

  ids(): readonly PointId[] {
    return [...this.points.keys()].sort(comparePointIds);
  }

  get(id: PointId): ModelPoint {
    return must(this.points.get(id), 'the model has the point');
  }

  edit(ids: Iterable<PointId>, version: number, change: (point: ModelPoint) => Partial<ModelPoint>): void {
    for (const id of ids) {
      const point = this.points.get(id);
      if (point !== undefined) this.points.set(id, { ...point, ...change(point), version });
    }
  }

  selected(selector: PointSelector, passes: ModelFilter['passes'] | undefined): readonly PointId[] {
    if (selector.kind === 'ids') return selector.ids.filter((id) => this.points.has(id));
    return this.ids().filter((id) => passes?.(this.points.get(id)?.payload ?? {}) === true);
  }
}

/** Everything the shard answers is what the model has. */
export async function assertEqualsModel(shard: Shard, model: ShardModel, place: string): Promise<void> {
  const found = (await allPoints(shard)).map(({ id, version, payload, vectors }) => ({
    id, version, payload: JSON.parse(payload ?? 'null') as unknown, vectors: sortedVectors(vectors ?? new Map()),
  }));
  const wanted = model.ids().map((id) => {
    const { version, payload, vectors } = model.get(id);
    return { id, version, payload, vectors: sortedVectors(vectors) };
  });
  assert.deepEqual(found, wanted, place);
  assert.equal(shard.info().points, wanted.length, place);
}

function sortedVectors(vectors: ReadonlyMap<string, Iterable<number>>): readonly (readonly [string, readonly number[]])[] {
  return [...vectors].map(([name, vector]) => [name, [...vector]] as const).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Filters, counts, order and search agree with the model. */
export async function assertReadsEqualModel(shard: Shard, model: ShardModel, random: Random): Promise<void> {
  const { filter, passes } = randomFilter(random);
  const passing = model.ids().filter((id) => passes(model.get(id).payload));
  assert.deepEqual((await shard.scroll({ filter, limit: 1_000, selectors: everything })).map(({ id }) => id), passing);
  assert.equal(await shard.count({ filter, exact: true }), passing.length);
  const vector = Float32Array.of(1, random.below(9) - 4, random.below(9) - 4, 1);
  const [hits] = await shard.search([{ vector, using: '', filter, limit: 1_000, offset: 0, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } }]);
  const score = (id: PointId): number | undefined => model.get(id).vectors.get('')?.reduce((sum, value, at) => sum + value * (vector[at] ?? NaN), 0);
  const ranked = passing.flatMap((id) => { const found = score(id); return found === undefined ? [] : [{ id, score: found }]; });
  ranked.sort((a, b) => b.score - a.score || comparePointIds(a.id, b.id));
  assert.deepEqual(hits?.map(({ id, score: found }) => ({ id, score: found })), ranked);
  if (model.indexes.has('n')) await assertOrder(shard, model);
}

async function assertOrder(shard: Shard, model: ShardModel): Promise<void> {
  const key = { text: 'n', steps: [{ kind: 'key' as const, name: 'n' }] };
  const page = await shard.scroll({ orderBy: { key, direction: 'desc', startFrom: 7 }, limit: 12, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } });
  const wanted = model.ids().flatMap((id) => {
    const n = model.get(id).payload['n'];
    return typeof n === 'number' && n <= 7 ? [{ id, n }] : [];
  });
  wanted.sort((a, b) => b.n - a.n || comparePointIds(a.id, b.id));
  assert.deepEqual(page.map(({ id, orderValue }) => ({ id, n: orderValue })), wanted.slice(0, 12));
}

export function randomWrite(model: ShardModel, random: Random): ModelWrite {
  const roll = random.below(100);
  if (roll < 45) return randomUpsert(model, random);
  if (roll < 55) return randomDelete(random);
  if (roll < 65) return randomVectors(model, random);
  if (roll < 85) return randomPayload(model, random);
  if (roll < 93) return randomIndex(random);
  return randomExtra(model);
}

function randomFilter(random: Random): ModelFilter {
  const bound = random.below(10);
  if (random.below(2) === 0) {
    return { filter: parseFilter({ must: [{ key: 'n', range: { gte: bound } }] }), passes: ({ n }) => typeof n === 'number' && n >= bound };
  }
  const tag = 'abc'.charAt(random.below(3));
  return {
    filter: parseFilter({ must: [{ key: 'tag', match: { value: tag } }], must_not: [{ key: 'n', range: { lt: bound - 6 } }] }),
    passes: (payload) => payload['tag'] === tag && !(typeof payload['n'] === 'number' && payload['n'] < bound - 6),
  };
}

function randomPayloadValue(random: Random): Payload {
  return {
    ...(random.below(5) > 0 ? { n: random.below(10) } : {}),
    ...(random.below(4) > 0 ? { tag: 'abc'.charAt(random.below(3)) } : {}),
    ...(random.below(3) > 0 ? { deep: { x: random.below(3) } } : {}),
  };
}

function randomVector(random: Random, size: number): Float32Array {
  return Float32Array.from({ length: size }, () => random.below(17) - 8);
}

function randomDraft(model: ShardModel, random: Random): PointDraft {
  const vectors = new Map<string, Float32Array>();
  if (random.below(8) > 0) vectors.set('', randomVector(random, 4));
  if (model.extraSizes.current !== undefined && random.below(2) === 0) vectors.set('extra', randomVector(random, model.extraSizes.current));
  return { id: pointId(random.below(idCount)), vectors, payload: JSON.stringify(randomPayloadValue(random)) };
}

function stored(vectors: ReadonlyMap<string, Float32Array>): ReadonlyMap<string, readonly number[]> {
  return new Map([...vectors].map(([name, vector]) => [name, [...vector]]));
}

function randomUpsert(model: ShardModel, random: Random): ModelWrite {
  const points = Array.from({ length: 1 + random.below(6) }, () => randomDraft(model, random));
  const updateMode = (['upsert', 'upsert', 'insert_only', 'update_only'] as const)[random.below(4)];
  const condition = random.below(4) === 0 ? randomFilter(random) : undefined;
  const last = new Map(points.map((point) => [point.id, point]));
  return {
    operation: { kind: 'upsert', points, ...(updateMode === undefined ? {} : { updateMode }), ...(condition === undefined ? {} : { updateFilter: condition.filter }) },
    apply: (target, version) => {
      for (const { id, vectors, payload } of last.values()) {
        const old = target.points.get(id);
        if (old === undefined ? updateMode === 'update_only' : updateMode === 'insert_only' || condition?.passes(old.payload) === false) continue;
        target.points.set(id, { version, payload: JSON.parse(payload) as Payload, vectors: stored(vectors) });
      }
    },
  };
}

function randomSelector(random: Random, model: ShardModel | undefined): { readonly selector: PointSelector; readonly passes: ModelFilter['passes'] | undefined } {
  if (random.below(2) === 0) {
    const { filter, passes } = randomFilter(random);
    return { selector: { kind: 'filter', filter }, passes };
  }
  const ids = Array.from({ length: 1 + random.below(4) }, () => pointId(random.below(idCount)));
  return { selector: { kind: 'ids', ids: model === undefined ? ids : ids.filter((id) => model.points.has(id)) }, passes: undefined };
}

function randomDelete(random: Random): ModelWrite {
  const { selector, passes } = randomSelector(random, undefined);
  return {
    operation: { kind: 'delete-points', selector },
    apply: (target) => {
      for (const id of target.selected(selector, passes)) target.points.delete(id);
    },
  };
}

function randomVectors(model: ShardModel, random: Random): ModelWrite {
  if (random.below(2) === 0) {
    const { selector, passes } = randomSelector(random, model);
    const name = model.extraSizes.current !== undefined && random.below(2) === 0 ? 'extra' : '';
    return {
      operation: { kind: 'delete-vectors', selector, names: [name] },
      apply: (target, version) => target.edit(target.selected(selector, passes), version, ({ vectors }) => ({ vectors: new Map([...vectors].filter(([key]) => key !== name)) })),
    };
  }
  const points = [...model.points.keys()].filter(() => random.below(8) === 0).map((id) => ({ id, vectors: new Map([['', randomVector(random, 4)]]) }));
  const given = new Map(points.map(({ id, vectors }) => [id, vectors]));
  return {
    operation: { kind: 'update-vectors', points },
    apply: (target, version) => {
      for (const [id, vectors] of given) target.edit([id], version, (point) => ({ vectors: new Map([...point.vectors, ...stored(vectors)]) }));
    },
  };
}

function randomPayload(model: ShardModel, random: Random): ModelWrite {
  const { selector, passes } = randomSelector(random, model);
  const patch = randomPayloadValue(random);
  const payload = JSON.stringify(patch);
  const edit = (operation: WriteOperation, change: (old: Payload) => Payload): ModelWrite => ({
    operation, apply: (target, version) => target.edit(target.selected(selector, passes), version, (point) => ({ payload: change(point.payload) })),
  });
  switch (random.below(5)) {
    case 0: return edit({ kind: 'set-payload', selector, payload }, (old) => ({ ...old, ...patch }));
    case 1: return edit({ kind: 'set-payload', selector, payload: '{"y":1}', key: 'deep' }, (old) => ({ ...old, deep: { ...(old['deep'] as object | undefined), y: 1 } }));
    case 2: return edit({ kind: 'overwrite-payload', selector, payload }, () => patch);
    case 3: return edit({ kind: 'delete-payload', selector, keys: ['tag'] }, (old) => Object.fromEntries(Object.entries(old).filter(([name]) => name !== 'tag')));
    default: return edit({ kind: 'clear-payload', selector }, () => ({}));
  }
}

function randomIndex(random: Random): ModelWrite {
  const field = random.below(2) === 0 ? 'n' : 'tag';
  if (random.below(3) === 0) return { operation: { kind: 'drop-index', field }, apply: ({ indexes }) => { indexes.delete(field); } };
  return { operation: { kind: 'create-index', field, schema: { type: field === 'n' ? 'integer' : 'keyword' } }, apply: ({ indexes }) => { indexes.add(field); } };
}

/** The vector `extra` comes, goes, and comes back with another size. */
function randomExtra(model: ShardModel): ModelWrite {
  if (model.extraSizes.current === undefined) {
    const size = 2 + (model.points.size % 3);
    return { operation: { kind: 'create-vector', name: 'extra', params: { size, distance: 'Dot' } }, apply: ({ extraSizes }) => { extraSizes.current = size; } };
  }
  return {
    operation: { kind: 'drop-vector', name: 'extra' },
    apply: (target) => {
      target.extraSizes.current = undefined;
      for (const [id, point] of target.points) target.points.set(id, { ...point, vectors: new Map([...point.vectors].filter(([name]) => name !== 'extra')) });
    },
  };
}
