// The `vec` and `has` files of one named vector, and the column that is opened on them.
//
// Vectors are searched where the index maps them, past every check of ours; so before its first search (not at open, which must be
// quick) a column reads its blocks once and compares their checksums, in slices.
import { CorruptionError } from '../base/errors.ts';
import type { GraphConfig, IndexHits, IndexQuery, VectorIndex, VectorIndexes } from '../index/vector-index.ts';
import { countBits } from '../payload/bitmap.ts';
import { strideBytes, type Datatype, type Distance, type VectorSpec } from '../vector/distance.ts';
import { readBits, writeBits } from './bits-file.ts';
import { loadGraph, readGraphFacts, writeGraph, type BlockFacts, type DamagedGraphs, type GraphFacts, type GraphFiles } from './graph-file.ts';
import { dataOffset, headerField } from './files.ts';
import { pathOf, readRanges, SegmentFileReader, type NamedFile } from './read-file.ts';
import { RowSlots } from './row-slots.ts';
import type { SegmentFile } from './segment.ts';
import { searchColumn } from './vector-column.ts';
import { writeDescribed, type FilesPlace, type Pieces } from './write-file.ts';

// Codes in the header of a `vec` file; never renumbered.
const distanceCodes: Readonly<Record<Distance, number>> = { Cosine: 1, Dot: 2, Euclid: 3, Manhattan: 4 };
const datatypeCodes: Readonly<Record<Datatype, number>> = { float32: 1, float16: 2, uint8: 3 };

/** Rows of one round of reads. */
const batchRows = 4096;
export const vectorPieceBytes = 512 * 1024;

export interface VectorsToWrite {
  readonly name: string;
  readonly spec: VectorSpec;
  readonly rows: number;
  /** Bitmap of the rows that carry the vector. */
  readonly bits: Uint32Array;
  /** Their vectors, packed, in order of rows. */
  readonly pieces: Pieces;
}

export async function writeVectors(place: FilesPlace, vectors: VectorsToWrite): Promise<SegmentFile[]> {
  const { name, spec, rows, bits } = vectors;
  const count = countBits(bits);
  const fields = [spec.size, distanceCodes[spec.distance], datatypeCodes[spec.datatype]];
  const header = { kind: 'vec', rows: count, stride: strideBytes(spec), dataBytes: count * strideBytes(spec), fields } as const;
  const vec = await writeDescribed(place, header, vectors.pieces, name);
  const { sha256, size } = await writeBits(place, { kind: 'has', rows, bits });
  return [vec, { kind: 'has', of: name, chunk: 0, sha256, size }];
}

export interface VectorFiles {
  readonly vec: NamedFile;
  readonly has: NamedFile;
  readonly graph?: GraphFiles;
}

export interface ColumnGraphRequest extends FilesPlace {
  readonly name: string;
  readonly config: GraphConfig;
  /** What the files say of the blocks of the configuration; absent where there are none. */
  readonly blockFacts?: BlockFacts;
  /** Of codes and links, as they are now. */
  readonly presentFiles: readonly SegmentFile[];
  readonly signal?: AbortSignal;
}

/** Where the codes of a vector's graph are to lie; else they are mapped from their file. */
export type CodesPlacement = (vector: string) => boolean;

/** Of the graph in use. */
export interface CodesState {
  /** Else they are mapped from their file, but for what all of them share. */
  readonly isInMemory: boolean;
  readonly memoryBytes: number;
  readonly mappedBytes: number;
}

/** A graph in files that no description names yet. */
export interface NewGraph {
  readonly files: readonly SegmentFile[];
  /** Searches use it from now on. */
  install(): void;
  discard(): void;
}

export interface OpenColumnOptions {
  readonly spec: VectorSpec;
  /** Of the segment. */
  readonly rows: number;
  readonly indexes: VectorIndexes;
  readonly damagedGraphs: DamagedGraphs;
  readonly codesInMemory: boolean;
}

export class SealedColumn {
  readonly slots: RowSlots;
  readonly index: VectorIndex;
  readonly #reader: SegmentFileReader;
  #checking: Promise<void> | undefined;
  #graphFacts: GraphFacts | undefined;
  #graphDamage: CorruptionError | undefined;

  private constructor(slots: RowSlots, index: VectorIndex, reader: SegmentFileReader) {
    this.slots = slots;
    this.index = index;
    this.#reader = reader;
  }

  static async open(place: FilesPlace, files: VectorFiles, options: OpenColumnOptions): Promise<SealedColumn> {
    const { spec, rows, indexes } = options;
    const slots = RowSlots.of(await readBits(place, files.has, rows));
    const reader = await openVectorFile(place, files.vec, { spec, count: slots.length });
    let column: SealedColumn | undefined;
    try {
      const file = { path: pathOf(place, files.vec), dataOffset, rowCount: slots.length, sizeBytes: files.vec.size };
      column = new SealedColumn(slots, await indexes.openFile(spec, file, () => reader.readAll()), reader);
      if (files.graph !== undefined) await column.#openGraph(place, files.graph, options);
      return column;
    } catch (error) {
      await (column ?? reader).close();
      throw error;
    }
  }

  /** Of the graph in the column's files, also where there is a file to say that these vectors are scanned. */
  get graphFacts(): GraphFacts | undefined {
    return this.#graphFacts;
  }

  /** Of the files whose graph was dropped at open; until there is another one, or there is to be none. */
  get graphDamage(): CorruptionError | undefined {
    return this.#graphDamage;
  }

