// What every implementation of the index port must hold: the same rows and the same score bits as the plain one, for any data.
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { InvariantError } from '../base/assert.ts';
import { seededRandom, type Random } from '../base/testing/random.ts';
import { DATATYPES, DISTANCES, strideBytes, type VectorSpec } from '../vector/distance.ts';
import { bitsOf } from '../vector/kernels.contract.ts';
import { randomRows, randomVector, TEXTURES, type Texture } from '../vector/testing/random-rows.ts';
import { plainIndexes } from './testing/plain-indexes.ts';
import type { GrowingVectorIndex, IndexHits, IndexQuery, VectorFile, VectorIndex, VectorIndexes } from './vector-index.ts';

type Open = () => Promise<VectorIndexes>;

const sizes = [1, 3, 16, 17, 768];
const dataOffset = 4096;

export function vectorIndexContract(title: string, open: Open): void {
  sameAnswers(title, open);
  fewOrManyHits(title, open);
  difficultNumbers(title, open);
  growing(title, open);
  files(title, open);
  refusals(title, open);
  lifetime(title, open);
}

function sameAnswers(title: string, open: Open): void {
  for (const distance of DISTANCES) {
    for (const datatype of DATATYPES) {
      test(`${title}: ${distance} over ${datatype} finds what the oracle finds`, async () => {
        const indexes = await open();
        const random = seededRandom(21);
        for (const size of sizes) {
          for (const texture of TEXTURES) {
            const spec: VectorSpec = { size, distance, datatype };
            const count = size === 768 ? 70 : 300;
            await assertSame(indexes, spec, randomRows(random, spec, count, texture), someQueries(random, spec, count, texture),
              `seed 21, size ${size}, ${texture}`);
          }
        }
        await indexes.close();
      });
    }
  }

  test(`${title}: many rows in many pieces`, async () => {
    const indexes = await open();
    const random = seededRandom(22);
    for (const texture of TEXTURES) {
      const spec: VectorSpec = { size: 9, distance: 'Dot', datatype: 'float32' };
      const count = 30_000;
      await assertSame(indexes, spec, randomRows(random, spec, count, texture), someQueries(random, spec, count, texture), `seed 22, ${texture}`);
    }
    await indexes.close();
  });

  test(`${title}: a batch answers like its queries one by one`, async () => {
    const indexes = await open();
    const random = seededRandom(23);
    const spec: VectorSpec = { size: 17, distance: 'Cosine', datatype: 'float16' };
    const index = indexes.growing(spec);
    index.append(randomRows(random, spec, 500, 'plain'));
    const queries = Array.from({ length: 5 }, () => someQueries(random, spec, 500, 'plain')).flat();
    const together = await index.search(queries);
    for (const [at, query] of queries.entries()) assertHits(together[at], (await index.search([query]))[0], `query ${at}`);
    assert.deepEqual(await index.search([]), []);
    await indexes.close();
  });
}

