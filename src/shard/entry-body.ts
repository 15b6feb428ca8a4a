// Bytes of the body of every kind of entry, version 1. Little-endian; text is u32 byte length + UTF-8; an id is a tag u8
// (0 integer, 1 UUID) + u64 or 16 bytes.
//
//  upsert          | condition | vector table | points u32 | points u32 × ( id, rows, payload text ) |
//  update-vectors  | condition | vector table | points u32 | points u32 × ( id, rows ) |
//    condition       | bits u8: 1 filter follows, 2 insert_only, 4 update_only | filter text? |
//    vector table    | names u16 | × ( name text, row bytes u32 ) |
//    rows            | count u16 | × ( index into the table u16, row bytes ) |
//  delete-points, clear-payload   | selector |
//    selector        | 0 u8 | ids u32 | × id |   or   | 1 u8 | filter text |
//  delete-vectors, delete-payload | selector | names u32 | × text |
//  set-payload                    | selector | payload text | has key u8 | key text? |
//  overwrite-payload              | selector | payload text |
//  create-index    | field text | schema as JSON text |        drop-index   | field text |
//  create-vector   | name text | spec as JSON text |           drop-vector  | name text |
//  restore         | origin as JSON text |                     cut, no-op   (empty)
//
// A filter is the text of payload/filter-json.ts. Vectors are rows as stored.
//
// The version of an entry stands for the layout of its body and for what applying it does. Whoever changes either takes the next number,
// and keeps what the numbers before it mean: an older entry is applied as it always was, or a replay would lead somewhere else. Of a newer
// one nothing is guessed.
import { must, unreachable } from '../base/assert.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { CorruptionError } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import type { PointSelector, UpdateMode } from '../command/write.ts';
import type { EntryKind } from '../log/shard-log.ts';
import type { Filter } from '../payload/filter.ts';
import { decodeFilter, encodeFilter } from '../payload/filter-json.ts';
import { FIELD_TYPES, type FieldSchema } from '../payload/field-schema.ts';
import { DATATYPES, DISTANCES, type VectorSpec } from '../vector/distance.ts';
import type { RestoreOrigin, SelectorOperation, ShardOperation, StoredVectors } from './shard-operation.ts';

/** The newest, which new entries get. All from 1 on are applied. */
export const entryBodyVersion = 1;

/** An entry of rules that this program does not have: the state before it is as far as it can go. */
export class NewerEntryError extends CorruptionError {
  constructor(file: string, { version, kind }: { readonly version: number; readonly kind: EntryKind }) {
    super({ file, problem: `has an entry '${kind}' of version ${version}, and this version of nearkeep applies those up to ${entryBodyVersion}: start a newer one` });
  }
}

const conditionBits = { filter: 1, insertOnly: 2, updateOnly: 4 } as const;
const selectorTags = { ids: 0, filter: 1 } as const;

/** How the vectors of a write become rows of its body. */
export interface RowEncoding<V> {
  rowBytes(name: string, vector: V): number;
  /** Fills `row`, which is as long as `rowBytes` said. */
  write(name: string, vector: V, row: Uint8Array): void;
}

/** A write of points whose vectors are not stored bytes yet. */
export type PointWrite<V> =
  | { readonly kind: 'upsert'; readonly points: readonly (PointOf<V> & { readonly payload: string })[]; readonly updateFilter?: Filter; readonly updateMode?: UpdateMode }
  | { readonly kind: 'update-vectors'; readonly points: readonly PointOf<V>[]; readonly updateFilter?: Filter };

interface PointOf<V> {
  readonly id: PointId;
  readonly vectors: ReadonlyMap<string, V>;
}

export interface EncodedEntry {
  /** Its vectors are views of the body. */
  readonly operation: ShardOperation;
  readonly body: Buffer;
  /** Borrowed for the body, and free when the entry is applied. */
  readonly memory?: Buffer;
}

/** Of vectors that are rows already. */
export const storedRows: RowEncoding<Uint8Array> = {
  rowBytes: (_name, bytes) => bytes.byteLength,
  write: (_name, bytes, row) => row.set(bytes),
};

