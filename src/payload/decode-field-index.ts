// Reads what encode-field-index.ts draws. Every length, order and bound that answering relies on is checked, so that bytes
// which are not ours end as a CorruptionError and never as a wrong answer.
import { ByteReader } from '../base/bytes.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import {
  checksumOf,
  FACT_SECTIONS,
  INDEX_HEADER_SIZE_BYTES,
  INDEX_MAGIC,
  INDEX_VERSION,
  padded,
  SINGLE_VALUED_FLAG,
} from './encode-field-index.ts';
import { FIELD_TYPES, type FieldSchema } from './field-schema.ts';
import type { FieldIndex } from './field-index.ts';
import {
  RUN_KINDS,
  RUN_SECTIONS,
  runKindOf,
  SealedNumbers,
  type NumberRun,
  type NumberType,
  type RunKind,
  type RunValues,
} from './number-store.ts';
import { parseFieldSchema } from './parse-field-schema.ts';
import { runAtOnce, runInSlices, turnsPerStep, type Steps } from './steps.ts';
import { SealedFieldIndex } from './stored-index.ts';
import { SealedTerms, TERM_SECTIONS, TERM_SIZE_BYTES, type TermType } from './term-store.ts';
import type { Postings, RowFacts, SealedStore } from './value-store.ts';

/** The parts of one file. A section is taken once. */
interface Parts {
  readonly fail: (problem: string) => CorruptionError;
  readonly rowCount: number;
  readonly sections: Map<number, Uint8Array<ArrayBuffer>>;
}

/** The index holds copies, not `bytes`. `file` is named in errors. At once, for tests. @throws CorruptionError  @internal */
export function decodeFieldIndex(bytes: Buffer, file: string): FieldIndex {
  return runAtOnce(decodeSteps(bytes, file));
}

/** The same for an index of any size: the loop is never held. */
export function decodeFieldIndexInSlices(bytes: Buffer, file: string): Promise<FieldIndex> {
  return runInSlices(decodeSteps(bytes, file));
}

function* decodeSteps(bytes: Buffer, file: string): Steps<FieldIndex> {
  const fail = (problem: string, offsetBytes = 0): CorruptionError =>
    new CorruptionError({ file, offsetBytes, problem: `payload index: ${problem}` });
  const reader = new ByteReader(bytes, fail);
  if (reader.u32() !== INDEX_MAGIC) throw fail('wrong magic');
  if (reader.u32() !== (yield* checksumOf(bytes))) throw fail('checksum mismatch');
  const version = reader.u16();
  if (version !== INDEX_VERSION) throw fail(`version ${version} is unknown`);
  const type = FIELD_TYPES[reader.u8()];
  const flags = reader.u8();
  const [rowCount, rowsWithValue, schemaLength, sectionCount, reserved] = [
    reader.u32(),
    reader.u32(),
    reader.u32(),
    reader.u32(),
    reader.u32(),
  ];
  if (type === undefined || flags > SINGLE_VALUED_FLAG || rowsWithValue > rowCount || reserved !== 0) throw fail('bad header');
  const schema = decodeSchema(takePadded(reader, schemaLength), fail);
  if (schema.type !== type) throw fail('type and schema differ', INDEX_HEADER_SIZE_BYTES);
  const parts: Parts = { fail, rowCount, sections: yield* readSections(reader, sectionCount, fail) };
  const facts: RowFacts = {
    rowCount,
    rowsWithValue,
    isSingleValued: flags === SINGLE_VALUED_FLAG,
    filled: takeBits(parts, FACT_SECTIONS.filled),
    foreign: takeBits(parts, FACT_SECTIONS.foreign),
  };
  const store = yield* decodeStore(type, parts);
  if (parts.sections.size > 0) throw fail('unknown section');
  return new SealedFieldIndex(schema, store, facts);
}

function decodeSchema(text: Buffer, fail: (problem: string, offsetBytes: number) => CorruptionError): FieldSchema {
  try {
    return parseFieldSchema(JSON.parse(text.toString()));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RequestError)
      throw fail(`schema is damaged: ${error.message}`, INDEX_HEADER_SIZE_BYTES);
    throw error;
  }
}

function* readSections(
  reader: ByteReader,
  count: number,
  fail: (problem: string, offsetBytes: number) => CorruptionError,
): Steps<Parts['sections']> {
  const sections: Parts['sections'] = new Map();
  if (count * 8 > reader.remaining) throw fail('section table ends early', reader.offset);
  const table = Array.from({ length: count }, () => ({ id: reader.u32(), length: reader.u32() }));
  for (const { id, length } of table) {
    if (sections.has(id)) throw fail(`section ${id} occurs twice`, reader.offset);
    sections.set(id, new Uint8Array(takePadded(reader, length))); // copied: aligned, and free of the file's buffer
    yield;
  }
  if (reader.remaining > 0) throw fail('bytes behind the end', reader.offset);
  return sections;
}

function takePadded(reader: ByteReader, length: number): Buffer {
  return reader.bytes(padded(length)).subarray(0, length);
}

