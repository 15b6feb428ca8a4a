// Many small pieces become few large writes: one is under way while the next is gathered. A long file is synced as it grows, beside
// its writes, so that little is left to wait for at its end.
import type { WriteHandle } from './disk.ts';
import type { PieceMemory } from './read-pieces.ts';

const syncEveryBytes = 32 << 20;

/** Owns the handle. The memory is its own until it is closed. */
export class GatheringWriter implements AsyncDisposable {
  readonly #handle: WriteHandle;
  readonly #memory: PieceMemory;
  #gathering: Buffer;
  #gatheredBytes = 0;
  #unsyncedBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> = Promise.resolve();

  constructor(handle: WriteHandle, memory: PieceMemory) {
    this.#handle = handle;
    this.#memory = memory;
    this.#gathering = memory.next();
  }

  /** The bytes may be used again when it resolves. @throws the failure of this write or an earlier one */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#gathering.length - this.#gatheredBytes);
      this.#gathering.set(part, this.#gatheredBytes);
      this.#gatheredBytes += part.length;
      at += part.length;
      if (this.#gatheredBytes === this.#gathering.length) await this.#flush();
    }
  }

  /** Everything written is durable when this returns. */
  async sync(): Promise<void> {
    await this.#flush();
    await this.#writing;
    await this.#syncing;
    await this.#handle.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.#writing, this.#syncing]);
    await this.#handle.close();
  }

  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#gatheredBytes === 0) return;
    this.#writing = this.#append(this.#gathering.subarray(0, this.#gatheredBytes));
    this.#writing.catch(() => undefined); // told by the next write or by sync
    this.#gathering = this.#memory.next();
    this.#gatheredBytes = 0;
  }

  async #append(piece: Buffer): Promise<void> {
    await this.#handle.append([piece]);
    this.#unsyncedBytes += piece.length;
    if (this.#unsyncedBytes < syncEveryBytes) return;
    await this.#syncing; // no more than twice that waits to be stored
    this.#unsyncedBytes = 0;
    this.#syncing = this.#handle.sync();
    this.#syncing.catch(() => undefined); // told by the next one or by sync
  }
}