/** `memory` should be as large as the body: the body lies in it then, and nothing has to grow. */
export function encodePoints<V>(write: PointWrite<V>, encoding: RowEncoding<V>, memory: Buffer): EncodedEntry {
  const writer = new ByteWriter(memory);
  const operation = writePoints(writer, write, encoding);
  return { operation, body: writer.take(), memory };
}

export function encodeOperation(operation: ShardOperation): EncodedEntry {
  return { operation, body: encodeEntryBody(operation) };
}

/** @internal for tests */
export function encodeEntryBody(operation: ShardOperation): Buffer {
  const writer = new ByteWriter();
  switch (operation.kind) {
    case 'upsert':
    case 'update-vectors':
      writePoints(writer, operation, storedRows);
      break;
    case 'create-index':
      writer.text(operation.field);
      writer.text(JSON.stringify(operation.schema));
      break;
    case 'create-vector':
      writer.text(operation.name);
      writer.text(JSON.stringify(operation.spec));
      break;
    case 'drop-index':
      writer.text(operation.field);
      break;
    case 'drop-vector':
      writer.text(operation.name);
      break;
    case 'restore':
      writer.text(JSON.stringify(operation.origin));
      break;
    case 'cut':
    case 'no-op':
      break;
    case 'delete-points':
    case 'clear-payload':
    case 'delete-vectors':
    case 'delete-payload':
    case 'set-payload':
    case 'overwrite-payload':
      writeSelected(writer, operation);
      break;
    default:
      unreachable(operation);
  }
  return writer.take();
}

/** @throws NewerEntryError; CorruptionError naming `file` for bytes that encodeEntryBody did not write. */
export function decodeEntryBody(entry: { readonly kind: EntryKind; readonly version: number; readonly body: Uint8Array }, file: string): ShardOperation {
  const fail = (problem: string, offsetBytes?: number): CorruptionError =>
    new CorruptionError({ file, problem: `body of an entry '${entry.kind}'${offsetBytes === undefined ? '' : ` at its byte ${offsetBytes}`}: ${problem}` });
  if (entry.version > entryBodyVersion) throw new NewerEntryError(file, entry);
  if (entry.version < 1) throw fail(`version ${entry.version}`);
  const reader = new BodyReader(entry.body, fail);
  const operation = reader.operation(entry.kind);
  reader.end();
  return operation;
}

/** Answers the operation with the rows that it wrote. */
function writePoints<V>(writer: ByteWriter, write: PointWrite<V>, encoding: RowEncoding<V>): ShardOperation {
  const mode = write.kind === 'upsert' ? write.updateMode : undefined;
  const filter = write.updateFilter;
  const modeBits = mode === 'insert_only' ? conditionBits.insertOnly : mode === 'update_only' ? conditionBits.updateOnly : 0;
  writer.u8(modeBits | (filter === undefined ? 0 : conditionBits.filter));
  if (filter !== undefined) writer.text(encodeFilter(filter));
  const table = vectorTable(write.points, encoding);
  writer.u16(table.size);
  for (const [name, { rowBytes }] of table) {
    writer.text(name);
    writer.u32(rowBytes);
  }
  writer.u32(write.points.length);
  const rows = ({ id, vectors }: PointOf<V>): StoredVectors => {
    writer.pointId(id);
    writer.u16(vectors.size);
    const stored = new Map<string, Uint8Array>();
    for (const [name, vector] of vectors) {
      const { index, rowBytes } = must(table.get(name), 'the table has every name');
      writer.u16(index);
      const row = writer.space(rowBytes);
      encoding.write(name, vector, row);
      stored.set(name, row);
    }
    return stored;
  };
  if (write.kind === 'update-vectors') return { ...write, points: write.points.map((point) => ({ id: point.id, vectors: rows(point) })) };
  const points = write.points.map(({ id, vectors, payload }) => {
    const stored = rows({ id, vectors });
    writer.text(payload);
    return { id, vectors: stored, payload };
  });
  return { ...write, points };
}

