// Counts the searches of one index, so that closing can wait for them.
import { invariant } from '../base/assert.ts';

export class InFlight {
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  /** @throws InvariantError after `close` */
  async run<T>(work: () => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'an index is open while it is searched');
    const result = work();
    const settled = result.then(() => undefined, () => undefined); // the caller gets the failure; this set only waits
    this.#running.add(settled);
    try {
      return await result;
    } finally {
      this.#running.delete(settled);
    }
  }

  /** Refuses new work and waits for the old. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#running);
  }
}
