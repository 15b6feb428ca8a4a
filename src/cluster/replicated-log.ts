// The log of a shard in a cluster: a JetStream stream gives the order and keeps a majority of copies, a local file log holds what
// this node has taken in. The local copy answers everything but `append`. Where the stream lies on several servers, a majority of them has
// every entry on disk before it comes here, and the local copy is synced behind; what a power cut takes of it is read from the stream again.
//
// Invariants:
// - Entries reach the local copy, and from there the shard, in the order of their seqs and each once, whoever published them.
// - The times of entries rise with their seqs: max(the publisher's, the one before + 1).
// - A seq that is not the next one is loss or a purge: the log stops there and says so; it never jumps.
// - An append that failed may have been stored; it then arrives like any other entry. One whose entry has arrived does not fail.
// - No append waits without end: a server that is called current may lag behind for good, and a stream may be deleted before its last
//   entries have come.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { DeliverPolicy } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { later, type FileLog } from '../log/file-log.ts';
import type { AppendOptions, ClosedLogFile, Entry, EntryDraft, LogInfo, LogPosition, ShardLog } from '../log/shard-log.ts';
import { Gauge } from '../shard/gauge.ts';
import { apiCodes, hasCode, type NatsClient } from './nats-client.ts';
import { streamFacts, streamName, streamSubject, type StreamIdentity } from './shard-stream.ts';
import { closeWhenSilent, heartbeatMs } from './silent-reader.ts';
import { decodeMessage, encodeMessage } from './stream-entry.ts';

/** More only adds waiting: the servers take in no faster. */
const inFlightBytesMax = 4 << 20;
const publishTimeoutMs = 10_000;
/** For an entry that is stored to come here: longer than it takes to notice a reader that brings nothing, and to elect its server. */
const arrivalTimeoutMs = 30_000;
/** A server that has just heard of others may not know a stream yet; one that is unknown for so long is deleted. */
const deletedMs = 2_000;
/** Entries that are read ahead of the shard. */
const takenMax = 64;
const retryMs = { first: 100, last: 5_000 } as const;
/** A reader that lived so long was well: the next one is made at once. */
const wellMs = 5_000;
const consume = { max_messages: 32, expires: 3_000, idle_heartbeat: heartbeatMs } as const;

/** The stream is of a generation that has ended: whoever writes reads the shard's record again. */
export class FencedError extends RequestError {
  constructor(of: StreamIdentity) {
    super('unavailable', `Shard temporarily unavailable: generation ${of.generation} of shard ${of.shardId} has ended`);
  }
}

export interface ReplicatedLogOptions {
  readonly local: FileLog;
  readonly client: NatsClient;
  readonly of: StreamIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when it is closed. */
  readonly onClosed?: () => void;
}

interface Pending {
  readonly draft: EntryDraft;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: unknown) => void;
}

export class ReplicatedLog implements ShardLog {
  readonly #options: ReplicatedLogOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #inFlight = new Gauge();
  readonly #appends = new Gauge();
  #following: Promise<void> = Promise.resolve();
  #onForeign: (entry: Entry) => Promise<void> = () => Promise.resolve();
  readonly #ended = new AbortController();
  #messages: ConsumerMessages | undefined;
  #time: bigint;
  /** Of the entry that was copied last. */
  #copiedTime = 0n;
  #lost: CorruptionError | undefined;
  #isAhead = false;
  #storedSeq: Seq = 0;
  #closed = false;

  constructor(options: ReplicatedLogOptions) {
    this.#options = options;
    this.#time = options.local.lastTime;
  }

  /** Takes in the stream from behind the local copy's end on; before it appends only wait. */
  follow(onForeign: (entry: Entry) => Promise<void>): void {
    this.#onForeign = onForeign;
    this.#following = this.#follow();
  }

  get lastSeq(): Seq {
    return this.#options.local.lastSeq;
  }

  get durableSeq(): Seq {
    return this.#options.local.durableSeq;
  }

  get lastTime(): bigint {
    return this.#options.local.lastTime;
  }

  /** Why this copy does not go on: the stream lacks or damaged the entry that comes next. undefined while it does. */
  get lost(): CorruptionError | undefined {
    return this.#lost;
  }

  /** The stream gave a new entry the place of one that this copy has: it has lost what came after. */
  get isAhead(): boolean {
    return this.#isAhead;
  }

