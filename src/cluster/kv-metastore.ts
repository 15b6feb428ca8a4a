// The metastore of a cluster: a JetStream key-value bucket, kept whole in memory by a watch.
//
// A read may be behind other nodes, never behind what this node was told of its own changes: a change answers only after the watch
// has seen it. Decisions are made by compare-and-set alone, on the revision that was read. A change whose outcome is unknown at its
// deadline throws InDoubtError.
//
// The key `mark` is of no record: its messages have a place among the changes, by which a store knows that it has caught up.
//
// Message of a change, as any KV client reads it: subject `$KV.<bucket>.<key>`, JSON body, header `KV-Operation: DEL` for a delete. The
// message of a delete is purged when every reader must have seen it, but never while it is the newest of the bucket: by the newest one
// it is known how far there is to read.
import { randomUUID } from 'node:crypto';
import { headers as newHeaders } from '@nats-io/transport-node';
import { DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, type ConsumerMessages, type JsMsg, type StoredMsg } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { InDoubtError, type MetaRecord, type Metastore } from '../collection/metastore.ts';
import { apiCodes, hasCode, type NatsClient } from './nats-client.ts';
import { closeWhenSilent, heartbeatMs } from './silent-reader.ts';

const changeTimeoutMs = 10_000;
const openTimeoutMs = 30_000;
const retryMs = 200;
/** A key of no record: its message has a place among the changes. */
const mark = 'mark';
const lostMs = 5;
const operationHeader = 'KV-Operation';
const deleteOperation = 'DEL';
const inDoubt = 'the metadata of the cluster did not answer in time, and whether the change was made shows when it does';
const valueBytesMax = 1 << 20;
/** Far longer than a reader goes on without a sign of life before it begins anew. */
const deletesKeptMs = 30 * 60_000;
const purgedAtOnce = 256;
const idHeader = 'Nats-Msg-Id';
const duplicateWindowNs = 120_000_000_000;
const consume = { max_messages: 256, expires: 5_000, idle_heartbeat: heartbeatMs } as const;

export interface KvMetastoreOptions {
  readonly client: NatsClient;
  readonly bucket: string;
  readonly replicas: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a cluster asks of its metastore beyond what one node does. */
export interface ClusterMetastore extends Metastore {
  /** Of the last change that is known here: whatever this answers, reads are no older. */
  readonly revision: number;
  /** Resolves when every change that was made before is known here. */
  catchUp(): Promise<void>;
  /** Removes from the store what deletes of long ago left there. */
  purgeDeleted(): Promise<void>;
}

interface Watcher {
  readonly prefix: string;
  readonly onChange: (key: string, record: MetaRecord | undefined) => void;
}

export class KvMetastore implements ClusterMetastore {
  readonly #options: KvMetastoreOptions;
  readonly #records = new Map<string, MetaRecord>();
  /** Revisions of deleted keys, which a create there must name, and since when they are known. */
  readonly #deleted = new Map<string, { readonly revision: number; readonly sinceMs: number }>();
  readonly #watchers = new Set<Watcher>();
  readonly #waiting = new Set<{ readonly revision: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }>();
  #messages: ConsumerMessages | undefined;
  #revision = 0;
  #closed = false;

  private constructor(options: KvMetastoreOptions) {
    this.#options = options;
  }

