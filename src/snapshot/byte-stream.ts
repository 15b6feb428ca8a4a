// A body that arrives in chunks, read in pieces of wanted size. Never holds more than the chunk at hand.
import { badSnapshot } from './archive-error.ts';

/** Larger chunks are handed on in pieces, so that hashing one never holds the event loop. */
const pieceBytesMax = 1 << 20;

export class ByteStream implements AsyncDisposable {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #onBytes: (bytes: Uint8Array) => void;
  readonly #signal: AbortSignal | undefined;
  /** Ends the wait at hand. Not a Promise.race with one long-lived promise: that would keep every chunk until the end. */
  #stop: (reason: unknown) => void = () => undefined;
  readonly #onAbort = (): void => {
    this.#stop(this.#signal?.reason);
  };
  #chunk: Buffer = Buffer.alloc(0);
  #offset = 0;
  #ended = false;

  /** `onBytes` sees every byte once, in order, as it is taken. An abort ends a wait for the next chunk at once. */
  constructor(body: AsyncIterable<Uint8Array>, onBytes: (bytes: Uint8Array) => void, signal?: AbortSignal) {
    this.#iterator = body[Symbol.asyncIterator]();
    this.#onBytes = onBytes;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
  }

  /** Bytes taken so far. */
  get offset(): number {
    return this.#offset;
  }

  /** 1 … `lengthMax` bytes, valid until the next call; undefined at the end. */
  async read(lengthMax = pieceBytesMax): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const step = await this.#next();
      if (step.done === true) {
        this.#ended = true;
        return undefined;
      }
      this.#chunk = Buffer.from(step.value.buffer, step.value.byteOffset, step.value.byteLength);
    }
    const piece = this.#chunk.subarray(0, Math.min(lengthMax, pieceBytesMax));
    this.#chunk = this.#chunk.subarray(piece.length);
    this.#offset += piece.length;
    this.#onBytes(piece);
    return piece;
  }

  /** Hands on exactly `length` bytes. @throws RequestError where the stream ends before. */
  async readInto(length: number, take: (piece: Buffer) => Promise<void> | void): Promise<void> {
    for (let left = length; left > 0;) {
      const piece = await this.read(left);
      if (piece === undefined) throw badSnapshot('archive', 'ends early', this.#offset);
      left -= piece.length;
      await take(piece);
    }
  }

  /** A copy of exactly `length` bytes; memory grows with what arrives, not with what was announced. */
  async exactly(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    await this.readInto(length, (piece) => {
      pieces.push(Buffer.from(piece));
    });
    return Buffer.concat(pieces, length);
  }

  /** Lets the source go; does not wait for one that hangs. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (!this.#ended) this.#iterator.return?.().catch(() => undefined); // the reader's own error is the one that counts
    return Promise.resolve();
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    this.#signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#stop = reject;
      this.#iterator.next().then(resolve, reject);
    });
  }
}
