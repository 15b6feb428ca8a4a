// Long loops give the event loop back in time.
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';

/** `const pause = slices(); for (…) { …; const due = pause(); if (due !== undefined) await due; }`: a promise only when a slice is over. */
export function slices(): () => Promise<void> | undefined {
  let end = performance.now() + sliceMsMax;
  const rest = async (): Promise<void> => {
    await yieldToLoop();
    end = performance.now() + sliceMsMax;
  };
  return () => (performance.now() < end ? undefined : rest());
}
