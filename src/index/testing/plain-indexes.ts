// The vector index port in plain TypeScript, on the calling thread: the oracle that contract tests compare the product's
// implementations with, and an index for tests that need no speed.
import { invariant } from '../../base/assert.ts';
import { bytesPerValue, largerIsBetter, strideBytes, type VectorSpec } from '../../vector/distance.ts';
import type { GrowingVectorIndex, IndexHits, IndexQuery, VectorIndex, VectorIndexes } from '../vector-index.ts';

export function plainIndexes(): VectorIndexes {
  return {
    kernel: 'scalar',
    growing: (spec) => new PlainIndex(spec),
    openFile: async (spec, file, readAll): Promise<VectorIndex> => {
      const bytes = await readAll();
      const index = new PlainIndex(spec);
      index.append(bytes.subarray(file.dataOffset, file.dataOffset + file.rowCount * strideBytes(spec)));
      invariant(index.rowCount === file.rowCount, 'the file holds all rows');
      return index;
    },
    close: () => Promise.resolve(),
  };
}

class PlainIndex implements GrowingVectorIndex {
  readonly spec: VectorSpec;
  #bytes = Buffer.alloc(0);

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
    this.#bytes = Buffer.concat([this.#bytes, rows]);
  }

  row(row: number): Uint8Array {
    const stride = strideBytes(this.spec);
    return Buffer.from(this.#bytes.subarray(row * stride, (row + 1) * stride));
  }

  search(queries: readonly IndexQuery[]): Promise<readonly IndexHits[]> {
    return Promise.resolve(queries.map((query) => this.#scan(query)));
  }

  score(vector: Float32Array, rows: Uint32Array): Promise<Float32Array> {
    return Promise.resolve(Float32Array.from(rows, (row) => this.#score(vector, row)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #scan(query: IndexQuery): IndexHits {
    const rows: number[] = [];
    for (let row = 0; row < this.rowCount; row += 1) {
      if (((query.allowed[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0) rows.push(row);
    }
    const sign = largerIsBetter(this.spec.distance) ? -1 : 1;
    const hits = rows.map((row) => ({ row, score: this.#score(query.vector, row) }));
    hits.sort((a, b) => sign * (a.score - b.score) || a.row - b.row);
    const best = hits.slice(0, query.k);
    return { rows: Uint32Array.from(best, (hit) => hit.row), scores: Float32Array.from(best, (hit) => hit.score) };
  }

  /** In f64, in the order of the components, rounded to f32 once. Rows of uint8 cannot be stored at unit length, so their cosine
   *  is divided by the row's length here; a zero row scores 0. */
  #score(vector: Float32Array, row: number): number {
    let sum = 0;
    let squares = 0;
    for (let at = 0; at < this.spec.size; at += 1) {
      const a = vector[at] ?? 0;
      const b = this.#value(row * this.spec.size + at);
      squares += b * b;
      if (largerIsBetter(this.spec.distance)) sum += a * b;
      else if (this.spec.distance === 'Euclid') sum += (a - b) * (a - b);
      else sum += Math.abs(a - b);
    }
    if (this.spec.distance === 'Cosine' && this.spec.datatype === 'uint8') return squares === 0 ? 0 : Math.fround(sum / Math.sqrt(squares));
    return Math.fround(this.spec.distance === 'Euclid' ? Math.sqrt(sum) : sum);
  }

  #value(at: number): number {
    const offset = at * bytesPerValue(this.spec.datatype);
    if (this.spec.datatype === 'float32') return this.#bytes.readFloatLE(offset);
    if (this.spec.datatype === 'uint8') return this.#bytes.readUInt8(offset);
    return halfToNumber(this.#bytes.readUInt16LE(offset));
  }
}

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
