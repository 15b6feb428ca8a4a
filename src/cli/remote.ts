// A server as the command line speaks to it: any that has the API, with a key from the environment or a file.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { NodeDisk } from '../fs/node-disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { EXIT, ExitError, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';

const text = { type: 'string' } as const;
export const remoteFlags = { url: text, 'api-key': text, 'api-key-file': text } as const;
const defaultUrl = 'http://127.0.0.1:6333';
const connectMsMax = 10_000;

export interface RemoteFlags {
  readonly url?: string | undefined;
  readonly 'api-key'?: string | undefined;
  readonly 'api-key-file'?: string | undefined;
}

export interface RemoteCall {
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, with back-pressure. */
  readonly body?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

export interface RemoteAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: AsyncIterable<Buffer>;
}

export interface Remote {
  readonly url: string;
  /** `result` of the envelope. @throws ExitError with the server's text and the exit code that fits its status */
  call(method: string, path: string, options?: RemoteCall): Promise<unknown>;
  /** An answer of any status below 400. @throws ExitError for the others */
  open(method: string, path: string, options?: RemoteCall): Promise<RemoteAnswer>;
}

/** @throws UsageError for flags that cannot be used */
export async function openRemote(flags: RemoteFlags, output: Pick<Output, 'note'>): Promise<Remote> {
  const base = flags.url ?? process.env['NEARKEEP_URL'] ?? defaultUrl;
  if (!URL.canParse(base) || !/^https?:$/.test(new URL(base).protocol)) throw new UsageError(`--url must be an http or https URL, not ${base}`);
  const key = await keyOf(flags, output);
  const open: Remote['open'] = async (method, path, options = {}) => {
    const answer = await send(urlOf(base, path, options.query), method, { ...options, headers: { ...options.headers, ...(key === undefined ? {} : { 'api-key': key }) } });
    if (answer.status < 400) return answer;
    throw await failure(answer);
  };
  return {
    url: base,
    open,
    call: async (method, path, options) => {
      const answer = await open(method, path, options);
      const body = await textOf(answer.body);
      try {
        return (JSON.parse(body) as { readonly result?: unknown }).result;
      } catch (cause) {
        throw new ExitError(`${base} did not answer as the API does`, EXIT.failed, { cause });
      }
    },
  };
}

async function keyOf(flags: RemoteFlags, output: Pick<Output, 'note'>): Promise<string | undefined> {
  if (flags['api-key'] !== undefined) {
    output.note('warning: a key on the command line is visible in the process list; use --api-key-file or NEARKEEP_API_KEY');
    return flags['api-key'];
  }
  const file = flags['api-key-file'];
  if (file !== undefined) {
    const bytes = await readOptionalFile(new NodeDisk(), file);
    if (bytes === undefined) throw new UsageError(`--api-key-file ${file} does not exist`);
    return bytes.toString('utf8').trim();
  }
  const key = process.env['NEARKEEP_API_KEY'] ?? process.env['QDRANT_API_KEY'];
  return key === '' ? undefined : key;
}

function urlOf(base: string, path: string, query: RemoteCall['query'] = {}): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
  return url;
}

async function send(url: URL, method: string, { json, body, headers, signal }: RemoteCall): Promise<RemoteAnswer> {
  const payload = json === undefined ? undefined : JSON.stringify(json);
  const start = url.protocol === 'https:' ? https.request : http.request;
  const request = start(url, { method, agent: false, headers: { ...headers, ...(payload === undefined ? {} : { 'content-type': 'application/json' }) }, ...(signal === undefined ? {} : { signal }) });
  const timer = setTimeout(() => request.destroy(new ExitError(`${url.origin} does not answer`, EXIT.unreachable)), connectMsMax);
  request.on('socket', (socket) => {
    if (socket.connecting) socket.once('connect', () => { clearTimeout(timer); });
    else clearTimeout(timer);
  });
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', (error) => {
      reject(signal?.aborted === true ? (signal.reason as Error) : asExit(url, error));
    });
  }).finally(() => {
    clearTimeout(timer);
  });
  answered.catch(() => undefined); // also when the body fails first
  if (body === undefined) request.end(payload);
  else await sendBody(request, body, answered);
  const response = await answered;
  response.once('end', () => request.destroy()); // a body that was refused unread must not keep the connection
  return { status: response.statusCode ?? 0, headers: response.headers, body: response };
}

/** Stops when the server has answered: it may refuse what it has not read. */
async function sendBody(request: http.ClientRequest, body: AsyncIterable<Uint8Array>, answered: Promise<unknown>): Promise<void> {
  let over = false;
  const ended = answered.finally(() => {
    over = true;
  });
  ended.catch(() => undefined); // told by `answered`
  try {
    for await (const piece of body) {
      if (over) return;
      if (!request.write(piece)) await Promise.race([once(request, 'drain').catch(() => undefined), ended]);
    }
    request.end();
  } catch (error) {
    request.destroy();
    throw error;
  }
}

async function failure(answer: RemoteAnswer): Promise<ExitError> {
  const body = await textOf(answer.body);
  let message = body;
  try {
    const parsed = JSON.parse(body) as { readonly status?: { readonly error?: unknown } };
    if (typeof parsed.status?.error === 'string') message = parsed.status.error;
  } catch {
    // plain text, as downloads answer
  }
  return new ExitError(message === '' ? `the server answered status ${answer.status}` : message, exitOf(answer.status, message));
}

function exitOf(status: number, message: string): number {
  if (/needs a reader of version|was made by Qdrant/.test(message)) return EXIT.incompatible;
  if (/Invalid snapshot: .*(?:sha256|ends early|padding|its manifest says)|[Cc]hecksum mismatch/.test(message)) return EXIT.verifyFailed;
  switch (status) {
    case 401: case 403: return EXIT.access;
    case 404: return EXIT.notFound;
    case 503: return EXIT.unreachable;
    case 507: return EXIT.noSpace;
    default: return EXIT.failed;
  }
}

function asExit(url: URL, error: Error): Error {
  if (error instanceof ExitError) return error;
  return new ExitError(`${url.origin} cannot be reached: ${error.message}`, EXIT.unreachable, { cause: error });
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
