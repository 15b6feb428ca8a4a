// One REST route as data. rest-server.ts turns the tables of the route files into routes: it authorises before a body byte is
// read, parses the body, calls `handle` and wraps the answer in the envelope, so that a route file holds only what is its own.
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Rights a key must have: `none` needs no key, `read` any key, `write` and `manage` a full one. */
export type RouteAccess = 'none' | 'read' | 'write' | 'manage';

export interface RestCall {
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** The last value of each query parameter. */
  readonly query: Readonly<Record<string, string | undefined>>;
  /** The parsed body (vector/lift-json.ts); undefined where the route has none. */
  readonly body: unknown;
  /** Aborted when the client leaves before the answer, and where the route's `timeout` has passed. */
  readonly signal: AbortSignal;
  /** How long a download waits for a client that takes nothing. */
  readonly idleMs: number;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export type RestAnswer =
  /** `{"result":…,"status":"ok","time":…}` around JSON.stringify of `value`. */
  | { readonly kind: 'result'; readonly value: unknown }
  /** The same around JSON text that is made piece by piece; an iterable that yields many pieces is sent in slices. */
  | { readonly kind: 'result-text'; readonly pieces: Iterable<string> | AsyncIterable<string> }
  /** 202 `{"status":"accepted","time":…}`. */
  | { readonly kind: 'accepted' }
  /** The handler used `reply` itself: downloads, probes, metrics. */
  | { readonly kind: 'sent' };

export interface RestRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `:name` parameters, as Fastify writes them. */
  readonly path: string;
  readonly access: RouteAccess;
  /** `json`: parsed before `handle`, and an absent one is a format error. `stream`: left unread on `call.request.raw`, without a
   *  size limit. `none`: never looked at. Default: `none` for GET and DELETE, else `json`. */
  readonly body?: 'json' | 'stream' | 'none';
  /** What the query parameter `timeout` (seconds) bounds. `read`: the signal is aborted and the answer is 408; default for POST
   *  with read access. `change`: the answer is 408 while the change goes on to its end. `none`: the parameter is the handler's. */
  readonly timeout?: 'read' | 'change' | 'none';
  /** Shape of error answers; default `json`. */
  readonly errors?: 'json' | 'text';
  /** HEAD is answered too. The handler sees it in `request.method`. */
  readonly hasHead?: boolean;
  readonly handle: (call: RestCall) => Promise<RestAnswer>;
}
