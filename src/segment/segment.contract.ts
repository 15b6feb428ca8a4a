// What every form of a segment must do. `make` answers a segment whose row n is `rows[n]`.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { comparePointIds } from '../base/ids.ts';
import type { IndexQuery } from '../index/vector-index.ts';
import { andInto, countBits, hasBit, rowsOf } from '../payload/bitmap.ts';
import type { Segment } from './segment.ts';
import { id, randomRows, specs, type ModelRow } from './testing/segment-fixtures.ts';

export interface MakeSegment {
  /** Ids may repeat in `rows`, older ones dead. */
  readonly repeatedIds: boolean;
  make(t: TestContext, rows: readonly ModelRow[]): Promise<Segment>;
}

const seed = 20_240_601;
const count = 300;

export function segmentContract(title: string, form: MakeSegment): void {
  const rows = randomRows(seed, count, { unique: !form.repeatedIds });
  const all = rows.map((_, at) => at);
  const withSegment = (name: string, checkSegment: (segment: Segment, rows: readonly ModelRow[]) => Promise<void>): void => {
    test(`${title}, seed ${seed}: ${name}`, async (t) => {
      const segment = await form.make(t, rows);
      t.after(() => segment.close());
      await checkSegment(segment, rows);
    });
  };

  withSegment('ids, versions and dead rows are those that were written', async (segment) => {
    assert.equal(segment.rowCount, count);
    assert.deepEqual(all.map((row) => segment.idAt(row)), rows.map((row) => row.id));
    assert.deepEqual(all.map((row) => segment.versionAt(row)), rows.map((row) => row.version));
    assert.deepEqual(all.map((row) => segment.isDeleted(row)), rows.map((row) => row.dead));
    assert.equal(segment.deletedCount, rows.filter((row) => row.dead).length);
    assert.deepEqual([...rowsOf(segment.liveBits())], all.filter((row) => !rows[row]!.dead));
    assert.deepEqual([segment.minSeq, segment.maxSeq], [100, 100 + count - 1]);
    await Promise.resolve();
  });

  withSegment('vectors come back as stored bytes, undefined where a row lacks one', async (segment) => {
    for (const [name] of specs) {
      const scattered = [7, 3, 299, 3, 0, 120, ...all.toReversed()];
      const found = await segment.vectors(name, scattered);
      assert.deepEqual(found.map(toHex), scattered.map((row) => toHex(rows[row]!.vectors.get(name))));
      assert.deepEqual([...rowsOf(segment.vectorBits(name))], all.filter((row) => rows[row]!.vectors.has(name)));
    }
    assert.deepEqual(await segment.vectors('unheard of', [0, 1]), [undefined, undefined]);
    assert.equal(countBits(segment.vectorBits('unheard of')), 0);
  });

  withSegment('payload texts come back exactly, in the order asked for', async (segment) => {
    const scattered = [250, 1, 1, 42, 0, ...all];
    assert.deepEqual(await segment.payloads(scattered), scattered.map((row) => rows[row]!.payload));
    assert.deepEqual(await segment.payloads([]), []);
  });

  withSegment('the live row of an id is found, dead and unknown ids are not', async (segment) => {
    for (const { id: wanted } of rows) {
      const live = all.filter((row) => rows[row]!.id === wanted && !rows[row]!.dead);
      assert.equal(segment.findLiveRow(wanted), live[0]);
    }
    for (const unknown of [0, 2, 2n ** 64n - 1n, 'ffffffff-ffff-4fff-8fff-ffffffffffff', '00000000-0000-0000-0000-000000000000']) {
      assert.equal(segment.findLiveRow(id(unknown)), undefined);
    }
  });

  withSegment('rowsById goes through all rows in order of id and starts anywhere', async (segment) => {
    const sorted = all.toSorted((a, b) => comparePointIds(rows[a]!.id, rows[b]!.id) || a - b);
    assert.deepEqual([...segment.rowsById()], sorted);
    for (const start of [rows[0]!.id, rows[count - 1]!.id, id(5), id(2n ** 63n), id('80000000-0000-4000-8000-000000000000'), id('ffffffff-ffff-4fff-8fff-ffffffffffff')]) {
      assert.deepEqual([...segment.rowsById(start)], sorted.filter((row) => comparePointIds(rows[row]!.id, start) >= 0));
    }
    await Promise.resolve();
  });

  withSegment('search answers in rows of the segment, among the allowed ones', async (segment) => {
    for (const [name, spec] of specs) {
      const carrying = andInto(segment.liveBits().slice(), segment.vectorBits(name));
      const thirds = carrying.map((word) => word & 0x49249249);
      const vector = Float32Array.from({ length: spec.size }, (_, at) => at - 1.5);
      const queries: IndexQuery[] = [{ vector, k: count, allowed: carrying }, { vector, k: 5, allowed: thirds }];
      const [everything, some] = await segment.search(name, queries);
      assert.deepEqual([...must(everything, 'hits').rows].toSorted((a, b) => a - b), [...rowsOf(carrying)]);
      const wanted = [...must(everything, 'hits').rows].filter((row) => hasBit(thirds, row)).slice(0, 5);
      assert.deepEqual([...must(some, 'hits').rows], wanted);
    }
    const nothing = await segment.search('unheard of', [{ vector: new Float32Array(4), k: 3, allowed: segment.liveBits() }]);
    assert.deepEqual(nothing.map((hits) => hits.rows.length), [0]);
  });

  withSegment('a bitmap that was handed out never changes', async (segment) => {
    const before = segment.liveBits();
    const copy = before.slice();
    const row = must(all.find((one) => !rows[one]!.dead), 'a live row');
    const source = segment.rowSource();
    segment.markDeleted(row);
    assert.deepEqual(before, copy);
    assert.deepEqual(source.live, copy);
    assert.equal(hasBit(segment.liveBits(), row), false);
    assert.equal(segment.findLiveRow(rows[row]!.id), undefined);
    assert.throws(() => { segment.markDeleted(row); }, /a row dies once/);
    await Promise.resolve();
  });

  withSegment('a payload index built later answers like one from the start', async (segment) => {
    assert.equal(segment.fieldIndex('f'), undefined);
    await segment.addFieldIndex('f', { type: 'float' });
    const withF = rows.filter((row) => row.payload.includes('"f":')).length;
    assert.equal(segment.fieldIndex('f')?.rowsWithValue, withF);
    assert.equal(segment.fieldIndex('city')?.rowsWithValue, rows.filter((row) => row.payload.includes('"city"')).length);
    segment.dropFieldIndex('f');
    assert.equal(segment.fieldIndex('f'), undefined);
  });

  withSegment('a dropped index does not come back from a build under way', async (segment) => {
    const building = segment.addFieldIndex('f', { type: 'float' });
    segment.dropFieldIndex('f');
    await building;
    assert.equal(segment.fieldIndex('f'), undefined);
  });

  withSegment('close is idempotent and waits for reads', async (segment) => {
    const reading = segment.payloads(all);
    await segment.close();
    await segment.close();
    assert.equal((await reading).length, count);
  });

  withSegment('memory is counted', async (segment) => {
    assert.ok(segment.memoryBytes > count * 16, String(segment.memoryBytes));
    await Promise.resolve();
  });
}

function toHex(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex');
}
