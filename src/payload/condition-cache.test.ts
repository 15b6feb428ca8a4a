import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePointId } from '../base/ids.ts';
import { must } from '../base/assert.ts';
import { fullBits, rowsOf } from './bitmap.ts';
import { ConditionCache } from './condition-cache.ts';
import type { Condition } from './filter.ts';
import { parseJsonPath } from './json-path.ts';

const id = must(parsePointId(1), 'an id');
const is = (value: number): Condition => ({ kind: 'match-value', key: parseJsonPath('a'), value });
const point = (a: number): Parameters<ReturnType<ReturnType<ConditionCache['of']>['find']>['learn']>[1] => ({ id, payload: { a }, hasVector: () => false });

test('equal conditions are one, and segments keep apart', () => {
  const cache = new ConditionCache();
  const [one, other] = [{}, {}];
  assert.equal(cache.of(one).find(is(1), 64), cache.of(one).find(is(1), 64));
  assert.notEqual(cache.of(one).find(is(1), 64), cache.of(one).find(is(2), 64));
  assert.notEqual(cache.of(one).find(is(1), 64), cache.of(other).find(is(1), 64));
});

test('rows that nobody has looked at may match; known ones do or do not', () => {
  const knowledge = new ConditionCache().of({}).find(is(7), 40);
  knowledge.learn(3, point(7));
  knowledge.learn(4, point(8));
  const { sure, maybe } = knowledge.bounds(fullBits(40));
  assert.deepEqual([...rowsOf(sure)], [3]);
  assert.deepEqual([...rowsOf(maybe)], Array.from({ length: 40 }, (_, row) => row).filter((row) => row !== 4));
  assert.deepEqual([...rowsOf(knowledge.bounds(Uint32Array.of(0b10000)).maybe)], [], 'of dead rows nothing is said');
});

test('rows that were added are not known', () => {
  const known = new ConditionCache().of({});
  known.find(is(7), 33).learn(32, point(8));
  const later = known.find(is(7), 200);
  assert.equal(rowsOf(later.bounds(fullBits(200)).maybe).length, 199);
  later.learn(199, point(8));
  assert.equal(rowsOf(later.bounds(fullBits(200)).maybe).length, 198);
});

test('memory stays below its bound: what was used longest ago is forgotten', () => {
  const rowCount = 8_000; // 2,000 bytes of bitmaps
  const cache = new ConditionCache(10_000);
  const known = cache.of({});
  const first = known.find(is(1), rowCount);
  for (let value = 2; value <= 4; value += 1) known.find(is(value), rowCount);
  assert.equal(known.find(is(1), rowCount), first, 'four fit');
  known.find(is(5), rowCount);
  assert.ok(cache.bytes <= 10_000, `${cache.bytes} bytes`);
  const second = known.find(is(2), rowCount);
  second.learn(0, point(2));
  assert.equal(known.find(is(1), rowCount), first, 'used after the second');
  for (let value = 10; value < 1_000; value += 1) known.find(is(value), rowCount);
  assert.ok(cache.bytes <= 10_000, `${cache.bytes} bytes`);
  assert.notEqual(known.find(is(1), rowCount), first);
  known.find(is(1), 8_000_000);
  assert.ok(cache.bytes <= 10_000, 'what is larger than all of it is not kept');
});
