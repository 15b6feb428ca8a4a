import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyBits, hasBit, rowsOf, setBit } from '../payload/bitmap.ts';
import { RowSlots } from './row-slots.ts';

function bitsOf(rows: readonly number[], count: number): Uint32Array {
  const bits = emptyBits(count);
  for (const row of rows) setBit(bits, row);
  return bits;
}

test('slots, added or from a bitmap, map rows both ways and translate bitmaps', () => {
  return fc.assert(fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 200 }), fc.array(fc.nat(199)), async (carries, allowedRows) => {
    const rows = carries.flatMap((has, row) => (has ? [row] : []));
    const added = new RowSlots();
    for (const row of rows) added.add(row);
    for (const slots of [added, RowSlots.of(bitsOf(rows, carries.length))]) {
      assert.equal(slots.length, rows.length);
      assert.deepEqual(rows.map((_, slot) => slots.rowOf(slot)), rows);
      for (const [row, has] of carries.entries()) assert.equal(slots.findSlot(row), has ? rows.indexOf(row) : undefined);
      assert.deepEqual([...rowsOf(slots.bits(carries.length))], rows);
      const allowed = await slots.allowedSlots(bitsOf(allowedRows, 200));
      for (const [slot, row] of rows.entries()) assert.equal(hasBit(allowed, slot), allowedRows.includes(row));
      assert.deepEqual([...slots.toRows(Uint32Array.from(rows.keys()))], rows);
    }
  }));
});

test('an allowed bitmap from before the last rows is padded', async () => {
  const slots = new RowSlots();
  for (let row = 0; row < 40; row += 1) slots.add(row);
  assert.deepEqual([...slots.padded(await slots.allowedSlots(Uint32Array.of(5)))], [5, 0]);
  slots.add(50);
  const allowed = await slots.allowedSlots(Uint32Array.of(4, 1 << 18));
  for (let row = 60; row < 100; row += 1) slots.add(row);
  assert.deepEqual([...slots.padded(allowed)], [4, 1 << 8, 0]);
});

test('bits that were handed out do not see later rows', () => {
  const slots = new RowSlots();
  slots.add(0);
  const before = slots.bits(2);
  slots.add(1);
  assert.deepEqual([...before], [1]);
  assert.deepEqual([...slots.bits(2)], [3]);
});
