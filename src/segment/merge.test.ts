import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { InvariantError, must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import { emptyBits, rowsOf } from '../payload/bitmap.ts';
import { dataOffset, segmentFileName } from './files.ts';
import { mergeSegments, type MergeResult } from './merge.ts';
import type { SealedSegment } from './sealed-segment.ts';
import { id, open, randomRows, schema, seal, specs, temporaryPlace, type ModelRow } from './testing/segment-fixtures.ts';
import { verifySegmentFiles } from './verify-segment.ts';
import type { FilesPlace } from './write-file.ts';

function merge(place: FilesPlace, segments: readonly SealedSegment[], signal?: AbortSignal): Promise<MergeResult> {
  const inputs = segments.map((segment) => ({ segment, live: segment.liveBits() }));
  return mergeSegments({ ...place, inputs, specs, payloadSchema: schema, ...(signal === undefined ? {} : { signal }) });
}

/** Two segments of one shard: the second holds newer rows, some of ids in the first. */
async function twoSegments(place: FilesPlace): Promise<{ segments: SealedSegment[]; models: ModelRow[][] }> {
  const rows = randomRows(9, 200);
  const models = [rows.slice(0, 90), rows.slice(90)];
  const segments: SealedSegment[] = [];
  for (const model of models) segments.push(await open(place, await seal(place, model)));
  return { segments, models };
}

test('live rows in order of (input, row), with row maps that carry deletes over', async (t) => {
  const place = await temporaryPlace(t);
  const { segments, models } = await twoSegments(place);
  const [first, second] = [must(segments[0], 'first'), must(segments[1], 'second')];
  const merging = merge(place, segments);
  const late = must(models[1]?.findIndex((row) => !row.dead), 'a live row');
  second.markDeleted(late);
  const { description, rowMaps } = await merging;
  const merged = await open(place, must(description, 'rows are live'));
  t.after(() => Promise.all([first, second, merged].map((segment) => segment.close())));
  const wanted = models.flatMap((model, input) => model.flatMap((row, at) => (row.dead ? [] : [{ row, input, at }])));
  assert.equal(merged.rowCount, wanted.length);
  assert.equal(merged.deletedCount, 0);
  for (const [to, { row, input, at }] of wanted.entries()) {
    assert.equal(rowMaps[input]?.[at], to);
    assert.deepEqual([merged.idAt(to), merged.versionAt(to)], [row.id, row.version]);
  }
  for (const [input, model] of models.entries()) {
    for (const [at, row] of model.entries()) if (row.dead) assert.equal(rowMaps[input]?.[at], -1);
  }
  assert.deepEqual(await merged.payloads(wanted.map((_, to) => to)), wanted.map(({ row }) => row.payload));
  const versions = wanted.map(({ row }) => row.version);
  assert.deepEqual([merged.minSeq, merged.maxSeq], [Math.min(...versions), Math.max(...versions)]);
  merged.markDeleted(must(rowMaps[1]?.[late], 'the row was live when the merge began'));
  assert.deepEqual(await verifySegmentFiles({ ...place, description: must(description, 'description'), deep: true }), []);
});

test('a damaged vector or payload of an input is never given a new name', async (t) => {
  const place = await temporaryPlace(t);
  const { segments } = await twoSegments(place);
  t.after(() => Promise.all(segments.map((segment) => segment.close())));
  for (const kind of ['vec', 'pay']) {
    const named = must(segments[1]?.description.files.find((file) => file.kind === kind), kind);
    const file = path.join(place.filesDirectory, segmentFileName(named.sha256, kind));
    const bytes = await readFile(file);
    const flipped = Buffer.from(bytes);
    flipped[dataOffset + 30] = must(flipped[dataOffset + 30], 'a byte') ^ 4;
    await writeFile(file, flipped);
    await assert.rejects(merge(place, segments), (error) => error instanceof CorruptionError && error.file === file && error.offsetBytes === dataOffset);
    await writeFile(file, bytes);
  }
});

test('no live row: no segment', async (t) => {
  const place = await temporaryPlace(t);
  const { segments } = await twoSegments(place);
  t.after(() => Promise.all(segments.map((segment) => segment.close())));
  const inputs = segments.map((segment) => ({ segment, live: emptyBits(segment.rowCount) }));
  const { description, rowMaps } = await mergeSegments({ ...place, inputs, specs, payloadSchema: schema });
  assert.equal(description, undefined);
  assert.ok(rowMaps.every((map) => map.every((row) => row === -1)));
});

test('two live rows of one id are our bug, not a merged segment', async (t) => {
  const place = await temporaryPlace(t);
  const model = randomRows(4, 10, { unique: true });
  const segments = [await open(place, await seal(place, model)), await open(place, await seal(place, model))];
  t.after(() => Promise.all(segments.map((segment) => segment.close())));
  await assert.rejects(merge(place, segments), InvariantError);
});

test('an abort rejects with its reason', async (t) => {
  const place = await temporaryPlace(t);
  const { segments } = await twoSegments(place);
  t.after(() => Promise.all(segments.map((segment) => segment.close())));
  const reason = new RangeError('enough');
  await assert.rejects(merge(place, segments, AbortSignal.abort(reason)), reason);
});

test('a vector dropped from one input is on none of its rows afterwards; closing an input waits for the merge', async (t) => {
  const place = await temporaryPlace(t);
  const { segments, models } = await twoSegments(place);
  await segments[0]?.dropVector('half');
  const merging = merge(place, segments);
  await Promise.all(segments.map((segment) => segment.close()));
  const { description, rowMaps } = await merging;
  const merged = await open(place, must(description, 'rows are live'));
  t.after(() => merged.close());
  const wanted = must(models[1], 'second').flatMap((row, at) => (!row.dead && row.vectors.has('half') ? [rowMaps[1]?.[at]] : []));
  assert.deepEqual([...rowsOf(merged.vectorBits('half'))], wanted);
});

test('payloads larger than a piece, and more rows than a batch', async (t) => {
  const place = await temporaryPlace(t);
  const row = (at: number): ModelRow => ({ id: id(at), version: at + 1, vectors: new Map(), payload: `{"a":"${'y'.repeat(at % 1000 === 0 ? 1_500_000 : 3)}${at}"}`, dead: false });
  const model = Array.from({ length: 5000 }, (_, at) => row(at));
  const segment = await open(place, await seal(place, model, new Map()), new Map());
  const { description } = await mergeSegments({ ...place, inputs: [{ segment, live: segment.liveBits() }], specs, payloadSchema: new Map() });
  await segment.close();
  const merged = await open(place, must(description, 'rows are live'), new Map());
  t.after(() => merged.close());
  assert.deepEqual(await merged.payloads(model.map((_, at) => at)), model.map(({ payload }) => payload));
});
