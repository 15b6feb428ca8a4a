import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { must } from '../base/assert.ts';
import { loadAddon } from '../vector/addon.ts';
import { DATATYPES, DISTANCES, type VectorSpec } from '../vector/distance.ts';
import { assertSame, bitmapOf, imagesOf, openGraph, recallOf, type OpenedGraph, type Points } from './testing/graph-cases.ts';
import type { GraphConfig, GraphPart, IndexHits } from './vector-index.ts';

const addon = loadAddon();
const config: GraphConfig = { m: 16, efConstruct: 100, threadsMax: 0, codes: { kind: 'internal' } };
const size = 24;

if (addon === undefined) {
  test('native graphs', { skip: 'NEARKEEP_NATIVE=off' }, () => {
    assert.equal(process.env['NEARKEEP_NATIVE'], 'off');
  });
} else {
  const rowCount = 20_000;
  const open = (t: TestContext, spec: VectorSpec, seed: number, more: Omit<Points, 'seed' | 'rowCount'> = {}): Promise<OpenedGraph> => openGraph(t, addon, spec, { seed, rowCount, ...more });
  const all = bitmapOf(rowCount);

  for (const distance of DISTANCES) {
    for (const datatype of DATATYPES) {
      test(`graph: ${distance} over ${datatype} finds what the scan finds`, async (t) => {
        const { index, graph, queries } = await open(t, { size, distance, datatype }, 81);
        const build = await graph.build(config);
        assert.equal(build.outcome, 'built');
        build.install();
        assert.ok(graph.isLoaded && graph.memoryBytes > rowCount * (size + 132));
        assert.ok(await recallOf(index, queries, { allowed: all, hnswEf: 64 }) >= 0.95, 'seed 81');
        assert.ok(await recallOf(index, queries, { allowed: all, hnswEf: 256 }) >= 0.98, 'seed 81');
        assert.ok(await recallOf(index, queries, { allowed: all, quantization: { ignore: true } }) >= 0.95, 'seed 81, by rows');
      });
    }
  }

  test('graph: filters of every share are answered in full, by allowed rows', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Cosine', datatype: 'float32' }, 82);
    (await graph.build(config)).install();
    const random = seededRandom(83);
    for (const oneIn of [1.2, 2, 5, 10, 30, 100, 1000, 7000]) {
      const allowed = bitmapOf(rowCount, () => random.below(1_000_000) * oneIn < 1_000_000);
      const found = await recallOf(index, queries, { allowed });
      assert.ok(found >= 0.93, `seed 83, one in ${oneIn}: ${found}`);
      for (const { rows } of await index.search(queries.map((vector) => ({ vector, k: 10, allowed })))) {
        assert.ok(rows.every((row) => ((allowed[row >>> 5] ?? 0) >>> (row & 31) & 1) === 1));
      }
    }
    const few = bitmapOf(rowCount, (row) => row % 9_000 === 5);
    assert.deepEqual((await index.search([{ vector: must(queries[0], 'a query'), k: 10, allowed: few }]))[0]?.rows.toSorted(), Uint32Array.of(5, 9_005, 18_005));
  });

  test('graph: what was written is what is loaded; damage is refused and leaves the scan', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Euclid', datatype: 'float32' }, 84);
    const build = await graph.build(config);
    const parts = ([0, 1] as const).map((part: GraphPart) => Buffer.concat([...build.pieces(part)]));
    assert.deepEqual(parts.map((part) => part.length), [build.sizeBytes(0), build.sizeBytes(1)]);
    build.install();
    const ask = queries.map((vector) => ({ vector, k: 10, allowed: all, hnswEf: 64 }));
    const before = await index.search(ask);
    graph.drop();
    assert.ok(!graph.isLoaded);
    await graph.load(imagesOf(parts));
    assertSame(await index.search(ask), before);
    graph.drop();
    const [codes, links] = parts;
    assert.ok(codes && links);
    const outside = Buffer.from(links);
    outside.writeUInt32LE(rowCount, 64 + 4);
    const damaged = { 'a cut graph': [codes, links.subarray(0, -4)], 'cut codes': [codes.subarray(0, -64), links], 'nothing': [codes, Buffer.alloc(0)], 'a link outside': [codes, outside], 'parts changed': [links, codes] };
    for (const [what, bad] of Object.entries(damaged)) {
      await assert.rejects(graph.load(imagesOf(bad)), (error) => error instanceof CorruptionError && error.file === 'graph file', what);
    }
    assert.ok(!graph.isLoaded);
    assert.equal(await recallOf(index, queries, { allowed: all }), 1);
  });

  test('graph: products of very unequal lengths stay on the scan', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Dot', datatype: 'float32' }, 85, { lengthOf: (row) => (row % 100 === 0 ? 100 : 1), middle: 120 });
    const build = await graph.build(config);
    assert.equal(build.outcome, 'missed');
    build.install();
    assert.ok(!graph.isLoaded);
    assert.equal(await recallOf(index, queries, { allowed: all }), 1);
  });

  test('graph: a build is cancelled by its signal, and searches go on meanwhile', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Manhattan', datatype: 'float32' }, 86);
    const abort = new AbortController();
    const reason = new RangeError('enough');
    const build = graph.build(config, abort.signal);
    await index.search([{ vector: must(queries[0], 'a query'), k: 10, allowed: all }]);
    abort.abort(reason);
    await assert.rejects(build, (error) => error === reason);
    assert.ok(!graph.isLoaded);
  });

  test('graph: one that is replaced or closed under searches ends none of them', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Cosine', datatype: 'uint8' }, 87);
    (await graph.build(config)).install();
    const searches: Promise<readonly IndexHits[]>[] = [];
    const build = graph.build({ ...config, m: 8 });
    for (let round = 0; round < 20; round += 1) searches.push(index.search(queries.map((vector) => ({ vector, k: 10, allowed: all }))));
    (await build).install();
    for (let round = 0; round < 20; round += 1) searches.push(index.search(queries.map((vector) => ({ vector, k: 10, allowed: all }))));
    await index.close();
    for (const hits of (await Promise.all(searches)).flat()) assert.equal(hits.rows.length, 10);
  });
}
