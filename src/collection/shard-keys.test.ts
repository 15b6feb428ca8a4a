import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { parsePointId, pointIdFromU64, type PointId } from '../base/ids.ts';
import { parseShardKey, parseShardKeyText, shardKeyValue, type ShardKey } from '../command/shard-key.ts';
import type { WriteOperation } from '../command/write.ts';
import { placeByKeys } from './key-places.ts';
import { mergeScored, mergeScrolled } from './merge-points.ts';
import type { Replica } from './replica.ts';
import { routePoint } from './route.ts';
import { shardsToRead, shardsToWrite } from './shard-selection.ts';
import type { ShardSlot } from './shard-set.ts';
import { splitOverShards } from './split-operation.ts';

const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const key = (value: unknown): ShardKey => must(parseShardKey(value), 'a good key');

/** A shard that is only chosen, or asked which of some points it has. */
function slot(shardId: number, of?: unknown, { holds = [], isServed = true }: { readonly holds?: readonly number[]; readonly isServed?: boolean } = {}): ShardSlot {
  const held = new Set<PointId>(holds.map(id));
  const replica: Partial<Replica> = { retrieve: ({ ids }) => Promise.resolve(ids.filter((each) => held.has(each)).map((each) => ({ id: each, version: 1 }))) };
  return { id: shardId, generation: 0, shard: undefined, replica: replica as Replica, ...(of === undefined ? {} : { key: key(of) }), isServed: () => isServed };
}

const refusal = (code: string, message: string) => (error: unknown): boolean => error instanceof RequestError && error.code === code && error.message === message;

test('a key is its JSON text: 7 and "7" are two, and no digit is lost', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.nat(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n })), (value) => {
    const text = key(value);
    assert.equal(parseShardKeyText(text), text);
    assert.equal(shardKeyValue(text), value);
  }));
  assert.notEqual(key(7), key('7'));
  for (const value of [-1, 1.5, 2n ** 64n, -1n, null, true, [], {}, 'k'.repeat(1025)]) assert.equal(parseShardKey(value), undefined);
  for (const text of ['', ' 7', '7.0', '07', '"a', '\'a\'', 'null', '[]', '"\\u0061"']) assert.equal(parseShardKeyText(text), undefined);
});

const auto = [slot(0), slot(1)];
const custom = [slot(0, 'a'), slot(1, 7), slot(2, 'a'), slot(3, 'new', { isServed: false }), slot(5, '7')];
const idsOf = (slots: readonly ShardSlot[]): readonly number[] => slots.map((each) => each.id);
const of = (...keys: readonly unknown[]): { readonly kind: 'keys'; readonly keys: readonly ShardKey[] } => ({ kind: 'keys', keys: keys.map(key) });
const either = (target: unknown, fallback: unknown): { readonly kind: 'fallback'; readonly target: ShardKey; readonly fallback: ShardKey } => ({ kind: 'fallback', target: key(target), fallback: key(fallback) });

test('reads are for all shards that serve, or for those of their keys', () => {
  assert.deepEqual(idsOf(shardsToRead(auto, undefined)), [0, 1]);
  assert.deepEqual(idsOf(shardsToRead(custom, undefined)), [0, 1, 2, 5]);
  assert.deepEqual(idsOf(shardsToRead(custom, of('a'))), [0, 2]);
  assert.deepEqual(idsOf(shardsToRead(custom, of('7', 'a'))), [0, 2, 5]);
  assert.deepEqual(idsOf(shardsToRead(custom, of('new'))), [3], 'who names it is told that it does not serve');
  assert.deepEqual(idsOf(shardsToRead(custom, of())), []);
  assert.deepEqual([either('a', 7), either('new', 7), either('x', 7)].map((selector) => idsOf(shardsToRead(custom, selector))), [[0, 2], [1], [1]]);
  assert.throws(() => shardsToRead(custom, of('a', 'b')), refusal('bad-request', 'Shard key "b" not found'));
  assert.throws(() => shardsToRead(auto, of(1)), refusal('bad-request', 'Shard key 1 not found'));
  assert.throws(() => shardsToRead(custom, either('x', 8)), refusal('not-found', 'Neither target shard key "x" nor fallback shard key 8 exist'));
  assert.throws(() => shardsToRead(custom, either('new', 8)), refusal('unavailable', 'Neither target shard key "new" nor fallback shard key 8 have active replicas'));
});

test('writes need keys under custom sharding, and only there', () => {
  const groups = (slots: readonly ShardSlot[], selector?: Parameters<typeof shardsToWrite>[1]): readonly (readonly number[])[] => shardsToWrite(slots, selector, { isCustom: slots !== auto }).map(idsOf);
  assert.deepEqual([groups(auto), groups(custom, of('a', 7)), groups(custom, either('new', 'a'))], [[[0, 1]], [[0, 2], [1]], [[0, 2]]]);
  assert.throws(() => groups(custom), refusal('bad-input', 'Shard key not specified'));
  assert.throws(() => groups([]), refusal('bad-input', 'Shard key not specified'));
  assert.throws(() => groups(custom, of()), refusal('bad-input', 'Empty shard keys selection'));
  assert.throws(() => groups(custom, of('b')), refusal('bad-input', 'Shard key "b" not found'));
  assert.throws(() => groups(auto, of('a')), refusal('bad-input', 'Shard key "a" not found'));
});

