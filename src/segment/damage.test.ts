// One flipped bit in every region of every file, and every kind of cut: refused at open, refused at first use, or without any
// effect on answers; and always found by verify.
import assert from 'node:assert/strict';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { andInto } from '../payload/bitmap.ts';
import { blockBytes, dataOffset, segmentFileName, segmentHeaderBytes } from './files.ts';
import type { Segment, SegmentDescription } from './segment.ts';
import { openSealedSegment } from './sealed-segment.ts';
import { id, indexes, mappingIndexes, open, randomRows, seal, specs, temporaryPlace, type ModelRow } from './testing/segment-fixtures.ts';
import { verifySegmentFiles } from './verify-segment.ts';
import type { FilesPlace } from './write-file.ts';

const seed = 77;

interface Target {
  readonly kind: string;
  readonly title: string;
  readonly file: string;
}

function targets(place: FilesPlace, description: SegmentDescription): Target[] {
  const named = [...description.files, { kind: 'del', of: undefined, ...must(description.del, 'rows are dead') }];
  return named.map(({ kind, of, sha256 }) => ({ kind, title: of === undefined ? kind : `${kind} of '${of}'`, file: path.join(place.filesDirectory, segmentFileName(sha256, kind)) }));
}

/** Everything a segment can be asked, as text. */
async function askEverything(segment: Segment): Promise<string> {
  const rows = Array.from({ length: segment.rowCount }, (_, row) => row);
  const answers: unknown[] = [
    rows.map((row) => [String(segment.idAt(row)), segment.versionAt(row), segment.isDeleted(row), segment.findLiveRow(segment.idAt(row))]),
    [...segment.rowsById(id(10))],
    await segment.payloads(rows),
  ];
  for (const [name, spec] of specs) {
    const allowed = andInto(segment.liveBits().slice(), segment.vectorBits(name));
    const [hits] = await segment.search(name, [{ vector: new Float32Array(spec.size).fill(0.5), k: 20, allowed }]);
    answers.push(Array.from(must(hits, 'hits').rows), Array.from(must(hits, 'hits').scores, String));
    answers.push((await segment.vectors(name, rows)).map((bytes) => (bytes === undefined ? null : Buffer.from(bytes).toString('hex'))));
  }
  for (const field of ['city', 'n']) answers.push(Buffer.from(must(segment.fieldIndex(field), field).encode()).toString('hex'));
  return JSON.stringify(answers);
}

/** The answers, or the file that was refused. */
async function answersOf(place: FilesPlace, description: SegmentDescription): Promise<string | CorruptionError> {
  try {
    const segment = await open(place, description);
    try {
      return await askEverything(segment);
    } finally {
      await segment.close();
    }
  } catch (error) {
    if (error instanceof CorruptionError) return error;
    throw error;
  }
}

async function expectRefused(damaged: { readonly place: FilesPlace; readonly description: SegmentDescription; readonly good: string }, target: Target, what: string): Promise<'refused' | 'unused'> {
  const { place, description, good } = damaged;
  const answers = await answersOf(place, description);
  if (typeof answers === 'string') assert.equal(answers, good, `${what}: a wrong answer`);
  else assert.equal(answers.file, target.file, what);
  const findings = await verifySegmentFiles({ ...place, description, deep: true });
  assert.deepEqual(findings.map(({ file }) => file), [target.file], `verify, ${what}`);
  return typeof answers === 'string' ? 'unused' : 'refused';
}

test(`a flipped bit in any region of any file is found, seed ${seed}`, async (t) => {
  const place = await temporaryPlace(t);
  const random = seededRandom(seed);
  const description = await seal(place, randomRows(seed, 120));
  const good = must(await answersOf(place, description), 'answers');
  assert.ok(typeof good === 'string');
  assert.deepEqual(await verifySegmentFiles({ ...place, description, deep: true }), []);
  const kinds = new Set<string>();
  for (const target of targets(place, description)) {
    const bytes = await readFile(target.file);
    const dataEnd = dataOffset + Number(bytes.readBigUInt64LE(24));
    const between = (from: number, to: number, count: number): number[] => Array.from({ length: count }, () => from + random.below(to - from));
    const places = [
      ...Array.from({ length: segmentHeaderBytes / 3 }, (_, at) => at * 3), ...between(segmentHeaderBytes, dataOffset, 2),
      dataOffset, dataEnd - 1, ...between(dataOffset, dataEnd, 8), dataEnd, bytes.length - 5, bytes.length - 1,
    ];
    for (const at of places) {
      const flipped = Buffer.from(bytes);
      flipped[at] = must(flipped[at], 'a byte') ^ (1 << random.below(8));
      await writeFile(target.file, flipped);
      const outcome = await expectRefused({ place, description, good }, target, `${target.title}, byte ${at}`);
      assert.equal(outcome, 'refused', `${target.title}, byte ${at}: every file is used`);
    }
    await writeFile(target.file, bytes);
    kinds.add(target.kind);
  }
  assert.deepEqual([...kinds].toSorted(), ['del', 'has', 'idx', 'ids', 'pay', 'pidx', 'vec'].toSorted());
});

