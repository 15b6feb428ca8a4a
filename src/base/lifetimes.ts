// How long something is kept, over a clock that may jump. Wall time that jumps forward must not end what is young, and wall time that
// jumps backward, or stands still, must not keep anything for ever. So a lifetime is over
//   - when this process has watched all of it go by, on the clock that never jumps, or
//   - when wall time says so, the one that is shown now as well as the one that this process started with, and this process has
//     watched for a while: a machine that starts with a wrong clock has that long to set it right.
import type { Clock } from './clock.ts';

export interface Lifetime {
  /** Milliseconds since 1970. */
  readonly fromMs: number;
  readonly forMs: number;
}

/** Of watching, before wall time alone can end anything.  @internal for tests */
export const watchedMsMin = 3_600_000;

export class Lifetimes {
  readonly #clock: Clock;
  readonly #startWallMs: number;
  readonly #startMs: number;
  /** When this process first saw a thing, on the monotonic clock. */
  readonly #seen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startWallMs = clock.now();
    this.#startMs = clock.monotonic();
  }

  /** The first question about a key begins the watch. */
  isOver(key: string, { fromMs, forMs }: Lifetime): boolean {
    const monotonicMs = this.#clock.monotonic();
    const sinceMs = this.#seen.get(key) ?? monotonicMs;
    this.#seen.set(key, sinceMs);
    const watchedMs = monotonicMs - sinceMs;
    if (watchedMs >= forMs) return true;
    if (watchedMs < watchedMsMin) return false;
    return Math.min(this.#clock.now(), this.#startWallMs + monotonicMs - this.#startMs) >= fromMs + forMs;
  }

  /** Of what is gone. */
  forget(key: string): void {
    this.#seen.delete(key);
  }
}
