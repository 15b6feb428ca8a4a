// The node's connection to NATS, and the one way it publishes: with an id, again and again until the server has said
// whether the message is stored. Reconnects without end; what waits meanwhile ends at its deadline.
import { connect, nkeyAuthenticator, type Authenticator, type MsgHdrs, type NatsConnection, type TlsOptions } from '@nats-io/transport-node';
import { jetstream, JetStreamApiError, jetstreamManager, type Consumer, type JetStreamClient, type JetStreamManager, type OrderedConsumerOptions, type PubAck, type StreamConfig, type StreamExpectations, type StreamInfo } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { NatsUser } from './cluster-secret.ts';

/** JetStream's codes for what callers decide on. The second of `wrongLastSequence` is of a message that lost to one in flight. */
export const apiCodes = { wrongLastSequence: [10071, 10164], sealed: [10109], full: [10077, 10023, 10047], streamNotFound: [10059], streamDiffers: [10058], unknownServer: [10044], tooFewServers: [10005] } as const;

const tryTimeoutMs = 5_000;
const pauseMs = 100;

export interface PublishOptions {
  /** Names the message: sent twice it is stored once. */
  readonly id: string;
  readonly headers?: MsgHdrs;
  readonly expect?: Partial<StreamExpectations>;
  /** Of `clock.monotonic()`. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface NatsClientOptions {
  /** Of one server, or host:port of several. */
  readonly url: string | readonly string[];
  readonly user: NatsUser | Authenticator;
  readonly name: string;
  readonly clock: Clock;
  /** Streams are placed on servers with this tag; undefined: on any. */
  readonly storeTag?: string;
  /** Given: a server without TLS is not talked to. */
  readonly tls?: TlsOptions | undefined;
  /** For a server that is not there yet, without end; default true. */
  readonly waits?: boolean;
}

export class NatsClient implements AsyncDisposable {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly #clock: Clock;
  readonly #placement: Pick<StreamConfig, 'placement'> | undefined;
  #reconnects = 0;

  private constructor(connection: NatsConnection, manager: JetStreamManager, { clock, storeTag }: Pick<NatsClientOptions, 'clock' | 'storeTag'>) {
    this.connection = connection;
    this.jetstream = jetstream(connection, { timeout: tryTimeoutMs });
    this.manager = manager;
    this.#clock = clock;
    this.#placement = storeTag === undefined ? undefined : { placement: { cluster: '', tags: [storeTag] } };
    void (async () => {
      for await (const { type } of connection.status()) if (type === 'reconnect') this.#reconnects += 1;
    })();
  }

  /** How often the connection was lost and made again. What the server had sent by then may never have come. */
  get reconnects(): number {
    return this.#reconnects;
  }

  static async connect({ url, user, name, clock, storeTag, tls, waits = true }: NatsClientOptions): Promise<NatsClient> {
    const connection = await connect({
      servers: typeof url === 'string' ? url : [...url], name, authenticator: typeof user === 'function' ? user : nkeyAuthenticator(user.seed), maxReconnectAttempts: -1, reconnectTimeWait: 200,
      ignoreClusterUpdates: true, ignoreAuthErrorAbort: true, waitOnFirstConnect: waits, timeout: tryTimeoutMs, ...(tls === undefined ? {} : { tls }),
    });
    return new NatsClient(connection, await jetstreamManager(connection, { checkAPI: false, timeout: tryTimeoutMs }), { clock, ...(storeTag === undefined ? {} : { storeTag }) });
  }

  /**
   * Resolves when a majority of the stream's servers has the message on disk.
   * @throws JetStreamApiError where the server refused it: it is not stored
   * @throws RequestError 'unavailable' at the deadline: it may be stored
   */
  async publish(subject: string, body: Uint8Array, { id, headers, expect, deadlineMs, signal }: PublishOptions): Promise<PubAck> {
    for (;;) {
      signal?.throwIfAborted();
      const leftMs = deadlineMs - this.#clock.monotonic();
      if (leftMs <= 0) throw new RequestError('unavailable', 'Shard temporarily unavailable: no quorum of the log answered in time');
      try {
        return await this.jetstream.publish(subject, body, {
          msgID: id, timeout: Math.max(1, Math.min(tryTimeoutMs, leftMs)), retries: 1, ...(headers === undefined ? {} : { headers }), ...(expect === undefined ? {} : { expect }),
        });
      } catch (error) {
        if (isRefusal(error)) throw error;
        await pause(Math.min(pauseMs, leftMs));
      }
    }
  }

  /**
   * Makes the stream where it is not there; the same call on several nodes makes one. On how many servers one that is there lies is
   * let be: it follows the cluster. @throws where one of that name differs otherwise
   */
  async ensureStream(asked: Partial<StreamConfig> & { readonly name: string }, deadlineMs: number): Promise<void> {
    const config = { ...asked, ...this.#placement };
    try {
      await this.#retried(() => this.manager.streams.add(config), [], deadlineMs);
    } catch (error) {
      if (!hasCode(error, apiCodes.streamDiffers)) throw error;
      const { config: { num_replicas } } = await this.#retried(() => this.manager.streams.info(config.name), [], deadlineMs);
      await this.#retried(() => this.manager.streams.add({ ...config, num_replicas }), [], deadlineMs);
    }
  }

  /**
   * What the stream's leader says of it. A server that has just come back answers for a stream whose leader it has not heard of yet,
   * with what it had when it went: then it is asked again. It is told by its answer, which names all servers but the one that gives it.
   */
  async leaderInfo(stream: string): Promise<StreamInfo> {
    for (const until = this.#clock.monotonic() + tryTimeoutMs;;) {
      const info = await this.#retried(() => this.manager.streams.info(stream), [], until);
      const { leader, replicas = [] } = info.cluster ?? {};
      if (info.cluster === undefined || (leader !== undefined && leader !== '' && !replicas.some(({ name }) => name === leader))) return info;
      if (this.#clock.monotonic() >= until) throw new RequestError('unavailable', `the leader of stream ${stream} does not answer`);
      await pause(pauseMs);
    }
  }

  /** A reader that is made again from where it stood whenever it fails. The stream may be younger than what this server knows. */
  orderedConsumer(stream: string, options: Partial<OrderedConsumerOptions>, deadlineMs: number): Promise<Consumer> {
    return this.#retried(() => this.jetstream.consumers.get(stream, options), apiCodes.streamNotFound, deadlineMs);
  }

  async #retried<T>(work: () => Promise<T>, also: readonly number[], deadlineMs: number): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if ((isRefusal(error) && !hasCode(error, also)) || this.#clock.monotonic() >= deadlineMs) throw error;
        await pause(pauseMs);
      }
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** The server's last word on a message, as against an answer that another try may change. */
function isRefusal(error: unknown): boolean {
  return error instanceof JetStreamApiError && !transient.has(error.code);
}

/**
 * No leader yet, JetStream on its way up, or too few servers that its leader has heard of: those that just came are told of later. Of a
 * message: an earlier try with the same id is under way and may yet be stored (10158), what it expects cannot be looked up yet (10163), or
 * the queue of the stream is full (10167).
 */
const transient: ReadonlySet<number> = new Set([10005, 10008, 10074, 10118, 10158, 10163, 10167]);

export function hasCode(error: unknown, codes: readonly number[]): boolean {
  return error instanceof JetStreamApiError && codes.includes(error.code);
}
