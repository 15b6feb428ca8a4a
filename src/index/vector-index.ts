// The port to search over one named vector of one segment. Today: exact scan, native or WASM. HNSW takes the same place.
//
// Contract (vector-index.contract.ts runs it on every implementation):
// - Rows are u32 slots of the segment. `allowed` is a bitmap, bit r of word r >> 5; rows outside it are never returned.
// - Results are best first; equal scores are ordered by row. Fewer than k only where fewer rows are allowed.
// - Returned scores are computed in one fixed order in f64 and rounded to f32 once, so every implementation returns the same bits.
// - The caller's arrays must not be written until the promise settles. No call blocks the event loop.
import type { VectorSpec } from '../vector/distance.ts';

export interface IndexQuery {
  /** Already prepared: for Cosine of unit length. */
  readonly vector: Float32Array;
  readonly k: number;
  /** At least `rowCount` bits. */
  readonly allowed: Uint32Array;
}

export interface IndexHits {
  readonly rows: Uint32Array;
  readonly scores: Float32Array;
}

export interface VectorIndex {
  readonly spec: VectorSpec;
  readonly rowCount: number;
  search(queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]>;
  /** Exact scores of `rows` in the given order; for small lists. */
  score(vector: Float32Array, rows: Uint32Array): Promise<Float32Array>;
  /** Idempotent; waits for searches in flight. */
  close(): Promise<void>;
}

/** An index over rows in memory that grows: the mutable segment's. Rows below `rowCount` never change. */
export interface GrowingVectorIndex extends VectorIndex {
  /** `rows`: n stored rows, packed, in the spec's datatype (bytes as on disk, little-endian). */
  append(rows: Uint8Array): void;
  /** Stored bytes of one row (a copy). */
  row(row: number): Uint8Array;
  /** Fills `target` with the stored bytes of whole rows, from row `first` on. */
  readRows(first: number, target: Uint8Array): void;
  readonly memoryBytes: number;
}

/** Where a sealed segment's vectors lie: rows packed from `dataOffset` in a file that is never changed. */
export interface VectorFile {
  readonly path: string;
  readonly dataOffset: number;
  readonly rowCount: number;
  readonly sizeBytes: number;
}

/** Makes indexes; one per process, over the chosen kernels. */
export interface VectorIndexes {
  /** `avx512`, `avx2`, `neon`, `scalar` or `wasm`. */
  readonly kernel: string;
  growing(spec: VectorSpec): GrowingVectorIndex;
  /** `readAll` gives the file's bytes to implementations that cannot map files. @throws CorruptionError on a wrong size. */
  openFile(spec: VectorSpec, file: VectorFile, readAll: () => Promise<Uint8Array>): Promise<VectorIndex>;
  close(): Promise<void>;
}
