// What tests of native graphs share: clustered points, an index over a file of them, recall against the scan, images to load.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { must } from '../../base/assert.ts';
import { seededRandom, type Random } from '../../base/testing/random.ts';
import type { Addon } from '../../vector/addon.ts';
import type { VectorSpec } from '../../vector/distance.ts';
import { bitsOf } from '../../vector/kernels.contract.ts';
import { prepareQuery, toStored } from '../../vector/stored-vector.ts';
import { nativeIndexes } from '../native-scan.ts';
import { vectorFile } from '../vector-index.contract.ts';
import type { GraphImages, GraphSlot, IndexHits, IndexSettings, VectorIndex } from '../vector-index.ts';

export interface OpenedGraph {
  readonly index: VectorIndex;
  readonly graph: GraphSlot;
  readonly queries: readonly Float32Array[];
}

export interface Points {
  readonly seed: number;
  readonly rowCount: number;
  readonly lengthOf?: (row: number) => number;
  /** Taken off every component. */
  readonly middle?: number;
  /** Which of the drawn points a row is; without it row n is the n-th. */
  readonly order?: (row: number) => number;
}

/** Points around 40 centres, of one length, positive so that bytes can hold them. */
function clustered(random: Random, count: number, size: number): Float32Array[] {
  const centres = Array.from({ length: 40 }, () => Array.from({ length: size }, () => 60 + random.below(120)));
  return Array.from({ length: count }, () => {
    const centre = must(centres[random.below(40)], 'a centre');
    const point = Float32Array.from(centre, (value) => value + random.below(60) - 30);
    const length = Math.hypot(...point);
    return point.map((value) => (value / length) * 122.5 * Math.sqrt(size));
  });
}

/** An index over a file, with 40 queries that are none of its rows. */
export async function openGraph(t: TestContext, addon: Addon, spec: VectorSpec, { seed, rowCount, lengthOf = () => 1, middle = 0, order = (row) => row }: Points): Promise<OpenedGraph> {
  const points = clustered(seededRandom(seed), rowCount + 40, spec.size);
  const rows = Buffer.concat(Array.from({ length: rowCount }, (_, row) => must(points[order(row)], 'it was drawn')).map((point, row) => toStored(spec, point.map((value) => (value - middle) * lengthOf(row)))));
  const { file, readAll } = await vectorFile(t, spec, rows);
  const indexes = nativeIndexes(addon, must(addon.kernels[0], 'a kernel').name);
  const index = await indexes.openFile(spec, file, readAll);
  t.after(() => indexes.close());
  const queries = points.slice(rowCount).map((point) => prepareQuery(spec, point.map((value) => value - middle)));
  return { index, graph: must(index.graph, 'a file has a place for a graph'), queries };
}

export function bitmapOf(rows: number, allowed: (row: number) => boolean = () => true): Uint32Array {
  const words = new Uint32Array((rows + 31) >>> 5);
  for (let row = 0; row < rows; row += 1) if (allowed(row)) words[row >>> 5] = (words[row >>> 5] ?? 0) | (1 << (row & 31));
  return words;
}

/** Share of the truth's rows; every score must be that of the scan, bit by bit. */
export async function recallOf(index: VectorIndex, queries: readonly Float32Array[], options: IndexSettings & { readonly allowed: Uint32Array }): Promise<number> {
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

/** Of parts in memory, of 16 links a row; with `codeFile` the codes are walked from there. */
export function imagesOf(parts: readonly Uint8Array[], codeFile?: GraphImages['codeFile']): GraphImages {
  return {
    file: 'graph file', m: 16, efConstruct: 100, codesInMemory: codeFile === undefined, codeFile: codeFile ?? { path: '', dataOffset: 0, sizeBytes: 0 },
    sizeBytes: (part) => parts[part]?.length ?? 0,
    read: (part, use) => {
      const bytes = parts[part] ?? new Uint8Array(0);
      for (let at = 0; at < bytes.length; at += 70_000) use(bytes.subarray(at, at + 70_000), at);
      return Promise.resolve();
    },
  };
}

export function assertSame(found: readonly IndexHits[], wanted: readonly IndexHits[]): void {
  assert.deepEqual(found.map(({ rows, scores }) => [[...rows], [...scores]]), wanted.map(({ rows, scores }) => [[...rows], [...scores]]));
}
