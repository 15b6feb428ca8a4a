// A segment in files that never change. In memory: ids, versions, the order of ids, bitmaps and payload indexes; on disk: vectors
// (mapped by the index) and payload texts. Deletes, payload indexes built later and dropped vectors are state beyond the files
// until a checkpoint captures and saves it.
import { invariant, must } from '../base/assert.ts';
import type { CorruptionError } from '../base/errors.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { GraphSeed, IndexHits, IndexQuery } from '../index/vector-index.ts';
import { andNotInto, countBits, fullBits } from '../payload/bitmap.ts';
import { createFieldIndex } from '../payload/stored-index.ts';
import { decodeFieldIndexInSlices } from '../payload/decode-field-index.ts';
import type { FieldIndex } from '../payload/field-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import type { RowSource } from '../payload/select-rows.ts';
import { writeDeletedBits } from './deleted-bits.ts';
import { writeFieldIndex } from './payload-index-file.ts';
import { isGraphFile, type BlockFacts, type GraphFacts } from './graph-file.ts';
import { GrowingBits } from './growing-bits.ts';
import { idKey, type IdTable } from './id-table.ts';
import type { Versions } from './ids-file.ts';
import { InFlight } from '../base/in-flight.ts';
import { findVectorFiles, loadSegment, type LoadedSegment, type OpenSegmentOptions } from './load-segment.ts';
import { blockFactsOf, blockLists } from './payload-blocks.ts';
import type { PayloadReader } from './payload-file.ts';
import { parsePayload } from './payload-text.ts';
import type { Segment, SegmentDescription, SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import { lowerBound, upperBound } from './sorted-runs.ts';
import { strideBytes } from '../vector/distance.ts';
import { searchColumn } from './vector-column.ts';
import type { CodesState, NewGraph, SealedColumn } from './vector-file.ts';
import type { FilesPlace } from './write-file.ts';

export type { OpenSegmentOptions };

/** What a sealed segment holds at one moment; `saveSealedState` puts what its files lack into files. */
export interface SealedState {
  readonly deleted: Uint32Array;
  readonly deletedCount: number;
  readonly fieldIndexes: ReadonlyMap<string, FieldIndex>;
  readonly vectors: ReadonlySet<string>;
}

export interface SaveRequest extends FilesPlace {
  readonly segment: SealedSegment;
  readonly state: SealedState;
}

export interface GraphState {
  readonly vectors: number;
  /** Of the vectors. */
  readonly sizeBytes: number;
  readonly isIndexed: boolean;
  readonly canBeIndexed: boolean;
  /** What the files say; absent where there are none. */
  readonly facts?: GraphFacts;
  /** Why a graph that there was is in no use. */
  readonly damage?: CorruptionError;
  /** Of the graph in use; absent where there is none. */
  readonly codes?: CodesState;
}

export interface GraphRequest extends FilesPlace {
  readonly name: string;
  readonly indexing: VectorIndexing;
  /** The codes and links over all rows stay; they are as the configuration wants them. */
  readonly keepsLinks: boolean;
  /** Of a segment that this one was merged from. */
  readonly seed?: GraphSeed | undefined;
  readonly signal?: AbortSignal;
}

const payloadBatchRows = 256;

/** Opens all files, and builds payload indexes that have none. @throws CorruptionError naming file and offset. */
export async function openSealedSegment(options: OpenSegmentOptions): Promise<SealedSegment> {
  const segment = SealedSegment.over(options.description, await loadSegment(options));
  try {
    for (const [field, schema] of options.payloadSchema) {
      if (segment.fieldIndex(field) === undefined) await segment.addFieldIndex(field, schema);
    }
  } catch (error) {
    await segment.close();
    throw error;
  }
  return segment;
}

/** Writes deletes and payload indexes that the segment's files lack; answers the description for the manifest, which is from now on
 *  the segment's own. Files are durable, names included, when it resolves. One call at a time for a segment. */
export async function saveSealedState(request: SaveRequest): Promise<SegmentDescription> {
  const { segment, state } = request;
  const { files, del, ...rest } = segment.description;
  const kept = files.filter((file) => file.kind !== 'pidx' && (file.of === undefined || state.vectors.has(file.of)));
  const indexFiles = new Map<FieldIndex, SegmentFile>();
  let written = 0;
  for (const [field, index] of state.fieldIndexes) {
    const present = segment.fileOf.get(index);
    if (present === undefined) written += 1;
    indexFiles.set(index, present ?? (await writeFieldIndex(request, { field, rows: rest.rows, index })));
  }
  if (written > 0) await request.disk.syncDirectory(request.filesDirectory);
  const isChanged = state.deletedCount !== (del?.count ?? 0); // rows only die: equal counts are equal bitmaps
  const saved = isChanged ? await writeDeletedBits({ ...request, rows: rest.rows, deleted: state.deleted }) : del;
  // only now: after a failure nothing names the files that were written, so they are swept and must be written again
  for (const [index, file] of indexFiles) segment.fileOf.set(index, file);
  segment.description = { ...rest, files: [...kept, ...indexFiles.values()], ...(saved === undefined ? {} : { del: saved }) };
  return segment.description;
}

export class SealedSegment implements Segment {
  /** As opened, but for damaged graphs, or as last saved. */
  description: SegmentDescription;
  /** The file of each payload index that has one. */
  readonly fileOf = new WeakMap<FieldIndex, SegmentFile>();
  readonly #ids: IdTable;
  readonly #versions: Versions;
  readonly #order: Uint32Array;
  readonly #live: GrowingBits;
  readonly #payloads: PayloadReader;
  readonly #columns: Map<string, SealedColumn>;
  readonly #fieldIndexes = new Map<string, FieldIndex>();
  /** Field → the build under way; another build or a drop takes its place, and it gives up. */
  readonly #builds = new Map<string, object>();
  readonly #inFlight = new InFlight();
  #deletedCount: number;
  #closing: Promise<void> | undefined;

  private constructor(description: SegmentDescription, loaded: LoadedSegment) {
    const { columns } = loaded;
    const files = description.files.filter((file) => !isGraphFile(file) || file.of === undefined || columns.get(file.of)?.graphDamage === undefined);
    this.description = { ...description, files };
    this.#ids = loaded.ids;
    this.#versions = loaded.versions;
    this.#order = loaded.order;
    this.#live = new GrowingBits(andNotInto(fullBits(description.rows), loaded.deleted));
    this.#deletedCount = countBits(loaded.deleted);
    this.#payloads = loaded.payloads;
    this.#columns = columns;
    for (const [field, { index, file }] of loaded.fieldIndexes) {
      this.#fieldIndexes.set(field, index);
      this.fileOf.set(index, file);
    }
  }

  static over(description: SegmentDescription, loaded: LoadedSegment): SealedSegment {
    return new SealedSegment(description, loaded);
  }

  get uuid(): string { return this.description.uuid; }
  get rowCount(): number { return this.description.rows; }
  get deletedCount(): number { return this.#deletedCount; }
  get minSeq(): Seq { return this.description.min_seq; }
  get maxSeq(): Seq { return this.description.max_seq; }

  /** For a checkpoint at this moment; no I/O. */
  capture(): SealedState {
    return {
      deleted: andNotInto(fullBits(this.rowCount), this.liveBits()),
      deletedCount: this.#deletedCount,
      fieldIndexes: new Map(this.#fieldIndexes),
      vectors: new Set(this.#columns.keys()),
    };
  }

  markDeleted(row: number): void {
    invariant(row < this.rowCount && this.#live.has(row), 'a row dies once');
    this.#live.clear(row);
    this.#deletedCount += 1;
  }

  isDeleted(row: number): boolean {
    invariant(row < this.rowCount, 'the row exists');
    return !this.#live.has(row);
  }

  liveBits(): Uint32Array {
    return this.#live.copy(this.rowCount);
  }

  idAt(row: number): PointId {
    invariant(row < this.rowCount, 'the row exists');
    return this.#ids.at(row);
  }

  versionAt(row: number): Seq {
    return this.#versions.base + must(this.#versions.distances[row], 'the row exists');
  }

  vectorBits(name: string): Uint32Array {
    return this.#columns.get(name)?.slots.bits(this.rowCount) ?? fullBits(0);
  }

  async vectors(name: string, rows: ArrayLike<number>): Promise<(Uint8Array | undefined)[]> {
    const found: (Uint8Array | undefined)[] = Array.from(rows, () => undefined);
    const column = this.#columns.get(name);
    if (column !== undefined) await this.#inFlight.run(() => column.read(rows, (at, bytes) => { found[at] = bytes; }));
    return found;
  }

  payloads(rows: ArrayLike<number>): Promise<string[]> {
    return this.#inFlight.run(() => this.#payloads.texts(rows));
  }

  search(name: string, queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    const column = this.#columns.get(name);
    return this.#inFlight.run(() => column?.search(queries, signal) ?? searchColumn(undefined, queries, signal));
  }

  /** Of each vector that some row carries. */
  graphStates(): ReadonlyMap<string, GraphState> {
    return new Map(Array.from(this.#columns, ([name, column]) => [name, stateOf(column)]));
  }

  /** Of one vector, where some row carries it. */
  graphState(name: string): GraphState | undefined {
    const column = this.#columns.get(name);
    return column && stateOf(column);
  }

  /** The list length that the graph in use was built with, which searches take where they are not told; undefined where there is none. */
  efConstructOf(name: string): number | undefined {
    const column = this.#columns.get(name);
    return column?.isIndexed === true ? column.graphFacts?.efConstruct : undefined;
  }

  /** What the files of a graph should say of blocks, by the payload indexes of now. */
  blockFacts(indexing: VectorIndexing): BlockFacts | undefined {
    return blockFactsOf(this.#fieldIndexes, indexing);
  }

  /** Its links over a vector, for a graph of the same kind in which `rows` of this segment stand one after another, from `first` on. */
  async seedOf(name: string, rows: Uint32Array, { first, m, efConstruct }: { readonly first: number; readonly m: number; readonly efConstruct: number }): Promise<GraphSeed | undefined> {
    const column = this.#columns.get(name);
    const graph = column?.index.graph;
    if (column?.graphFacts?.m !== m || column.graphFacts.efConstruct !== efConstruct || graph?.isLoaded !== true) return undefined;
    return { graph, live: await column.slots.allowedSlots(rows), first };
  }

  /** Builds a graph into files, beside the one in use. undefined where the vector is gone or searches are always exact. */
  buildGraph({ indexing, ...request }: GraphRequest): Promise<NewGraph | undefined> {
    return this.#inFlight.run(async () => {
      const column = this.#columns.get(request.name);
      if (column === undefined) return undefined;
      const fields = new Map(this.#fieldIndexes); // as they are now; what comes meanwhile makes other facts
      const blockFacts = blockFactsOf(fields, indexing);
      const { m, efConstruct, threadsMax, codes } = indexing;
      const { keepsLinks, seed } = request;
      const config = { m, efConstruct, threadsMax, codes, keepsLinks, ...(seed === undefined ? {} : { seed }) };
      const presentFiles = this.description.files.filter((file) => file.of === request.name && (file.kind === 'code' || file.kind === 'graph'));
      if (blockFacts === undefined) return await column.buildGraph({ ...request, config, presentFiles });
      const lists = await blockLists(fields, indexing, { slots: column.slots, strideBytes: strideBytes(column.index.spec) });
      return await column.buildGraph({ ...request, config: { ...config, blocks: { m: blockFacts.m, lists } }, blockFacts, presentFiles });
    });
  }

  /** Takes files into the description, in the place of older ones, and into use. Without `graph` there is none any more. Not while the
   *  segment is saved. */
  setGraph(name: string, graph: NewGraph | undefined): void {
    const column = this.#columns.get(name);
    if (column === undefined) {
      graph?.discard();
      return;
    }
    const kept = this.description.files.filter((file) => file.of !== name || !isGraphFile(file));
    this.description = { ...this.description, files: [...kept, ...(graph?.files ?? [])] };
    if (graph === undefined) column.dropGraph();
    else graph.install();
  }

  /** Reads the graph in use again from its files, with its codes elsewhere. */
  async reloadGraph(place: FilesPlace, name: string, codesInMemory: boolean): Promise<void> {
    const files = findVectorFiles({ ...place, description: this.description }, name)?.graph;
    if (files !== undefined) await this.#inFlight.run(async () => { await this.#columns.get(name)?.loadGraph(place, files, codesInMemory); });
  }

  /** Its vectors are gone at once: rows lack it even when a vector of that name is created again. Its files, with the next save. */
  async dropVector(name: string): Promise<void> {
    const column = this.#columns.get(name);
    this.#columns.delete(name);
    if (column === undefined) return;
    await this.#inFlight.settled();
    await column.close();
  }

  fieldIndex(field: string): FieldIndex | undefined {
    return this.#fieldIndexes.get(field);
  }

  addFieldIndex(field: string, schema: FieldSchema): Promise<void> {
    return this.#inFlight.run(() => this.#buildFieldIndex(field, schema));
  }

  dropFieldIndex(field: string): void {
    this.#builds.delete(field);
    this.#fieldIndexes.delete(field);
  }

  findLiveRow(id: PointId): number | undefined {
    const key = idKey(id);
    const { length } = this.#order;
    if (this.#ids.compareKey(this.#order[0] ?? 0, key) > 0 || this.#ids.compareKey(this.#order[length - 1] ?? 0, key) < 0) return undefined;
    // an id's rows lie in order of age, and only the youngest can be alive
    const row = this.#order[upperBound(this.#ids, this.#order, key) - 1];
    return row !== undefined && this.#ids.compareKey(row, key) === 0 && this.#live.has(row) ? row : undefined;
  }

  *rowsById(from?: PointId): Generator<number, void, undefined> {
    const start = from === undefined ? 0 : lowerBound(this.#ids, this.#order, idKey(from));
    for (let at = start; at < this.#order.length; at += 1) yield this.#order[at] ?? 0;
  }

  rowSource(): RowSource {
    return {
      rowCount: this.rowCount,
      live: this.liveBits(),
      fieldIndex: (field) => this.fieldIndex(field),
      findRow: (id) => this.findLiveRow(id),
      idAt: (row) => this.idAt(row),
      vectorBits: (name) => this.vectorBits(name),
      payloads: (rows) => this.payloads(rows),
    };
  }

  /** Mapped vectors are not counted: the system takes their pages back when it needs them. */
  get memoryBytes(): number {
    let bytes = this.#ids.memoryBytes + this.#versions.distances.byteLength + this.#order.byteLength + this.#live.memoryBytes + this.#payloads.memoryBytes;
    for (const column of this.#columns.values()) bytes += column.memoryBytes;
    for (const index of this.#fieldIndexes.values()) bytes += index.memoryBytes;
    return bytes;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Lends the inside to a merge; nothing is closed before `work` has ended. */
  lend<T>(work: (parts: SealedParts) => Promise<T>): Promise<T> {
    const parts = { ids: this.#ids, order: this.#order, payloads: this.#payloads, columns: new Map(this.#columns) };
    return this.#inFlight.run(() => work(parts));
  }

  async #close(): Promise<void> {
    this.#builds.clear();
    await this.#inFlight.close();
    for (const column of this.#columns.values()) await column.close();
    await this.#payloads.close();
  }

  async #buildFieldIndex(field: string, schema: FieldSchema): Promise<void> {
    const build = {};
    this.#builds.set(field, build);
    const index = createFieldIndex(parseJsonPath(field), schema);
    const pause = slices();
    for (let from = 0; from < this.rowCount; from += payloadBatchRows) {
      const rows = Array.from({ length: Math.min(payloadBatchRows, this.rowCount - from) }, (_, at) => from + at);
      for (const [at, text] of (await this.#payloads.texts(rows)).entries()) {
        index.add(from + at, parsePayload(text));
        const due = pause();
        if (due !== undefined) await due;
      }
      if (this.#builds.get(field) !== build) return;
    }
    const compact = await decodeFieldIndexInSlices(Buffer.from(await index.encodeInSlices()), `index of ${field}`);
    if (this.#builds.get(field) !== build) return;
    this.#builds.delete(field);
    this.#fieldIndexes.set(field, compact);
  }
}

function stateOf({ slots, index, isIndexed, graphFacts: facts, graphDamage: damage, codes }: SealedColumn): GraphState {
  return {
    vectors: slots.length, sizeBytes: slots.length * strideBytes(index.spec), isIndexed, canBeIndexed: index.graph !== undefined,
    ...(facts === undefined ? {} : { facts }), ...(damage === undefined ? {} : { damage }), ...(codes === undefined ? {} : { codes }),
  };
}

/** Views of the inside of a sealed segment. */
export interface SealedParts {
  readonly ids: IdTable;
  /** Rows in ascending order of (id, row). */
  readonly order: Uint32Array;
  readonly payloads: PayloadReader;
  readonly columns: ReadonlyMap<string, SealedColumn>;
}
