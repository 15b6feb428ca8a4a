// A REST server on a free port for one test, and raw HTTP to it. Every answer is held against the schema of its route.
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { Logger } from '../../../base/logger.ts';
import { Access, type AccessKeys } from '../../../engine/access.ts';
import type { Engine } from '../../../engine/engine.ts';
import { answerJudge } from '../../../../test/support/schemas.ts';
import { createRestServer, type RestSettings } from '../rest-server.ts';
import { SmallEngine } from './small-engine.ts';

export interface RestAt {
  readonly engine: SmallEngine;
  readonly port: number;
  readonly url: string;
  readonly lines: { readonly level: string; readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[];
  send(method: string, path: string, options?: SendOptions): Promise<Answer>;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Sent as JSON. */
  readonly json?: unknown;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** The parsed body. */
  json(): { readonly result?: unknown; readonly status?: unknown; readonly time?: unknown };
}

const noKeys: AccessKeys = { apiKey: undefined, altApiKey: undefined, readOnlyApiKey: undefined };
const defaults: RestSettings = {
  tls: undefined, bodyLimitBytes: 32 * 1024 * 1024,
  keepAliveTimeoutMs: 5000,
  headersTimeoutMs: 5000,
  enableCors: false,
  corsOrigins: [],
  metricsPrefix: '',
  boundToLoopback: true,
};

const judge = answerJudge();

export interface RestOptions {
  readonly keys?: Partial<AccessKeys>;
  readonly settings?: Partial<RestSettings>;
  readonly isReady?: () => boolean;
  readonly writesRefused?: () => string | undefined;
  /** A real one in the small one's place; it stays the caller's. */
  readonly engine?: Engine;
}

/** Closed when the test ends. */
export async function startRest(t: Pick<TestContext, 'after'>, options: RestOptions = {}): Promise<RestAt> {
  const engine = new SmallEngine();
  const lines: RestAt['lines'] = [];
  const at =
    (level: string): Logger['info'] =>
    (fields, message) => {
      lines.push({ level, fields, message });
    };
  const app = createRestServer({
    engine: options.engine ?? asEngine(engine),
    logger: { info: at('info'), warn: at('warn'), error: at('error') },
    access: new Access({ ...noKeys, ...options.keys }),
    settings: { ...defaults, ...options.settings },
    isReady: options.isReady ?? (() => true),
    writesRefused: options.writesRefused ?? (() => undefined),
    processFacts: () => Promise.resolve({ threads: 7, isContainer: false }),
    takeLoopDelay: () => ({ p50Seconds: 0, p99Seconds: 0.002, maxSeconds: 0.004 }),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    app.server.closeAllConnections();
    await app.close();
  });
  const { port } = app.server.address() as AddressInfo;
  return {
    engine,
    port,
    url: `http://127.0.0.1:${port}`,
    lines,
    send: (method, path, given) => send(port, method, { path, ...given }),
  };
}

/** The transport asks nothing beyond what the small engine has; the class's private parts are none of its business. */
export function asEngine(engine: unknown): Engine {
  return engine as Engine;
}

/** The path goes out as it is: neither normalised nor encoded. */
function send(
  port: number,
  method: string,
  { path, headers = {}, body, json }: SendOptions & { readonly path: string },
): Promise<Answer> {
  const payload = json === undefined ? body : JSON.stringify(json);
  const all = { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers };
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, method, path, headers: all, agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(pieces).toString('utf8');
        try {
          if (method !== 'HEAD') {
            judge({ method, path: path.split('?')[0] ?? path, status: response.statusCode ?? 0, contentType: response.headers['content-type'] ?? '', body: text });
          }
        } catch (error) {
          reject(error);
          return;
        }
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: () => JSON.parse(text) as ReturnType<Answer['json']>,
        });
      });
    });
    request.on('error', reject);
    request.end(payload);
  });
}

/** A connection that writes bytes as given and gathers what comes back. */
export async function openRaw(
  port: number,
): Promise<{ readonly socket: net.Socket; readonly until: (pattern: RegExp) => Promise<string> }> {
  const socket = net.connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('latin1');
  socket.on('data', (piece: string) => {
    received += piece;
    socket.emit('grown');
  });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve);
  });
  const until = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (pattern.test(received)) resolve(received);
      };
      socket.on('grown', check);
      socket.on('close', () => {
        if (pattern.test(received)) resolve(received);
        else reject(new Error(`closed after: ${received}`));
      });
      check();
    });
  return { socket, until };
}

/** A multipart body with the given parts, and its content type. */
export function multipart(
  parts: readonly { readonly name: string; readonly filename?: string; readonly content: string | Buffer }[],
): { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> } {
  const boundary = 'test-boundary-7MA4YWxk';
  const pieces = parts.flatMap(({ name, filename, content }) => [
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n`,
    filename === undefined ? '\r\n' : 'content-type: application/octet-stream\r\n\r\n',
    content,
    '\r\n',
  ]);
  const body = Buffer.concat([...pieces, `--${boundary}--\r\n`].map((piece) => Buffer.from(piece)));
  return { body, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } };
}
