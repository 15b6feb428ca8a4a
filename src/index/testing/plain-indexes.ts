// The vector index port in plain TypeScript, on the calling thread: the oracle that contract tests compare the product's
// implementations with, and an index for tests that need no speed.
import { invariant } from '../../base/assert.ts';
import { CorruptionError } from '../../base/errors.ts';
import { largerIsBetter, strideBytes, type VectorSpec } from '../../vector/distance.ts';
import { plainKernels } from '../../vector/testing/plain-kernels.ts';
import { checkFile, checkQuery, checkRowRange, checkRows, checkVector } from '../check-query.ts';
import { noWalks, type GrowingVectorIndex, type IndexHits, type IndexQuery, type VectorIndex, type VectorIndexes } from '../vector-index.ts';

export function plainIndexes(): VectorIndexes {
  return {
    kernel: 'scalar',
    graphsBuilt: 0,
    pointsKept: 0,
    walked: noWalks,
    growing: (spec) => new PlainIndex(spec),
    openFile: async (spec, file, readAll): Promise<VectorIndex> => {
      checkFile(spec, file);
      const bytes = await readAll();
      if (bytes.length !== file.sizeBytes) throw new CorruptionError({ file: file.path, problem: `has ${bytes.length} bytes instead of ${file.sizeBytes}` });
      const index = new PlainIndex(spec);
      index.append(bytes.subarray(file.dataOffset, file.dataOffset + file.rowCount * strideBytes(spec)));
      return index;
    },
    close: () => Promise.resolve(),
  };
}

class PlainIndex implements GrowingVectorIndex {
  readonly spec: VectorSpec;
  #bytes = Buffer.alloc(0);
  #closed = false;

  constructor(spec: VectorSpec) {
    this.spec = spec;
  }

  get rowCount(): number {
    return this.#bytes.length / strideBytes(this.spec);
  }

  get memoryBytes(): number {
    return this.#bytes.length;
  }

  append(rows: Uint8Array): void {
    invariant(!this.#closed, 'an index is open while it is used');
    invariant(rows.length % strideBytes(this.spec) === 0, 'rows are whole');
    this.#bytes = Buffer.concat([this.#bytes, rows]);
  }

  row(row: number): Uint8Array {
    invariant(!this.#closed, 'an index is open while it is used');
    checkRows(this.rowCount, Uint32Array.of(row));
    const stride = strideBytes(this.spec);
    return Uint8Array.from(this.#bytes.subarray(row * stride, (row + 1) * stride));
  }

  readRows(first: number, target: Uint8Array): void {
    invariant(!this.#closed, 'an index is open while it is used');
    const stride = strideBytes(this.spec);
    const count = checkRowRange(this.spec, this.rowCount, { first, target });
    target.set(this.#bytes.subarray(first * stride, (first + count) * stride));
  }

  async search(queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    invariant(!this.#closed, 'an index is open while it is searched');
    signal?.throwIfAborted();
    for (const query of queries) checkQuery(this.spec, this.rowCount, query);
    const hits = queries.map((query) => this.#scan(query));
    await Promise.resolve(); // an abort right after the call still counts
    signal?.throwIfAborted();
    return hits;
  }

  async score(vector: Float32Array, rows: Uint32Array): Promise<Float32Array> {
    invariant(!this.#closed, 'an index is open while it is searched');
    checkVector(this.spec, vector);
    checkRows(this.rowCount, rows);
    const scores = plainKernels.exact(this.spec, vector, this.#bytes);
    return Float32Array.from(rows, (row) => scores[row] ?? NaN);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #scan(query: IndexQuery): IndexHits {
    const scores = plainKernels.exact(this.spec, query.vector, this.#bytes);
    const rows = Array.from(scores.keys()).filter((row) => ((query.allowed[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0);
    const sign = largerIsBetter(this.spec.distance) ? -1 : 1;
    const at = (row: number): number => scores[row] ?? NaN;
    // a NaN (an infinite stored float16 met a zero) is worse than any number; infinities of one sign are equal
    rows.sort((a, b) => Number(Number.isNaN(at(a))) - Number(Number.isNaN(at(b))) || sign * (at(a) - at(b)) || a - b);
    const best = rows.slice(0, query.k);
    return { rows: Uint32Array.from(best), scores: Float32Array.from(best, at) };
  }
}
