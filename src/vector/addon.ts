// The compiled addon, loaded once: the only place that knows where it lies. native/addon/binding.cc checks every argument, so a wrong
// call throws a TypeError; results of threads come as promises.
import { createRequire } from 'node:module';
import type { Datatype, Distance } from './distance.ts';
import type { Approximation } from './kernels.ts';

/** Rows inside the addon. Must not be used after `closeRows`. */
export interface RowsHandle {
  readonly nativeRows: never;
}

export interface NativeHits {
  /** Hits of all queries, one after another; `counts` says how many belong to each. */
  readonly rows: Uint32Array;
  readonly scores: Float32Array;
  readonly counts: Uint32Array;
}

/** Codes of the rows of one file, links between all of them, and blocks of them with links of their own, inside the addon. Must not be
 *  used after `closeGraph`. */
export interface GraphHandle {
  readonly nativeGraph: never;
}

/** The images of a graph: 0 codes, 1 links, 2 blocks. */
type GraphPart = 0 | 1 | 2;

/** 0 internal, 1 scalar, 2 product, 3 binary. */
export type NativeCodes = 0 | 1 | 2 | 3;

export interface NativeBuild {
  /** `unfit`: values that have no codes; `missed`: walks over such data miss too much. Without a graph then. */
  readonly outcome: 'built' | 'unfit' | 'missed';
  /** Points that had to be linked in at the end. */
  readonly stranded: number;
  /** Points whose links are those of the seed. */
  readonly taken: number;
  /** Of a sample search; 1 where none was needed. */
  readonly sampleRecall: number;
  readonly graph?: GraphHandle;
}

export interface NativeKernel {
  readonly name: string;
  /** See `Kernels.lanes`. */
  readonly lanes: number;
}

/** Promises reject with an Error whose `code` is ERR_CANCELLED, ERR_UNREADABLE (a mapped file was cut or cannot be read), ERR_CODES_UNREADABLE,
 *  ERR_SIZE, ERR_NO_MEMORY or that of the operating system. Arguments are copied before a call returns. */
