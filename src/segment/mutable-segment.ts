// The mutable head of a shard: the newest rows, in memory, protected by the log alone.
//
// - Rows are only added; an update is markDeleted on the old row, wherever it lies, then append here. So of the rows of one id
//   only the last can be live.
// - Arrays handed out never change afterwards.
// - After the last append (the shard has put a new head in its place) it is the source of a seal; deletes still arrive.
import { invariant, must } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { GrowingVectorIndex, IndexHits, IndexQuery, VectorIndexes } from '../index/vector-index.ts';
import { andNotInto, fullBits } from '../payload/bitmap.ts';
import { createFieldIndex } from '../payload/stored-index.ts';
import type { FieldIndex, MutableFieldIndex } from '../payload/field-index.ts';
import type { FieldSchema, PayloadSchema } from '../payload/field-schema.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import type { RowSource } from '../payload/select-rows.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import { grown } from './grown.ts';
import { GrowingBits } from './growing-bits.ts';
import { idKey, IdTable, type WordSink } from './id-table.ts';
import { InFlight } from '../base/in-flight.ts';
import { PayloadArena } from './payload-arena.ts';
import { parsePayload } from './payload-text.ts';
import { RowSlots } from './row-slots.ts';
import type { Segment, StoredPoint } from './segment.ts';
import { slices } from './slices.ts';
import { SortedRuns } from './sorted-runs.ts';
import { searchColumn, type VectorColumn } from './vector-column.ts';

export interface MutableSegmentOptions {
  readonly uuid: string;
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly indexes: VectorIndexes;
  readonly payloadSchema: PayloadSchema;
}

/** What one entry of the id map costs: a hash table slot of three words and its share of growth; a UUID's text besides. */
const idMapEntryBytes = 40;
const uuidTextBytes = 56;

interface GrowingColumn extends VectorColumn<GrowingVectorIndex> {
  readonly nameCrc: number;
  /** Memory to read a row back into. */
  readonly scratch: Uint8Array;
}

export class MutableSegment implements Segment {
  readonly uuid: string;
  readonly #indexes: VectorIndexes;
  readonly #columns = new Map<string, GrowingColumn>();
  /** Of the columns, sorted. */
  #names: readonly string[] = [];
  readonly #fieldIndexes = new Map<string, MutableFieldIndex>();
  /** Field → the build under way; another build or a drop takes its place, and it gives up. */
  readonly #builds = new Map<string, object>();
  readonly #ids = new IdTable();
  readonly #byId = new SortedRuns(this.#ids);
  readonly #payloads = new PayloadArena();
  readonly #live = new GrowingBits();
  readonly #liveRows = new Map<PointId, number>();
  readonly #inFlight = new InFlight();
  #versions = new Float64Array(64);
  #rowCount = 0;
  #deletedCount = 0;
  #minSeq: Seq = 0;
  #maxSeq: Seq = 0;
  #uuidRows = 0;

  private constructor(uuid: string, indexes: VectorIndexes) {
    this.uuid = uuid;
    this.#indexes = indexes;
  }

  static create(options: MutableSegmentOptions): MutableSegment {
    const segment = new MutableSegment(options.uuid, options.indexes);
    for (const [name, spec] of options.specs) segment.addVector(name, spec);
    for (const [field, schema] of options.payloadSchema) segment.#fieldIndexes.set(field, createFieldIndex(parseJsonPath(field), schema));
    return segment;
  }

