// The whole body must be UTF-8: the decoder would replace bad bytes without a word, and a payload would come back changed.
import { isUtf8 } from 'node:buffer';
import { formatError } from './json-reader.ts';
import { characterStart } from './json-text.ts';
import type { SlicePace } from './slice-pace.ts';

/** Checked at 1 GB/s or more, so 0.5 ms at most. */
const checkBytes = 512 * 1024;

/** undefined: it is, and nothing is left to wait for. @throws RequestError bad-format with the place of the first bad byte. */
export function checkUtf8(bytes: Buffer, pace: SlicePace): Promise<void> | undefined {
  return bytes.length <= checkBytes && isUtf8(bytes) ? undefined : checkInPieces(bytes, pace);
}

async function checkInPieces(bytes: Buffer, pace: SlicePace): Promise<void> {
  let line = 1;
  let lineStart = 0;
  for (let from = 0; from < bytes.length; ) {
    const to = bytes.length - from <= checkBytes ? bytes.length : characterStart(bytes, from + checkBytes);
    // A run of continuation bytes longer than any character has no start to cut at.
    const stop = to > from ? to : from + checkBytes;
    const bad = isUtf8(bytes.subarray(from, stop)) ? stop : firstBadByte(bytes, from, stop);
    if (bad < stop) {
      for (let at = 0; at < bad; at += 1) {
        if (bytes[at] === 0x0a) [line, lineStart] = [line + 1, at + 1];
        if (at % checkBytes === 0) await pace.between(at);
      }
      throw formatError('invalid unicode code point', line, bad + 1 - lineStart);
    }
    from = stop;
    if (from < bytes.length) await pace.between(from);
  }
}

function firstBadByte(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length > 1 && !isUtf8(bytes.subarray(at, Math.min(at + length, to)))) return at;
    at += length;
  }
  return to;
}
