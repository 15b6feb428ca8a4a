// How many answers each route gave, with which status and how fast, since the start: for /metrics and /telemetry.

/** Upper bounds of the histogram in seconds; the last bucket is everything. */
export const bucketSeconds: readonly number[] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 10, 30, 60];

export interface RouteStats {
  readonly method: string;
  /** `/collections/{c}` */
  readonly endpoint: string;
  readonly status: number;
  readonly count: number;
  readonly sumSeconds: number;
  readonly minSeconds: number;
  readonly maxSeconds: number;
  readonly lastAtMs: number;
  /** Answers per bucket, not cumulative; one longer than `bucketSeconds`. */
  readonly buckets: readonly number[];
}

type Counter = { -readonly [K in keyof Omit<RouteStats, 'buckets'>]: RouteStats[K] } & { readonly buckets: number[] };

export class ResponseStats {
  readonly #counters = new Map<string, Counter>();

  /** `pattern`: the route as Fastify writes it, so the number of counters is bounded by the tables. */
  record(answer: {
    readonly method: string;
    readonly pattern: string;
    readonly status: number;
    readonly elapsedMs: number;
  }): void {
    const { method, pattern, status } = answer;
    const elapsed = answer.elapsedMs / 1000;
    const key = `${method} ${pattern} ${status}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = {
        method,
        status,
        endpoint: pattern.replaceAll(/:(\w+)/g, '{$1}'),
        count: 0,
        sumSeconds: 0,
        minSeconds: elapsed,
        maxSeconds: elapsed,
        lastAtMs: 0,
        buckets: [...bucketSeconds, 0].map(() => 0),
      };
      this.#counters.set(key, counter);
    }
    counter.count += 1;
    counter.sumSeconds += elapsed;
    counter.minSeconds = Math.min(counter.minSeconds, elapsed);
    counter.maxSeconds = Math.max(counter.maxSeconds, elapsed);
    counter.lastAtMs = Date.now();
    const found = bucketSeconds.findIndex((bound) => elapsed <= bound);
    const bucket = found === -1 ? bucketSeconds.length : found;
    counter.buckets[bucket] = (counter.buckets[bucket] ?? 0) + 1;
  }

  all(): readonly RouteStats[] {
    return [...this.#counters.values()];
  }
}
