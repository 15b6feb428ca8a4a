import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { must } from '../base/assert.ts';
import { loadAddon } from '../vector/addon.ts';
import { DATATYPES, DISTANCES, type VectorSpec } from '../vector/distance.ts';
import type { QueryPlan } from './filter-plan.ts';
import { NativeGraph } from './native-hnsw.ts';
import { assertSame, bitmapOf, imagesOf, openGraph, recallOf, type OpenedGraph, type Points } from './testing/graph-cases.ts';
import type { GraphConfig, GraphPart, GraphSeed, GraphSlot, IndexHits, IndexQuery } from './vector-index.ts';

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

  test('graph: a short walk ends in the turn in which it was asked for, a long one and too many short ones let the loop turn', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Cosine', datatype: 'float32' }, 91);
    (await graph.build(config)).install();
    const ask = (vector: Float32Array, hnswEf: number): IndexQuery => ({ vector, k: 10, allowed: all, hnswEf });
    const many = queries.flatMap((vector) => [ask(vector, 24), ask(vector, 2_000)]);
    const onThreads = await index.search(many);
    let turns = 0;
    const count = (): void => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    t.after(() => { clearImmediate(counting); });
    await nextTurn();
    const before = turns;
    const [first] = await index.search([ask(must(queries[0], 'a query'), 24)]);
    assert.equal(turns, before);
    assertSame([must(first, 'an answer')], onThreads.slice(0, 1));
    assertSame(await index.search(many), onThreads);
    assert.ok(turns > before);
    const between = turns;
    for (let round = 0; round < 20; round += 1) {
      for (const [at, vector] of queries.entries()) assertSame(await index.search([ask(vector, 24)]), onThreads.slice(2 * at, 2 * at + 1));
    }
    assert.ok(turns > between + 3, 'one after another');
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

  test('graph: links are taken over from another index, and those of gone rows chosen anew', async (t) => {
    const spec = { size, distance: 'Euclid', datatype: 'float32' } as const;
    const old = await open(t, spec, 90);
    (await old.graph.build(config)).install();
    const linksOf = async (graph: GraphSlot, seed: GraphSeed | undefined): Promise<Buffer> => {
      const build = await graph.build({ ...config, ...(seed === undefined ? {} : { seed }) });
      const links = Buffer.concat([...build.pieces(1)]);
      build.install();
      return links;
    };
    const same = await open(t, spec, 90);
    const first = await linksOf(same.graph, { graph: old.graph, live: all, first: 0 });
    assert.deepEqual(await linksOf(old.graph, { graph: same.graph, live: all, first: 0 }), first, 'of the same rows the same links');
    // the first half of the rows, behind as many others
    const half = await open(t, spec, 90, { order: (row) => (row < rowCount / 2 ? rowCount / 2 + row : row - rowCount / 2) });
    await linksOf(half.graph, { graph: old.graph, live: bitmapOf(rowCount, (row) => row < rowCount / 2), first: rowCount / 2 });
    assert.ok(await recallOf(half.index, half.queries, { allowed: all, hnswEf: 64 }) >= 0.95, 'seed 90');
    for (const [what, config2, seed] of [
      ['a graph with as many links', { ...config, m: 8 }, { graph: old.graph, live: all, first: 0 }],
      ['live must be as long', config, { graph: old.graph, live: all.subarray(0, 9), first: 0 }],
      ['live must be no more than the rows', config, { graph: old.graph, live: all, first: 1 }],
    ] as const) await assert.rejects(same.graph.build({ ...config2, seed }), (error) => error instanceof TypeError && error.message.includes(what), what);
  });

  /** Rows of one residue: 20 %, 10 %, 3 % and 0.5 % of all; and a row alone. */
  const blockLists = [[5, 1], [10, 1], [33, 1], [200, 1], [rowCount, 1]].map(([divisor, residues]) =>
    Uint32Array.from({ length: rowCount }, (_, row) => row).filter((row) => row % must(divisor, 'one') < must(residues, 'one')));
  const planOf = (graph: GraphSlot, query: IndexQuery): QueryPlan => {
    assert.ok(graph instanceof NativeGraph);
    return must(graph.plan(query), 'a graph is loaded');
  };

  for (const distance of DISTANCES) {
    test(`graph: ${distance}: rows that lie in one block are found by its links, with filters on top`, async (t) => {
      const { index, graph, queries } = await open(t, { size, distance, datatype: 'float32' }, 88);
      (await graph.build({ ...config, blocks: { m: 16, lists: blockLists } })).install();
      const walked = new Set<number | undefined>();
      for (const list of blockLists) {
        for (const oneOf of [1, 2, 3]) {
          const rows = new Set(list.filter((_, at) => at % oneOf === 0));
          const allowed = bitmapOf(rowCount, (row) => rows.has(row));
          const plan = planOf(graph, { vector: must(queries[0], 'a query'), k: 10, allowed, hnswEf: 10 });
          if (plan.kind === 'walk') walked.add(plan.block);
          assert.ok(await recallOf(index, queries, { allowed, hnswEf: 64 }) >= 0.95, `seed 88, each ${oneOf}th of ${list.length}`);
        }
      }
      assert.ok(walked.has(0) && walked.has(1), 'the large blocks were walked');
    });
  }

  test('graph: blocks without links over all rows; those are scanned', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Euclid', datatype: 'float32' }, 89);
    const build = await graph.build({ ...config, m: 0, blocks: { m: 16, lists: blockLists.slice(0, 2) } });
    assert.deepEqual([build.outcome, build.sizeBytes(1)], ['built', 0]);
    build.install();
    assert.equal(await recallOf(index, queries, { allowed: all }), 1);
    const [large] = blockLists;
    const rows = new Set(large);
    assert.ok(await recallOf(index, queries, { allowed: bitmapOf(rowCount, (row) => rows.has(row)), hnswEf: 64 }) >= 0.95);
    const empty = await graph.build({ ...config, m: 0, blocks: { m: 16, lists: [] } });
    assert.deepEqual([empty.outcome, empty.sizeBytes(0), empty.sizeBytes(2)], ['empty', 0, 0]);
  });

  test('graph: blocks are written and loaded; damage is refused; links over all rows are kept where asked', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Euclid', datatype: 'float32' }, 90);
    const build = await graph.build({ ...config, blocks: { m: 8, lists: blockLists } });
    const parts = ([0, 1, 2] as const).map((part: GraphPart) => Buffer.concat([...build.pieces(part)]));
    build.install();
    assert.ok(graph.memoryBytes > parts.reduce((sum, { length }) => sum + length, 4 * rowCount));
    const rows = new Set(must(blockLists[1], 'a list'));
    const ask = queries.map((vector) => ({ vector, k: 10, allowed: bitmapOf(rowCount, (row) => rows.has(row)), hnswEf: 32 }));
    const before = await index.search(ask);
    graph.drop();
    await graph.load(imagesOf(parts));
    assertSame(await index.search(ask), before);
    graph.drop();
    const [codes, links, blocks] = parts;
    assert.ok(codes && links && blocks);
    const outside = Buffer.from(blocks);
    outside.writeUInt32LE(rowCount, 64 + 128);
    for (const [what, bad] of Object.entries({ 'cut blocks': blocks.subarray(0, -64), 'a row outside': outside, 'blocks of other rows': Buffer.concat([Buffer.of(1, 0, 0, 0), blocks.subarray(4)]) })) {
      await assert.rejects(graph.load(imagesOf([codes, links, bad])), (error) => error instanceof CorruptionError && error.problem.includes('blocks'), what);
    }
    await graph.load(imagesOf([codes, links]));
    const again = await graph.build({ ...config, keepsLinks: true, blocks: { m: 8, lists: blockLists.slice(1) } });
    assert.ok(again.sizeBytes(2) < blocks.length);
    assert.deepEqual(Buffer.concat([...again.pieces(1)]), links);
    again.install();
    assert.ok(await recallOf(index, queries, { allowed: ask[0]?.allowed ?? all, hnswEf: 64 }) >= 0.95);
    const without = await graph.build({ ...config, keepsLinks: true });
    assert.equal(without.sizeBytes(2), 0);
    without.discard();
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

  test('graph: one that is replaced while a search waits for the next turn is not asked any more', async (t) => {
    const { index, graph, queries } = await open(t, { size, distance: 'Cosine', datatype: 'float32' }, 92);
    const lists = [0, 1].map((residue) => Uint32Array.from({ length: rowCount / 2 }, (_, at) => 2 * at + residue));
    const allowed = bitmapOf(rowCount, (row) => row % 2 === 1);
    (await graph.build({ ...config, m: 0, blocks: { m: 16, lists } })).install();
    const other = await graph.build({ ...config, m: 0, blocks: { m: 16, lists: lists.toReversed() } });
    const searches = Array.from({ length: 200 }, (_, at) => index.search([{ vector: must(queries[at % queries.length], 'a query'), k: 10, allowed, hnswEf: 24 }]));
    other.install();
    for (const hits of (await Promise.all(searches)).flat()) {
      assert.equal(hits.rows.length, 10);
      assert.ok(hits.rows.every((row) => row % 2 === 1));
    }
  });
}
