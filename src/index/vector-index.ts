// The port to search over one named vector of one segment: exact scan, native or WASM, and where a graph is loaded HNSW.
//
// Contract (vector-index.contract.ts runs it on every implementation):
// - Rows are u32 slots of the segment. `allowed` is a bitmap, bit r of word r >> 5; rows outside it are never returned.
// - Results are best first; equal scores are ordered by row. Fewer than k only where fewer rows are allowed.
// - Without a graph results are exact. With one, rows may be missing from them; those that are there have their true scores.
// - Returned scores are computed in one fixed order in f64 and rounded to f32 once, so every implementation returns the same bits.
// - The caller's arrays must not be written until the promise settles. No call blocks the event loop.
import type { BinaryQueryEncoding, CodesConfig } from '../vector/codes-config.ts';
import type { VectorSpec } from '../vector/distance.ts';

/** How a graph is to be searched; without one nothing of it matters. */
export interface IndexSettings {
  /** Length of the list of nearest that a search by codes keeps; without it the graph's `efConstruct`. */
  readonly hnswEf?: number;
  /** Scans. */
  readonly exact?: boolean;
  /** `ignore`: walks by the rows. `rescore` false: only the k nearest by code get their true score; `oversampling`: so many times k. */
  readonly quantization?: { readonly ignore?: boolean; readonly rescore?: boolean; readonly oversampling?: number };
  /** How a walk by binary codes encodes the query; for other codes it does not matter. */
  readonly binaryQuery?: BinaryQueryEncoding;
  /** Allowed rows of fewer bytes are scanned. */
  readonly scanBytesMax?: number;
}

export interface IndexQuery extends IndexSettings {
  /** Already prepared: for Cosine of unit length. */
  readonly vector: Float32Array;
  readonly k: number;
  /** At least `rowCount` bits. */
  readonly allowed: Uint32Array;
  /** How many of the first `rowCount` bits are set, where that is known; without it they are counted. */
  readonly allowedCount?: number;
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
  /** Of an index over a file, where the implementation has graphs. */
  readonly graph?: GraphSlot;
  /** Idempotent; waits for searches in flight. */
  close(): Promise<void>;
}

export interface GraphConfig {
  /** Links of a row, twice as many on the lowest level; from 2 to 512. 0: no links over all rows, only those of the blocks. */
  readonly m: number;
  readonly efConstruct: number;
  /** 0: all. */
  readonly threadsMax: number;
  readonly codes: CodesConfig;
  readonly blocks?: GraphBlocks;
  /** Codes and links over all rows are those of the graph that is loaded; only the blocks are built. */
  readonly keepsLinks?: boolean;
  readonly seed?: GraphSeed;
}

/** A graph of another index, over rows of which some are rows here: their links are taken over, and only the other rows are linked anew. */
export interface GraphSeed {
  /** With the same `m` and `efConstruct`. */
  readonly graph: GraphSlot;
  /** A bit for each of its rows that is here, too; here they follow one another in the same order. */
  readonly live: Uint32Array;
  /** What the first of them is here. */
  readonly first: number;
}

/** Blocks of rows that get links of their own: a search whose allowed rows all lie in one block can walk that block alone. */
interface GraphBlocks {
  /** As `GraphConfig.m`, at least 2. */
  readonly m: number;
  /** Of each block its rows, ascending, at least one. */
  readonly lists: readonly Uint32Array[];
}

/** 0 codes, 1 links, 2 blocks: what the files of a graph hold (native/core/codes.h, hnsw-graph.h and hnsw-blocks.h draw them). */
export type GraphPart = 0 | 1 | 2;

export interface GraphBuild {
  /** `unfit`: values that have no codes; `missed`: walks over these rows miss too much; `empty`: m is 0 and there are no blocks. All stay on
   *  the scan. */
  readonly outcome: 'built' | 'unfit' | 'missed' | 'empty';
  /** 0 unless built, and for a part that there is none of. */
  sizeBytes(part: GraphPart): number;
  pieces(part: GraphPart): Iterable<Uint8Array>;
  /** Searches use it from now on. */
  install(): void;
  /** Frees it where it is not installed. */
  discard(): void;
}

/** A graph as files hold it. `read` hands over all bytes of a part, in any pieces. */
export interface GraphImages {
  /** For errors. */
  readonly file: string;
  /** As built; 0: there are no links over all rows. */
  readonly m: number;
  readonly efConstruct: number;
  /** False: codes are walked from a read-only map of `codeFile`. */
  readonly codesInMemory: boolean;
  /** Where the bytes of part 0 lie in a file that is never changed. */
  readonly codeFile: { readonly path: string; readonly dataOffset: number; readonly sizeBytes: number };
  sizeBytes(part: GraphPart): number;
  read(part: GraphPart, use: (bytes: Uint8Array, offset: number) => void): Promise<void>;
}

/** The place for a graph beside the rows of an index. */
export interface GraphSlot {
  readonly isLoaded: boolean;
  /** Of the loaded graph. */
  readonly codes: CodesConfig['kind'] | undefined;
  /** Held in memory. */
  readonly memoryBytes: number;
  /** Of these, codes: without the mapped ones, but with what all codes share. */
  readonly codeMemoryBytes: number;
  /** Of codes that are walked from a map. */
  readonly mappedBytes: number;
  /** Walks so far, and the distances they computed; over all graphs of this slot. */
  readonly counters: { readonly queries: number; readonly evaluations: number };
  /** In the background, behind all searches. */
  build(config: GraphConfig, signal?: AbortSignal): Promise<GraphBuild>;
  /** @throws CorruptionError naming `images.file` where the images are not those of a graph over these rows; then nothing is loaded. */
  load(images: GraphImages): Promise<void>;
  drop(): void;
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

/** What walks over graphs have done. */
export interface WalkCounts {
  walks: number;
  /** Distances from codes. */
  codeEvaluations: number;
  /** Distances from rows, on the way. */
  rowEvaluations: number;
  /** Rows of which a walk by codes wanted the true score. */
  rescored: number;
}

export const noWalks: Readonly<WalkCounts> = { walks: 0, codeEvaluations: 0, rowEvaluations: 0, rescored: 0 };

/** Makes indexes; one per process, over the chosen kernels. */
export interface VectorIndexes {
  /** `avx512`, `avx2`, `neon`, `scalar` or `wasm`. */
  readonly kernel: string;
  /** Since the start of the process. */
  readonly graphsBuilt: number;
  /** Points whose links such a build took over from its seed. */
  readonly pointsKept: number;
  /** Likewise. */
  readonly walked: Readonly<WalkCounts>;
  growing(spec: VectorSpec): GrowingVectorIndex;
  /** `readAll` gives the file's bytes to implementations that cannot map files. @throws CorruptionError on a wrong size. */
  openFile(spec: VectorSpec, file: VectorFile, readAll: () => Promise<Uint8Array>): Promise<VectorIndex>;
  close(): Promise<void>;
}
