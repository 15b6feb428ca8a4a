// A stretch of a file piece by piece, the next piece being read while one is worked on.
import type { ReadHandle } from './disk.ts';

const pieceBytes = 512 << 10;

/** Memory for the pieces of files that are read one after another: a piece is worked on while the other half is filled. */
export class PieceMemory {
  readonly #halves = [Buffer.allocUnsafeSlow(pieceBytes), Buffer.allocUnsafeSlow(pieceBytes)] as const;
  #turn: 0 | 1 = 0;

  next(): Buffer {
    this.#turn = this.#turn === 0 ? 1 : 0;
    return this.#halves[this.#turn];
  }
}

/** Bytes [from, to). With `memory` a piece is good only until the next one is asked for, and nothing is left to the garbage collector. */
export async function* readPieces(handle: ReadHandle, range: { readonly from: number; readonly to: number }, memory?: PieceMemory): AsyncGenerator<Buffer> {
  const read = (at: number): Promise<Buffer> | undefined => {
    if (at >= range.to) return undefined;
    const piece = handle.read(at, Math.min(pieceBytes, range.to - at), memory?.next());
    piece.catch(() => undefined); // told where it is awaited, if it ever is
    return piece;
  };
  let ahead = read(range.from);
  try {
    for (let at = range.from + pieceBytes; ahead !== undefined; at += pieceBytes) {
      const piece = await ahead;
      ahead = read(at);
      yield piece;
    }
  } finally {
    await ahead?.catch(() => undefined); // the handle is not used any more
  }
}
