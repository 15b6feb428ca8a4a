import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { FaultyDisk, isChange } from '../fs/testing/faulty-disk.ts';
import { countBits, rowsOf } from '../payload/bitmap.ts';
import { FILE_KINDS, isFileKind } from './files.ts';
import { sealSegment } from './seal.ts';
import { saveSealedState } from './sealed-segment.ts';
import type { SegmentDescription } from './segment.ts';
import { emptyHead, fill, open, randomRows, schema, seal, temporaryPlace } from './testing/segment-fixtures.ts';
import { verifySegmentFiles } from './verify-segment.ts';

test('deletes, a new payload index and a dropped vector are there after a save and a reopen', async (t) => {
  const place = await temporaryPlace(t);
  const rows = randomRows(21, 150);
  const segment = await open(place, await seal(place, rows));
  const victim = must(rows.findIndex((row) => !row.dead), 'a live row');
  segment.markDeleted(victim);
  await segment.addFieldIndex('f', { type: 'float' });
  segment.dropFieldIndex('n');
  await segment.dropVector('half');
  const state = segment.capture();
  const later = rows.findIndex((row, at) => !row.dead && at > victim);
  segment.markDeleted(later);
  const description = await saveSealedState({ ...place, segment, state });
  assert.equal(segment.description, description);
  assert.deepEqual(description.files.filter(({ kind }) => kind === 'pidx').map(({ of }) => of), ['city', 'f']);
  assert.deepEqual(description.files.filter(({ kind }) => kind === 'vec').map(({ of }) => of), ['', 'octets']);
  assert.deepEqual(await verifySegmentFiles({ ...place, description, deep: true }), []);
  await segment.close();
  const again = await open(place, description, new Map([['city', { type: 'keyword' }], ['f', { type: 'float' }]]));
  t.after(() => again.close());
  assert.equal(again.isDeleted(victim), true);
  assert.equal(again.isDeleted(later), false, 'a delete after the capture belongs to the next checkpoint');
  assert.equal(again.fieldIndex('f')?.rowsWithValue, rows.filter(({ payload }) => payload.includes('"f":')).length);
  assert.equal(countBits(again.vectorBits('half')), 0);
});

test('a save that fails is done anew by the next one: what it wrote was named by nobody and may be gone', async (t) => {
  const place = await temporaryPlace(t);
  const segment = await open(place, await seal(place, randomRows(24, 60)));
  t.after(() => segment.close());
  const before = segment.description;
  await segment.addFieldIndex('f', { type: 'float' });
  const live = rowsOf(segment.liveBits())[0];
  segment.markDeleted(must(live, 'a live row'));
  for (let at = 0; ; at += 1) {
    let seen = 0;
    const disk = new FaultyDisk(place.disk, (operation) => (isChange(operation) && seen++ === at ? { kind: 'error', code: 'EIO' } : undefined));
    const failure = await saveSealedState({ ...place, disk, segment, state: segment.capture() }).then(() => undefined, (error: unknown) => error);
    if (failure === undefined) break;
    assert.equal(segment.description, before, `change ${at}`);
    const named = new Set(segmentNames(before));
    for (const name of await readdir(place.filesDirectory)) if (!named.has(name)) await place.disk.remove(path.join(place.filesDirectory, name));
  }
  assert.deepEqual(await verifySegmentFiles({ ...place, description: segment.description, deep: true }), []);
});

function segmentNames({ files, del }: SegmentDescription): readonly string[] {
  return [...files.map(({ sha256, kind }) => `${sha256}.${kind}`), ...(del === undefined ? [] : [`${del.sha256}.del`])];
}

test('a save without changes writes nothing and keeps every name', async (t) => {
  const place = await temporaryPlace(t);
  const segment = await open(place, await seal(place, randomRows(22, 60)));
  t.after(() => segment.close());
  const before = segment.description;
  const names = (await readdir(place.filesDirectory)).toSorted();
  assert.deepEqual(await saveSealedState({ ...place, segment, state: segment.capture() }), before);
  assert.deepEqual((await readdir(place.filesDirectory)).toSorted(), names);
});

test('deletes that arrive while sealing map one to one', async (t) => {
  const place = await temporaryPlace(t);
  const rows = randomRows(23, 80);
  const source = fill(emptyHead(), rows);
  const deleted = source.deletedBits();
  const late = rows.findIndex((row) => !row.dead);
  source.markDeleted(late);
  const description = await sealSegment({ ...place, source, deleted });
  assert.equal(description.del?.count, rows.filter((row) => row.dead).length);
  const segment = await open(place, description);
  t.after(() => Promise.all([segment.close(), source.close()]));
  for (let row = 0; row < rows.length; row += 1) if (source.isDeleted(row) && !segment.isDeleted(row)) segment.markDeleted(row);
  assert.deepEqual(segment.liveBits(), source.liveBits());
});

test('a payload index that no file holds, or of another schema, is built at open', async (t) => {
  const place = await temporaryPlace(t);
  const rows = randomRows(24, 90);
  const description = await seal(place, rows, new Map([['city', { type: 'integer' }]]));
  const segment = await open(place, description, schema);
  t.after(() => segment.close());
  assert.equal(segment.fieldIndex('city')?.schema.type, 'keyword');
  assert.equal(segment.fieldIndex('city')?.rowsWithValue, rows.filter(({ payload }) => payload.includes('"city"')).length);
  assert.ok(must(segment.fieldIndex('n'), 'n').rowsWithValue > 0);
});

test('a description without rebuildable files opens to the same answers', async (t) => {
  const place = await temporaryPlace(t);
  const rows = randomRows(27, 2500);
  const whole = await seal(place, rows);
  const description = { ...whole, files: whole.files.filter(({ kind }) => isFileKind(kind) && !FILE_KINDS[kind].rebuildable) };
  assert.equal(whole.files.length - description.files.length, 3);
  assert.deepEqual(await verifySegmentFiles({ ...place, description, deep: true }), []);
  const [one, other] = [await open(place, whole), await open(place, description)];
  t.after(() => Promise.all([one.close(), other.close()]));
  assert.deepEqual([...other.rowsById()], [...one.rowsById()]);
  for (const row of rows) assert.equal(other.findLiveRow(row.id), one.findLiveRow(row.id));
  for (const field of schema.keys()) assert.deepEqual(other.fieldIndex(field)?.encode(), one.fieldIndex(field)?.encode());
});

test('vectors that come and go on the head', async (t) => {
  const head = fill(emptyHead(), randomRows(25, 50));
  t.after(() => head.close());
  await head.dropVector('octets');
  head.addVector('octets', { size: 2, distance: 'Dot', datatype: 'uint8' });
  assert.equal(countBits(head.vectorBits('octets')), 0);
  const point = { ...must(randomRows(26, 1)[0], 'a row'), vectors: new Map([['octets', Uint8Array.of(1, 2)]]), version: 500 };
  const older = head.findLiveRow(point.id);
  if (older !== undefined) head.markDeleted(older);
  const row = head.append(point);
  assert.deepEqual((await head.vectors('octets', [row - 1, row])).map((bytes) => bytes && [...bytes]), [undefined, [1, 2]]);
  assert.throws(() => head.append(point), /an id has one live row/);
});
