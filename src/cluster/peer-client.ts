// What this node asks of other nodes. Keeps connections, and per node what failed since it last answered.
//
// A connection that was kept may be closed by the other side just when it is used again. It is given up here long before the other side
// does that by itself; where the other node was restarted, a question that may be asked twice is asked again. A write never is: it may
// have been stored.
import { Agent as PlainAgent, request as plainRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import type { Clock } from '../base/clock.ts';
import { RequestError, systemCode } from '../base/errors.ts';
import type { PeerTls } from './node-tls.ts';
import { connectionKeptMs } from './peer-server.ts';
import { apartHeader, peerTokenHeader, PeerSigner } from './peer-token.ts';
import { decodeValue, encodeValue, valueOf } from './peer-wire.ts';

/** A node that is there answers at once, however busy it is. */
const connectTimeoutMs = 5_000;

export interface PeerFailures {
  readonly count: number;
  readonly latestError: string;
  readonly latestErrorMs: number;
}

export interface PeerClientOptions {
  readonly peerId: number;
  readonly tokenKey: Buffer;
  readonly tls: PeerTls | undefined;
  readonly clock: Clock;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
}

/** The other node takes nothing that this one signs: another secret, or clocks that are too far apart. */
export class NotAcceptedError extends RequestError {
  constructor(url: string, why: string) {
    super('unavailable', `${url} does not accept this node: ${why}`);
  }
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Until the answer begins; default that of the client. */
  readonly timeoutMs?: number;
  /** Asked twice it does no more than asked once. */
  readonly isRepeatable?: boolean;
}

const triesMax = 4;

export class PeerClient {
  readonly #options: PeerClientOptions;
  readonly #agent: PlainAgent;
  readonly #signer: PeerSigner;
  #tls: PeerTls | undefined;
  readonly #failures = new Map<string, PeerFailures>();

  constructor(options: PeerClientOptions) {
    this.#options = options;
    this.#signer = new PeerSigner(options.tokenKey, options.peerId);
    this.#tls = options.tls;
    const settings = { keepAlive: true, maxSockets: options.connectionsMax, timeout: connectionKeptMs / 2 };
    this.#agent = options.tls === undefined ? new PlainAgent(settings) : new SecureAgent(settings);
  }

  /** By URL of the node, since it last answered. */
  get failures(): ReadonlyMap<string, PeerFailures> {
    return this.#failures;
  }

  /** @throws RequestError as the other node threw it, 'unavailable' where it cannot be reached */
  async call<T>(url: string, method: string, args: unknown, options: CallOptions = {}): Promise<T> {
    const response = await this.#send(url, { method: 'POST', path: `/internal/${method}` }, encodeValue(args), options);
    const body = await this.#whole(url, response);
    if (response.statusCode === 401) throw refusal(url, response);
    return valueOf(decodeValue(body)) as T;
  }

  /** The bytes as they come; throws in the middle where the other side cut them off. */
  async stream(url: string, method: string, args: unknown, options: CallOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send(url, { method: 'GET', path: `/internal/${method}?${encodeValue(args).toString('base64url')}` }, undefined, { ...options, isRepeatable: true });
    if (response.statusCode === 200) {
      response.socket.setTimeout(0); // between two pieces it is the reader that takes its time
      return this.#bytes(url, response);
    }
    const body = await this.#whole(url, response);
    if (response.statusCode === 401) throw refusal(url, response);
    return valueOf(decodeValue(body)) as never;
  }

  /** For connections that are made from now on. */
  renew(tls: PeerTls): void {
    this.#tls = tls;
  }

  /** Ends what is under way to a node: from one that is cut off no answer comes, and no error either. Later calls are made anew. */
  abandon(url: string): void {
    const { hostname, port } = new URL(url);
    for (const kept of [this.#agent.sockets, this.#agent.freeSockets]) {
      for (const [name, sockets] of Object.entries(kept)) {
        if (name.startsWith(`${hostname.replace(/^\[|\]$/g, '')}:${port}:`)) for (const socket of sockets ?? []) socket.destroy(new Error('the node is not heard any more'));
      }
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(url: string, call: { readonly method: string; readonly path: string }, body: Buffer | undefined, { signal, timeoutMs = this.#options.timeoutMs, isRepeatable = false }: CallOptions): Promise<IncomingMessage> {
    const target = new URL(call.path, url);
    const isSecure = target.protocol === 'https:';
    if (isSecure !== (this.#tls !== undefined)) throw this.#failed(url, new Error(isSecure ? 'it has TLS between nodes and this node has not' : 'it has no TLS between nodes and this node has'));
    const make = isSecure ? secureRequest : plainRequest;
    const signed = { method: call.method, path: `${target.pathname}${target.search}` };
    for (let tries = 1; ; tries += 1) {
      signal?.throwIfAborted();
      const headers = { [peerTokenHeader]: this.#signer.sign(signed, this.#options.clock.now()), ...(body === undefined ? {} : { 'content-length': body.byteLength }) };
      const request: ClientRequest = make(target, { method: call.method, headers, agent: this.#agent, ...this.#tls, ...(signal === undefined ? {} : { signal }) });
      try {
        const response = await new Promise<IncomingMessage>((resolve, reject) => {
          request.once('response', resolve).once('error', reject);
          request.once('socket', (socket) => {
            if (!socket.connecting) return;
            const timer = setTimeout(() => request.destroy(new Error(`no connection within ${connectTimeoutMs} ms`)), connectTimeoutMs);
            socket.once('connect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
          });
          request.setTimeout(timeoutMs, () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
          request.end(body);
        });
        this.#failures.delete(url);
        return response;
      } catch (error) {
        signal?.throwIfAborted();
        if (isRepeatable && request.reusedSocket && systemCode(error) === 'ECONNRESET' && tries < triesMax) continue;
        throw this.#failed(url, error);
      }
    }
  }

  async #whole(url: string, response: IncomingMessage): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#bytes(url, response)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async *#bytes(url: string, response: IncomingMessage): AsyncGenerator<Uint8Array> {
    const pieces = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    const silent = (): unknown => response.destroy(new Error(`no byte within ${this.#options.timeoutMs} ms`));
    try {
      for (;;) {
        const timer = setTimeout(silent, this.#options.timeoutMs);
        const piece = await pieces.next().finally(() => clearTimeout(timer));
        if (piece.done === true) break;
        yield piece.value;
      }
    } catch (error) {
      throw this.#failed(url, error);
    } finally {
      await pieces.return?.();
    }
    if (!response.complete) throw this.#failed(url, new Error('the answer was cut off'));
  }

  #failed(url: string, error: unknown): RequestError {
    const latestError = error instanceof Error ? error.message : String(error);
    this.#failures.set(url, { count: (this.#failures.get(url)?.count ?? 0) + 1, latestError, latestErrorMs: this.#options.clock.now() });
    return new RequestError('unavailable', `${url} cannot be reached: ${latestError}`, { cause: error });
  }
}

function refusal(url: string, { headers }: IncomingMessage): NotAcceptedError {
  const apartMs = Number(headers[apartHeader]);
  return new NotAcceptedError(url, Number.isFinite(apartMs)
    ? `its clock is ${Math.abs(Math.round(apartMs / 1000))} s ${apartMs > 0 ? 'behind' : 'ahead of'} this one's; set the clocks of both nodes`
    : 'is it of another cluster, with another secret?');
}
