// Work in small steps, written once: run to its end, or in slices that let the event loop turn in between.
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';

/** Yields where it may be interrupted, about every hundred microseconds. */
export type Steps<T> = Generator<void, T>;

/** Loop turns between two yields; each turn is a few dozen nanoseconds of work. */
export const turnsPerStep = 1024;

export function runAtOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

export async function runInSlices<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const sliceStart = performance.now();
    while (performance.now() - sliceStart < sliceMsMax) {
      const { done, value } = steps.next();
      if (done === true) return value;
    }
    await yieldToLoop();
  }
}

/** Merge sort; the array is not changed. */
export function* sortSteps<T>(values: readonly T[], compare: (a: T, b: T) => number): Steps<readonly T[]> {
  let runs: T[][] = [];
  for (let start = 0; start < values.length; start += turnsPerStep) {
    runs.push(values.slice(start, start + turnsPerStep).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* mergeSteps(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* mergeSteps<T>(a: readonly T[], b: readonly T[], compare: (a: T, b: T) => number): Steps<T[]> {
  const merged: T[] = [];
  let next = 0;
  for (const value of a) {
    while (next < b.length && compare(b[next] as T, value) < 0) {
      merged.push(b[next] as T);
      next += 1;
      if (merged.length % turnsPerStep === 0) yield;
    }
    merged.push(value);
    if (merged.length % turnsPerStep === 0) yield;
  }
  for (; next < b.length; next += 1) {
    merged.push(b[next] as T);
    if (merged.length % turnsPerStep === 0) yield;
  }
  return merged;
}