function* decodeStore(type: FieldSchema['type'], parts: Parts): Steps<SealedStore> {
  switch (type) {
    case 'keyword':
    case 'uuid':
    case 'bool':
      return yield* decodeTerms(type, parts);
    case 'integer':
    case 'float':
    case 'datetime':
      return yield* decodeNumbers(type, parts);
  }
}

function* decodeTerms(type: TermType, parts: Parts): Steps<SealedTerms> {
  const bytes = Buffer.from(take(parts, TERM_SECTIONS.bytes).buffer);
  const size = TERM_SIZE_BYTES[type];
  const offsets = size === undefined ? takeU32(parts, TERM_SECTIONS.offsets) : undefined;
  if (size !== undefined && bytes.length % size !== 0) throw parts.fail('terms of broken length');
  const count = size === undefined ? (offsets?.length ?? 0) - 1 : bytes.length / size;
  const at = (place: number): number => offsets?.[place] ?? place * (size ?? 0);
  if (offsets !== undefined && (count < 0 || at(0) !== 0 || at(count) !== bytes.length))
    throw parts.fail('terms do not fit their offsets');
  for (let place = 1; place <= count; place += 1) {
    if (at(place - 1) > at(place)) throw parts.fail('offsets go back');
    if (place % turnsPerStep === 0) yield;
  }
  for (let place = 1; place < count; place += 1) {
    if (place % turnsPerStep === 0) yield;
    if (!isAscending(bytes, at(place - 1), at(place), at(place + 1))) throw parts.fail('terms are out of order');
  }
  return new SealedTerms(type, bytes, offsets, yield* takePostings(parts, TERM_SECTIONS.starts, count));
}

/** Whether bytes start … middle are less than middle … end. Terms mostly differ soon, so a loop is faster than a call. */
function isAscending(bytes: Buffer, start: number, middle: number, end: number): boolean {
  const length = Math.min(middle - start, end - middle);
  for (let at = 0; at < length; at += 1) {
    const difference = (bytes[start + at] ?? 0) - (bytes[middle + at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return middle - start < end - middle;
}

function* decodeNumbers(type: NumberType, parts: Parts): Steps<SealedNumbers> {
  const runs: NumberRun[] = [];
  for (const kind of RUN_KINDS) {
    const id = RUN_SECTIONS[kind];
    if (!parts.sections.has(id)) continue;
    const values = valuesOf(kind, parts, take(parts, id));
    for (let at = 0; at < values.length; at += 1) {
      if (at % turnsPerStep === 0) yield;
      const before = values[at - 1];
      const value = values[at];
      if (value === undefined || Number.isNaN(value) || runKindOf(asKept(value)) !== kind)
        throw parts.fail('value in a wrong run');
      if (before !== undefined && !(before < value)) throw parts.fail('values are out of order');
    }
    runs.push({ kind, values, ...(yield* takePostings(parts, id + 1, values.length)) });
  }
  return new SealedNumbers(type, runs);
}

/** A bigint in the range of safe integers stands in no run. */
function asKept(value: number | bigint): number | bigint {
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function valuesOf(kind: RunKind, parts: Parts, bytes: Uint8Array<ArrayBuffer>): RunValues {
  if (bytes.length % 8 !== 0) throw parts.fail('values of broken length');
  if (kind === 'i64') return new BigInt64Array(bytes.buffer);
  return kind === 'u64' ? new BigUint64Array(bytes.buffer) : new Float64Array(bytes.buffer);
}

/** Starts in section `id`, rows in the next one. Each value has rows, each row exists and comes once. */
function* takePostings(parts: Parts, id: number, count: number): Steps<Postings> {
  const starts = takeU32(parts, id);
  const rows = takeU32(parts, id + 1);
  if (starts.length !== count + 1 || starts[0] !== 0 || starts[count] !== rows.length)
    throw parts.fail('rows do not fit their starts');
  for (let value = 0; value < count; value += 1) {
    const start = starts[value] ?? 0;
    const end = starts[value + 1] ?? 0;
    if (start >= end || end > rows.length) throw parts.fail('starts go back');
    let before = -1;
    for (let at = start; at < end; at += 1) {
      if (at % turnsPerStep === 0) yield;
      const row = rows[at] ?? 0;
      if (row <= before || row >= parts.rowCount) throw parts.fail('rows are out of order');
      before = row;
    }
  }
  return { starts, rows };
}

function takeBits(parts: Parts, id: number): Uint32Array {
  const bits = takeU32(parts, id);
  if (bits.length !== Math.ceil(parts.rowCount / 32)) throw parts.fail('bitmap of broken length');
  const usedBits = parts.rowCount & 31;
  if (usedBits !== 0 && (bits.at(-1) ?? 0) >>> usedBits !== 0) throw parts.fail('bits behind the last row');
  return bits;
}

function takeU32(parts: Parts, id: number): Uint32Array<ArrayBuffer> {
  const bytes = take(parts, id);
  if (bytes.length % 4 !== 0) throw parts.fail(`section ${id} of broken length`);
  return new Uint32Array(bytes.buffer);
}

function take(parts: Parts, id: number): Uint8Array<ArrayBuffer> {
  const bytes = parts.sections.get(id);
  if (bytes === undefined) throw parts.fail(`section ${id} is missing`);
  parts.sections.delete(id);
  return bytes;
}
