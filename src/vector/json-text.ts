// Text out of a long run of UTF-8 in pieces: one decode of 32 MiB would hold the event loop.
import type { SlicePace } from './slice-pace.ts';

/** Decoding runs at 0.5 to 5 GB/s, so a piece takes 1 ms at most. */
const pieceBytes = 512 * 1024;

/** The largest index <= `at` that does not cut a character. */
export function characterStart(bytes: Uint8Array, at: number): number {
  let start = at;
  while (start > 0 && start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1;
  return start;
}

/** Text of valid UTF-8. Longer than a piece it is a rope that the engine joins at first use. */
export async function decodeText(bytes: Buffer, from: number, to: number, pace: SlicePace): Promise<string> {
  let text = '';
  for (let start = from; start < to; ) {
    const end = to - start <= pieceBytes ? to : characterStart(bytes, start + pieceBytes);
    text += bytes.toString('utf8', start, end);
    start = end;
    if (start < to) await pace.between(start);
  }
  return text;
}
