// How much of one turn of the event loop goes to work that could be handed to a thread, and costs less than the handing over and back.
//
// Counted for each turn, not for each piece of work: promises that settle at once never leave the turn, so a caller that awaits one such
// piece after another would hold the loop for as long as it likes.
import type { Clock } from './clock.ts';

export class TurnBudget {
  readonly #msMax: number;
  readonly #clock: Clock;
  #spentMs = 0;
  #isAwaited = false;

  constructor(msMax: number, clock: Clock) {
    this.#msMax = msMax;
    this.#clock = clock;
  }

  /**
   * `here`, where this turn has room for the `ms` that it is expected to take, or the next one; `elsewhere` where `here` cannot do it.
   * Only one waits for the next turn: of several that come at once the others do better on threads.
   */
  run<T>(ms: number, here: () => T | undefined, elsewhere: () => Promise<T>): T | Promise<T> {
    if (this.#spentMs + ms <= this.#msMax) return this.#spend(here) ?? elsewhere();
    if (this.#isAwaited || ms > this.#msMax) return elsewhere();
    this.#isAwaited = true;
    return this.#nextTurn().then(() => this.#spend(here) ?? elsewhere());
  }

  async #nextTurn(): Promise<void> {
    await new Promise((resolve) => { setImmediate(resolve); }); // behind the one that renews
    this.#isAwaited = false;
  }

  /** Counts what it really took. */
  #spend<T>(work: () => T): T {
    if (this.#spentMs === 0) setImmediate(this.#renew);
    const started = this.#clock.monotonic();
    try {
      return work();
    } finally {
      this.#spentMs += this.#clock.monotonic() - started;
    }
  }

  readonly #renew = (): void => {
    this.#spentMs = 0;
  };
}