  /** Makes the bucket where it is not there; resolves when every record of that moment is known. */
  static async open(options: KvMetastoreOptions): Promise<KvMetastore> {
    const store = new KvMetastore(options);
    const { client, bucket, replicas, clock } = options;
    await client.ensureStream({
      name: streamOf(bucket), subjects: [`${prefixOf(bucket)}>`], storage: StorageType.File, num_replicas: replicas, retention: RetentionPolicy.Limits, discard: DiscardPolicy.New,
      max_msgs_per_subject: 1, max_msg_size: valueBytesMax, duplicate_window: duplicateWindowNs, deny_delete: true, allow_direct: false, allow_rollup_hdrs: false,
    }, clock.monotonic() + openTimeoutMs);
    try {
      await store.#follow();
      await store.catchUp(); // what the reader saw may be a server's that is behind, such as one that has just come back
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** Of the last change that is known here. */
  get revision(): number {
    return this.#revision;
  }

  get(key: string): Promise<MetaRecord | undefined> {
    return Promise.resolve(this.#records.get(key));
  }

  keys(prefix: string): Promise<readonly string[]> {
    return Promise.resolve([...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort());
  }

  async create(key: string, value: unknown): Promise<number | undefined> {
    while (!this.#records.has(key)) {
      const revision = await this.#change(key, value, this.#deleted.get(key)?.revision ?? 0);
      if (revision !== undefined) return revision;
      await pause(lostMs); // to a create that is there now, or still under way, or to a delete that was purged
    }
    return undefined;
  }

  set(key: string, value: unknown, revision: number): Promise<number | undefined> {
    return this.#change(key, value, revision);
  }

  async delete(key: string, revision: number): Promise<boolean> {
    return (await this.#change(key, undefined, revision)) !== undefined;
  }

  /** Removes from the bucket what deletes of long ago left there. Safe on several nodes at once. */
  async purgeDeleted(): Promise<void> {
    const { client, bucket, clock } = this.#options;
    const old = [...this.#deleted].filter(([, { revision, sinceMs }]) => revision < this.#revision && clock.monotonic() - sinceMs >= deletesKeptMs);
    for (const [key, known] of old.slice(0, purgedAtOnce)) {
      if (this.#closed) return;
      await client.manager.streams.purge(streamOf(bucket), { filter: `${prefixOf(bucket)}${key}`, seq: known.revision + 1 });
      if (this.#deleted.get(key) === known) this.#deleted.delete(key);
    }
  }

  /**
   * Resolves when every change that was made before is known here. A message of its own shows it: asked how far the stream is, a server
   * may answer that is behind, or a leader that has not applied all of its log yet.
   */
  async catchUp(): Promise<void> {
    const { client, bucket, clock } = this.#options;
    const { seq } = await client.publish(prefixOf(bucket) + mark, Buffer.from('null'), { id: randomUUID(), deadlineMs: clock.monotonic() + openTimeoutMs });
    await this.#seen(seq);
  }

  watch(prefix: string, onChange: Watcher['onChange']): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watchers.clear();
    const closed = new RequestError('unavailable', 'the metastore is closed');
    for (const { reject } of this.#waiting) reject(closed);
    this.#waiting.clear();
    await this.#messages?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** `revision` 0: the key must never have been there. */
  async #change(key: string, value: unknown, revision: number): Promise<number | undefined> {
    if (this.#closed) throw new RequestError('unavailable', 'the metastore is closed');
    const { client, bucket, clock } = this.#options;
    const headers = newHeaders();
    const id = randomUUID();
    if (value === undefined) headers.set(operationHeader, deleteOperation);
    let stored: number;
    try {
      const ack = await client.publish(`${prefixOf(bucket)}${key}`, value === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(value)), {
        id, headers, expect: { lastSubjectSequence: revision }, deadlineMs: clock.monotonic() + changeTimeoutMs,
      });
      stored = ack.seq;
    } catch (error) {
      if (hasCode(error, apiCodes.wrongLastSequence)) return await this.#whoWon(key, id);
      if (error instanceof RequestError) throw new InDoubtError(inDoubt, error);
      throw error;
    }
    await this.#seen(stored);
    return stored;
  }

  /** Who lost finds what won: the loser reads again, and must not find what it lost with. Sent twice, a change may have lost to itself. */
  async #whoWon(key: string, id: string): Promise<number | undefined> {
    const last = await this.#lastOf(key);
    if (last === null) {
      this.#deleted.delete(key);
      return undefined;
    }
    await this.#seen(last.seq);
    if (last.header.get(operationHeader) === deleteOperation && !this.#records.has(key)) this.#deleted.set(key, { revision: last.seq, sinceMs: this.#options.clock.monotonic() });
    return last.header.get(idHeader) === id ? last.seq : undefined;
  }

  /** As the stream's leader has it. */
  #lastOf(key: string): Promise<StoredMsg | null> {
    const { client, bucket } = this.#options;
    return client.manager.streams.getMessage(streamOf(bucket), { last_by_subj: `${prefixOf(bucket)}${key}` });
  }

  async #seen(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      const waiting = { revision, resolve, reject };
      this.#waiting.add(waiting);
      timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(new InDoubtError(inDoubt, new RequestError('unavailable', 'this node does not hear of changes of the metadata')));
      }, openTimeoutMs);
    }).finally(() => clearTimeout(timer));
  }

  /** Resolves when what was there is known; goes on until closed, with a new reader where one ends. */
  async #follow(): Promise<void> {
    const { client, bucket, logger } = this.#options;
    let isKnown = false;
    await new Promise<void>((resolve, reject) => {
      const follow = async (): Promise<void> => {
        while (!this.#closed && !client.connection.isClosed()) {
          try {
            await this.#takeAll(() => {
              isKnown = true;
              resolve();
            });
          } catch (error) {
            if (!isKnown) throw error;
            logger.warn({ bucket, error: String(error) }, 'the metastore is not followed for the moment');
          }
          if (!isKnown) throw new RequestError('unavailable', 'the metastore could not be read');
          await pause(retryMs);
        }
      };
      follow().catch(reject);
    });
  }