function fewOrManyHits(title: string, open: Open): void {
  test(`${title}: equal scores come by row, also where k cuts between them`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 2, distance: 'Euclid', datatype: 'uint8' };
    const index = indexes.growing(spec);
    index.append(Uint8Array.from({ length: 12_000 }, () => 7)); // 6,000 equal rows
    const [hits] = await index.search([{ vector: Float32Array.of(7, 4), k: 3, allowed: bits(6_000, (row) => row % 5 === 1) }]);
    assert.deepEqual(hits, { rows: Uint32Array.of(1, 6, 11), scores: Float32Array.of(3, 3, 3) });
    const [all] = await index.search([{ vector: Float32Array.of(7, 4), k: 1e10, allowed: bits(6_000, () => true) }]);
    assert.deepEqual(all?.rows, Uint32Array.from({ length: 6_000 }, (_, row) => row));
    await indexes.close();
  });

  test(`${title}: no rows, none allowed, none wanted`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 3, distance: 'Dot', datatype: 'float32' };
    const index = indexes.growing(spec);
    const none = { rows: new Uint32Array(0), scores: new Float32Array(0) };
    const query = { vector: Float32Array.of(1, 2, 3), k: 10, allowed: new Uint32Array(0) };
    assert.deepEqual(await index.search([query]), [none]);
    assert.deepEqual(await index.score(query.vector, new Uint32Array(0)), new Float32Array(0));
    index.append(new Uint8Array(12 * 40));
    assert.deepEqual(await index.search([{ ...query, allowed: new Uint32Array(2) }]), [none]);
    assert.deepEqual(await index.search([{ ...query, k: 0, allowed: bits(40, () => true) }]), [none]);
    await indexes.close();
  });

  test(`${title}: bits behind the last row are ignored`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 1, distance: 'Manhattan', datatype: 'uint8' };
    const index = indexes.growing(spec);
    index.append(Uint8Array.of(9, 8, 7));
    const [hits] = await index.search([{ vector: Float32Array.of(0), k: 50, allowed: Uint32Array.of(0xffffffff, 0xffffffff) }]);
    assert.deepEqual(hits?.rows, Uint32Array.of(2, 1, 0));
    await indexes.close();
  });

  test(`${title}: score() gives the scores of search()`, async () => {
    const indexes = await open();
    const random = seededRandom(24);
    for (const distance of DISTANCES) {
      const spec: VectorSpec = { size: 33, distance, datatype: 'float32' };
      const index = indexes.growing(spec);
      index.append(randomRows(random, spec, 700, 'plain'));
      const vector = randomVector(random, 33, 'plain');
      const [hits] = await index.search([{ vector, k: 700, allowed: bits(700, () => true) }]);
      assert.ok(hits);
      assert.deepEqual(bitsOf(await index.score(vector, hits.rows)), bitsOf(hits.scores), distance);
    }
    await indexes.close();
  });
}

function difficultNumbers(title: string, open: Open): void {
  test(`${title}: the cosine of uint8 rows does not depend on their length, a zero row scores 0`, async () => {
    const indexes = await open();
    const index = indexes.growing({ size: 2, distance: 'Cosine', datatype: 'uint8' });
    index.append(Uint8Array.of(0, 0, 0, 200, 3, 4, 30, 40, 60, 80, 9, 0));
    const [hits] = await index.search([{ vector: Float32Array.of(1, 0), k: 10, allowed: bits(6, () => true) }]);
    assert.deepEqual(hits?.rows, Uint32Array.of(5, 2, 3, 4, 0, 1));
    assert.deepEqual(hits?.scores, Float32Array.of(1, 0.6, 0.6, 0.6, 0, 0));
    await indexes.close();
  });

  test(`${title}: sums that overflow f32 lose no row`, async () => {
    const indexes = await open();
    for (const distance of DISTANCES) {
      const spec: VectorSpec = { size: 2, distance, datatype: 'float32' };
      // on the way: inf, -inf, inf - inf; in f64: ordinary numbers
      const values = [3e38, -3e38, 2.9e38, -2.9e38, 1e38, 3.4e38, 3e19, -3e19, 1, 0];
      const random = seededRandom(31);
      const rows = floats(Array.from({ length: 600 }, () => (values[random.below(10)] ?? 0) * (1 - random.below(40) * 2 ** -20)));
      const queries = [[2, 2], [3e38, 3e38], [3e38, -3e38], [1e-38, 1e-38], [-2e19, 5]].flatMap((vector) =>
        [1, 3, 80].map((k) => ({ vector: Float32Array.from(vector), k, allowed: bits(300, () => true) })));
      await assertSame(indexes, spec, rows, queries, `seed 31, ${distance}`);
    }
    await indexes.close();
  });

  test(`${title}: an infinite score ties with a larger one that rounds to it`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 1, distance: 'Dot', datatype: 'float32' };
    const query = { vector: Float32Array.of(10), k: 3, allowed: bits(300, (row) => row > 2) };
    const rows = floats(Array.from({ length: 300 }, (_, row) => 1e38 + row * 5e35));
    await assertSame(indexes, spec, rows, [query], 'all are infinite, the first rows win');
    await indexes.close();
  });

  test(`${title}: scores one f32 rounding apart are ordered, equal after rounding are tied`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 2, distance: 'Dot', datatype: 'float32' };
    const rows = floats(Array.from({ length: 400 }, (_, row) => [1, (row % 40) * 2 ** -27]).flat());
    const queries = [1, 5, 11, 390].map((k) => ({ vector: Float32Array.of(1, 1), k, allowed: bits(400, () => true) }));
    await assertSame(indexes, spec, rows, queries, 'steps of an eighth of an ulp');
    await indexes.close();
  });

  test(`${title}: infinite float16 values rank by their score, NaN last`, async () => {
    const indexes = await open();
    for (const distance of DISTANCES) {
      const spec: VectorSpec = { size: 2, distance, datatype: 'float16' };
      const rows = new Uint8Array(Uint16Array.of(0x7c00, 0, 0x3c00, 0x3c00, 0xfc00, 0x3c00, 0x7c00, 0xfc00, 0, 0x7e00).buffer);
      const queries = [[1, 0], [0, 1], [-1, -1]].flatMap((vector) =>
        [1, 2, 5].map((k) => ({ vector: Float32Array.from(vector), k, allowed: bits(5, () => true) })));
      await assertSame(indexes, spec, rows, queries, distance);
    }
    await indexes.close();
  });
}

