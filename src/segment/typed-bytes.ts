// Typed arrays as bytes of a file and back. Files are little-endian, and so is every host this runs on.
import { invariant } from '../base/assert.ts';
import { isLittleEndian } from '../base/bytes.ts';

const pieceValues = 32 * 1024;
const wordSpan = 2 ** 32;

/** A view. */
export function bytesOf(words: Uint32Array): Buffer {
  invariant(isLittleEndian, 'the host is little-endian');
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
}

/** A copy, aligned and no larger than needed. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  invariant(isLittleEndian && bytes.byteLength % 4 === 0, 'whole little-endian words');
  const words = new Uint32Array(bytes.byteLength / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

/** Safe integers as u64, in pieces. */
export function* u64Pieces(values: Float64Array): Generator<Buffer, void, undefined> {
  for (let from = 0; from < values.length; from += pieceValues) {
    const part = values.subarray(from, from + pieceValues);
    const words = new Uint32Array(part.length * 2);
    for (let at = 0; at < part.length; at += 1) {
      const value = part[at] ?? 0;
      words[at * 2] = value % wordSpan;
      words[at * 2 + 1] = Math.floor(value / wordSpan);
    }
    yield bytesOf(words);
  }
}

/** The u64 number `at` of `words`. */
export function u64At(words: Uint32Array, at: number): number {
  return (words[at * 2 + 1] ?? 0) * wordSpan + (words[at * 2] ?? 0);
}