  /** The stream has at least so much: what it said of the entries that were published here. */
  get storedSeq(): Seq {
    return this.#storedSeq;
  }

  /** The reader is one of a server that need not have what the stream has: another may be elsewhere. Goes on from where it stands. */
  readAnew(): void {
    void this.#messages?.close();
  }

  /** On so many servers the stream lies now. One alone is no majority of anything: then the local copy is its second, and as durable. */
  keptOn(servers: number): void {
    this.#options.local.syncBehind(servers > 1);
  }

  position(): LogPosition {
    return this.#options.local.position();
  }

  /** Resolves when a majority has it on disk and it stands in the local copy, all entries before it too. @throws FencedError */
  async append(draft: EntryDraft, { timeoutMs = Infinity }: AppendOptions = {}): Promise<Entry> {
    if (this.#closed) throw new RequestError('unavailable', 'the log is closed');
    if (this.#lost !== undefined) throw this.#lost;
    this.#appends.add(1);
    try {
      return await this.#append(draft, timeoutMs);
    } finally {
      this.#appends.subtract(1);
    }
  }

  async #append(draft: EntryDraft, timeoutMs: number): Promise<Entry> {
    const { client, of, clock } = this.#options;
    const id = idOf(draft.opUuid);
    const arrived = new Promise<Entry>((resolve, reject) => {
      this.#pending.set(id, { draft, resolve, reject });
    });
    arrived.catch(() => undefined); // a publish that fails is thrown instead
    this.#time = later(this.#time > this.lastTime ? this.#time : this.lastTime, clock.now());
    const message = encodeMessage(draft, this.#time);
    const startMs = clock.monotonic();
    const deadlineMs = startMs + Math.min(timeoutMs, publishTimeoutMs);
    await this.#inFlight.waitFor(Math.max(0, inFlightBytesMax - message.byteLength));
    this.#inFlight.add(message.byteLength);
    try {
      const before = this.lastSeq;
      const { seq } = await client.publish(streamSubject(of), message, { id, deadlineMs });
      this.#storedSeq = Math.max(this.#storedSeq, seq);
      if (seq <= before) {
        this.#isAhead = true;
        throw new RequestError('unavailable', `Shard temporarily unavailable: the stream of shard ${of.shardId} has lost entries and is replaced`);
      }
    } catch (error) {
      if (this.#pending.delete(id)) throw this.#shown(error);
      // it has come, and the writer is its only way into the shard: only the acknowledgement is lost
    } finally {
      this.#inFlight.subtract(message.byteLength);
    }
    const timer = setTimeout(() => {
      this.#refuse(id, this.#notCome('it has not come to this node in time'));
    }, Math.min(timeoutMs, arrivalTimeoutMs) - (clock.monotonic() - startMs));
    try {
      return await arrived;
    } finally {
      clearTimeout(timer);
    }
  }

  sync(): Promise<void> {
    return this.#options.local.sync();
  }

  read(from: Seq): AsyncIterable<Entry> {
    return this.#options.local.read(from);
  }

  info(): LogInfo {
    return this.#options.local.info();
  }

  rotate(after: Seq): Promise<readonly ClosedLogFile[]> {
    return this.#options.local.rotate(after);
  }

  hash(file: ClosedLogFile): Promise<string> {
    return this.#options.local.hash(file);
  }

  /** Of the local copy; the stream is purged behind the slowest replica, which no single log knows. */
  purgeTo(seq: Seq): Promise<void> {
    return this.#options.local.purgeTo(seq);
  }

  /** Idempotent; appends under way arrive first, or fail in their time. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#appends.waitFor(0);
    this.#ended.abort();
    await this.#messages?.close();
    await this.#following;
    await this.#options.local.close();
    this.#options.onClosed?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Again and again from the local end, until closed or lost. Never throws. */
  async #follow(): Promise<void> {
    const { of, logger, clock } = this.#options;
    let waitMs: number = retryMs.first;
    let unknownSinceMs: number | undefined;
    while (!this.#ended.signal.aborted) {
      const before = this.lastSeq;
      const sinceMs = clock.monotonic();
      try {
        await this.#takeAll();
      } catch (error) {
        if (error instanceof CorruptionError) {
          this.#lost = error;
          logger.error({ stream: streamName(of), error: error.message }, 'the stream of a shard lacks entries; this copy stops here');
          this.#refuseAll(error);
          return;
        }
        unknownSinceMs = hasCode(error, apiCodes.streamNotFound) ? unknownSinceMs ?? sinceMs : undefined;
        if (clock.monotonic() - (unknownSinceMs ?? Infinity) >= deletedMs) this.#refuseAll(this.#notCome('the stream is deleted'));
        if (!this.#ended.signal.aborted) logger.warn({ stream: streamName(of), error: String(error) }, 'a shard does not follow its stream for the moment');
      }
      waitMs = this.lastSeq > before || clock.monotonic() - sinceMs >= wellMs ? retryMs.first : Math.min(waitMs * 2, retryMs.last);
      await sleep(waitMs, undefined, { signal: this.#ended.signal }).catch(() => undefined); // ended
    }
  }

  /** Ends when the consumer does, or throws what stopped it; entries that were taken before are delivered first. */
  async #takeAll(): Promise<void> {
    const { client, local, of, clock } = this.#options;
    const consumer = await client.orderedConsumer(streamName(of), { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: local.lastSeq + 1 }, clock.monotonic());
    const messages = await consumer.consume(consume);
    this.#messages = messages;
    if (this.#ended.signal.aborted) void messages.close(); // resolves by being read, below
    void streamFacts(client, of).then(({ servers }) => this.keptOn(servers), () => this.keptOn(1)); // who cannot know syncs
    const watched = closeWhenSilent(messages, this.#options);
    let next = local.lastSeq + 1;
    this.#copiedTime = local.lastTime;
    let delivered = Promise.resolve();
    let failure: { readonly error: unknown } | undefined;
    const taken = new Gauge();
    try {
      for await (const message of messages) {
        watched.heard();
        if (failure !== undefined) break;
        const { seq } = message;
        if (seq < next) continue;
        if (seq > next) {
          failure = { error: new CorruptionError({ file: streamName(of), problem: `entry ${next} is not there, ${seq} comes next` }) };
          break;
        }
        const copied = this.#copy(message);
        copied.catch(() => undefined);
        taken.add(1);
        delivered = delivered.then(async () => {
          if (failure === undefined) await this.#deliver(await copied);
        }).catch((error: unknown) => {
          failure ??= { error };
        }).then(() => taken.subtract(1));
        next += 1;
        await taken.waitFor(takenMax);
      }
    } finally {
      watched.end();
      await delivered;
    }
    await messages.close();
    if (failure !== undefined) throw failure.error;
  }

  /** In the order of the stream. Times of entries rise although nodes' clocks differ, and do so in the same way on every node. */
  async #copy(message: JsMsg): Promise<Entry> {
    const { local, of } = this.#options;
    const { stamp, ...draft } = decodeMessage(message.data, { stream: streamName(of), seq: message.seq });
    this.#copiedTime = stamp.time > this.#copiedTime ? stamp.time : this.#copiedTime + 1n;
    return await local.append({ ...draft, stamp: { ...stamp, time: this.#copiedTime } });
  }

  async #deliver(entry: Entry): Promise<void> {
    const id = idOf(entry.opUuid);
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending === undefined) await this.#onForeign(entry);
    else pending.resolve({ ...entry, body: pending.draft.body });
  }

  /** From then on its entry is one like any other. */
  #refuse(id: string, error: unknown): void {
    this.#pending.get(id)?.reject(error);
    this.#pending.delete(id);
  }

  #refuseAll(error: unknown): void {
    for (const id of this.#pending.keys()) this.#refuse(id, error);
  }

  #notCome(why: string): RequestError {
    return new RequestError('unavailable', `Shard temporarily unavailable: the write may be stored in the log of shard ${this.#options.of.shardId}, and ${why}`);
  }

  #shown(error: unknown): unknown {
    const { of } = this.#options;
    if (hasCode(error, apiCodes.sealed)) return new FencedError(of);
    if (hasCode(error, apiCodes.full)) return new RequestError('no-space', 'the log of the shard is full', { cause: error });
    return error instanceof RequestError ? error : new RequestError('unavailable', `Shard temporarily unavailable: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function idOf(opUuid: Uint8Array): string {
  return Buffer.from(opUuid.buffer, opUuid.byteOffset, opUuid.byteLength).toString('hex');
}
