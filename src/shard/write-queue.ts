// The way of a write into the log and from there into the state: one turn for all writers, group commit behind it, entries
// applied in their order. Owns no files.
//
// Invariants:
// - Who holds the turn sees no other writer: a check against the state and the append that relies on it are one step.
// - Entries are applied in the order of their seqs, each once.
// - An entry that cannot read what it changes stalls where it is, and all behind it wait: their writers are told so, and queries see
//   the state before it. Whoever next needs the state has the read tried again, and is refused only where it fails again.
// - What fails in any other way would fail again: nothing is applied any more until the shard is opened again.
// - What is in the log but not yet applied is bounded; writers wait before the turn, so a freeze need not wait with them.
import { randomBytes } from 'node:crypto';
import { invariant } from '../base/assert.ts';
import { BufferPool } from '../base/buffer-pool.ts';
import { RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import type { AppendOptions, Entry, EntryDraft, ShardLog } from '../log/shard-log.ts';
import { applyEntry, refuseFailedRead, type During } from './apply.ts';
import { decodeEntryBody, entryBodyVersion, NewerEntryError, type EncodedEntry } from './entry-body.ts';
import { Gauge } from './gauge.ts';
import type { ShardOperation } from './shard-operation.ts';
import type { ShardState } from './shard-state.ts';

/** Memory of applied bodies that is kept for the next ones. */
const bodiesKeptBytesMax = 8 << 20;
/** Bodies that are taken in but not applied yet. Above it writers wait. */
const pendingBytesMax = 64 << 20;
const opUuidBytes = 16;

export interface SubmittedEntry {
  /** The entry is durable. */
  readonly stored: Promise<Seq>;
  /** Queries see it. Rejects like `stored`, or where it could not be applied, or not yet. */
  readonly applied: Promise<Seq>;
}

/** Who sees to it that memory stays bounded. */
interface Background {
  afterEntry(entry: Entry): void;
  /** Inside an entry. */
  makeRoom(): Promise<void>;
  /** What could not be done while an entry was stalled can be done now. */
  afterStall(): void;
}

interface Stall {
  readonly failure: RequestError;
  /** undefined while the read is being tried again. */
  readonly waiting: { readonly tryAgain: () => void; readonly giveUp: (error: RequestError) => void } | undefined;
}

/** Who waits for entries to be applied. */
interface Waiter {
  /** Failed reads that it may still see before it is refused. */
  chances: number;
  readonly refuse: (error: RequestError) => void;
}

export class WriteQueue {
  readonly #log: Pick<ShardLog, 'append'>;
  readonly #state: ShardState;
  readonly #logger: Logger;
  readonly #background: Background;
  readonly #writers = new Lock();
  readonly #applying = new Lock();
  readonly #pending = new Gauge();
  readonly #appending = new Gauge();
  /** Memory for the bodies of entries to be submitted. */
  readonly bodies = new BufferPool(bodiesKeptBytesMax);
  readonly #waiters = new Set<Waiter>();
  #watchers: { readonly seq: Seq; readonly run: () => void; readonly fail: (error: Error) => void }[] = [];
  /** Entries that came before the one whose turn it is. */
  readonly #entered = new Map<Seq, () => void>();
  /** The seq whose turn it is. */
  #next: Seq;
  #stall: Stall | undefined;
  /** For good. */
  #failure: RequestError | undefined;
  #closed = false;

  constructor(parts: { readonly log: Pick<ShardLog, 'append'>; readonly state: ShardState; readonly logger: Logger; readonly background: Background }) {
    this.#log = parts.log;
    this.#state = parts.state;
    this.#next = parts.state.applied + 1;
    this.#logger = parts.logger;
    this.#background = parts.background;
  }

  /** Why entries are not applied at the moment. */
  get failure(): RequestError | undefined {
    return this.#failure ?? this.#stall?.failure;
  }

  /** A stalled entry is tried again, and with it what waits behind it. @throws RequestError where it fails again */
  async overcomeStall(): Promise<void> {
    if (this.failure !== undefined) await this.betweenEntries(() => undefined);
  }

  /** Waits for room. Not under the turn. */
  async waitForRoom(): Promise<void> {
    if (this.#pending.value > pendingBytesMax) await this.#afterEntries(() => this.#pending.waitFor(pendingBytesMax));
  }

  /** Runs `section` alone among writers. */
  takeTurn<T>(section: () => Promise<T> | T): Promise<T> {
    return this.#writers.run(async () => {
      if (this.#closed) throw new RequestError('unavailable', 'the shard is closed');
      await this.overcomeStall();
      return await section();
    });
  }

  /** Between two entries: nothing is being applied meanwhile. */
  async betweenEntries<T>(section: () => Promise<T> | T): Promise<T> {
    let refusal: RequestError | undefined;
    const run = (): Promise<T> | T => {
      if (refusal !== undefined) throw refusal; // its turn comes when nobody waits for it any more
      this.#refuseAfterFailure();
      return section();
    };
    return await this.#afterEntries(() => this.#applying.run(run), (error) => { refusal = error; });
  }

  /** Every entry submitted so far is applied. Under the turn. */
  async settle(): Promise<void> {
    await this.#afterEntries(() => this.#pending.waitFor(0));
    this.#refuseAfterFailure();
  }

  /** Every entry submitted so far is durable or has failed. Under the turn. */
  stored(): Promise<void> {
    return this.#appending.waitFor(0);
  }

  /** Appends one entry. Under the turn. */
  submit({ operation, body, memory }: EncodedEntry, options?: AppendOptions): SubmittedEntry {
    const draft: EntryDraft = { kind: operation.kind, version: entryBodyVersion, body, opUuid: randomBytes(opUuidBytes) };
    const bytes = body.byteLength + 1; // an entry without a body counts too
    this.#pending.add(bytes);
    this.#appending.add(1);
    const entry = this.#log.append(draft, options);
    entry.then(() => this.#appending.subtract(1), () => this.#appending.subtract(1)); // the writer gets the failure
    const work = entry.then((stored) => this.#enter(stored, () => operation, (error) => this.#waitOut(stored, error)));
    work.then(() => this.#pending.subtract(bytes), () => this.#pending.subtract(bytes));
    if (memory !== undefined) work.then(() => this.bodies.give(memory), () => undefined); // a failed write may still read it
    const stored = entry.then(({ seq }) => seq);
    const applied = entry.then(() => this.#unlessStalled(work));
    for (const promise of [stored, applied]) promise.catch(() => undefined); // may fail before the writer comes to wait for it
    return { stored, applied };
  }

  /** An entry that is in the log already: replay at start. */
  replay(entry: Entry, operation: ShardOperation): Promise<Seq> {
    return this.#enter(entry, () => operation, refuseFailedRead);
  }

  /** An entry that the log got from another writer. Resolves when there is room for more; what becomes of it shows in `failure`. */
  async takeForeign(entry: Entry): Promise<void> {
    const bytes = entry.body.byteLength + 1;
    this.#pending.add(bytes);
    const work = Promise.resolve().then(() => this.#enter(entry, () => decodeEntryBody(entry, 'the log'), (error) => this.#waitOut(entry, error)));
    work.then(() => this.#pending.subtract(bytes), (error: unknown) => {
      this.#pending.subtract(bytes);
      if (this.#failure === undefined) this.#fail(entry, error);
    });
    await this.#pending.waitFor(pendingBytesMax);
  }

  /** Runs `section` when exactly the entries up to `seq` are applied. To be called before a later entry is submitted. */
  async atSeq<T>(seq: Seq, section: () => T): Promise<T> {
    invariant(this.#state.applied <= seq, 'the state has not gone past it');
    if (this.#state.applied === seq && !this.#state.insideEntry) return section();
    return await this.#afterEntries(() => new Promise<T>((resolve, reject) => {
      this.#watchers.push({ seq, run: () => resolve(section()), fail: reject });
    }));
  }

  /** Idempotent; what was submitted is applied first. A stalled entry is left to the next start: the log has it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stall?.waiting?.giveUp(this.#stall.failure);
    await this.#writers.run(() => this.#pending.waitFor(0));
    await this.#applying.run(() => undefined);
  }

  /** Applies it when every entry before it has been: a log with several writers may tell of a later one first. What cannot be decoded
   *  fails when its turn comes, so that those behind it are refused and not left waiting. */
  #enter(entry: Entry, operation: () => ShardOperation, afterFailedRead: During['afterFailedRead']): Promise<Seq> {
    return new Promise((resolve, reject) => {
      this.#entered.set(entry.seq, () => {
        this.#applying.run(() => this.#apply(entry, operation, afterFailedRead)).then(resolve, reject);
      });
      for (let start = this.#entered.get(this.#next); start !== undefined; start = this.#entered.get(this.#next)) {
        this.#entered.delete(this.#next);
        this.#next += 1;
        start();
      }
    });
  }

  async #apply(entry: Entry, operation: () => ShardOperation, afterFailedRead: During['afterFailedRead']): Promise<Seq> {
    this.#refuseAfterFailure();
    try {
      await applyEntry(this.#state, entry, operation(), { makeRoom: () => this.#background.makeRoom(), afterFailedRead });
    } catch (error) {
      throw this.#fail(entry, error);
    }
    if (this.#stall !== undefined) this.#endStall(entry);
    const due = this.#watchers.filter(({ seq }) => seq === entry.seq);
    if (due.length > 0) this.#watchers = this.#watchers.filter(({ seq }) => seq !== entry.seq);
    for (const { run } of due) run();
    this.#background.afterEntry(entry);
    return entry.seq;
  }

  /** Waits for `work`, which ends when entries are applied; where one is stalled or stalls meanwhile, it is tried once more for it. */
  async #afterEntries<T>(work: () => Promise<T>, whenRefused: (error: RequestError) => void = () => undefined): Promise<T> {
    this.#refuseAfterFailure();
    const stall = this.#stall;
    const result = this.#wait(work(), { chances: stall === undefined ? 1 : 0, whenRefused });
    stall?.waiting?.tryAgain();
    return await result;
  }

  #refuseAfterFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** For the writer of an entry, who is told at once. */
  async #unlessStalled<T>(work: Promise<T>): Promise<T> {
    if (this.#stall?.waiting !== undefined) throw this.#stall.failure;
    return await this.#wait(work, { chances: 0, whenRefused: () => undefined });
  }

  #wait<T>(work: Promise<T>, { chances, whenRefused }: { readonly chances: number; readonly whenRefused: (error: RequestError) => void }): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const refuse = (error: RequestError): void => {
        this.#waiters.delete(waiter);
        whenRefused(error);
        reject(error);
      };
      const waiter: Waiter = { chances, refuse };
      this.#waiters.add(waiter);
      void work.then(resolve, reject).finally(() => this.#waiters.delete(waiter));
    });
  }

  /** Inside the entry. Resolves when the read is to be tried again. */
  async #waitOut(entry: Entry, cause: unknown): Promise<void> {
    const reason = reasonOf(cause);
    const failure = new RequestError('unavailable', `entry ${entry.seq} is stored but could not be applied yet (${reason}); the next write tries it again`, { cause });
    if (this.#stall === undefined) this.#logger.error({ seq: entry.seq, kind: entry.kind, error: reason }, 'an entry could not be applied; it is tried again before the next write');
    this.#stall = { failure, waiting: undefined };
    let isWanted = false;
    for (const waiter of this.#waiters) {
      if (waiter.chances === 0) waiter.refuse(failure);
      else isWanted = true;
      waiter.chances -= 1;
    }
    if (this.#closed) throw failure;
    if (isWanted) return;
    await new Promise<void>((resolve, reject) => {
      const tryAgain = (): void => {
        this.#stall = { failure, waiting: undefined };
        resolve();
      };
      this.#stall = { failure, waiting: { tryAgain, giveUp: reject } };
    });
  }

  #endStall({ seq, kind }: Entry): void {
    this.#stall = undefined;
    this.#logger.info({ seq, kind }, 'the entry is applied after all');
    this.#background.afterStall();
  }

  /** A later entry must not be applied to a state that lacks this one: the shard answers reads of the state before it, and no writes. */
  #fail(entry: Entry, cause: unknown): RequestError {
    const reason = reasonOf(cause);
    const isNewer = cause instanceof NewerEntryError;
    const isGivenUp = cause instanceof RequestError && cause === this.#stall?.failure;
    const failure = isGivenUp ? cause : new RequestError('unavailable', `entry ${entry.seq} is stored but could not be applied (${reason})${isNewer ? '' : '; start again to recover'}`, { cause });
    if (!isGivenUp) this.#logger.error({ seq: entry.seq, kind: entry.kind, error: reason }, isNewer ? 'an entry is of a newer version of nearkeep; the shard stops before it' : 'an entry could not be applied; the shard takes no writes until it is opened again');
    this.#failure = failure;
    for (const { fail } of this.#watchers) fail(failure);
    this.#watchers = [];
    return failure;
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