test('a cut, longer or missing file is found', async (t) => {
  const place = await temporaryPlace(t);
  const description = await seal(place, randomRows(seed, 120));
  const good = await answersOf(place, description);
  assert.ok(typeof good === 'string');
  for (const target of targets(place, description)) {
    const bytes = await readFile(target.file);
    const sizes = [0, 1, segmentHeaderBytes, dataOffset - 1, dataOffset, dataOffset + 1, bytes.length - 4, bytes.length - 1];
    for (const size of sizes) {
      await writeFile(target.file, bytes.subarray(0, size));
      assert.equal(await expectRefused({ place, description, good }, target, `${target.title}, cut to ${size}`), 'refused');
    }
    await writeFile(target.file, Buffer.concat([bytes, Buffer.alloc(1)]));
    assert.equal(await expectRefused({ place, description, good }, target, `${target.title}, one byte more`), 'refused');
    await rm(target.file);
    const missing = await answersOf(place, description);
    assert.ok(missing instanceof CorruptionError && missing.problem === 'is missing' && missing.file === target.file, String(missing));
    await writeFile(target.file, bytes);
  }
  assert.equal(await answersOf(place, description), good);
});

test('large files: damage is named by its block, at first use of that block', async (t) => {
  const place = await temporaryPlace(t);
  const rows = Array.from({ length: 400 }, (_, at): ModelRow => ({
    id: id(at), version: at + 1, dead: false, payload: `{"text":"${'x'.repeat(997)}"}`,
    vectors: new Map([['', new Uint8Array(Float32Array.of(at, 1, 2, 3).buffer)]]),
  }));
  const description = await seal(place, rows, new Map());
  const target = must(targets(place, { ...description, del: { sha256: '', size: 0, count: 1 } }).find(({ kind }) => kind === 'pay'), 'a pay file');
  const bytes = await readFile(target.file);
  bytes[dataOffset + 3 * blockBytes + 100] = 0x00;
  await writeFile(target.file, bytes);
  const segment = await open(place, description, new Map());
  t.after(() => segment.close());
  assert.equal((await segment.payloads([0, 1, 2])).length, 3);
  for (const row of [200, 201]) {
    await assert.rejects(segment.payloads([row]), (error) => error instanceof CorruptionError && error.file === target.file && error.offsetBytes === dataOffset + 3 * blockBytes);
  }
  const [finding] = await verifySegmentFiles({ ...place, description, deep: false });
  assert.deepEqual([finding?.file, finding?.offsetBytes], [target.file, dataOffset + 3 * blockBytes]);
});

for (const [title, indexesOf] of [['maps the file', mappingIndexes], ['reads it whole', () => indexes]] as const) {
  test(`vectors: a search over an index that ${title} meets damage as an error, again and again`, async (t) => {
    const place = await temporaryPlace(t);
    const description = await seal(place, randomRows(seed, 100), new Map());
    const { file } = must(targets(place, { ...description, del: { sha256: '', size: 0, count: 1 } }).find(({ kind }) => kind === 'vec'), 'a vec file');
    const bytes = await readFile(file);
    bytes[dataOffset + 9] = must(bytes[dataOffset + 9], 'a byte') ^ 1;
    await writeFile(file, bytes);
    const refused = (error: unknown): boolean => error instanceof CorruptionError && error.file === file && error.offsetBytes === dataOffset;
    const opening = openSealedSegment({ ...place, description, specs, indexes: indexesOf(place.disk), payloadSchema: new Map() });
    if (title === 'reads it whole') {
      await assert.rejects(opening, refused);
      return;
    }
    const segment = await opening;
    t.after(() => segment.close());
    const query = { vector: new Float32Array(4), k: 3, allowed: segment.vectorBits('') };
    for (let round = 0; round < 2; round += 1) await assert.rejects(segment.search('', [query]), refused);
    await assert.rejects(segment.vectors('', [0, 1, 2, 3, 4, 5]), refused);
    const [hits] = await segment.search('octets', [{ vector: new Float32Array(5), k: 3, allowed: segment.vectorBits('octets') }]);
    assert.equal(hits?.rows.length, 3, 'other vectors are whole');
  });
}

test('a block that has been checked is read directly afterwards', async (t) => {
  const place = await temporaryPlace(t);
  const rows = randomRows(3, 50, { unique: true });
  const description = await seal(place, rows, new Map());
  const segment = await open(place, description, new Map());
  t.after(() => segment.close());
  for (let round = 0; round < 3; round += 1) assert.deepEqual(await segment.payloads([1, 40]), [rows[1]!.payload, rows[40]!.payload]);
  const { size } = await stat(path.join(place.filesDirectory, segmentFileName(must(description.files[0], 'ids').sha256, 'ids')));
  assert.equal(size, description.files[0]!.size);
});
