import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { comparePointIds, type PointId } from '../base/ids.ts';
import { idKey, IdTable } from './id-table.ts';
import { lowerBound, SortedRuns, upperBound } from './sorted-runs.ts';
import { id } from './testing/segment-fixtures.ts';

const arbitraryId: fc.Arbitrary<PointId> = fc.oneof(
  fc.nat(20).map(id), fc.maxSafeNat().map(id), fc.bigInt({ min: 2n ** 53n - 2n, max: 2n ** 64n - 1n }).map(id), fc.uuid().map(id),
);

function tableOf(ids: readonly PointId[]): IdTable {
  const table = new IdTable();
  for (const one of ids) table.push(one);
  return table;
}

test('a table answers the ids that were put in, also from its columns', () => {
  fc.assert(fc.property(fc.array(arbitraryId), (ids) => {
    const table = tableOf(ids);
    assert.deepEqual(ids.map((_, row) => table.at(row)), ids);
    const again = new IdTable(table.columns(), ids.length);
    assert.deepEqual(ids.map((_, row) => again.at(row)), ids);
    const copy = new IdTable();
    for (let row = 0; row < ids.length; row += 1) copy.pushFrom(table, row);
    assert.deepEqual(ids.map((_, row) => copy.at(row)), ids);
  }));
});

test('rows and keys compare as ids do', () => {
  fc.assert(fc.property(arbitraryId, arbitraryId, (a, b) => {
    const wanted = comparePointIds(a, b);
    assert.equal(Math.sign(tableOf([a, b]).compare(0, 1)), wanted);
    assert.equal(Math.sign(tableOf([a, b]).compareKey(0, idKey(b))), wanted);
    assert.equal(Math.sign(tableOf([a]).compareKey(0, idKey(b))), wanted);
  }));
});

test('integers alone take 8 bytes a row, the first UUID widens all', () => {
  const table = tableOf([id(1), id(2n ** 63n)]);
  assert.equal(table.columns().words.byteLength, 16);
  table.push(id('00000000-0000-0000-0000-000000000001'));
  assert.equal(table.columns().words.byteLength, 48);
  assert.deepEqual([table.at(0), table.at(1), table.at(2)], [1, 2n ** 63n, '00000000-0000-0000-0000-000000000001']);
});

test('sorted runs go through all rows by (id, row), over several runs and from any id', () => {
  fc.assert(fc.property(fc.array(fc.oneof(fc.nat(3000).map(id), fc.uuid().map(id)), { minLength: 3000, maxLength: 6000, size: 'max' }), arbitraryId, (ids, from) => {
    const table = new IdTable();
    const runs = new SortedRuns(table);
    for (const [row, one] of ids.entries()) {
      table.push(one);
      runs.add(row);
    }
    const sorted = ids.map((_, row) => row).sort((a, b) => comparePointIds(ids[a]!, ids[b]!) || a - b);
    assert.deepEqual([...runs.rows()], sorted);
    assert.deepEqual([...runs.rows(idKey(from))], sorted.filter((row) => comparePointIds(ids[row]!, from) >= 0));
    const order = Uint32Array.from(sorted);
    assert.equal(lowerBound(table, order, idKey(from)), sorted.filter((row) => comparePointIds(ids[row]!, from) < 0).length);
    assert.equal(upperBound(table, order, idKey(from)), sorted.filter((row) => comparePointIds(ids[row]!, from) <= 0).length);
  }), { numRuns: 5 });
});

test('an iteration over sorted runs goes on over what it started with', () => {
  const table = new IdTable();
  const runs = new SortedRuns(table);
  for (let row = 0; row < 1500; row += 1) {
    table.push(id(row));
    runs.add(row);
  }
  const rows = runs.rows();
  rows.next();
  for (let row = 1500; row < 5000; row += 1) {
    table.push(id(row));
    runs.add(row);
  }
  assert.equal([...rows].length, 1499);
});