function growing(title: string, open: Open): void {
  test(`${title}: rows come back as they went in, in any pieces`, async () => {
    const indexes = await open();
    const random = seededRandom(25);
    const spec: VectorSpec = { size: 768, distance: 'Cosine', datatype: 'float32' };
    const bytes = randomRows(random, spec, 1_000, 'plain');
    const index = indexes.growing(spec);
    appendInPieces(index, bytes, random);
    assert.equal(index.rowCount, 1_000);
    const stride = strideBytes(spec);
    for (const row of [0, 1, 20, 21, 63, 64, 500, 999]) {
      const found = index.row(row);
      assert.deepEqual(Buffer.from(found), Buffer.from(bytes.subarray(row * stride, (row + 1) * stride)), `seed 25, row ${row}`);
      found.fill(0); // a copy
    }
    for (const [first, count] of [[0, 1_000], [0, 0], [1_000, 0], [20, 2], [62, 300], [999, 1]] as const) {
      const target = Buffer.alloc(count * stride, 0xee);
      index.readRows(first, target);
      assert.ok(target.equals(bytes.subarray(first * stride, (first + count) * stride)), `seed 25, ${count} rows from ${first}`);
    }
    for (const [first, size] of [[999, 2 * stride], [0, stride + 4], [1_001, 0]] as const) {
      assert.throws(() => {
        index.readRows(first, new Uint8Array(size));
      });
    }
    assert.notEqual(index.row(3)[0], undefined);
    assert.deepEqual(Buffer.from(index.row(20)), Buffer.from(bytes.subarray(20 * stride, 21 * stride)));
    assert.ok(index.memoryBytes >= bytes.length && index.memoryBytes < bytes.length * 2.5, `${index.memoryBytes} bytes for ${bytes.length}`);
    await indexes.close();
  });

  test(`${title}: a search sees the rows of its start while others are appended`, async () => {
    const indexes = await open();
    const random = seededRandom(26);
    const spec: VectorSpec = { size: 16, distance: 'Euclid', datatype: 'float32' };
    const index = indexes.growing(spec);
    const all = randomRows(random, spec, 6_000, 'plain');
    const stride = strideBytes(spec);
    index.append(all.subarray(0, 3_000 * stride));
    const queries = someQueries(random, spec, 3_000, 'plain').map((query) => ({ ...query, allowed: bits(6_000, () => true) }));
    const early = index.search(queries);
    for (let row = 3_000; row < 6_000; row += 100) index.append(all.subarray(row * stride, (row + 100) * stride));
    const late = await index.search(queries);
    await assertOracle(spec, all.subarray(0, 3_000 * stride), queries, await early, 'seed 26, early');
    await assertOracle(spec, all, queries, late, 'seed 26, late');
    await indexes.close();
  });
}