function vectorTable<V>(points: readonly PointOf<V>[], encoding: RowEncoding<V>): ReadonlyMap<string, { readonly index: number; readonly rowBytes: number }> {
  const table = new Map<string, { readonly index: number; readonly rowBytes: number }>();
  for (const { vectors } of points) {
    for (const [name, vector] of vectors) {
      if (!table.has(name)) table.set(name, { index: table.size, rowBytes: encoding.rowBytes(name, vector) });
    }
  }
  return table;
}

function writeSelected(writer: ByteWriter, operation: SelectorOperation): void {
  const { selector } = operation;
  writer.u8(selectorTags[selector.kind]);
  if (selector.kind === 'ids') {
    writer.u32(selector.ids.length);
    for (const id of selector.ids) writer.pointId(id);
  } else {
    writer.text(encodeFilter(selector.filter));
  }
  switch (operation.kind) {
    case 'delete-points':
    case 'clear-payload':
      return;
    case 'delete-vectors':
      writeTexts(writer, operation.names);
      return;
    case 'delete-payload':
      writeTexts(writer, operation.keys);
      return;
    case 'overwrite-payload':
      writer.text(operation.payload);
      return;
    case 'set-payload':
      writer.text(operation.payload);
      writer.u8(operation.key === undefined ? 0 : 1);
      if (operation.key !== undefined) writer.text(operation.key);
      return;
    default:
      unreachable(operation);
  }
}

function writeTexts(writer: ByteWriter, texts: readonly string[]): void {
  writer.u32(texts.length);
  for (const text of texts) writer.text(text);
}

type Fail = (problem: string, offsetBytes?: number) => CorruptionError;

class BodyReader {
  readonly #reader: ByteReader;
  readonly #fail: Fail;

  constructor(bytes: Uint8Array, fail: Fail) {
    this.#reader = new ByteReader(bytes, fail);
    this.#fail = fail;
  }

