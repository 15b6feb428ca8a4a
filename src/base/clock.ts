// Time is handed in, so that tests can jump it. Wall time names things and is shown to people; nothing is ordered by it.

export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. */
  now(): number;
  /** Milliseconds that never go backwards. */
  monotonic(): number;
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

const yielded: (() => void)[] = [];

/**
 * Lets timers, sockets and other requests run; for loops that would hold the event loop. Of all that wait here one goes on in each turn
 * of the loop, in their order: the slices of many requests in one turn would be as long as no slices at all.
 */
export function yieldToLoop(): Promise<void> {
  return new Promise((resolve) => {
    yielded.push(resolve);
    if (yielded.length === 1) setImmediate(resumeNext);
  });
}

function resumeNext(): void {
  const resume = yielded.shift();
  if (yielded.length > 0) setImmediate(resumeNext); // in the next turn: Node runs immediates of immediates no sooner
  resume?.();
}

/** Longest run of JavaScript between two yields in sliced work. What else happens in a turn comes on top. */
export const sliceMsMax = 2;
