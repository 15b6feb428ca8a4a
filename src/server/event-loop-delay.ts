// How late the event loop comes to what is due: a timer of Node's own, outside JavaScript, fires every 10 ms and notes how much later
// than that it was. A turn that lasts 30 ms shows as a delay of up to 30 ms.
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { LoopDelay } from '../api/rest/process-facts.ts';

const intervalMs = 10;

export class EventLoopDelay {
  readonly #histogram: IntervalHistogram;

  private constructor(histogram: IntervalHistogram) {
    this.#histogram = histogram;
  }

  static start(): EventLoopDelay {
    const histogram = monitorEventLoopDelay({ resolution: intervalMs });
    histogram.enable();
    return new EventLoopDelay(histogram);
  }

  /** Of the time since the last call; zeros where nothing was noted meanwhile. */
  take(): LoopDelay {
    const histogram = this.#histogram;
    if (histogram.count === 0) return { p50Seconds: 0, p99Seconds: 0, maxSeconds: 0 };
    const delay = { p50Seconds: late(histogram.percentile(50)), p99Seconds: late(histogram.percentile(99)), maxSeconds: late(histogram.max) };
    histogram.reset();
    return delay;
  }

  /** Idempotent. */
  stop(): void {
    this.#histogram.disable();
  }
}

function late(intervalNs: number): number {
  return Math.max(0, intervalNs / 1e9 - intervalMs / 1000);
}
