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

  /** What `here` answers, where this turn has room for the `ms` that it is expected to take; else, and where it cannot do it, undefined. */
  now<T>(ms: number, here: () => T | undefined): T | undefined {
    return this.#hasRoom(ms) ? this.#spend(here) : undefined;
  }

  /**
   * Until the next turn, where this one has no room for `ms` and that one will. Only one waits at a time, for all others undefined: of
   * several that come at once they do better on threads.
   */
  next(ms: number): Promise<void> | undefined {
    return this.#isAwaited || ms > this.#msMax || this.#hasRoom(ms) ? undefined : this.#nextTurn();
  }

  #hasRoom(ms: number): boolean {
    return this.#spentMs + ms <= this.#msMax;
  }

  async #nextTurn(): Promise<void> {
    this.#isAwaited = true;
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