function files(title: string, open: Open): void {
  test(`${title}: a file of the wrong size is damage, an absent one is absent`, async (t) => {
    const indexes = await open();
    const spec: VectorSpec = { size: 4, distance: 'Dot', datatype: 'float32' };
    const { file, readAll } = await vectorFile(t, spec, new Uint8Array(160));
    await assert.rejects(indexes.openFile(spec, { ...file, sizeBytes: file.sizeBytes + 1 }, readAll), CorruptionError);
    await assert.rejects(indexes.openFile(spec, { ...file, rowCount: 11 }, readAll), CorruptionError);
    const gone = path.join(path.dirname(file.path), 'absent');
    await assert.rejects(indexes.openFile(spec, { ...file, path: gone }, () => fs.readFile(gone)), { code: 'ENOENT' });
    const empty = await indexes.openFile(spec, { ...file, rowCount: 0 }, readAll);
    assert.equal(empty.rowCount, 0);
    assert.deepEqual((await empty.search([{ vector: new Float32Array(4), k: 3, allowed: new Uint32Array(0) }]))[0]?.rows, new Uint32Array(0));
    await indexes.close();
  });
}

function refusals(title: string, open: Open): void {
  test(`${title}: what cannot be right is refused`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 3, distance: 'Dot', datatype: 'float32' };
    const index = indexes.growing(spec);
    index.append(new Uint8Array(12 * 33));
    const good = { vector: Float32Array.of(1, 2, 3), k: 1, allowed: bits(33, () => true) };
    const bad: Readonly<Record<string, IndexQuery>> = {
      'NaN': { ...good, vector: Float32Array.of(1, NaN, 3) },
      'infinity': { ...good, vector: Float32Array.of(1, 2, -Infinity) },
      'too few components': { ...good, vector: Float32Array.of(1, 2) },
      'too many components': { ...good, vector: Float32Array.of(1, 2, 3, 4) },
      'a short bitmap': { ...good, allowed: new Uint32Array(1) },
      'half a hit': { ...good, k: 0.5 },
      'fewer than none': { ...good, k: -1 },
      'no number': { ...good, k: NaN },
    };
    for (const [what, query] of Object.entries(bad)) await assert.rejects(index.search([good, query]), InvariantError, what);
    await assert.rejects(index.score(Float32Array.of(1, 2), Uint32Array.of(0)), InvariantError);
    await assert.rejects(index.score(Float32Array.of(1, NaN, 2), Uint32Array.of(0)), InvariantError);
    await assert.rejects(index.score(good.vector, Uint32Array.of(33)), InvariantError);
    assert.throws(() => {
      index.append(new Uint8Array(13));
    });
    assert.throws(() => index.row(33));
    assert.equal(index.rowCount, 33);
    assert.equal((await index.search([good]))[0]?.rows.length, 1, 'the index still works');
    await indexes.close();
  });
}

function lifetime(title: string, open: Open): void {
  test(`${title}: an aborted search rejects with the reason of its signal`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 64, distance: 'Dot', datatype: 'float32' };
    const index = indexes.growing(spec);
    index.append(randomRows(seededRandom(27), spec, 5_000, 'plain'));
    const query = { vector: randomVector(seededRandom(28), 64, 'plain'), k: 5, allowed: bits(5_000, () => true) };
    const reason = new RangeError('enough');
    await assert.rejects(index.search([query], AbortSignal.abort(reason)), (error) => error === reason);
    const abort = new AbortController();
    const cancelled = index.search(Array.from({ length: 20 }, () => query), abort.signal);
    abort.abort(reason);
    await assert.rejects(cancelled, (error) => error === reason);
    const [kept] = await index.search([query], new AbortController().signal);
    assert.equal(kept?.rows.length, 5);
    await indexes.close();
  });

  test(`${title}: closing waits for searches, then nothing works`, async () => {
    const indexes = await open();
    const spec: VectorSpec = { size: 64, distance: 'Euclid', datatype: 'float32' };
    const rows = randomRows(seededRandom(29), spec, 5_000, 'plain');
    const index = indexes.growing(spec);
    index.append(rows);
    const query = { vector: randomVector(seededRandom(30), 64, 'plain'), k: 5, allowed: bits(5_000, () => true) };
    let settled = 0;
    const searches = Array.from({ length: 10 }, async () => {
      const hits = await index.search([query]);
      settled += 1;
      return hits;
    });
    await Promise.all([index.close(), index.close()]);
    assert.equal(settled, 10);
    for (const search of searches) await assertOracle(spec, rows, [query], await search, 'seed 29');
    await assert.rejects(index.search([query]), InvariantError);
    await assert.rejects(index.score(query.vector, Uint32Array.of(0)), InvariantError);
    assert.throws(() => {
      index.append(rows);
    }, InvariantError);
    assert.throws(() => index.row(0), InvariantError);
    await index.close();
    await indexes.close();
  });
}

