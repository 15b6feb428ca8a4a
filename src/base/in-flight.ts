// What has been started on a thing and must end before the thing is closed. In base/ because index/ and segment/ close what searches read.
import { invariant } from './assert.ts';

export class InFlight {
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  /** @throws InvariantError after `close` */
  async run<T>(work: () => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'nothing is asked of what has been closed');
    const promise = work();
    this.#running.add(promise);
    try {
      return await promise;
    } finally {
      this.#running.delete(promise);
    }
  }

  /** Resolves when all that runs now has ended, well or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Refuses new work and waits for the old. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.settled();
  }
}