test('under every key a point has one shard, which depends on nothing but its id and the number of the key\'s shards', async () => {
  await fc.assert(fc.asyncProperty(
    fc.uniqueArray(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 1, maxLength: 40 }),
    fc.array(fc.constantFrom('a', 'b', 7), { minLength: 1, maxLength: 12 }),
    fc.subarray(['a', 'b', 7], { minLength: 1 }),
    async (numbers, keys, wanted) => {
      const slots = keys.map((each, at) => slot(at * 3, each));
      const selected = wanted.filter((each) => keys.includes(each as string));
      if (selected.length === 0) return;
      const points = numbers.map((number) => ({ id: must(pointIdFromU64(number), 'in range'), vectors: new Map(), payload: '{}' }));
      const parts = await splitOverShards({ kind: 'upsert', points }, { slots, selector: of(...selected), isCustom: true });
      for (const each of selected) {
        const ofKey = slots.filter((one) => one.key === key(each));
        const found = parts.filter(([one]) => one.key === key(each)).flatMap(([one, part]) => (part.kind === 'upsert' ? part.points.map((point) => [point.id, one.id] as const) : []));
        assert.equal(found.length, points.length);
        for (const [pointId, shardId] of found) assert.equal(shardId, ofKey[routePoint(pointId, ofKey.length)]?.id);
      }
      assert.equal(parts.flatMap(([, part]) => (part.kind === 'upsert' ? part.points : [])).length, points.length * selected.length);
    },
  ));
});

test('changes of the schema go to every shard, keys or not', async () => {
  const parts = await splitOverShards({ kind: 'drop-index', field: 'a' }, { slots: custom, selector: undefined, isCustom: true });
  assert.deepEqual(idsOf(parts.map(([each]) => each)), idsOf(custom));
  assert.deepEqual(await splitOverShards({ kind: 'drop-index', field: 'a' }, { slots: [], selector: undefined, isCustom: true }), []);
});

test('points that must be there need be there under one of several keys only', async () => {
  const slots = [slot(0, 'a', { holds: [1, 2] }), slot(1, 'b', { holds: [2, 3] }), slot(2, 'c')];
  const split = (operation: WriteOperation): Promise<readonly (readonly [ShardSlot, WriteOperation])[]> => splitOverShards(operation, { slots, selector: of('a', 'b', 'c'), isCustom: true });
  const set = await split({ kind: 'set-payload', payload: '{}', selector: { kind: 'ids', ids: [1, 2, 3].map(id) } });
  assert.deepEqual(set.map(([each, part]) => [each.id, part.kind === 'set-payload' && part.selector.kind === 'ids' ? part.selector.ids : []]), [[0, [1, 2]], [1, [2, 3]]]);
  const update = await split({ kind: 'update-vectors', points: [{ id: id(3), vectors: new Map() }] });
  assert.deepEqual(update.map(([each]) => each.id), [1]);
  await assert.rejects(split({ kind: 'clear-payload', selector: { kind: 'ids', ids: [1, 9].map(id) } }), refusal('not-found', 'No point with id 9 found'));
  assert.equal((await split({ kind: 'delete-points', selector: { kind: 'ids', ids: [id(9)] } })).length, 3);
});

test('an id under several keys is answered once, with its best score; with order_by once for each value', () => {
  const scored = (value: number, score: number): { readonly id: PointId; readonly version: number; readonly score: number } => ({ id: id(value), version: 1, score });
  const lists = [[scored(1, 9), scored(2, 5)], [scored(2, 7), scored(1, 3), scored(3, 1)]];
  assert.deepEqual(mergeScored(lists, 'Dot', 3).map((point) => [point.id, point.score]), [[1, 9], [2, 7], [3, 1]]);
  assert.deepEqual(mergeScored(lists, 'Euclid', 3).map((point) => [point.id, point.score]), [[3, 1], [1, 3], [2, 5]]);
  const point = (value: number, orderValue: number): { readonly id: PointId; readonly version: number; readonly orderValue: number } => ({ id: id(value), version: 1, orderValue });
  const ordered = [[point(1, 1), point(2, 4)], [point(1, 1), point(2, 5)]];
  assert.deepEqual(mergeScrolled(ordered, undefined, 9).map((each) => each.id), [1, 2]);
  assert.deepEqual(mergeScrolled(ordered, { key: { text: 'n', steps: [] }, direction: 'desc' }, 9).map((each) => [each.id, each.orderValue]), [[2, 5], [2, 4], [1, 1]]);
});

test('shards of an archive go into those of their keys, in their order; keys that are missing get new ids', () => {
  const keyed = (...shards: readonly (readonly [number, unknown])[]): { readonly id: number; readonly key: ShardKey }[] => shards.map(([shardId, value]) => ({ id: shardId, key: key(value) }));
  const archive = keyed([0, 'a'], [1, 'b'], [4, 'a'], [6, 7]);
  const { ids, missing } = placeByKeys(archive, keyed([2, 'b'], [5, 'a'], [3, 'a'], [9, 'own']), 12);
  assert.deepEqual([...ids].sort(([a], [b]) => a - b), [[0, 3], [1, 2], [4, 5], [6, 12]]);
  assert.deepEqual(missing, keyed([12, 7]));
  assert.deepEqual([...placeByKeys(archive, [], 0).ids], [[0, 0], [4, 1], [1, 2], [6, 3]]);
  assert.throws(() => placeByKeys(archive, keyed([0, 'a']), 1), refusal('bad-input', 'Snapshot is not compatible with existing collection: Collection shard number of key "a": 1 Snapshot shard number: 2'));
});
