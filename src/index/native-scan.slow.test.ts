import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import { test } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { loadAddon } from '../vector/addon.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { randomRows, randomVector } from '../vector/testing/random-rows.ts';
import { nativeIndexes } from './native-scan.ts';
import { vectorFile, vectorIndexContract } from './vector-index.contract.ts';

const addon = loadAddon();

if (addon === undefined) {
  test('native scan', { skip: 'NEARKEEP_NATIVE=off' }, () => {
    assert.equal(process.env['NEARKEEP_NATIVE'], 'off');
  });
} else {
  for (const { name } of addon.kernels) vectorIndexContract(name, () => Promise.resolve(nativeIndexes(addon, name)));

  const spec: VectorSpec = { size: 256, distance: 'Cosine', datatype: 'float32' };
  const query = { vector: randomVector(seededRandom(41), 256, 'plain'), k: 10, allowed: new Uint32Array(200).fill(0xffffffff) };
  const indexes = nativeIndexes(addon, 'scalar');

  for (const [title, keptBytes] of [['to nothing', 0], ['in the middle', 3_000_000], ['inside its last page', -100]] as const) {
    test(`a mapped file that is cut ${title} under a search is damage, not a crash`, async (t) => {
      const { file, readAll } = await vectorFile(t, spec, randomRows(seededRandom(42), spec, 5_000, 'plain'));
      const index = await indexes.openFile(spec, file, readAll);
      assert.equal((await index.search([query]))[0]?.rows.length, 10);
      await fs.truncate(file.path, keptBytes >= 0 ? keptBytes : file.sizeBytes + keptBytes);
      const damage = (error: unknown): boolean => error instanceof CorruptionError && error.file === file.path;
      await assert.rejects(index.search([query]), damage);
      await assert.rejects(index.score(query.vector, Uint32Array.of(4_999)), damage);
      const other = indexes.growing(spec); // the threads live
      other.append(randomRows(seededRandom(43), spec, 100, 'plain'));
      assert.equal((await other.search([query]))[0]?.rows.length, 10);
      await index.close();
    });
  }

  test('a cancelled search stops early', async () => {
    const handle = addon.growRows('scalar', 768, 'Dot', 'float32');
    addon.appendRows(handle, new Uint8Array(3072 * 6_000));
    const vectors = Array.from({ length: 200 }, () => new Float32Array(768)); // seconds of work
    const search = addon.searchRows(handle, vectors, vectors.map(() => 1), vectors.map(() => new Uint32Array(188).fill(0xffffffff)), 77);
    addon.cancel(77);
    addon.cancel(78); // nobody's
    await assert.rejects(search, { code: 'ERR_CANCELLED' });
    addon.closeRows(handle);
  });

  test('rows that are appended meanwhile are not searched, whichever thread searches', async () => {
    const random = seededRandom(46);
    const index = indexes.growing(spec);
    index.append(randomRows(random, spec, 320, 'plain'));
    const allowed = new Uint32Array(10).fill(0xffffffff);
    const searches = Array.from({ length: 500 }, () => index.search([{ ...query, allowed }]));
    index.append(randomRows(random, spec, 320, 'plain'));
    for (const hits of (await Promise.all(searches)).flat()) assert.ok(hits.rows.length === 10 && hits.rows.every((row) => row < 320));
    await index.close();
  });

  test('a mapped file may be unlinked while it is searched', async (t) => {
    const { file, readAll } = await vectorFile(t, spec, randomRows(seededRandom(44), spec, 1_000, 'plain'));
    const index = await indexes.openFile(spec, file, readAll);
    await fs.rm(file.path);
    assert.equal((await index.search([query]))[0]?.rows.length, 10);
    await index.close();
  });

  test('a mapped file stays off the heap', async (t) => {
    const { file, readAll } = await vectorFile(t, spec, new Uint8Array(64 << 20));
    const before = process.memoryUsage();
    const index = await indexes.openFile(spec, file, readAll);
    const after = process.memoryUsage();
    assert.ok(after.heapUsed + after.external - before.heapUsed - before.external < 4 << 20);
    await index.close();
  });

  test('many concurrent searches and closes', async () => {
    const random = seededRandom(45);
    const work = Array.from({ length: 40 }, async (_, at) => {
      const index = indexes.growing(spec);
      index.append(randomRows(random, spec, 50 + at * 10, 'plain'));
      const searches = Array.from({ length: 5 }, () => index.search([query, query]));
      await index.close();
      return (await Promise.all(searches)).flat();
    });
    for (const hits of (await Promise.all(work)).flat()) assert.equal(hits.rows.length, 10);
  });
}
