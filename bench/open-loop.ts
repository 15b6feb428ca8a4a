// Open-loop load: requests leave at a fixed rate whatever the server does, and a latency counts from the moment its request should
// have left, so a server that stops answers for all that would have come meanwhile.

export interface Stream {
  readonly name: string;
  readonly perSecond: number;
  send(index: number): Promise<unknown>;
}

/** Latencies in ms by name of the stream, in order of arrival. @throws the first failure of a request, when all have ended */
export async function openLoop(streams: readonly Stream[], seconds: number): Promise<ReadonlyMap<string, readonly number[]>> {
  const started = performance.now();
  return new Map(await Promise.all(streams.map(async (stream) => [stream.name, await run(stream, started, Math.round(stream.perSecond * seconds))] as const)));
}

async function run(stream: Stream, started: number, count: number): Promise<readonly number[]> {
  const sent: Promise<number>[] = [];
  for (let index = 0; index < count; index += 1) {
    const due = started + (index * 1000) / stream.perSecond;
    const waitMs = due - performance.now();
    if (waitMs > 0) await new Promise((resolve) => {
      setTimeout(resolve, waitMs);
    });
    const answered = stream.send(index).then(() => performance.now() - due);
    answered.catch(() => undefined); // told below
    sent.push(answered);
  }
  return await Promise.all(sent);
}

/** The value that `share` of all do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
