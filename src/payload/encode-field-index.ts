// The sealed form of a field index as bytes. Little-endian; schema and sections start at multiples of 8, zeros fill the gaps.
//
// file:    | magic "NKPX" u32 | crc32 u32 | version u16 | type u8 | flags u8 | rowCount u32 | rowsWithValue u32 |
//          | schemaLength u32 | sectionCount u32 | 0 u32 | schema: JSON as on the wire | table | sections |
// table:   | id u32 | lengthBytes u32 | per section, in the order of the sections
// type:    place in FIELD_TYPES; flags: 1 where the path names one value at most; crc32: over everything behind itself
// sections of all types:               1 filled rows, 2 foreign rows (bitmaps of u32 words, no longer than needed)
// of keyword, uuid, bool:              16 terms, 17 offsets u32 (keyword only, one more than terms), 18 starts u32, 19 rows u32
// of integer, float, datetime, by run: 32 safe f64, 36 i64, 40 u64, 44 float f64; +0 values, +1 starts u32, +2 rows u32;
//                                      an empty run has no sections
import { ByteWriter } from '../base/bytes.ts';
import { crc32 } from '../base/checksum.ts';
import { FIELD_TYPES, type FieldSchema } from './field-schema.ts';
import type { Steps } from './steps.ts';
import { bytesOf, type IndexSection, type RowFacts, type SealedStore } from './value-store.ts';

export const INDEX_MAGIC = 0x58504b4e;
export const INDEX_VERSION = 1;
export const INDEX_HEADER_SIZE_BYTES = 4 + 4 + 2 + 1 + 1 + 4 + 4 + 4 + 4 + 4;
const checksumPieceBytes = 1 << 20;
export const FACT_SECTIONS = { filled: 1, foreign: 2 } as const;
export const SINGLE_VALUED_FLAG = 1;

export function* encodeFieldIndex(schema: FieldSchema, store: SealedStore, facts: RowFacts): Steps<Uint8Array> {
  const words = (facts.rowCount + 31) >>> 5;
  const sections: readonly IndexSection[] = [
    { id: FACT_SECTIONS.filled, bytes: bytesOf(resized(facts.filled, words)) },
    { id: FACT_SECTIONS.foreign, bytes: bytesOf(resized(facts.foreign, words)) },
    ...store.sections(),
  ];
  const schemaText = Buffer.from(JSON.stringify(schema.params ?? schema.type));
  const size = sections.reduce(
    (sum, { bytes }) => sum + padded(bytes.length),
    INDEX_HEADER_SIZE_BYTES + padded(schemaText.length) + sections.length * 8,
  );
  const writer = new ByteWriter(Buffer.allocUnsafe(size));
  writer.u32(INDEX_MAGIC);
  writer.u32(0);
  writer.u16(INDEX_VERSION);
  writer.u8(FIELD_TYPES.indexOf(schema.type));
  writer.u8(facts.isSingleValued ? SINGLE_VALUED_FLAG : 0);
  for (const field of [facts.rowCount, facts.rowsWithValue, schemaText.length, sections.length, 0]) writer.u32(field);
  writePadded(writer, schemaText);
  for (const { id, bytes } of sections) {
    writer.u32(id);
    writer.u32(bytes.length);
  }
  for (const { bytes } of sections) {
    writePadded(writer, bytes);
    yield;
  }
  const file = writer.take();
  file.writeUInt32LE(yield* checksumOf(file), 4);
  return file;
}

/** Of everything behind the field that holds it. */
export function* checksumOf(file: Uint8Array): Steps<number> {
  let checksum = 0;
  for (let start = 8; start < file.length; start += checksumPieceBytes) {
    checksum = crc32(file.subarray(start, start + checksumPieceBytes), checksum);
    yield;
  }
  return checksum;
}

/** Length with the zeros behind it. */
export function padded(lengthBytes: number): number {
  return Math.ceil(lengthBytes / 8) * 8;
}

function resized(bits: Uint32Array, words: number): Uint32Array {
  if (bits.length >= words) return bits.subarray(0, words);
  const longer = new Uint32Array(words);
  longer.set(bits);
  return longer;
}

function writePadded(writer: ByteWriter, bytes: Uint8Array): void {
  writer.bytes(bytes);
  writer.zeros(padded(bytes.length) - bytes.length);
}
