// The metastore of a cluster: a JetStream key-value bucket, kept whole in memory by a watch.
//
// A read may be behind other nodes, never behind what this node was told of its own changes: a change answers only after the watch
// has seen it. Decisions are made by compare-and-set alone, on the revision that was read. A change whose outcome is unknown at its
// deadline throws InDoubtError.
//
// Message of a change, as any KV client reads it: subject `$KV.<bucket>.<key>`, JSON body, header `KV-Operation: DEL` for a delete.
import { randomUUID } from 'node:crypto';
import { headers as newHeaders } from '@nats-io/transport-node';
import { DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, type ConsumerMessages, type JsMsg } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { InDoubtError, type MetaRecord, type Metastore } from '../collection/metastore.ts';
import { apiCodes, hasCode, type NatsClient } from './nats-client.ts';
import { closeWhenSilent } from './silent-reader.ts';

const changeTimeoutMs = 10_000;
const openTimeoutMs = 30_000;
const retryMs = 200;
const operationHeader = 'KV-Operation';
const valueBytesMax = 1 << 20;
const duplicateWindowNs = 120_000_000_000;
const consume = { max_messages: 256, expires: 5_000 } as const;

export interface KvMetastoreOptions {
  readonly client: NatsClient;
  readonly bucket: string;
  readonly replicas: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Watcher {
  readonly prefix: string;
  readonly onChange: (key: string, record: MetaRecord | undefined) => void;
}

export class KvMetastore implements Metastore {
  readonly #options: KvMetastoreOptions;
  readonly #records = new Map<string, MetaRecord>();
  /** Revisions of deleted keys: a create there must name them. */
  readonly #deleted = new Map<string, number>();
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
    await store.#follow();
    // what the reader saw may be a server's that is behind, such as one that has just come back: the stream's leader knows the last change
    await store.#seen(await client.lastSeq(streamOf(bucket), clock.monotonic() + openTimeoutMs));
    return store;
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
    if (this.#records.has(key)) return undefined;
    return await this.#change(key, value, this.#deleted.get(key) ?? 0);
  }

  set(key: string, value: unknown, revision: number): Promise<number | undefined> {
    return this.#change(key, value, revision);
  }

  async delete(key: string, revision: number): Promise<boolean> {
    return (await this.#change(key, undefined, revision)) !== undefined;
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
    if (value === undefined) headers.set(operationHeader, 'DEL');
    let stored: number;
    try {
      const ack = await client.publish(`${prefixOf(bucket)}${key}`, value === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(value)), {
        id: randomUUID(), headers, expect: { lastSubjectSequence: revision }, deadlineMs: clock.monotonic() + changeTimeoutMs,
      });
      stored = ack.seq;
    } catch (error) {
      if (hasCode(error, apiCodes.wrongLastSequence)) return await this.#catchUp(key);
      if (error instanceof RequestError) throw new InDoubtError(error);
      throw error;
    }
    await this.#seen(stored);
    return stored;
  }

  /** Who lost finds what won: the loser reads again, and must not find what it lost with. */
  async #catchUp(key: string): Promise<undefined> {
    const { client, bucket } = this.#options;
    const last = await client.manager.streams.getMessage(streamOf(bucket), { last_by_subj: `${prefixOf(bucket)}${key}` });
    if (last !== null) await this.#seen(last.seq);
  }

  async #seen(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.add({ revision, resolve, reject });
    });
  }

  /** Resolves when what was there is known; goes on until closed, with a new reader where one ends. */
  async #follow(): Promise<void> {
    const { client, bucket, logger } = this.#options;
    const first = await this.#open();
    let left = first.pending;
    await new Promise<void>((resolve, reject) => {
      if (left === 0) resolve();
      void (async () => {
        for (let reader: ConsumerMessages | undefined = first.messages; !this.#closed && !client.connection.isClosed(); reader = undefined) {
          try {
            await this.#takeAll(reader ?? (await this.#open()).messages, () => {
              left -= 1;
              if (left === 0) resolve();
            });
          } catch (error) {
            if (left > 0) throw error;
            logger.warn({ bucket, error: String(error) }, 'the metastore is not followed for the moment');
          }
          if (left > 0) throw new RequestError('unavailable', 'the metastore could not be read');
          await new Promise((resume) => {
            setTimeout(resume, retryMs);
          });
        }
      })().catch(reject);
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

  async #takeAll(messages: ConsumerMessages, onTaken: () => void): Promise<void> {
    const watched = closeWhenSilent(messages, this.#options);
    try {
      for await (const message of messages) {
        watched.heard();
        this.#take(message);
        onTaken();
      }
    } finally {
      watched.end();
      await messages.close();
    }
  }

  #take(message: JsMsg): void {
    const key = message.subject.slice(prefixOf(this.#options.bucket).length);
    const revision = message.seq;
    if (revision <= this.#revision) return;
    const isDelete = message.headers?.get(operationHeader) === 'DEL';
    const record = isDelete ? undefined : { value: message.json<unknown>(), revision };
    if (record === undefined) {
      this.#records.delete(key);
      this.#deleted.set(key, revision);
    } else {
      this.#deleted.delete(key);
      this.#records.set(key, record);
    }
    this.#revision = revision;
    for (const { prefix, onChange } of this.#watchers) if (key.startsWith(prefix)) onChange(key, record);
    for (const waiting of this.#waiting) {
      if (waiting.revision > revision) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }
}

function streamOf(bucket: string): string {
  return `KV_${bucket}`;
}

function prefixOf(bucket: string): string {
  return `$KV.${bucket}.`;
}
