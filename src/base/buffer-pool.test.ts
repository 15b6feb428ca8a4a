import assert from 'node:assert/strict';
import test from 'node:test';
import { BufferPool } from './buffer-pool.ts';

test('what is given back is used again, up to what may be kept', () => {
  const pool = new BufferPool(256 * 1024);
  const first = pool.take(100_000);
  const second = pool.take(100_000);
  const third = pool.take(100_000);
  assert.ok(first.length >= 100_000 && first !== second && second !== third);
  for (const buffer of [first, second, third]) pool.give(buffer);
  assert.deepEqual(new Set([pool.take(90_000), pool.take(131_072)]), new Set([first, second]));
  assert.notEqual(pool.take(100_000), third, 'more than 256 KiB are not kept');
});

test('a buffer of another size is not answered, nor a small one kept', () => {
  const pool = new BufferPool(1 << 20);
  const large = pool.take(200_000);
  const small = pool.take(1_000);
  pool.give(large);
  pool.give(small);
  assert.ok(small.length >= 1_000);
  assert.notEqual(pool.take(20_000), large);
  assert.notEqual(pool.take(300_000), large);
  assert.equal(pool.take(200_000), large);
});

test('a buffer too large to be kept has no more than the size asked for', () => {
  const pool = new BufferPool(3 << 18);
  const large = pool.take(700_000);
  assert.equal(large.length, 700_000);
  pool.give(large);
  assert.notEqual(pool.take(700_000), large);
});
