// The `ids` and `idx` files: row → id and version, and the rows in order of id.
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { IdTable } from './id-table.ts';
import { readSegmentFile, type NamedFile } from './read-file.ts';
import type { SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import { bytesOf, u64At, u64Pieces, wordsOf } from './typed-bytes.ts';
import { writeDescribed, type FilesPlace, type Pieces } from './write-file.ts';

/** Seqs of rows as distances from the smallest: 4 bytes a row, 8 where they are 2^32 or more apart. */
export interface Versions {
  readonly base: Seq;
  readonly distances: Uint32Array | Float64Array;
}

export interface IdColumnsOfRows {
  readonly ids: IdTable;
  readonly versions: Versions;
}

export function bitWords(rows: number): number {
  return (rows + 31) >>> 5;
}

export function writeIds(place: FilesPlace, ids: IdTable, versions: Float64Array): Promise<SegmentFile> {
  const { words, wordsPerId, uuids } = ids.columns();
  const stride = wordsPerId * 4;
  const header = { kind: 'ids', rows: ids.length, stride, dataBytes: ids.length * 8 + uuids.byteLength + ids.length * stride, fields: [] } as const;
  const pieces = function* (): Generator<Buffer> {
    yield* u64Pieces(versions);
    yield bytesOf(uuids);
    yield bytesOf(words);
  };
  return writeDescribed(place, header, pieces());
}

export async function readIds(place: FilesPlace, file: NamedFile, rows: number): Promise<IdColumnsOfRows> {
  const { header, data, path } = await readSegmentFile(place, file);
  const { stride } = header;
  const uuidsAt = rows * 8;
  const idsAt = uuidsAt + bitWords(rows) * 4;
  if (header.rows !== rows || (stride !== 8 && stride !== 16) || data.length !== idsAt + rows * stride) {
    throw new CorruptionError({ file: path, offsetBytes: 16, problem: `${header.rows} ids of ${stride} bytes in ${data.length}, for ${rows} rows` });
  }
  const columns = { words: wordsOf(data.subarray(idsAt)), wordsPerId: stride === 8 ? 2 : 4, uuids: wordsOf(data.subarray(uuidsAt, idsAt)) } as const;
  return { ids: new IdTable(columns, rows), versions: await toVersions(wordsOf(data.subarray(0, uuidsAt)), rows) };
}

/** `rowsInOrder` yields as many rows as `rows`. */
export function writeOrder(place: FilesPlace, rows: number, rowsInOrder: Pieces): Promise<SegmentFile> {
  return writeDescribed(place, { kind: 'idx', rows, stride: 4, dataBytes: rows * 4, fields: [] }, rowsInOrder);
}

/** Rows as pieces of an `idx` file. */
export async function* orderPieces(rows: Iterable<number>): AsyncGenerator<Buffer, void, undefined> {
  const pause = slices();
  let words = new Uint32Array(8192);
  let count = 0;
  for (const row of rows) {
    words[count] = row;
    count += 1;
    if (count < words.length) continue;
    yield bytesOf(words);
    words = new Uint32Array(8192);
    count = 0;
    await pause();
  }
  yield bytesOf(words.subarray(0, count));
}

export async function readOrder(place: FilesPlace, file: NamedFile, rows: number): Promise<Uint32Array> {
  const { header, data, path } = await readSegmentFile(place, file);
  if (header.rows !== rows || data.length !== rows * 4) throw new CorruptionError({ file: path, offsetBytes: 16, problem: `${header.rows} rows, not ${rows}` });
  return wordsOf(data);
}

async function toVersions(words: Uint32Array, rows: number): Promise<Versions> {
  const pause = slices();
  let smallest = Number.MAX_SAFE_INTEGER;
  let largest = 0;
  for (let row = 0; row < rows; row += 1) {
    const seq = u64At(words, row);
    smallest = Math.min(smallest, seq);
    largest = Math.max(largest, seq);
    const due = (row & 0xffff) === 0xffff ? pause() : undefined;
    if (due !== undefined) await due;
  }
  const isWide = largest - smallest >= 2 ** 32;
  const base = isWide ? 0 : smallest;
  const distances = isWide ? new Float64Array(rows) : new Uint32Array(rows);
  for (let row = 0; row < rows; row += 1) {
    distances[row] = u64At(words, row) - base;
    const due = (row & 0xffff) === 0xffff ? pause() : undefined;
    if (due !== undefined) await due;
  }
  return { base, distances };
}
