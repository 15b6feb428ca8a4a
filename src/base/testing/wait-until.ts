// The one way in which tests wait for what others make true: asked again and again, and never without an end.

const pollMsUsual = 20;
/** Far beyond what anything here takes: on a busy machine all is many times slower. */
export const waitMsMax = 120_000;

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly pollMs?: number;
  /** More for the message of a wait that failed, such as the last lines of a log. */
  readonly tell?: () => string;
}

/**
 * Resolves when `isTrue` does not answer false. An error is "not yet" as well: assertions may stand in it.
 * @param what is waited for, for the message
 * @throws RangeError that names it, with the last error, where it does not come true in time or one question is never answered
 */
export async function waitUntil(what: string, isTrue: () => unknown, { timeoutMs = waitMsMax, pollMs = pollMsUsual, tell }: WaitOptions = {}): Promise<void> {
  const until = performance.now() + timeoutMs;
  for (let last: unknown = 'it is not true'; ;) {
    const leftMs = until - performance.now();
    if (leftMs <= 0) throw new RangeError(`waited ${timeoutMs} ms in vain: ${what}\n${last instanceof Error ? last.message : String(last)}\n${tell?.() ?? ''}`, { cause: last });
    try {
      if ((await inTime(isTrue(), leftMs, () => new RangeError('a question was not answered'))) !== false) return;
      last = 'it is not true';
    } catch (error) {
      last = error;
    }
    await pause(pollMs);
  }
}

/** What `work` comes to; rejects with `late()` where that takes longer. The work itself goes on. */
export async function inTime<T>(work: T | PromiseLike<T>, timeoutMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([work, new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late()), timeoutMs);
    })]);
  } finally {
    clearTimeout(timer);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