  end(): void {
    if (this.#reader.remaining > 0) throw this.#fail(`${this.#reader.remaining} bytes follow its end`, this.#reader.offset);
  }

  operation(kind: EntryKind): ShardOperation {
    switch (kind) {
      case 'upsert':
        return this.#upsert();
      case 'update-vectors':
        return this.#updateVectors();
      case 'delete-points':
      case 'clear-payload':
        return { kind, selector: this.#selector() };
      case 'delete-vectors':
        return { kind, selector: this.#selector(), names: this.#texts() };
      case 'delete-payload':
        return { kind, selector: this.#selector(), keys: this.#texts() };
      case 'overwrite-payload':
        return { kind, selector: this.#selector(), payload: this.#reader.text() };
      case 'set-payload':
        return { kind, selector: this.#selector(), payload: this.#reader.text(), ...(this.#flag() ? { key: this.#reader.text() } : {}) };
      case 'create-index':
        return { kind, field: this.#reader.text(), schema: this.#json(isFieldSchema) };
      case 'drop-index':
        return { kind, field: this.#reader.text() };
      case 'create-vector':
        return { kind, name: this.#reader.text(), spec: this.#json(isVectorSpec) };
      case 'drop-vector':
        return { kind, name: this.#reader.text() };
      case 'restore':
        return { kind, origin: this.#json(isRestoreOrigin) };
      case 'cut':
      case 'no-op':
        return { kind };
      default:
        return unreachable(kind);
    }
  }

  #upsert(): ShardOperation {
    const bits = this.#bits(conditionBits.filter | conditionBits.insertOnly | conditionBits.updateOnly);
    const updateMode: UpdateMode | undefined = (bits & conditionBits.insertOnly) !== 0 ? 'insert_only' : (bits & conditionBits.updateOnly) !== 0 ? 'update_only' : undefined;
    const condition = { ...this.#condition(bits), ...(updateMode === undefined ? {} : { updateMode }) };
    const table = this.#table();
    const points = this.#list(() => ({ id: this.#reader.pointId(), vectors: this.#rows(table), payload: this.#reader.text() }));
    return { kind: 'upsert', points, ...condition };
  }

  #updateVectors(): ShardOperation {
    const condition = this.#condition(this.#bits(conditionBits.filter));
    const table = this.#table();
    const points = this.#list(() => ({ id: this.#reader.pointId(), vectors: this.#rows(table) }));
    return { kind: 'update-vectors', points, ...condition };
  }

  #bits(known: number): number {
    const bits = this.#reader.u8();
    const both = conditionBits.insertOnly | conditionBits.updateOnly;
    if ((bits & ~known) !== 0 || (bits & both) === both) throw this.#fail(`unknown condition bits ${bits}`, this.#reader.offset - 1);
    return bits;
  }

  #condition(bits: number): { readonly updateFilter?: Filter } {
    return (bits & conditionBits.filter) === 0 ? {} : { updateFilter: this.#filter() };
  }

  #table(): readonly { readonly name: string; readonly rowBytes: number }[] {
    const count = this.#reader.u16();
    const table: { readonly name: string; readonly rowBytes: number }[] = [];
    for (let at = 0; at < count; at += 1) table.push({ name: this.#reader.text(), rowBytes: this.#reader.u32() });
    return table;
  }

  #rows(table: readonly { readonly name: string; readonly rowBytes: number }[]): StoredVectors {
    const count = this.#reader.u16();
    const rows = new Map<string, Uint8Array>();
    for (let at = 0; at < count; at += 1) {
      const index = this.#reader.u16();
      const entry = table[index];
      if (entry === undefined) throw this.#fail(`vector ${index} of ${table.length}`, this.#reader.offset - 2);
      rows.set(entry.name, this.#reader.bytes(entry.rowBytes));
    }
    return rows;
  }

  #selector(): PointSelector {
    const tag = this.#reader.u8();
    if (tag === selectorTags.ids) return { kind: 'ids', ids: this.#list(() => this.#reader.pointId()) };
    if (tag === selectorTags.filter) return { kind: 'filter', filter: this.#filter() };
    throw this.#fail(`unknown selector ${tag}`, this.#reader.offset - 1);
  }

  #texts(): readonly string[] {
    return this.#list(() => this.#reader.text());
  }

  /** A count, then that many elements; nothing is allocated for elements that are not there. */
  #list<T>(element: () => T): readonly T[] {
    const count = this.#reader.u32();
    const list: T[] = [];
    for (let at = 0; at < count; at += 1) list.push(element());
    return list;
  }

  #flag(): boolean {
    const flag = this.#reader.u8();
    if (flag > 1) throw this.#fail(`flag ${flag}`, this.#reader.offset - 1);
    return flag === 1;
  }

  #filter(): Filter {
    const { offset } = this.#reader;
    const text = this.#reader.text();
    try {
      return decodeFilter(text);
    } catch (error) {
      throw this.#fail(`a filter that cannot be read: ${String(error)}`, offset);
    }
  }

  #json<T>(is: (value: unknown) => value is T): T {
    const { offset } = this.#reader;
    const text = this.#reader.text();
    try {
      const value: unknown = JSON.parse(text);
      if (is(value)) return value;
    } catch (error) {
      throw this.#fail(`unreadable JSON: ${String(error)}`, offset);
    }
    throw this.#fail('JSON of another shape', offset);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isFieldSchema(value: unknown): value is FieldSchema {
  return isRecord(value) && FIELD_TYPES.some((type) => type === value['type']) && (value['params'] === undefined || isRecord(value['params']));
}

export function isVectorSpec(value: unknown): value is VectorSpec {
  return isRecord(value) && Number.isSafeInteger(value['size']) && Number(value['size']) > 0
    && DISTANCES.some((distance) => distance === value['distance']) && DATATYPES.some((datatype) => datatype === value['datatype']);
}

function isRestoreOrigin(value: unknown): value is RestoreOrigin {
  return isRecord(value) && typeof value['collectionUuid'] === 'string'
    && ['shardId', 'generation', 'seq'].every((name) => Number.isSafeInteger(value[name]));
}
