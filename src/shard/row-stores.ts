// Vector indexes that only keep rows: for a replay that nobody will search.
import { invariant } from '../base/assert.ts';
import { checkRowRange } from '../index/check-query.ts';
import { noWalks, type GrowingVectorIndex, type IndexHits, type VectorIndex, type VectorIndexes } from '../index/vector-index.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';

const firstBytes = 4_096;

export function rowStores(): VectorIndexes {
  return {
    kernel: 'none',
    graphsBuilt: 0,
    pointsKept: 0,
    walked: noWalks,
    growing: (spec) => new RowStore(spec),
    openFile: (spec, { rowCount }) => Promise.resolve<VectorIndex>({ spec, rowCount, search: refuse, score: refuse, close: () => Promise.resolve() }),
    close: () => Promise.resolve(),
  };
}

class RowStore implements GrowingVectorIndex {
  readonly spec: VectorSpec;
  #bytes = Buffer.alloc(0);
  #length = 0;

  constructor(spec: VectorSpec) {
    this.spec = spec;
  }

  get rowCount(): number { return this.#length / strideBytes(this.spec); }
  get memoryBytes(): number { return this.#bytes.length; }

  append(rows: Uint8Array): void {
    if (this.#length + rows.byteLength > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(firstBytes, 2 * this.#bytes.length, this.#length + rows.byteLength));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    this.#bytes.set(rows, this.#length);
    this.#length += rows.byteLength;
  }

  row(row: number): Uint8Array {
    const stride = strideBytes(this.spec);
    invariant((row + 1) * stride <= this.#length, 'the row was appended');
    return Uint8Array.prototype.slice.call(this.#bytes, row * stride, (row + 1) * stride);
  }

  readRows(first: number, target: Uint8Array): void {
    checkRowRange(this.spec, this.rowCount, { first, target });
    const from = first * strideBytes(this.spec);
    target.set(this.#bytes.subarray(from, from + target.byteLength));
  }

  search(): Promise<readonly IndexHits[]> { return refuse(); }
  score(): Promise<Float32Array> { return refuse(); }
  close(): Promise<void> { return Promise.resolve(); }
}

function refuse(): never {
  invariant(false, 'a row store is not searched');
}
