// What has been started and must end before what it reads is closed.
import { invariant } from '../base/assert.ts';

export class InFlight {
  readonly #running = new Set<Promise<unknown>>();
  #ended = false;

  get ended(): boolean {
    return this.#ended;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    invariant(!this.#ended, 'nothing is asked of what has been closed');
    const promise = work();
    this.#running.add(promise);
    try {
      return await promise;
    } finally {
      this.#running.delete(promise);
    }
  }

  /** Resolves when all that runs now has settled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Nothing starts any more; resolves when all has settled. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.settled();
  }
}