export interface Addon {
  /** Instruction sets of this CPU that there are kernels for, best first; the last is `scalar`. */
  readonly kernels: readonly NativeKernel[];
  growRows(kernel: string, size: number, distance: Distance, datatype: Datatype): RowsHandle;
  mapRows(
    kernel: string, size: number, distance: Distance, datatype: Datatype,
    path: string, dataOffset: number, rowCount: number, sizeBytes: number,
  ): Promise<RowsHandle>;
  /** How many rows there are now. */
  appendRows(rows: RowsHandle, bytes: Uint8Array): number;
  copyRow(rows: RowsHandle, row: number): Uint8Array;
  /** Fills `target` with whole rows from `first` on. */
  readRows(rows: RowsHandle, first: number, target: Uint8Array): void;
  memoryBytes(rows: RowsHandle): number;
  closeRows(rows: RowsHandle): void;
  /** `ticket` != 0 names the search for `cancel`. */
  searchRows(
    rows: RowsHandle, vectors: readonly Float32Array[], ks: readonly number[], bitmaps: readonly Uint32Array[], ticket: number,
  ): Promise<NativeHits>;
  /** The same on the calling thread; undefined where it failed or would wait for the disk. */
  searchRowsHere(rows: RowsHandle, vectors: readonly Float32Array[], ks: readonly number[], bitmaps: readonly Uint32Array[]): NativeHits | undefined;
  scoreRows(rows: RowsHandle, vector: Float32Array, list: Uint32Array): Promise<Float32Array>;
  cancel(ticket: number): void;
  /** On threads of its own, which stand back behind those that search; `threadsMax` 0: on all of them. `m` from 2 to 512; 0: codes
   *  alone. `parameter` of the codes: the quantile, the components of a part (1, 2, 4, 8, 16), or the encoding (0 one bit, 1 one and a
   *  half, 2 two); 0 for internal ones. `seed`: a graph with as many links whose own are taken over; `live` has a bit for each of its rows
   *  that is here, too, in their order from row `first` on. */
  buildGraph(
    rows: RowsHandle, m: number, efConstruct: number, codes: NativeCodes, parameter: number, threadsMax: number, ticket: number,
    seed?: GraphHandle, live?: Uint32Array, first?: number,
  ): Promise<NativeBuild>;
  /** Likewise: a graph with the codes and links of `graph`, and blocks. List i is `rows[starts[i]]` … `rows[starts[i + 1] - 1]`, ascending. A
   *  block whose walks miss too much is left out. */
  buildBlocks(
    rows: RowsHandle, graph: GraphHandle, m: number, efConstruct: number, threadsMax: number, lists: Uint32Array, starts: Uint32Array, ticket: number,
  ): Promise<GraphHandle>;
  /** The smallest block that holds all allowed rows, as [place, rows]. */
  findBlock(graph: GraphHandle, allowed: Uint32Array, count: number): Uint32Array | undefined;
  /** To fill with images from files, then to check. No `codeBytes` where `checkGraph` is to map them; the others may be 0. */
  emptyGraph(codeBytes: number, graphBytes: number, blockBytes: number): GraphHandle;
  graphBytes(graph: GraphHandle, part: GraphPart): number;
  readGraph(graph: GraphHandle, part: GraphPart, offset: number, length: number): Uint8Array;
  fillGraph(graph: GraphHandle, part: GraphPart, offset: number, bytes: Uint8Array): void;
  /** Of a checked graph: its codes, bytes in memory, bytes of mapped codes, bytes of one record of the codes. */
  graphFacts(graph: GraphHandle): Float64Array;
  /** Rejects with ERR_DAMAGED where the images are not of these rows, or a search could leave them. With a `path` the codes are
   *  `codeBytes` of that file from `dataOffset` (a multiple of 64) on, and stay there; `sizeBytes` is the whole file's. */
  checkGraph(rows: RowsHandle, graph: GraphHandle, path: string, dataOffset: number, codeBytes: number, sizeBytes: number): Promise<void>;
  /** `settings`: seven numbers for each query: ef, how many of the found get their true score, filtering (0 none, 1 predicate, 2 two-hop,
   *  3 no walk: all allowed rows), 1 where distances are the rows' own instead of the codes', bits of a component of the query against
   *  binary codes (0 as stored, 4, 8), the block to walk through or -1, and 1 where true scores may end early. Answers words of four bytes:
   *  how many hits each query has, how many distances and how many true scores it computed, then the rows of all hits and their scores
   *  (f32). */
  searchGraph(
    rows: RowsHandle, graph: GraphHandle, vectors: readonly Float32Array[], ks: readonly number[], bitmaps: readonly Uint32Array[],
    settings: Float32Array, ticket: number,
  ): Promise<ArrayBuffer>;
  /** The same on the calling thread; undefined where it failed or would wait for the disk. */
  searchGraphHere(
    rows: RowsHandle, graph: GraphHandle, vectors: readonly Float32Array[], ks: readonly number[], bitmaps: readonly Uint32Array[],
    settings: Float32Array,
  ): ArrayBuffer | undefined;
  closeGraph(graph: GraphHandle): void;
  approximate(
    kernel: string, size: number, distance: Distance, datatype: Datatype, vector: Float32Array, rows: Uint8Array,
  ): Approximation;
  exact(size: number, distance: Distance, datatype: Datatype, vector: Float32Array, rows: Uint8Array): Float32Array;
  /** Fills `target` from the open file, on threads that do nothing else; answers the bytes read, fewer where the file ends. Until it
   *  settles the file must stay open and `target` untouched. */
  readAt(descriptor: number, target: Uint8Array, offset: number): Promise<number>;
  /** Whole blocks of 64 bytes into one sha256 state of eight words, or into two at once. Absent where the CPU has no instructions for it. */
  readonly compressSha?: (first: Uint32Array, second: Uint32Array | undefined, bytes: Uint8Array) => void;
  /** An exclusive lock on the file, which is created where absent; undefined where it is held, by this process or another. */
  lockFile(path: string): { release(): void } | undefined;
}

/** From dist/src/vector and from src/vector. */
const places = ['../../../build/nearkeep.node', '../../build/nearkeep.node'];

let loaded: { readonly addon: Addon | undefined } | undefined;

/** Undefined where no addon was built or NEARKEEP_NATIVE=off. @throws where there is one that cannot be loaded. */
export function loadAddon(): Addon | undefined {
  if (process.env['NEARKEEP_NATIVE'] === 'off') return undefined;
  loaded ??= { addon: requireAddon() };
  return loaded.addon;
}

function requireAddon(): Addon | undefined {
  const require = createRequire(import.meta.url);
  for (const place of places) {
    try {
      return require(place) as Addon;
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }
  return undefined;
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND';
}
