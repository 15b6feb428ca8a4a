// The way of a write into the log and from there into the state: one turn for all writers, group commit behind it, entries
// applied in their order. Owns no files.
//
// Invariants:
// - Who holds the turn sees no other writer: a check against the state and the append that relies on it are one step.
// - Entries are applied in the order of their seqs, each once, and never after one that failed.
// - What is in the log but not yet applied is bounded; writers wait before the turn, so a freeze need not wait with them.
import { randomBytes } from 'node:crypto';
import { invariant } from '../base/assert.ts';
import { BufferPool } from '../base/buffer-pool.ts';
import { RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import type { Entry, EntryDraft, ShardLog } from '../log/shard-log.ts';
import { applyEntry } from './apply.ts';
import { entryBodyVersion, type EncodedEntry } from './entry-body.ts';
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
  /** Queries see it. Rejects like `stored`, or where it could not be applied. */
  readonly applied: Promise<Seq>;
}

/** Who sees to it that memory stays bounded. */
interface Background {
  afterEntry(entry: Entry): void;
  /** Inside an entry. */
  makeRoom(): Promise<void>;
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
  #watchers: { readonly seq: Seq; readonly run: () => void; readonly fail: (error: Error) => void }[] = [];
  #failure: RequestError | undefined;
  #closed = false;

  constructor(parts: { readonly log: Pick<ShardLog, 'append'>; readonly state: ShardState; readonly logger: Logger; readonly background: Background }) {
    this.#log = parts.log;
    this.#state = parts.state;
    this.#logger = parts.logger;
    this.#background = parts.background;
  }

  /** Why the shard can apply nothing more until it is opened again. */
  get failure(): RequestError | undefined {
    return this.#failure;
  }

  /** Waits for room. Not under the turn. */
  waitForRoom(): Promise<void> {
    return this.#pending.waitFor(pendingBytesMax);
  }

  /** Runs `section` alone among writers. */
  takeTurn<T>(section: () => Promise<T> | T): Promise<T> {
    return this.#writers.run(() => {
      if (this.#closed) throw new RequestError('unavailable', 'the shard is closed');
      if (this.#failure !== undefined) throw this.#failure;
      return section();
    });
  }

  /** Between two entries: nothing is being applied meanwhile. */
  betweenEntries<T>(section: () => Promise<T> | T): Promise<T> {
    return this.#applying.run(() => {
      if (this.#failure !== undefined) throw this.#failure;
      return section();
    });
  }

  /** Every entry submitted so far is applied or has failed. Under the turn. */
  async settle(): Promise<void> {
    await this.#pending.waitFor(0);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Every entry submitted so far is durable or has failed. Under the turn. */
  stored(): Promise<void> {
    return this.#appending.waitFor(0);
  }

  /** Appends one entry. Under the turn. */
  submit({ operation, body, memory }: EncodedEntry): SubmittedEntry {
    const draft: EntryDraft = { kind: operation.kind, version: entryBodyVersion, body, opUuid: randomBytes(opUuidBytes) };
    const bytes = body.byteLength + 1; // an entry without a body counts too
    this.#pending.add(bytes);
    this.#appending.add(1);
    const entry = this.#log.append(draft);
    entry.then(() => this.#appending.subtract(1), () => this.#appending.subtract(1)); // the writer gets the failure
    const applied = entry.then((stored) => this.#applying.run(() => this.#apply(stored, operation)));
    applied.then(() => this.#pending.subtract(bytes), () => this.#pending.subtract(bytes));
    if (memory !== undefined) applied.then(() => this.bodies.give(memory), () => undefined); // a failed write may still read it
    const stored = entry.then(({ seq }) => seq);
    stored.catch(() => undefined); // may fail before the writer comes to wait for it
    return { stored, applied };
  }

  /** An entry that is in the log already: replay at start. */
  replay(entry: Entry, operation: ShardOperation): Promise<Seq> {
    return this.#applying.run(() => this.#apply(entry, operation));
  }

  /** Runs `section` when exactly the entries up to `seq` are applied. To be called before a later entry is submitted. */
  async atSeq<T>(seq: Seq, section: () => T): Promise<T> {
    invariant(this.#state.applied <= seq, 'the state has not gone past it');
    if (this.#state.applied === seq && !this.#state.insideEntry) return section();
    return await new Promise<T>((resolve, reject) => {
      this.#watchers.push({ seq, run: () => resolve(section()), fail: reject });
    });
  }

  /** Idempotent; what was submitted is applied first. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#writers.run(() => this.#pending.waitFor(0));
    await this.#applying.run(() => undefined);
  }

  async #apply(entry: Entry, operation: ShardOperation): Promise<Seq> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await applyEntry(this.#state, entry, operation, () => this.#background.makeRoom());
    } catch (error) {
      throw this.#fail(entry, error);
    }
    const due = this.#watchers.filter(({ seq }) => seq === entry.seq);
    if (due.length > 0) this.#watchers = this.#watchers.filter(({ seq }) => seq !== entry.seq);
    for (const { run } of due) run();
    this.#background.afterEntry(entry);
    return entry.seq;
  }

  /** A later entry must not be applied to a state that lacks this one: the shard answers reads of the state before it, and no writes. */
  #fail(entry: Entry, cause: unknown): RequestError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const failure = new RequestError('unavailable', `entry ${entry.seq} is stored but could not be applied (${reason}); start again to recover`, { cause });
    this.#failure = failure;
    this.#logger.error({ seq: entry.seq, kind: entry.kind, error: reason }, 'an entry could not be applied; the shard takes no writes until it is opened again');
    for (const { fail } of this.#watchers) fail(failure);
    this.#watchers = [];
    return failure;
  }
}
