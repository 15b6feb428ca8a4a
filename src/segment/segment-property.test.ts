// Any rows, written to a head, sealed and merged, come back as they were.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { must } from '../base/assert.ts';
import { comparePointIds, type PointId } from '../base/ids.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import { mergeSegments } from './merge.ts';
import type { Segment } from './segment.ts';
import { emptyHead, fill, id, open, schema, seal, specs, type ModelRow } from './testing/segment-fixtures.ts';
import { verifySegmentFiles } from './verify-segment.ts';
import type { FilesPlace } from './write-file.ts';

const arbitraryId: fc.Arbitrary<PointId> = fc.oneof(fc.nat(30).map(id), fc.bigInt({ min: 2n ** 53n - 1n, max: 2n ** 64n - 1n }).map(id), fc.uuid().map(id));

/** An object's text, spaced as no serialiser would. */
const arbitraryPayload = fc.tuple(
  fc.dictionary(fc.oneof(fc.constantFrom('city', 'n', 'f'), fc.string({ unit: 'grapheme' })), fc.jsonValue()), fc.constantFrom('', ' ', '\n\t'),
).map(([value, space]) => JSON.stringify(value, undefined, space));

function arbitraryVector(spec: VectorSpec): fc.Arbitrary<Uint8Array | undefined> {
  const bytes = fc.uint8Array({ minLength: strideBytes(spec), maxLength: strideBytes(spec) });
  return fc.option(bytes, { nil: undefined });
}

const arbitraryRow: fc.Arbitrary<ModelRow> = fc.record({
  id: arbitraryId,
  version: fc.maxSafeNat(),
  payload: arbitraryPayload,
  dead: fc.boolean(),
  vectors: fc.tuple(...[...specs.values()].map(arbitraryVector)).map((vectors) => {
    const names = [...specs.keys()];
    return new Map(vectors.flatMap((bytes, at): [string, Uint8Array][] => (bytes === undefined ? [] : [[must(names[at], 'a name'), bytes]])));
  }),
});

/** Older rows of a repeated id are dead. */
function asModel(rows: readonly ModelRow[]): ModelRow[] {
  return rows.map((row, at) => ({ ...row, dead: row.dead || rows.slice(at + 1).some((later) => later.id === row.id) }));
}

async function checkRows(segment: Segment, rows: readonly ModelRow[]): Promise<void> {
  const all = rows.map((_, at) => at);
  assert.equal(segment.rowCount, rows.length);
  assert.deepEqual(all.map((row) => [segment.idAt(row), segment.versionAt(row), segment.isDeleted(row)]), rows.map((row) => [row.id, row.version, row.dead]));
  assert.deepEqual(await segment.payloads(all), rows.map((row) => row.payload));
  for (const name of specs.keys()) {
    const found = await segment.vectors(name, all);
    assert.deepEqual(found.map((bytes) => bytes && [...bytes]), rows.map((row) => { const bytes = row.vectors.get(name); return bytes && [...bytes]; }));
  }
  assert.deepEqual([...segment.rowsById()], all.toSorted((a, b) => comparePointIds(rows[a]!.id, rows[b]!.id) || a - b));
  for (const row of rows) assert.equal(segment.findLiveRow(row.id), all.find((at) => rows[at]!.id === row.id && !rows[at]!.dead));
}

test('head, sealed and merged segments hold the rows that were written', async (t) => {
  const filesDirectory = await mkdtemp(path.join(os.tmpdir(), 'nearkeep-segment-'));
  t.after(() => rm(filesDirectory, { recursive: true, force: true }));
  const place: FilesPlace = { disk: new NodeDisk(), filesDirectory };
  await fc.assert(fc.asyncProperty(fc.array(arbitraryRow, { minLength: 1, maxLength: 40 }), fc.nat(), async (rows, cutSeed) => {
    const model = asModel(rows);
    const head = fill(emptyHead(), model);
    await checkRows(head, model);
    await head.close();
    const whole = await open(place, await seal(place, model));
    await checkRows(whole, model);
    await whole.close();
    const cut = cutSeed % (model.length + 1);
    const inputs = [];
    for (const part of [model.slice(0, cut), model.slice(cut)]) {
      if (part.length === 0) continue;
      const segment = await open(place, await seal(place, part));
      inputs.push({ segment, live: segment.liveBits() });
    }
    const { description } = await mergeSegments({ ...place, inputs, specs, payloadSchema: schema });
    for (const { segment } of inputs) await segment.close();
    const live = model.filter((row) => !row.dead);
    if (description === undefined) {
      assert.equal(live.length, 0);
      return;
    }
    assert.deepEqual(await verifySegmentFiles({ ...place, description, deep: true }), []);
    const merged = await open(place, description);
    await checkRows(merged, live);
    await merged.close();
  }), { numRuns: 25 });
});
