// The op uuids of the last entries that were applied, so that an operation which reaches the log twice applies once.
const rememberedMax = 1_024;

export class RecentOperations {
  readonly #uuids: Set<string>; // in order of application

  constructor(oldestFirst: Iterable<string>) {
    this.#uuids = new Set(oldestFirst);
  }

  has(opUuid: Uint8Array): boolean {
    return this.#uuids.has(hex(opUuid));
  }

  add(opUuid: Uint8Array): void {
    this.#uuids.add(hex(opUuid));
    if (this.#uuids.size <= rememberedMax) return;
    for (const oldest of this.#uuids) {
      this.#uuids.delete(oldest);
      return;
    }
  }

  /** Hex, oldest first. */
  list(): readonly string[] {
    return [...this.#uuids];
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
