// A clock that a test moves: time passes on both hands, a step moves the one on the wall alone, and a stuck one does not go at all.
import type { Clock } from '../clock.ts';

export class SteppedClock implements Clock {
  #wallMs: number;
  #monotonicMs = 1_000;
  isStuck = false;

  constructor(wallMs: number) {
    this.#wallMs = wallMs;
  }

  now(): number {
    return this.#wallMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  pass(ms: number): void {
    this.#monotonicMs += ms;
    if (!this.isStuck) this.#wallMs += ms;
  }

  step(ms: number): void {
    this.#wallMs += ms;
  }
}
