// A snapshot from a URL, as a stream. Each host is resolved once and connected to at the address that was checked; redirects are
// followed by hand, each checked the same way; credentials go to the first origin only, and no more once another was visited; a
// body that ends early is an error.
import { lookup as resolveHost } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { RequestError, systemCode } from '../base/errors.ts';
import { isAllowedAddress } from './address-policy.ts';

export const systemResolver = (host: string): Promise<readonly Address[]> => resolveHost(host, { all: true });

const redirectsMax = 3;
const redirectStatuses = new Set([301, 302, 303, 307, 308]);
const keepsMethodStatuses = new Set([307, 308]);

export interface FetchOptions {
  readonly apiKey?: string;
  readonly allowLoopback: boolean;
  /** Rules of address-policy.ts. */
  readonly allow: readonly string[];
  readonly userAgent: string;
  /** Longest wait for the next byte. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** JSON to send by POST; 304 is an answer then. A redirect by 307 or 308 takes it along, any other one leads to a GET. */
  readonly post?: string;
  readonly resolve: (host: string) => Promise<readonly Address[]>;
}

export interface Address {
  readonly address: string;
  readonly family: number;
}

/** The body of a 200 answer. @throws RequestError: 403 for a forbidden address, 400 for another status, 500 where it cannot be had. */
export async function* fetchSnapshot(location: URL, options: FetchOptions): AsyncGenerator<Buffer> {
  yield* (await openSnapshot(location, options)) ?? [];
}

/** The same, begun; undefined for 304. */
export async function openSnapshot(location: URL, options: FetchOptions): Promise<AsyncGenerator<Buffer> | undefined> {
  let url = location;
  let { apiKey, post, ...rest } = options;
  for (let redirects = 0; ; redirects += 1) {
    const response = await request(url, { ...rest, ...(apiKey === undefined ? {} : { apiKey }), ...(post === undefined ? {} : { post }) });
    const status = response.statusCode ?? 0;
    if (post !== undefined && status === 304) {
      response.destroy();
      return undefined;
    }
    if (!redirectStatuses.has(status)) return readBody(response, { url, status, options });
    response.destroy();
    if (redirects === redirectsMax) throw new RequestError('bad-input', `Failed to download tar from ${shown(location)}: more than ${redirectsMax} redirects`);
    url = redirectTarget(response, url);
    if (url.origin !== location.origin) apiKey = undefined;
    if (!keepsMethodStatuses.has(status)) post = undefined;
  }
}

/** @throws RequestError unless the URL is one that may be fetched at all; says nothing about its address. */
export function checkUrl(url: URL): URL {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new RequestError('bad-request', `URL ${shown(url)} with scheme ${url.protocol.slice(0, -1)} is not supported`);
  }
  if (url.username !== '' || url.password !== '') throw new RequestError('bad-request', 'URL with a user name or password is not supported; use api_key');
  return url;
}

function redirectTarget(response: http.IncomingMessage, from: URL): URL {
  const target = response.headers.location ?? '';
  if (target === '' || !URL.canParse(target, from.href)) throw new RequestError('bad-input', `Failed to download tar from ${shown(from)}: redirect without a target`);
  return checkUrl(new URL(target, from));
}

async function request(url: URL, options: FetchOptions): Promise<http.IncomingMessage> {
  const addresses = await resolveAllowed(url, options);
  const lookup: LookupFunction = (_host, wanted, callback) => {
    const [first] = addresses;
    if (wanted.all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
  const headers: http.OutgoingHttpHeaders = { 'user-agent': options.userAgent, 'accept-encoding': 'identity' };
  if (options.apiKey !== undefined) headers['api-key'] = options.apiKey;
  return new Promise<http.IncomingMessage>((resolve, reject) => {
    const send = url.protocol === 'https:' ? https.request : http.request;
    if (options.post !== undefined) headers['content-type'] = 'application/json';
    const method = options.post === undefined ? 'GET' : 'POST';
    const outgoing = send(url, { method, lookup, headers, agent: false, signal: options.signal, timeout: options.idleMs });
    outgoing.once('response', (response) => {
      outgoing.setTimeout(0); // from here on only waits for data count, not our own pauses
      resolve(response);
    });
    outgoing.once('timeout', () => outgoing.destroy(idleError(url, options.idleMs)));
    outgoing.on('error', (error) => {
      reject(options.signal.aborted ? (options.signal.reason as Error) : failure(url, error));
    });
    outgoing.end(options.post);
  });
}

/** Every address of the host; one that is not allowed refuses the host. No connection has been made yet. */
async function resolveAllowed(url: URL, options: FetchOptions): Promise<readonly Address[]> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const family = isIP(host);
  const addresses = family === 0 ? await options.resolve(host).catch((error: unknown) => {
    throw failure(url, error);
  }) : [{ address: host, family }];
  if (addresses.length > 0 && addresses.every(({ address }) => isAllowedAddress(address, { ...options, host }))) return addresses;
  throw new RequestError('forbidden', `Snapshot URL host ${url.hostname} is at an address that snapshots are not recovered from (loopback, private, link-local or reserved)`);
}

async function* readBody(response: http.IncomingMessage, from: { readonly url: URL; readonly status: number; readonly options: FetchOptions }): AsyncGenerator<Buffer> {
  const { url, status, options: { idleMs, signal } } = from;
  if (status !== 200) {
    response.destroy();
    throw new RequestError('bad-input', `Failed to download tar from ${shown(url)}: status - ${status}`);
  }
  const encoding = response.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    response.destroy();
    throw new RequestError('bad-input', `Failed to download tar from ${shown(url)}: content encoding ${encoding.slice(0, 32)} is not supported`);
  }
  const iterator = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      const timer = setTimeout(() => response.destroy(idleError(url, idleMs)), idleMs); // counts only while data is waited for
      const step = await iterator.next().finally(() => {
        clearTimeout(timer);
      });
      if (step.done === true) return; // a body shorter than announced has thrown: Node compares length and framing
      yield step.value;
    }
  } catch (error) {
    throw signal.aborted ? (signal.reason as Error) : failure(url, error);
  } finally {
    response.destroy();
  }
}

function idleError(url: URL, idleMs: number): RequestError {
  return new RequestError('internal', `Failed to download snapshot from ${shown(url)}: no data for ${idleMs / 1000} s`);
}

/** Queries of pre-signed URLs are credentials: they are in no message. */
function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function failure(url: URL, error: unknown): unknown {
  if (error instanceof RequestError) return error;
  return new RequestError('internal', `Failed to download snapshot from ${shown(url)}: ${systemCode(error) ?? 'connection failed'}`, { cause: error });
}
