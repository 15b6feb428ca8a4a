// Files that are what their names say, yet do not fit together: what only a deep verify sees.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { setBit } from '../payload/bitmap.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import { createFieldIndex } from '../payload/stored-index.ts';
import { writeBits } from './bits-file.ts';
import { writeOrder } from './ids-file.ts';
import { writePayloads } from './payload-file.ts';
import { writeFieldIndex } from './payload-index-file.ts';
import type { SegmentDescription, SegmentFile } from './segment.ts';
import { randomRows, seal, temporaryPlace, type ModelRow } from './testing/segment-fixtures.ts';
import { bytesOf } from './typed-bytes.ts';
import { verifySegmentFiles } from './verify-segment.ts';
import type { FilesPlace } from './write-file.ts';

const rows: readonly ModelRow[] = randomRows(31, 40);

function replaced(description: SegmentDescription, file: SegmentFile): SegmentDescription {
  return { ...description, files: description.files.map((one) => (one.kind === file.kind && one.of === file.of ? file : one)) };
}

async function writeTexts(place: FilesPlace, texts: readonly string[]): Promise<SegmentFile> {
  const offsets = new Float64Array(texts.length + 1);
  for (const [at, text] of texts.entries()) offsets[at + 1] = (offsets[at] ?? 0) + Buffer.byteLength(text);
  return await writePayloads(place, { offsets, texts: texts.map((text) => Buffer.from(text)) });
}

type Break = (place: FilesPlace, description: SegmentDescription) => Promise<SegmentDescription>;

const cases: readonly (readonly [string, Break, RegExp])[] = [
  ['an order with two rows exchanged', async (place, description) => {
    const order = Uint32Array.from(rows, (_, at) => at);
    return replaced(description, await writeOrder(place, rows.length, [bytesOf(order)]));
  }, /not in order of id/],
  ['an order with a row beyond the segment', async (place, description) => {
    return replaced(description, await writeOrder(place, rows.length, [bytesOf(new Uint32Array(rows.length).fill(4000))]));
  }, /row 4000 of 40 rows/],
  ['an older row of an id that is alive', async (_, description) => {
    const { del, ...rest } = description;
    return await Promise.resolve(del === undefined ? description : rest);
  }, /has a live row/],
  ['another number of dead rows', async (_, description) => {
    const del = must(description.del, 'rows are dead');
    return await Promise.resolve({ ...description, del: { ...del, count: del.count + 1 } });
  }, /rows are dead, the description says/],
  ['versions outside the range', (_, description) => Promise.resolve({ ...description, max_seq: description.max_seq - 1 }), /lies outside/],
  ['another number of rows', (_, description) => Promise.resolve({ ...description, rows: description.rows + 1 }), /40 rows, not 41|40 ids/],
  ['a vector on fewer rows than the file has vectors', async (place, description) => {
    const bits = new Uint32Array(2);
    setBit(bits, 3);
    const { sha256, size } = await writeBits(place, { kind: 'has', rows: rows.length, bits });
    return replaced(description, { kind: 'has', of: 'half', chunk: 0, sha256, size });
  }, /vectors, 1 rows carry one/],
  ['a payload that is an array', async (place, description) => {
    return replaced(description, await writeTexts(place, rows.map(({ payload }, at) => (at === 7 ? '[]' : payload))));
  }, /payload of row 7 is no JSON object/],
  ['payload texts that run backwards', async (place, description) => {
    const texts = rows.map(({ payload }) => payload).join('');
    const offsets = Float64Array.from({ length: rows.length + 1 }, (_, at) => (at === 0 ? 0 : at === 4 ? 3 : Buffer.byteLength(texts)));
    return replaced(description, await writePayloads(place, { offsets, texts: [Buffer.from(texts)] }));
  }, /payload offset 3 after/],
  ['a payload that is no JSON', async (place, description) => {
    return replaced(description, await writeTexts(place, rows.map(({ payload }, at) => (at === 9 ? "{'a':1}" : payload))));
  }, /payload of row 9 is no JSON object/],
  ['a payload index over other payloads', async (place, description) => {
    const index = createFieldIndex(parseJsonPath('n'), { type: 'integer' });
    for (let row = 0; row < rows.length; row += 1) index.add(row, { n: row === 5 ? 123_456 : 1 });
    return replaced(description, await writeFieldIndex(place, { field: 'n', rows: rows.length, index }));
  }, /is not the index of 'n'/],
  ['a vector without its bitmap of rows', (_, description) => {
    return Promise.resolve({ ...description, files: description.files.filter(({ kind, of }) => kind !== 'has' || of !== 'half') });
  }, /names no 'has' file of 'half'/],
  ['a kind of file nobody knows', (_, description) => {
    return Promise.resolve({ ...description, files: [...description.files, { kind: 'blob', chunk: 0, sha256: 'ab'.repeat(32), size: 5 }] });
  }, /'blob' is no kind of file/],
];

for (const [title, breakIt, problem] of cases) {
  test(`deep verify finds ${title}`, async (t) => {
    const place = await temporaryPlace(t);
    const description = await breakIt(place, await seal(place, rows));
    const findings = await verifySegmentFiles({ ...place, description, deep: true });
    assert.ok(findings.some((finding) => problem.test(finding.problem)), JSON.stringify(findings));
  });
}

test('a sound segment has no findings', async (t) => {
  const place = await temporaryPlace(t);
  const description = await seal(place, rows);
  for (const deep of [false, true]) assert.deepEqual(await verifySegmentFiles({ ...place, description, deep }), []);
});

test('an abort ends a verify', async (t) => {
  const place = await temporaryPlace(t);
  const description = await seal(place, rows);
  await assert.rejects(verifySegmentFiles({ ...place, description, deep: true, signal: AbortSignal.abort(new RangeError('enough')) }), /enough/);
});
