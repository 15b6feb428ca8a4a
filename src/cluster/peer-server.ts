// The door between nodes: an HTTP server on the peer port that runs methods for other nodes of the cluster. A request without a valid
// token ends before its body is read; user keys mean nothing here. Where the cluster has certificates, only who shows one is listened to.
//
//   POST /internal/<method>   body: arguments, answer: PeerAnswer (peer-wire.ts)
//   GET  /internal/<method>?<arguments as base64url>   answer: bytes as they come, cut off where the source fails
import { createServer as createPlain, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecure, Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTls } from './node-tls.ts';
import { apartHeader, PeerGate, peerTokenHeader } from './peer-token.ts';
import { answerOf, decodeValue, encodeValue, NotServedError, type PeerAnswer } from './peer-wire.ts';

const bodyBytesMax = 1 << 30;
/** So long a connection without requests stays. The other side gives it up sooner (peer-client.ts). */
export const connectionKeptMs = 60_000;

export interface PeerContext {
  /** Who asks. */
  readonly peerId: number;
  /** Where it asks from. */
  readonly address: string;
  /** Aborted when the asking node is gone, and when the answer is sent. */
  readonly signal: AbortSignal;
}

export interface PeerMethods {
  readonly calls: Readonly<Record<string, (args: never, context: PeerContext) => Promise<unknown>>>;
  /** Bytes; what was begun is cut off where the source throws, so that the other side sees it is not whole. */
  readonly streams: Readonly<Record<string, (args: never, context: PeerContext) => Promise<AsyncIterable<Uint8Array>>>>;
}

export interface PeerServerOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly tokenKey: Buffer;
  readonly tls: PeerTls | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PeerServer {
  readonly #server: Server;
  readonly #options: PeerServerOptions;
  readonly #gate: PeerGate;
  #methods: PeerMethods = { calls: {}, streams: {} };

  private constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#gate = new PeerGate(options.tokenKey);
    const listener: RequestListener = (request, response) => {
      void this.#handle(request, response);
    };
    const { tls } = options;
    this.#server = tls === undefined ? createPlain(listener) : createSecure({ ...tls, requestCert: true, rejectUnauthorized: true }, listener);
    this.#server.keepAliveTimeout = connectionKeptMs;
  }

  /** Answers 503 until `serve` says what there is. */
  static async listen(options: PeerServerOptions): Promise<PeerServer> {
    const server = new PeerServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject).listen(options.port, options.host, resolve);
    });
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  serve(methods: PeerMethods): void {
    this.#methods = methods;
  }

  /** For connections that come from now on. */
  renew(tls: PeerTls): void {
    if (this.#server instanceof SecureServer) this.#server.setSecureContext(tls);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => {
      this.#server.close(resolve);
    });
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, logger } = this.#options;
    const { method = '', url = '' } = request;
    const checked = this.#gate.check(request.headers[peerTokenHeader], { method, path: url }, clock.now());
    if (checked === undefined || checked.apartMs !== undefined) {
      response.writeHead(401, { connection: 'close', ...(checked === undefined ? {} : { [apartHeader]: String(Math.round(checked.apartMs)) }) }).end();
      return;
    }
    const { peerId } = checked;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const context = { peerId, address: request.socket.remoteAddress ?? '', signal: gone.signal };
    try {
      const [path = '', query] = url.split('?');
      const name = path.replace(/^\/internal\//, '');
      if (method === 'GET') await this.#stream(name, query ?? '', context, response);
      else send(response, await this.#call(name, request, context));
    } catch (error) {
      if (!(error instanceof NotServedError)) logger.warn({ url: url.split('?')[0], peerId, error: String(error) }, 'a request of another node failed');
      if (response.headersSent) response.destroy();
      else send(response, answerOf(error));
    }
  }

  async #call(name: string, request: IncomingMessage, context: PeerContext): Promise<PeerAnswer> {
    const run = Object.hasOwn(this.#methods.calls, name) ? this.#methods.calls[name] : undefined;
    if (run === undefined) throw this.#notServed(name);
    const args = decodeValue(await readBody(request));
    try {
      return { ok: true, value: await run(args as never, context) };
    } catch (error) {
      if (!(error instanceof RequestError)) this.#options.logger.error({ method: name, error: String(error) }, 'a call of another node failed');
      return answerOf(error);
    }
  }

  async #stream(name: string, query: string, context: PeerContext, response: ServerResponse): Promise<void> {
    const open = Object.hasOwn(this.#methods.streams, name) ? this.#methods.streams[name] : undefined;
    if (open === undefined) throw this.#notServed(name);
    const source = await open(decodeValue(Buffer.from(query, 'base64url')) as never, context);
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    await pipeline(Readable.from(source, { objectMode: false }), response);
  }

  #notServed(name: string): RequestError {
    return Object.keys(this.#methods.calls).length === 0 ? new RequestError('unavailable', 'this node is still starting') : new RequestError('not-found', `no method ${name} between nodes`);
  }
}

function send(response: ServerResponse, answer: PeerAnswer): void {
  const body = encodeValue(answer);
  response.writeHead(answer.ok ? 200 : 500, { 'content-type': 'application/octet-stream', 'content-length': body.byteLength }).end(body);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > bodyBytesMax) throw new RequestError('bad-request', `a message between nodes has at most ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
