// The `has` and `del` files: one bitmap over the rows of a segment.
import { CorruptionError } from '../base/errors.ts';
import { countBits, emptyBits } from '../payload/bitmap.ts';
import { headerField } from './files.ts';
import { bitWords } from './ids-file.ts';
import { readSegmentFile, type NamedFile } from './read-file.ts';
import { bytesOf, wordsOf } from './typed-bytes.ts';
import { writeSegmentFile, type FilesPlace } from './write-file.ts';

export interface BitsFile {
  readonly kind: 'has' | 'del';
  readonly rows: number;
  /** At least `rows` bits; none behind the last row. */
  readonly bits: Uint32Array;
}

/** Does not sync the folder. */
export async function writeBits(place: FilesPlace, file: BitsFile): Promise<{ readonly sha256: string; readonly size: number; readonly count: number }> {
  const words = emptyBits(file.rows);
  words.set(file.bits.subarray(0, words.length));
  const count = countBits(words);
  const header = { kind: file.kind, rows: file.rows, stride: 0, dataBytes: words.byteLength, fields: [count] };
  return { ...(await writeSegmentFile(place, header, [bytesOf(words)])), count };
}

export async function readBits(place: FilesPlace, file: NamedFile, rows: number): Promise<Uint32Array> {
  const { header, data, path } = await readSegmentFile(place, file);
  if (header.rows !== rows || data.length !== bitWords(rows) * 4) throw new CorruptionError({ file: path, offsetBytes: 16, problem: `${header.rows} rows, not ${rows}` });
  const bits = wordsOf(data);
  const count = countBits(bits);
  if (count !== headerField(header, 'count')) throw new CorruptionError({ file: path, offsetBytes: 32, problem: `${count} bits are set, the header says ${headerField(header, 'count')}` });
  return bits;
}
