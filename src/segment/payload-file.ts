// The `pay` file: payload texts of all rows, then where each starts. Texts stay on disk; of the offsets 4 bytes a row are held.
import { CorruptionError } from '../base/errors.ts';
import { dataOffset, headerField } from './files.ts';
import { readRanges, SegmentFileReader, type NamedFile } from './read-file.ts';
import type { SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import { u64At, u64Pieces, wordsOf } from './typed-bytes.ts';
import { writeDescribed, type FilesPlace, type Pieces } from './write-file.ts';

/** A row's start is held as its distance from the start of its group: 64 bodies of at most 32 MiB stay below 2^32. */
const groupRows = 64;
const offsetsPerRead = 64 * 1024;
/** Rows of one round of reads. */
const batchRows = 4096;

export interface PayloadsToWrite {
  /** rows + 1 of them, from 0 to the size of all texts. */
  readonly offsets: Float64Array;
  readonly texts: Pieces;
}

export function writePayloads(place: FilesPlace, payloads: PayloadsToWrite): Promise<SegmentFile> {
  const { offsets, texts } = payloads;
  const textBytes = offsets[offsets.length - 1] ?? 0;
  const header = { kind: 'pay', rows: offsets.length - 1, stride: 0, dataBytes: textBytes + offsets.length * 8, fields: [textBytes] } as const;
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    yield* texts;
    yield* u64Pieces(offsets);
  };
  return writeDescribed(place, header, pieces());
}

export class PayloadReader {
  readonly #reader: SegmentFileReader;
  /** Per group of rows, and the end of the last text. */
  readonly #groupStarts: Float64Array;
  readonly #distances: Uint32Array;
  readonly #textBytes: number;

  private constructor(reader: SegmentFileReader, starts: { readonly groups: Float64Array; readonly distances: Uint32Array }, textBytes: number) {
    this.#reader = reader;
    this.#groupStarts = starts.groups;
    this.#distances = starts.distances;
    this.#textBytes = textBytes;
  }

  static async open(place: FilesPlace, file: NamedFile, rows: number): Promise<PayloadReader> {
    const reader = await SegmentFileReader.open(place, file);
    try {
      const { header } = reader;
      const textBytes = headerField(header, 'textBytes');
      if (header.rows !== rows || header.dataBytes !== textBytes + (rows + 1) * 8) {
        throw new CorruptionError({ file: reader.path, offsetBytes: 16, problem: `${header.rows} payloads of ${textBytes} bytes in ${header.dataBytes}, for ${rows} rows` });
      }
      return new PayloadReader(reader, await readStarts(reader, rows, textBytes), textBytes);
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  get memoryBytes(): number {
    return this.#groupStarts.byteLength + this.#distances.byteLength;
  }

  lengthBytes(row: number): number {
    return (row + 1 < this.#distances.length ? this.#start(row + 1) : this.#textBytes) - this.#start(row);
  }

  /** Hands each row's text to `use` with its position in `rows`, in any order. */
  async read(rows: ArrayLike<number>, use: (at: number, text: Buffer) => void): Promise<void> {
    for (let from = 0; from < rows.length; from += batchRows) {
      const count = Math.min(batchRows, rows.length - from);
      const ranges = { offsets: new Float64Array(count), lengths: new Uint32Array(count) };
      for (let at = 0; at < count; at += 1) {
        const row = rows[from + at] ?? 0;
        ranges.offsets[at] = this.#start(row);
        ranges.lengths[at] = this.lengthBytes(row);
      }
      await readRanges(this.#reader, ranges, (at, text) => { use(from + at, text); });
    }
  }

  async texts(rows: ArrayLike<number>): Promise<string[]> {
    const texts = Array.from(rows, () => '');
    await this.read(rows, (at, text) => { texts[at] = text.toString('utf8'); });
    return texts;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  #start(row: number): number {
    return (this.#groupStarts[Math.floor(row / groupRows)] ?? 0) + (this.#distances[row] ?? 0);
  }
}

async function readStarts(reader: SegmentFileReader, rows: number, textBytes: number): Promise<{ groups: Float64Array; distances: Uint32Array }> {
  const groups = new Float64Array(Math.ceil(rows / groupRows));
  const distances = new Uint32Array(rows);
  const pause = slices();
  let previous = 0;
  for (let from = 0; from <= rows; from += offsetsPerRead) {
    const words = wordsOf(await reader.read(textBytes + from * 8, Math.min(offsetsPerRead, rows + 1 - from) * 8));
    for (let row = from; row - from < words.length / 2; row += 1) {
      const start = u64At(words, row - from);
      const isEnd = row === rows;
      if (start < previous || (row === 0 && start !== 0) || (isEnd && start !== textBytes)) {
        throw new CorruptionError({ file: reader.path, offsetBytes: dataOffset + textBytes + row * 8, problem: `payload offset ${start} after ${previous}` });
      }
      previous = start;
      if (isEnd) break;
      const group = Math.floor(row / groupRows);
      if (row % groupRows === 0) groups[group] = start;
      distances[row] = start - (groups[group] ?? 0);
    }
    await pause();
  }
  return { groups, distances };
}
