import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import { loadAddon } from '../vector/addon.ts';
import type { BinaryQueryEncoding, CodesConfig } from '../vector/codes-config.ts';
import { DISTANCES, type Distance, type VectorSpec } from '../vector/distance.ts';
import { assertSame, bitmapOf, imagesOf, openGraph, recallOf, type OpenedGraph } from './testing/graph-cases.ts';
import type { GraphBuild, GraphConfig, GraphImages, IndexSettings } from './vector-index.ts';

const addon = loadAddon();
const size = 128;
const rowCount = 6000;
const all = bitmapOf(rowCount);

interface CodesCase {
  readonly codes: CodesConfig;
  readonly oversampling: number;
  readonly binaryQuery?: BinaryQueryEncoding;
  readonly everyDistance?: true;
}

const cases: readonly CodesCase[] = [
  { codes: { kind: 'scalar', quantile: 0.99 }, oversampling: 2, everyDistance: true },
  { codes: { kind: 'scalar', quantile: 0.5 }, oversampling: 10 },
  { codes: { kind: 'product', compression: 4 }, oversampling: 2 },
  { codes: { kind: 'product', compression: 8 }, oversampling: 4 },
  { codes: { kind: 'product', compression: 16 }, oversampling: 10, everyDistance: true },
  { codes: { kind: 'product', compression: 32 }, oversampling: 16 },
  { codes: { kind: 'product', compression: 64 }, oversampling: 16 },
  { codes: { kind: 'binary', encoding: 'one-bit' }, oversampling: 16, everyDistance: true },
  { codes: { kind: 'binary', encoding: 'one-bit' }, oversampling: 16, binaryQuery: 'scalar4bits' },
  { codes: { kind: 'binary', encoding: 'one-and-half-bits' }, oversampling: 16, binaryQuery: 'binary' },
  { codes: { kind: 'binary', encoding: 'two-bits' }, oversampling: 10, binaryQuery: 'scalar8bits', everyDistance: true },
];

function nameOf({ codes, binaryQuery }: CodesCase): string {
  return [...Object.values(codes), ...(binaryQuery === undefined ? [] : [binaryQuery])].join(' ');
}

function configOf(codes: CodesConfig): GraphConfig {
  return { m: 16, efConstruct: 100, threadsMax: 1, codes };
}

function settingsOf({ oversampling, binaryQuery }: CodesCase): IndexSettings {
  return { hnswEf: 64, quantization: { oversampling }, ...(binaryQuery === undefined ? {} : { binaryQuery }) };
}

function partsOf(build: GraphBuild): readonly [Buffer, Buffer] {
  return [Buffer.concat([...build.pieces(0)]), Buffer.concat([...build.pieces(1)])];
}

