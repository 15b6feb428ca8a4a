import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom, type Random } from '../base/testing/random.ts';
import { must } from '../base/assert.ts';
import { loadAddon } from '../vector/addon.ts';
import { DATATYPES, DISTANCES, type VectorSpec } from '../vector/distance.ts';
import { bitsOf } from '../vector/kernels.contract.ts';
import { prepareQuery, toStored } from '../vector/stored-vector.ts';
import { nativeIndexes } from './native-scan.ts';
import { vectorFile } from './vector-index.contract.ts';
import type { GraphConfig, GraphImages, GraphPart, GraphSlot, IndexHits, VectorIndex } from './vector-index.ts';

const addon = loadAddon();
const config: GraphConfig = { m: 16, efConstruct: 100, threadsMax: 0, codes: { kind: 'internal' } };
const size = 24;

/** Points around 40 centres, of one length, positive so that bytes can hold them. */
function clustered(random: Random, count: number): Float32Array[] {
  const centres = Array.from({ length: 40 }, () => Array.from({ length: size }, () => 60 + random.below(120)));
  return Array.from({ length: count }, () => {
    const centre = must(centres[random.below(40)], 'a centre');
    const point = Float32Array.from(centre, (value) => value + random.below(60) - 30);
    const length = Math.hypot(...point);
    return point.map((value) => (value / length) * 600);
  });
}

function bits(rows: number, allowed: (row: number) => boolean): Uint32Array {
  const words = new Uint32Array((rows + 31) >>> 5);
  for (let row = 0; row < rows; row += 1) if (allowed(row)) words[row >>> 5] = (words[row >>> 5] ?? 0) | (1 << (row & 31));
  return words;
}

/** Share of the truth's rows; every score must be that of the scan, bit by bit. */
async function recall(index: VectorIndex, queries: readonly Float32Array[], options: { readonly allowed: Uint32Array; readonly hnswEf?: number; readonly quantization?: object }): Promise<number> {
  const ask = queries.map((vector) => ({ vector, k: 10, ...options }));
  const found = await index.search(ask);
  const truth = await index.search(ask.map((query) => ({ ...query, exact: true })));
  let hits = 0;
  let all = 0;
  for (const [at, want] of truth.entries()) {
    const have = must(found[at], 'an answer');
    assert.equal(have.rows.length, want.rows.length);
    assert.deepEqual(bitsOf(have.scores), bitsOf(await index.score(must(queries[at], 'a query'), have.rows)));
    hits += have.rows.filter((row) => want.rows.includes(row)).length;
    all += want.rows.length;
  }
  return hits / all;
}

interface Opened {
  readonly index: VectorIndex;
  readonly graph: GraphSlot;
  readonly queries: readonly Float32Array[];
}

if (addon === undefined) {
  test('native graphs', { skip: 'NEARKEEP_NATIVE=off' }, () => {
    assert.equal(process.env['NEARKEEP_NATIVE'], 'off');
  });
} else {
  const rowCount = 20_000;
  const open = async (t: TestContext, spec: VectorSpec, seed: number, lengthOf: (row: number) => number = () => 1, middle = 0): Promise<Opened> => {
    const random = seededRandom(seed);
    const points = clustered(random, rowCount + 40);
    const rows = Buffer.concat(points.slice(0, rowCount).map((point, row) => toStored(spec, point.map((value) => (value - middle) * lengthOf(row)))));
    const { file, readAll } = await vectorFile(t, spec, rows);
    const indexes = nativeIndexes(addon, must(addon.kernels[0], 'a kernel').name);
    const index = await indexes.openFile(spec, file, readAll);
    t.after(() => indexes.close());
    return { index, graph: must(index.graph, 'a file has a place for a graph'), queries: points.slice(rowCount).map((point) => prepareQuery(spec, point.map((value) => value - middle))) };
  };
  const all = bits(rowCount, () => true);

  const imagesOf = (parts: readonly Uint8Array[]): GraphImages => ({
    file: 'graph file', efConstruct: 100, codesInMemory: true, codeFile: { path: '', dataOffset: 0, sizeBytes: 0 },
    sizeBytes: (part) => must(parts[part], 'a part').length,
    read: (part, use) => {
      const bytes = must(parts[part], 'a part');
      for (let at = 0; at < bytes.length; at += 70_000) use(bytes.subarray(at, at + 70_000), at);
      return Promise.resolve();
    },
  });

  for (const distance of DISTANCES) {
    for (const datatype of DATATYPES) {
      test(`graph: ${distance} over ${datatype} finds what the scan finds`, async (t) => {
        const { index, graph, queries } = await open(t, { size, distance, datatype }, 81);
        const build = await graph.build(config);
        assert.equal(build.outcome, 'built');
        build.install();
        assert.ok(graph.isLoaded && graph.memoryBytes > rowCount * (size + 132));
        assert.ok(await recall(index, queries, { allowed: all, hnswEf: 64 }) >= 0.95, 'seed 81');
        assert.ok(await recall(index, queries, { allowed: all, hnswEf: 256 }) >= 0.98, 'seed 81');
        assert.ok(await recall(index, queries, { allowed: all, quantization: { ignore: true } }) >= 0.95, 'seed 81, by rows');
      });
    }
  }

  test('graph: filters of every share are answered in full, by allowed rows', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Cosine', datatype: 'float32' }, 82);
    (await graph.build(config)).install();
    const random = seededRandom(83);
    for (const oneIn of [1.2, 2, 5, 10, 30, 100, 1000, 7000]) {
      const allowed = bits(rowCount, () => random.below(1_000_000) * oneIn < 1_000_000);
      const found = await recall(index, queries, { allowed });
      assert.ok(found >= 0.93, `seed 83, one in ${oneIn}: ${found}`);
      for (const { rows } of await index.search(queries.map((vector) => ({ vector, k: 10, allowed })))) {
        assert.ok(rows.every((row) => ((allowed[row >>> 5] ?? 0) >>> (row & 31) & 1) === 1));
      }
    }
    const few = bits(rowCount, (row) => row % 9_000 === 5);
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
    assert.equal(await recall(index, queries, { allowed: all }), 1);
  });

  test('graph: products of very unequal lengths stay on the scan', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Dot', datatype: 'float32' }, 85, (row) => (row % 100 === 0 ? 100 : 1), 120);
    const build = await graph.build(config);
    assert.equal(build.outcome, 'missed');
    build.install();
    assert.ok(!graph.isLoaded);
    assert.equal(await recall(index, queries, { allowed: all }), 1);
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

function assertSame(found: readonly IndexHits[], wanted: readonly IndexHits[]): void {
  assert.deepEqual(found.map(({ rows, scores }) => [[...rows], [...scores]]), wanted.map(({ rows, scores }) => [[...rows], [...scores]]));
}