  async #open(): Promise<{ readonly messages: ConsumerMessages; readonly pending: number }> {
    const { client, bucket, clock } = this.#options;
    const consumer = await client.orderedConsumer(streamOf(bucket), { deliver_policy: DeliverPolicy.LastPerSubject, filter_subjects: [`${prefixOf(bucket)}>`] }, clock.monotonic() + openTimeoutMs);
    const { num_pending: pending } = await consumer.info(false);
    const messages = await consumer.consume(consume);
    this.#messages = messages;
    if (this.#closed) void messages.close(); // resolves by being read
    return { messages, pending };
  }

  /** A reader begins with the last message of every key, in order, the newest at the end. @param onKnown told when those are taken */
  async #takeAll(onKnown: () => void): Promise<void> {
    const { messages, pending } = await this.#open();
    const watched = closeWhenSilent(messages, this.#options);
    let told: Set<string> | undefined = new Set();
    if (pending === 0) {
      told = undefined;
      onKnown();
    }
    try {
      for await (const message of messages) {
        watched.heard();
        this.#take(message);
        told?.add(this.#keyOf(message));
        if (told === undefined || message.info.pending > 0) continue;
        await this.#dropUntold(told, message.seq);
        told = undefined;
        onKnown();
      }
    } finally {
      watched.end();
      await messages.close();
    }
  }

  /** Keys whose delete was purged before a reader that begins anew came to it. One that is not told may also have changed just now. */
  async #dropUntold(told: ReadonlySet<string>, newest: number): Promise<void> {
    for (const [key, { revision }] of this.#records) {
      if (told.has(key) || revision > newest || (await this.#lastOf(key)) !== null) continue;
      this.#records.delete(key);
      this.#tell(key, undefined);
    }
  }

  #keyOf({ subject }: JsMsg): string {
    return subject.slice(prefixOf(this.#options.bucket).length);
  }

  #take(message: JsMsg): void {
    const key = this.#keyOf(message);
    const revision = message.seq;
    if (revision <= this.#revision) return;
    this.#revision = revision;
    if (key !== mark) this.#keep(key, message);
    for (const waiting of this.#waiting) {
      if (waiting.revision > revision) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }

  #keep(key: string, message: JsMsg): void {
    const revision = message.seq;
    const isDelete = message.headers?.get(operationHeader) === deleteOperation;
    const record = isDelete ? undefined : { value: message.json<unknown>(), revision };
    if (record === undefined) {
      this.#records.delete(key);
      this.#deleted.set(key, { revision, sinceMs: this.#options.clock.monotonic() });
    } else {
      this.#deleted.delete(key);
      this.#records.set(key, record);
    }
    this.#tell(key, record);
  }

  #tell(key: string, record: MetaRecord | undefined): void {
    for (const { prefix, onChange } of this.#watchers) if (key.startsWith(prefix)) onChange(key, record);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** The stream that holds a bucket. */
export function streamOf(bucket: string): string {
  return `KV_${bucket}`;
}

function prefixOf(bucket: string): string {
  return `$KV.${bucket}.`;
}
