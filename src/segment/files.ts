// The one table of file kinds of a segment, and the header they share. Files lie flat in `<shard>/files/<sha256>.<kind>`, named by
// their content and never changed. All integers are little-endian.
//
//    offset  size  header
//         0     8  magic "NKEEPSEG"
//         8     4  the first four letters of the kind, ASCII, zero-padded
//        12     2  format version of the kind
//        14     2  0
//        16     4  rows: records of the file (`vec`: vectors; else rows of the segment)
//        20     4  stride: bytes per record; 0 where records have no fixed size
//        24     8  data size in bytes
//        32    24  fields of the kind, see FILE_KINDS; 0 where there are none
//        56     4  0
//        60     4  crc32 of bytes 0 … 59
//        64  4032  0
//      4096     n  data
//  4096 + n    4b  crc32 of each 64 KiB block of the data, the last one shorter: b = ceil(n / 65536)
//     after     4  crc32 of the table before it; the file ends here
//
// Data of the kinds (r = rows):
//  vec   one named vector: r x stride, packed, in the stored datatype. Only rows of the segment that carry the vector have a
//        record, in order of rows.
//  has   which rows carry that vector: ceil(r / 32) u32 words, bit i & 31 of word i >> 5
//  pay   texts of all rows, concatenated, then r + 1 u64: where each text starts, and where the last one ends
//  ids   r u64 versions; then ceil(r / 32) u32 words: bitmap of UUIDs; then r x stride: stride 8: integers; stride 16: an integer
//        and 0, or the upper and the lower 64 bits of a UUID
//  idx   r u32: the rows in ascending order of (id, row); integers before UUIDs
//  del   dead rows: ceil(r / 32) u32 words
//  pidx  the encoded index of one payload field (payload/)
//  code  codes of one named vector, one record for each in its `vec` file: an image of native/core/codes.h. `codes` and `parameter`:
//        0, 0: internal, 8 bits; 1, n: scalar, quantile n / 10^6; 2, n: product, compression n; 3, n: binary, n half bits a component
//  graph links between them: an image of native/core/hnsw-graph.h. `outcome` 0. Where building found that these vectors are better
//        scanned, the file says so and has no data: `outcome` 1, values that have no codes; 2, walks miss too much. No `code` file then
import { must } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';

export type FileKind = 'vec' | 'has' | 'pay' | 'ids' | 'idx' | 'del' | 'pidx' | 'code' | 'graph';

export interface FileKindInfo {
  readonly formatVersion: number;
  /** A description may do without it: opening makes its content again from the other files. A file that it names must be there. */
  readonly rebuildable: boolean;
  /** Names of the u64 fields of the kind in the header, from offset 32. */
  readonly fields: readonly [] | readonly [string] | readonly [string, string] | readonly [string, string, string];
}

export const FILE_KINDS: Readonly<Record<FileKind, FileKindInfo>> = {
  vec: { formatVersion: 1, rebuildable: false, fields: ['size', 'distance', 'datatype'] },
  has: { formatVersion: 1, rebuildable: false, fields: ['count'] },
  pay: { formatVersion: 1, rebuildable: false, fields: ['textBytes'] },
  ids: { formatVersion: 1, rebuildable: false, fields: [] },
  idx: { formatVersion: 1, rebuildable: true, fields: [] },
  del: { formatVersion: 1, rebuildable: false, fields: ['count'] },
  pidx: { formatVersion: 1, rebuildable: true, fields: [] },
  code: { formatVersion: 1, rebuildable: true, fields: ['codes', 'parameter'] },
  graph: { formatVersion: 1, rebuildable: true, fields: ['m', 'efConstruct', 'outcome'] },
};

/** @internal for tests */
export const segmentHeaderBytes = 64;
export const dataOffset = 4096;
export const blockBytes = 64 * 1024;
const magic = Buffer.from('NKEEPSEG', 'ascii');
const fieldsOffset = 32;
const crcOffset = 60;

export interface FileHeader {
  readonly kind: FileKind;
  readonly rows: number;
  readonly stride: number;
  readonly dataBytes: number;
  /** As many as FILE_KINDS names. */
  readonly fields: readonly number[];
}

export function segmentFileName(sha256: string, kind: string): string {
  return `${sha256}.${kind}`;
}

export function isFileKind(kind: string): kind is FileKind {
  return Object.hasOwn(FILE_KINDS, kind);
}

export function blockCount(dataBytes: number): number {
  return Math.ceil(dataBytes / blockBytes);
}

/** Size of a whole file with that much data. */
export function fileSizeBytes(dataBytes: number): number {
  return dataOffset + dataBytes + 4 * blockCount(dataBytes) + 4;
}

/** The first 4,096 bytes of the file. */
export function encodeHeader(header: FileHeader): Buffer {
  const page = Buffer.alloc(dataOffset);
  page.set(magic, 0);
  page.write(tagOf(header.kind), 8, 'ascii');
  page.writeUInt16LE(FILE_KINDS[header.kind].formatVersion, 12);
  page.writeUInt32LE(header.rows, 16);
  page.writeUInt32LE(header.stride, 20);
  page.writeBigUInt64LE(BigInt(header.dataBytes), 24);
  for (const [at, value] of header.fields.entries()) page.writeBigUInt64LE(BigInt(value), fieldsOffset + 8 * at);
  page.writeUInt32LE(crc32(page.subarray(0, crcOffset)), crcOffset);
  return page;
}

/** `page`: the first 4,096 bytes. @throws CorruptionError where it is not the header of such a file. */
export function decodeHeader(page: Buffer, file: string, kind: FileKind): FileHeader {
  const refuse = (offsetBytes: number, problem: string): never => {
    throw new CorruptionError({ file, offsetBytes, problem });
  };
  if (!page.subarray(0, 8).equals(magic)) refuse(0, 'is no segment file');
  if (page.readUInt32LE(crcOffset) !== crc32(page.subarray(0, crcOffset))) refuse(0, 'header checksum does not match');
  const found = page.toString('ascii', 8, 12).replace(/\0+$/, '');
  if (found !== tagOf(kind)) refuse(8, `is a '${found}' file, not '${kind}'`);
  const version = page.readUInt16LE(12);
  const { formatVersion, fields } = FILE_KINDS[kind];
  if (version !== formatVersion) refuse(12, `format version ${version} of '${kind}', this release reads ${formatVersion}`);
  const padding = page.subarray(segmentHeaderBytes).findIndex((byte) => byte !== 0);
  if (padding !== -1) refuse(segmentHeaderBytes + padding, 'padding of the header is not zero');
  return {
    kind,
    rows: page.readUInt32LE(16),
    stride: page.readUInt32LE(20),
    dataBytes: Number(page.readBigUInt64LE(24)),
    fields: fields.map((_, at) => Number(page.readBigUInt64LE(fieldsOffset + 8 * at))),
  };
}

function tagOf(kind: FileKind): string {
  return kind.slice(0, 4);
}

/** A field of the kind, by its name in FILE_KINDS. */
export function headerField(header: FileHeader, name: string): number {
  const at = (FILE_KINDS[header.kind].fields as readonly string[]).indexOf(name);
  return must(header.fields[at], `a '${header.kind}' file has the field ${name}`);
}
