// Memory for short-lived buffers of many KiB. The engine counts such a buffer as pressure on the heap, however soon it is dropped, and
// on a small heap collects garbage every few megabytes of them; so they are used again.

/** Smaller ones are cheap. */
const pooledBytesMin = 16 * 1024;

export class BufferPool {
  readonly #keptBytesMax: number;
  readonly #free = new Map<number, Buffer[]>();
  #keptBytes = 0;

  constructor(keptBytesMax: number) {
    this.#keptBytesMax = keptBytesMax;
  }

  /** `sizeBytes` or more, with any content. Whoever drops it without giving it back loses nothing but the saving. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes < pooledBytesMin) return Buffer.allocUnsafe(sizeBytes);
    const classBytes = classOf(sizeBytes);
    if (classBytes > this.#keptBytesMax) return Buffer.allocUnsafeSlow(sizeBytes); // never kept, so not rounded up
    const buffer = this.#free.get(classBytes)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(classBytes);
    this.#keptBytes -= classBytes;
    return buffer;
  }

  /** A buffer that `take` answered. Neither it nor a view of it may be used afterwards. */
  give(buffer: Buffer): void {
    const { length } = buffer;
    if (length < pooledBytesMin || length !== classOf(length) || this.#keptBytes + length > this.#keptBytesMax) return;
    const free = this.#free.get(length) ?? [];
    free.push(buffer);
    this.#free.set(length, free);
    this.#keptBytes += length;
  }
}

function classOf(sizeBytes: number): number {
  return 2 ** Math.ceil(Math.log2(sizeBytes));
}
