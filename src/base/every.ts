// Work that is done again and again in the background, one time after another.

export interface Repeated {
  /** Aborted when it is closed: work under way is to end. */
  readonly signal: AbortSignal;
  /** Resolves when the work under way has ended, and none begins any more. Idempotent. */
  close(): Promise<void>;
}

/**
 * Runs `work` in `ms` milliseconds, and again so long after each end. Keeps no process alive.
 * @param onError told what it throws; it goes on all the same
 */
export function every(ms: number, work: () => Promise<void>, onError: (error: unknown) => void): Repeated {
  const ended = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  const plan = (): void => {
    if (ended.signal.aborted) return;
    timer = setTimeout(() => {
      running = work().catch(onError).finally(plan);
    }, ms);
    timer.unref();
  };
  plan();
  const close = async (): Promise<void> => {
    ended.abort();
    clearTimeout(timer);
    await running;
  };
  return { signal: ended.signal, close };
}