/** The same rows as a growing index and as a file, against the oracle. */
async function assertSame(indexes: VectorIndexes, spec: VectorSpec, rows: Uint8Array, queries: readonly IndexQuery[], where: string): Promise<void> {
  const grown = indexes.growing(spec);
  appendInPieces(grown, rows, seededRandom(rows.length));
  const found = await grown.search(queries);
  await assertOracle(spec, rows, queries, found, `${where}, growing`);
  await grown.close();
  const directory = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-index-'));
  try {
    const { file, readAll } = await writeVectorFile(directory, spec, rows);
    const sealed: VectorIndex = await indexes.openFile(spec, file, readAll);
    for (const [at, hits] of (await sealed.search(queries)).entries()) assertHits(hits, found[at], `${where}, file, query ${at}`);
    await sealed.close();
  } finally {
    await fs.rm(directory, { recursive: true });
  }
}

async function assertOracle(
  spec: VectorSpec, rows: Uint8Array, queries: readonly IndexQuery[], found: readonly IndexHits[], where: string,
): Promise<void> {
  const oracle = plainIndexes().growing(spec);
  oracle.append(rows);
  const wanted = await oracle.search(queries);
  assert.equal(found.length, wanted.length);
  for (const [at, want] of wanted.entries()) assertHits(found[at], want, `${where}, query ${at} (k ${queries[at]?.k})`);
}

function assertHits(found: IndexHits | undefined, want: IndexHits | undefined, where: string): void {
  assert.ok(found && want, where);
  assert.deepEqual(Array.from(found.rows), Array.from(want.rows), `rows: ${where}`);
  assert.deepEqual(bitsOf(found.scores), bitsOf(want.scores), `scores: ${where}`);
}

function someQueries(random: Random, spec: VectorSpec, count: number, texture: Texture): readonly IndexQuery[] {
  const filters = [bits(count, () => true), bits(count, () => random.below(2) === 0), bits(count, () => random.below(30) === 0)];
  return filters.flatMap((allowed, at) => [1, 10, count >>> 1].map((k) => ({
    vector: randomVector(random, spec.size, at === 0 ? texture : 'plain'), k, allowed,
  })));
}

function appendInPieces(index: GrowingVectorIndex, rows: Uint8Array, random: Random): void {
  const stride = strideBytes(index.spec);
  for (let from = 0; from < rows.length;) {
    const to = Math.min(rows.length, from + stride * random.below(200));
    index.append(rows.subarray(from, to));
    from = to;
  }
}

function bits(rows: number, allowed: (row: number) => boolean): Uint32Array {
  const words = new Uint32Array((rows + 31) >>> 5);
  for (let row = 0; row < rows; row += 1) {
    if (allowed(row)) words[row >>> 5] = (words[row >>> 5] ?? 0) | (1 << (row & 31));
  }
  return words;
}

function floats(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

interface OpenedFile {
  readonly file: VectorFile;
  readonly readAll: () => Promise<Uint8Array>;
}

/** A vector file in a folder that goes with the test. */
export async function vectorFile(t: TestContext, spec: VectorSpec, rows: Uint8Array): Promise<OpenedFile> {
  const directory = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-index-'));
  t.after(() => fs.rm(directory, { recursive: true }));
  return writeVectorFile(directory, spec, rows);
}

async function writeVectorFile(directory: string, spec: VectorSpec, rows: Uint8Array): Promise<OpenedFile> {
  const name = path.join(directory, 'rows.vec');
  await fs.writeFile(name, Buffer.concat([Buffer.alloc(dataOffset, 0xee), rows]));
  const file = { path: name, dataOffset, rowCount: rows.length / strideBytes(spec), sizeBytes: dataOffset + rows.length };
  return { file, readAll: () => fs.readFile(name) };
}
