// Time is handed in, so that tests can jump it. Wall time names things and is shown to people; nothing is ordered by it.

export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. */
  now(): number;
  /** Milliseconds that never go backwards. */
  monotonic(): number;
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** Lets timers, sockets and other requests run; for loops that would hold the event loop. */
export function yieldToLoop(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Longest run of JavaScript between two yields in sliced work. */
export const sliceMsMax = 5;