if (addon === undefined) {
  test('native codes', { skip: 'NEARKEEP_NATIVE=off' }, () => {
    assert.equal(process.env['NEARKEEP_NATIVE'], 'off');
  });
} else {
  const specOf = (distance: Distance): VectorSpec => ({ size, distance, datatype: 'float32' });
  const built = async (t: TestContext, spec: VectorSpec, codes: CodesConfig, rows = rowCount): Promise<OpenedGraph & { readonly parts: readonly [Buffer, Buffer] }> => {
    const opened = await openGraph(t, addon, spec, { seed: 91, rowCount: rows, middle: 120 });
    const build = await opened.graph.build(configOf(codes));
    assert.equal(build.outcome, 'built');
    build.install();
    return { ...opened, parts: partsOf(build) };
  };

  for (const one of cases) {
    test(`codes: ${nameOf(one)} finds what the scan finds`, async (t) => {
      for (const distance of one.everyDistance === true ? DISTANCES : (['Cosine'] as const)) {
        const { index, graph, queries } = await built(t, specOf(distance), one.codes);
        assert.equal(graph.codes, one.codes.kind);
        assert.equal(graph.mappedBytes, 0);
        const found = await recallOf(index, queries, { allowed: all, ...settingsOf(one) });
        assert.ok(found >= 0.95, `seed 91, ${distance}: ${found}`);
        const { queries: walks, evaluations } = graph.counters;
        assert.equal(walks, queries.length);
        assert.ok(evaluations > walks * 64 && evaluations < (walks * rowCount) / 2, `${evaluations / walks} distances a query`);
      }
    });
  }

  test('codes: rescoring less finds less, and still true scores', async (t) => {
    const { index, queries } = await built(t, specOf('Cosine'), { kind: 'binary', encoding: 'one-bit' });
    const few = await recallOf(index, queries, { allowed: all, hnswEf: 64, quantization: { rescore: false } });
    const many = await recallOf(index, queries, { allowed: all, hnswEf: 64, quantization: { oversampling: 16 } });
    assert.ok(few < many, `seed 91: ${few} and ${many}`);
  });

  test('codes: more bits of the query tell more', async (t) => {
    const { index, queries } = await built(t, specOf('Euclid'), { kind: 'binary', encoding: 'one-bit' });
    const recall = (binaryQuery: BinaryQueryEncoding): Promise<number> => recallOf(index, queries, { allowed: all, hnswEf: 100, quantization: { oversampling: 2 }, binaryQuery });
    const [stored, eight] = [await recall('default'), await recall('scalar8bits')];
    assert.ok(stored < eight, `seed 91: ${stored} and ${eight}`);
    assert.equal(await recall('binary'), stored);
  });

  test('codes: their bytes are those of their form', async (t) => {
    const bytesOf = async (codes: CodesConfig): Promise<number> => {
      const spec: VectorSpec = { size: 768, distance: 'Cosine', datatype: 'float32' };
      const [few, many] = [await built(t, spec, codes, 100), await built(t, spec, codes, 200)];
      assert.equal(many.graph.memoryBytes, many.parts[0].length + many.parts[1].length);
      return (many.parts[0].length - few.parts[0].length) / 100;
    };
    assert.equal(await bytesOf({ kind: 'internal' }), 832);
    assert.equal(await bytesOf({ kind: 'scalar', quantile: 0.99 }), 832);
    assert.equal(await bytesOf({ kind: 'product', compression: 32 }), 96);
    assert.equal(await bytesOf({ kind: 'product', compression: 4 }), 768);
    assert.equal(await bytesOf({ kind: 'binary', encoding: 'one-bit' }), 112);
    assert.equal(await bytesOf({ kind: 'binary', encoding: 'one-and-half-bits' }), 160);
    assert.equal(await bytesOf({ kind: 'binary', encoding: 'two-bits' }), 208);
  });

  const codeFileOf = async (t: TestContext, codes: Buffer): Promise<GraphImages['codeFile']> => {
    const folder = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-codes-'));
    t.after(() => fs.rm(folder, { recursive: true }));
    const file = path.join(folder, 'code');
    await fs.writeFile(file, Buffer.concat([Buffer.alloc(4096), codes, Buffer.alloc(12)]));
    return { path: file, dataOffset: 4096, sizeBytes: 4096 + codes.length + 12 };
  };

  test('codes: from a map they answer the same and take no memory; a cut file is damage with its name', async (t) => {
    for (const { codes } of [...cases, { codes: { kind: 'internal' } as const }]) {
      const { index, graph, queries, parts } = await built(t, { size: 32, distance: 'Dot', datatype: 'float32' }, codes);
      const ask = queries.map((vector) => ({ vector, k: 10, allowed: all, hnswEf: 40 }));
      const wanted = await index.search(ask);
      const inMemory = graph.memoryBytes;
      const codeFile = await codeFileOf(t, parts[0]);
      await graph.load(imagesOf(parts, codeFile));
      assert.equal(graph.codes, codes.kind);
      assert.equal(graph.memoryBytes + graph.mappedBytes, inMemory);
      assert.ok(graph.mappedBytes > 0 && graph.mappedBytes % rowCount === 0);
      const { queries: before } = graph.counters;
      assertSame(await index.search(ask), wanted);
      assert.equal(graph.counters.queries, before + ask.length);
      await fs.truncate(codeFile.path, 4096);
      await assert.rejects(index.search(ask), (error) => error instanceof CorruptionError && error.file === codeFile.path);
      await assert.rejects(graph.load(imagesOf(parts, codeFile)), CorruptionError);
      await index.close();
    }
  });

  test('codes: damage is refused and leaves the scan', async (t) => {
    const spec: VectorSpec = { size: 32, distance: 'Cosine', datatype: 'float32' };
    for (const { codes } of cases) {
      const { graph, parts: [bytes, links] } = await built(t, spec, codes, 300);
      graph.drop();
      const damaged: Record<string, Buffer> = { 'a cut image': bytes.subarray(0, -1), 'no image': Buffer.alloc(0), 'half a header': bytes.subarray(0, 30) };
      for (const at of [0, 4, 8, 12, 40, 63]) {
        const flipped = Buffer.from(bytes);
        flipped[at] = must(flipped[at], 'a byte') ^ 0x40;
        damaged[`byte ${at} flipped`] = flipped;
      }
      for (const [what, bad] of Object.entries(damaged)) {
        await assert.rejects(graph.load(imagesOf([bad, links])), CorruptionError, `${codes.kind}: ${what}`);
        await assert.rejects(graph.load(imagesOf([bad, links], await codeFileOf(t, bad))), CorruptionError, `${codes.kind}, mapped: ${what}`);
      }
      assert.ok(!graph.isLoaded && graph.codes === undefined && graph.memoryBytes === 0);
      await graph.load(imagesOf([bytes, links]));
      assert.equal(graph.codes, codes.kind);
    }
  });

  test('codes: making them is cancelled by the signal', async (t) => {
    const { graph } = await openGraph(t, addon, specOf('Cosine'), { seed: 92, rowCount });
    const abort = new AbortController();
    const reason = new RangeError('enough');
    const build = graph.build(configOf({ kind: 'product', compression: 4 }), abort.signal);
    abort.abort(reason);
    await assert.rejects(build, (error) => error === reason);
    assert.ok(!graph.isLoaded);
  });
}