  get rowCount(): number { return this.#rowCount; }
  get deletedCount(): number { return this.#deletedCount; }
  get minSeq(): Seq { return this.#minSeq; }
  get maxSeq(): Seq { return this.#maxSeq; }

  /** Answers the row. The id must have no live row here: mark an older one dead first. Vectors of names and sizes as in the specs. */
  append(point: StoredPoint): number {
    invariant(!this.#liveRows.has(point.id), 'an id has one live row');
    for (const [name, bytes] of point.vectors) {
      invariant(bytes.byteLength === strideBytes(this.#column(name).index.spec), () => `vector '${name}' has the size of its spec`);
    }
    const payload = this.#fieldIndexes.size > 0 ? parsePayload(point.payload) : {};
    const row = this.#rowCount;
    for (const [name, bytes] of point.vectors) {
      const column = this.#column(name);
      column.index.append(bytes);
      column.slots.add(row);
    }
    this.#ids.push(point.id);
    this.#byId.add(row);
    this.#payloads.push(point.payload);
    this.#versions = grown(this.#versions, row + 1);
    this.#versions[row] = point.version;
    this.#minSeq = row === 0 ? point.version : Math.min(this.#minSeq, point.version);
    this.#maxSeq = Math.max(this.#maxSeq, point.version);
    this.#live.set(row);
    this.#liveRows.set(point.id, row);
    if (typeof point.id === 'string') this.#uuidRows += 1;
    this.#rowCount += 1;
    for (const index of this.#fieldIndexes.values()) index.add(row, payload);
    return row;
  }

  /** A row as it is stored, read back: id, version, payload, and each vector with its name, by name; payload and vectors by their crc32. */
  tellRow(row: number, to: WordSink): void {
    this.#ids.tell(row, to);
    const version = this.versionAt(row);
    to.word(version % 2 ** 32);
    to.word(Math.floor(version / 2 ** 32));
    to.word(this.#payloads.lengthBytes(row));
    to.word(this.#payloads.checksum(row));
    for (const name of this.#names) {
      const { index, slots, nameCrc, scratch } = this.#column(name);
      const slot = slots.findSlot(row);
      if (slot === undefined) continue;
      to.word(nameCrc);
      index.readRows(slot, scratch);
      to.word(crc32(scratch));
    }
  }

  /** Rows so far lack it. */
  addVector(name: string, spec: VectorSpec): void {
    invariant(!this.#columns.has(name), () => `vector '${name}' is new`);
    this.#columns.set(name, { index: this.#indexes.growing(spec), slots: new RowSlots(), nameCrc: crc32(Buffer.from(name)), scratch: new Uint8Array(strideBytes(spec)) });
    this.#names = [...this.#columns.keys()].sort();
  }

  /** Gone at once; its bytes are freed when reads and seals in flight have ended. */
  async dropVector(name: string): Promise<void> {
    const column = this.#column(name);
    this.#columns.delete(name);
    this.#names = [...this.#columns.keys()].sort();
    await this.#inFlight.settled();
    await column.index.close();
  }

  markDeleted(row: number): void {
    invariant(row < this.#rowCount && this.#live.has(row), 'a row dies once');
    this.#live.clear(row);
    this.#liveRows.delete(this.#ids.at(row));
    this.#deletedCount += 1;
  }

  isDeleted(row: number): boolean {
    invariant(row < this.#rowCount, 'the row exists');
    return !this.#live.has(row);
  }

  liveBits(): Uint32Array {
    return this.#live.copy(this.#rowCount);
  }

  /** The complement of `liveBits`; the caller's own. */
  deletedBits(): Uint32Array {
    return andNotInto(fullBits(this.#rowCount), this.liveBits());
  }

  idAt(row: number): PointId {
    invariant(row < this.#rowCount, 'the row exists');
    return this.#ids.at(row);
  }

  versionAt(row: number): Seq {
    return must(row < this.#rowCount ? this.#versions[row] : undefined, 'the row exists');
  }

  vectorBits(name: string): Uint32Array {
    return this.#columns.get(name)?.slots.bits(this.#rowCount) ?? fullBits(0);
  }

  vectors(name: string, rows: ArrayLike<number>): Promise<(Uint8Array | undefined)[]> {
    return this.#inFlight.run(() => this.#vectors(this.#columns.get(name), rows));
  }

  async payloads(rows: ArrayLike<number>): Promise<string[]> {
    const texts: string[] = [];
    const pause = slices();
    for (let at = 0; at < rows.length; at += 1) {
      texts.push(this.#payloads.text(rows[at] ?? 0));
      const due = (at & 63) === 63 ? pause() : undefined;
      if (due !== undefined) await due;
    }
    return texts;
  }

  search(name: string, queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    return this.#inFlight.run(() => searchColumn(this.#columns.get(name), queries, signal));
  }

  fieldIndex(field: string): FieldIndex | undefined {
    return this.#fieldIndexes.get(field);
  }

  async addFieldIndex(field: string, schema: FieldSchema): Promise<void> {
    const build = {};
    this.#builds.set(field, build);
    const index = createFieldIndex(parseJsonPath(field), schema);
    const pause = slices();
    for (let row = 0; row < this.#rowCount; row += 1) {
      index.add(row, parsePayload(this.#payloads.text(row)));
      const due = pause();
      if (due !== undefined) await due;
      if (this.#builds.get(field) !== build) return;
    }
    this.#builds.delete(field);
    this.#fieldIndexes.set(field, index);
  }

  dropFieldIndex(field: string): void {
    this.#builds.delete(field);
    this.#fieldIndexes.delete(field);
  }

  findLiveRow(id: PointId): number | undefined {
    return this.#liveRows.get(id);
  }

  rowsById(from?: PointId): Iterable<number> {
    return this.#byId.rows(from === undefined ? undefined : idKey(from));
  }

  rowSource(): RowSource {
    return {
      rowCount: this.#rowCount,
      live: this.liveBits(),
      fieldIndex: (field) => this.fieldIndex(field),
      findRow: (id) => this.findLiveRow(id),
      idAt: (row) => this.idAt(row),
      vectorBits: (name) => this.vectorBits(name),
      payloads: (rows) => this.payloads(rows),
    };
  }

  get memoryBytes(): number {
    let bytes = this.#ids.memoryBytes + this.#byId.memoryBytes + this.#payloads.memoryBytes + this.#live.memoryBytes + this.#versions.byteLength;
    bytes += this.#liveRows.size * idMapEntryBytes + this.#uuidRows * uuidTextBytes;
    for (const { index, slots } of this.#columns.values()) bytes += index.memoryBytes + slots.memoryBytes;
    for (const index of this.#fieldIndexes.values()) bytes += index.memoryBytes;
    return bytes;
  }

  async close(): Promise<void> {
    this.#builds.clear();
    await this.#inFlight.close();
    for (const { index } of this.#columns.values()) await index.close();
  }

  /** Lends the inside, which sealing copies without making an object of a row; it is not closed before `work` has ended. */
  lend<T>(work: (parts: MutableParts) => Promise<T>): Promise<T> {
    const parts = {
      ids: this.#ids,
      byId: this.#byId,
      versions: this.#versions.subarray(0, this.#rowCount),
      payloads: this.#payloads,
      columns: new Map(this.#columns),
      fieldIndexes: new Map(this.#fieldIndexes),
    };
    return this.#inFlight.run(() => work(parts));
  }

  async #vectors(column: VectorColumn<GrowingVectorIndex> | undefined, rows: ArrayLike<number>): Promise<(Uint8Array | undefined)[]> {
    const found: (Uint8Array | undefined)[] = Array.from(rows, () => undefined);
    const pause = slices();
    for (let at = 0; at < rows.length; at += 1) {
      const slot = column?.slots.findSlot(rows[at] ?? 0);
      if (column !== undefined && slot !== undefined) found[at] = column.index.row(slot);
      const due = (at & 63) === 63 ? pause() : undefined;
      if (due !== undefined) await due;
    }
    return found;
  }

  #column(name: string): GrowingColumn {
    return must(this.#columns.get(name), `vector '${name}' is in the specs`);
  }
}

/** Views of the inside of a mutable segment; valid while nothing is appended. */
export interface MutableParts {
  readonly ids: IdTable;
  readonly byId: SortedRuns;
  readonly versions: Float64Array;
  readonly payloads: PayloadArena;
  readonly columns: ReadonlyMap<string, VectorColumn<GrowingVectorIndex>>;
  readonly fieldIndexes: ReadonlyMap<string, FieldIndex>;
}