  /** Whether searches walk a graph. */
  get isIndexed(): boolean {
    return this.index.graph?.isLoaded === true;
  }

  get codes(): CodesState | undefined {
    const { graph } = this.index;
    if (graph?.isLoaded !== true) return undefined;
    const { codeMemoryBytes, mappedBytes } = graph;
    return { isInMemory: mappedBytes === 0, memoryBytes: codeMemoryBytes, mappedBytes };
  }

  /** undefined where searches are always exact. What it reads has been proved before. */
  async buildGraph({ name, config, blockFacts, presentFiles, signal, ...place }: ColumnGraphRequest): Promise<NewGraph | undefined> {
    if (this.index.graph === undefined) return undefined;
    await this.#check();
    const build = await this.index.graph.build(config, signal);
    try {
      const { outcome } = build;
      const { m, efConstruct, keepsLinks } = config;
      const facts = { m, efConstruct, outcome, codes: outcome === 'built' ? config.codes : undefined, ...(blockFacts === undefined ? {} : { blocks: blockFacts }) };
      const kept = keepsLinks === true && outcome === 'built' ? presentFiles : [];
      const files = await writeGraph(place, build, { name, rows: this.slots.length, facts, kept });
      return {
        files,
        install: () => {
          build.install();
          this.#graphFacts = facts;
          this.#graphDamage = undefined;
        },
        discard: () => { build.discard(); },
      };
    } catch (error) {
      build.discard();
      throw error;
    }
  }

  dropGraph(): void {
    this.index.graph?.drop();
    this.#graphFacts = undefined;
    this.#graphDamage = undefined;
  }

  async #openGraph(place: FilesPlace, files: GraphFiles, { damagedGraphs, codesInMemory }: OpenColumnOptions): Promise<void> {
    try {
      await this.loadGraph(place, files, codesInMemory);
    } catch (error) {
      if (damagedGraphs === 'refuse' || !(error instanceof CorruptionError)) throw error;
      this.#graphDamage = error;
    }
  }

  /** From its files, in place of the one in use. */
  async loadGraph(place: FilesPlace, files: GraphFiles, codesInMemory: boolean): Promise<void> {
    const { graph: slot } = this.index;
    const rows = this.slots.length;
    this.#graphFacts = slot === undefined ? await readGraphFacts(place, files, rows) : await loadGraph(place, files, { slot, rows, codesInMemory });
  }

  get memoryBytes(): number {
    return this.slots.memoryBytes + (this.index.graph?.memoryBytes ?? 0);
  }

  async search(queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    if (!this.#reader.isChecked) await this.#check();
    signal?.throwIfAborted();
    return await searchColumn(this, queries, signal);
  }

  /** After the first time there is nothing left to do. */
  #check(): Promise<void> {
    this.#checking ??= this.#reader.checkBlocks().finally(() => { this.#checking = undefined; });
    return this.#checking;
  }

  /** Hands the stored bytes of each row that has the vector to `use`, with its position in `rows`, in any order. */
  read(rows: ArrayLike<number>, use: (at: number, bytes: Buffer) => void): Promise<void> {
    return readSlots(this.#reader, rows, { slots: this.slots, use });
  }

  async close(): Promise<void> {
    await this.index.close();
    await this.#reader.close();
  }
}

/** Checks the header against the collection and the rows that claim the vector. */
export async function openVectorFile(place: FilesPlace, file: NamedFile, want: { readonly spec?: VectorSpec; readonly count: number }): Promise<SegmentFileReader> {
  const reader = await SegmentFileReader.open(place, file);
  const { header } = reader;
  const problems = [];
  if (header.rows !== want.count) problems.push(`holds ${header.rows} vectors, ${want.count} rows carry one`);
  if (header.dataBytes !== header.rows * header.stride) problems.push(`${header.rows} vectors of ${header.stride} bytes do not make ${header.dataBytes}`);
  const { spec } = want;
  const found = ['size', 'distance', 'datatype'].map((name) => headerField(header, name)).join('/');
  const wanted = spec === undefined ? found : [spec.size, distanceCodes[spec.distance], datatypeCodes[spec.datatype]].join('/');
  if (found !== wanted || (spec !== undefined && header.stride !== strideBytes(spec))) problems.push(`holds vectors of size/distance/datatype ${found}, the collection has ${wanted}`);
  if (problems.length === 0) return reader;
  await reader.close();
  throw new CorruptionError({ file: reader.path, offsetBytes: 16, problem: problems.join('; ') });
}

async function readSlots(reader: SegmentFileReader, rows: ArrayLike<number>, to: { readonly slots: RowSlots; readonly use: (at: number, bytes: Buffer) => void }): Promise<void> {
  const { stride } = reader.header;
  for (let from = 0; from < rows.length; from += batchRows) {
    const end = Math.min(from + batchRows, rows.length);
    const places: number[] = [];
    const offsets: number[] = [];
    for (let at = from; at < end; at += 1) {
      const slot = to.slots.findSlot(rows[at] ?? 0);
      if (slot === undefined) continue;
      places.push(at);
      offsets.push(slot * stride);
    }
    const ranges = { offsets: Float64Array.from(offsets), lengths: new Uint32Array(offsets.length).fill(stride) };
    await readRanges(reader, ranges, (at, bytes) => { to.use(places[at] ?? 0, bytes); });
  }
}
