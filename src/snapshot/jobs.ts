// Jobs: every create, restore and verify as a record that outlives the request and the process. Owns <data>/jobs/.
//
// Invariants:
// - A job's record is durable before its work begins, and its end before anybody is told of it.
// - A cancel or a stop of the process ends a job only before its commit point.
// - At a start no job is running: one that a crash cut off is finished where its commit point had been passed, else failed.
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { explainDiskError, RequestError } from '../base/errors.ts';
import { Lifetimes } from '../base/lifetimes.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably, writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { decodeJob, encodeJob, isFinished, jobError, jobNotFound, type JobKind, type JobRecord } from './job-record.ts';

const keptMs = 30 * 24 * 3600 * 1000;
const keptMax = 1000;
/** Between two records that a watcher gets, but for the last. */
const watchMs = 100;

export interface JobsOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The jobs folder; made where absent. */
  readonly directory: string;
  /** Whether the commit point of an unfinished job of an earlier process was passed. */
  readonly isCommitted: (record: JobRecord) => Promise<boolean>;
}

export interface JobDraft {
  readonly kind: JobKind;
  readonly target: string;
  readonly source?: string;
}

type JobProgress = Partial<Pick<JobRecord, 'phase' | 'bytesDone' | 'bytesTotal' | 'pointsDone'>>;

/** What the work of a job sees of it. */
export interface JobHandle {
  readonly id: string;
  /** Aborted by a cancel or the stop of the process; never after `commit`. */
  readonly signal: AbortSignal;
  /** By a cancel, not by a stop of the process: then nothing of it may remain. */
  isCancelled(): boolean;
  progress(change: JobProgress): void;
  /** Durable when it resolves: by this name a start after a crash finds out what came of a create. */
  nameSnapshot(name: string): Promise<void>;
  /** The commit point. @throws the reason of an abort that came before */
  commit(): void;
}

export interface StartedJob<T> {
  readonly id: string;
  /** The outcome. A rejection that nobody awaits is in the record. */
  readonly done: Promise<T>;
}

interface Running {
  record: JobRecord;
  readonly controller: AbortController;
  isCommitted: boolean;
  isCancelled: boolean;
  saved: Promise<void>;
  readonly ended: Promise<unknown>;
}

export class Jobs {
  readonly #options: JobsOptions;
  readonly #finished = new Map<string, JobRecord>(); // oldest first
  readonly #running = new Map<string, Running>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #lifetimes: Lifetimes;
  /** In the last id that was given, by this process or an earlier one: ids grow, also where the clock goes back. */
  #lastMs = 0;
  #closed = false;

  private constructor(options: JobsOptions) {
    this.#options = options;
    this.#lifetimes = new Lifetimes(options.clock);
  }

  static async open(options: JobsOptions): Promise<Jobs> {
    const jobs = new Jobs(options);
    await jobs.#load();
    return jobs;
  }

