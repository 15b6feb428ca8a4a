// When sliced work gives way to the event loop. Work is cut by its amount (bytes); the clock decides only whether to go on at
// once, so a test can count slices without measuring time.
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';

export interface SlicePace {
  /** Called between two slices; a promise asks the caller to wait for it. `done`: bytes handled so far. */
  between(done: number): Promise<void> | undefined;
}

/** Bytes of JSON handled in one slice: 0.2 to 1 ms, well below sliceMsMax also on a slow machine. */
export const sliceBytes = 32 * 1024;

export function clockPace(): SlicePace {
  let startedMs = performance.now();
  return {
    between: () => {
      if (performance.now() - startedMs < sliceMsMax) return undefined;
      return yieldToLoop().then(() => {
        startedMs = performance.now();
      });
    },
  };
}