  /** Newest first. */
  list(): readonly JobRecord[] {
    return [...this.#finished.values(), ...[...this.#running.values()].map(({ record }) => record)].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  has(id: string): boolean {
    return this.#running.has(id) || this.#finished.has(id);
  }

  /** @throws RequestError 'not-found' */
  get(id: string): JobRecord {
    const found = this.#running.get(id)?.record ?? this.#finished.get(id);
    if (found === undefined) throw jobNotFound(id);
    return found;
  }

  /** `parent` aborts too, for example when an uploading client leaves. `show`: what the record keeps of the result. */
  start<T>(draft: JobDraft, work: (job: JobHandle) => Promise<T>, options: { readonly parent?: AbortSignal; readonly show?: (result: T) => unknown } = {}): StartedJob<T> {
    if (this.#closed) throw closedError();
    const startedAtMs = this.#options.clock.now();
    this.#lastMs = Math.max(startedAtMs, this.#lastMs + 1);
    const id = `${this.#lastMs.toString(16).padStart(12, '0')}-${randomBytes(6).toString('hex')}`;
    const controller = new AbortController();
    const record: JobRecord = { ...draft, id, state: 'queued', startedAtMs, phase: 'queued', bytesDone: 0, pointsDone: 0 };
    let start: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      start = resolve;
    }).then(() => this.#run(running, work, options));
    const running: Running = { record, controller, isCommitted: false, isCancelled: false, saved: Promise.resolve(), ended: done.catch(() => undefined) };
    this.#running.set(id, running);
    start();
    return { id, done };
  }

  /** Whether it was ended by this: true when nothing of it remains, false where it has finished or passed its commit point.
   *  @throws RequestError 'not-found' */
  async cancel(id: string): Promise<boolean> {
    this.get(id);
    const running = this.#running.get(id);
    if (running === undefined || running.isCommitted) return false;
    running.isCancelled = true;
    running.controller.abort(new RequestError('unavailable', 'the job was cancelled'));
    await running.ended;
    return this.get(id).state === 'cancelled';
  }

  /** The record now and after each change, up to its end. @throws RequestError 'not-found' at once */
  watch(id: string, signal: AbortSignal): AsyncIterable<JobRecord> {
    this.get(id);
    return this.#watch(id, signal);
  }

  /** Idempotent. Ends what has not reached its commit point and waits for the rest. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const running of this.#running.values()) if (!running.isCommitted) running.controller.abort(closedError());
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  async *#watch(id: string, signal: AbortSignal): AsyncGenerator<JobRecord> {
    let changed: () => void = () => undefined;
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    const listener = (): void => {
      changed();
    };
    listeners.add(listener);
    signal.addEventListener('abort', listener);
    try {
      for (;;) {
        const next = new Promise<void>((resolve) => {
          changed = resolve;
        });
        const record = this.get(id);
        yield record;
        if (isFinished(record) || signal.aborted) return;
        await next;
        if (signal.aborted) return;
        if (this.#running.has(id)) await soon(this.#running.get(id)?.ended, watchMs);
      }
    } finally {
      signal.removeEventListener('abort', listener);
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    }
  }

  async #run<T>(running: Running, work: (job: JobHandle) => Promise<T>, options: { readonly parent?: AbortSignal; readonly show?: (result: T) => unknown }): Promise<T> {
    const { controller } = running;
    const forward = (): void => {
      if (!running.isCommitted) controller.abort(options.parent?.reason);
    };
    options.parent?.addEventListener('abort', forward);
    if (options.parent?.aborted === true) forward();
    try {
      this.#change(running, { state: 'running', phase: 'starting' });
      await this.#save(running);
      controller.signal.throwIfAborted();
      const result = await work(this.#handle(running));
      await this.#finish(running, { state: 'succeeded', phase: 'done', result: options.show === undefined ? result : options.show(result) });
      return result;
    } catch (cause) {
      const error = explainDiskError(cause);
      const cancelled = running.isCancelled && !running.isCommitted;
      await this.#finish(running, { state: cancelled ? 'cancelled' : 'failed', error: this.#closed && !running.isCommitted ? interrupted : jobError(error) });
      throw error;
    } finally {
      options.parent?.removeEventListener('abort', forward);
    }
  }

  #handle(running: Running): JobHandle {
    const { record: { id }, controller } = running;
    return {
      id,
      signal: controller.signal,
      isCancelled: () => running.isCancelled,
      progress: (change) => {
        this.#change(running, change);
      },
      nameSnapshot: (snapshot) => {
        this.#change(running, { snapshot });
        return this.#save(running);
      },
      commit: () => {
        controller.signal.throwIfAborted();
        running.isCommitted = true;
      },
    };
  }

  #change(running: Running, change: Partial<JobRecord>): void {
    running.record = { ...running.record, ...change };
    this.#tell(running.record.id);
  }

  #tell(id: string): void {
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }

  /** A record of the end that cannot be stored does not change the end: a start finds out by itself. */
  async #finish(running: Running, end: Partial<JobRecord>): Promise<void> {
    const { logger, clock } = this.#options;
    running.record = { ...running.record, ...end, finishedAtMs: clock.now() };
    const { record } = running;
    if (record.state === 'failed') logger.error({ job: record.id, kind: record.kind, target: record.target, error: record.error?.message }, 'job failed');
    await this.#save(running).catch((error: unknown) => {
      logger.warn({ job: record.id, error: String(error) }, 'the end of a job could not be recorded');
    });
    this.#running.delete(record.id);
    this.#finished.set(record.id, record);
    await this.#prune();
    this.#tell(record.id);
  }

  #save(running: Running): Promise<void> {
    const { disk, directory } = this.#options;
    const saved = running.saved.then(() => writeFileAtomically(disk, path.join(directory, `${running.record.id}.json`), encodeJob(running.record)));
    running.saved = saved.catch(() => undefined); // the caller gets it
    return saved;
  }

  async #load(): Promise<void> {
    const { disk, directory, clock, logger, isCommitted } = this.#options;
    await makeDirectoryDurably(disk, directory);
    for (const name of (await disk.list(directory)).sort()) {
      const file = path.join(directory, name);
      if (!name.endsWith('.json')) {
        if (name.endsWith('.tmp')) await disk.removeTree(file);
        continue;
      }
      const record = decodeJob(await disk.readFile(file));
      if (record === undefined || `${record.id}.json` !== name) {
        logger.warn({ file }, 'no record of a job; left as it is');
        continue;
      }
      this.#lastMs = Math.max(this.#lastMs, Number.parseInt(record.id, 16)); // up to the dash
      if (isFinished(record)) {
        this.#finished.set(record.id, record);
        continue;
      }
      const ended: JobRecord = { ...record, finishedAtMs: clock.now(), ...((await isCommitted(record)) ? { state: 'succeeded', phase: 'done' } : { state: 'failed', error: interrupted }) };
      await writeFileAtomically(disk, file, encodeJob(ended));
      this.#finished.set(record.id, ended);
    }
    await this.#prune();
  }

  /** A failure costs space only and is tried again with the next job. */
  async #prune(): Promise<void> {
    const { disk, directory, logger } = this.#options;
    for (const { id, startedAtMs } of this.#finished.values()) { // a Map may lose entries while it is walked
      const isOver = this.#lifetimes.isOver(id, { fromMs: startedAtMs, forMs: keptMs });
      if (this.#finished.size <= keptMax && !isOver) continue;
      this.#finished.delete(id);
      this.#lifetimes.forget(id);
      await disk.removeTree(path.join(directory, `${id}.json`)).catch((error: unknown) => {
        logger.warn({ job: id, error: String(error) }, 'an old record of a job could not be removed');
      });
    }
  }
}

const interrupted = { code: 'interrupted', message: 'interrupted: the server stopped before the job had come to its end' };

function closedError(): RequestError {
  return new RequestError('unavailable', 'the server is shutting down');
}

/** Waits for `end`, at most so long. */
async function soon(end: Promise<unknown> | undefined, timeMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeMs);
  });
  await Promise.race([end, over]);
  clearTimeout(timer);
}
