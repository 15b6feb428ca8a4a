// What browsers may do. Without CORS settings a page of another origin gets no answer it can read; and while the server listens
// on loopback without a key, such a page is refused altogether, as is a host name that is not a loopback one: any web page could
// otherwise wipe a local database by DNS rebinding or a blind POST.
import type { FastifyReply, FastifyRequest } from 'fastify';

export interface OriginSettings {
  readonly enableCors: boolean;
  readonly corsOrigins: readonly string[];
  /** Listens on loopback and no key is set. */
  readonly isOpenOnLoopback: boolean;
}

export type OriginVerdict =
  | { readonly kind: 'go-on' }
  | { readonly kind: 'preflight' }
  | { readonly kind: 'refused'; readonly text: string };

const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** Sets the CORS headers that the settings allow and says what to do with the request. */
export function judgeOrigin(settings: OriginSettings, request: FastifyRequest, reply: FastifyReply): OriginVerdict {
  const { origin, host } = request.headers;
  if (settings.isOpenOnLoopback && host !== undefined && !loopbackHost.test(host)) {
    return {
      kind: 'refused',
      text: `Forbidden: without an API key this server answers only to localhost, not to the host name ${host}`,
    };
  }
  if (origin === undefined) return { kind: 'go-on' };
  const isNamed = settings.corsOrigins.includes(origin);
  if (settings.isOpenOnLoopback && !settings.enableCors && !isNamed && !isSameOrigin(origin, host)) {
    return {
      kind: 'refused',
      text: 'Forbidden: without an API key this server answers no page of another origin; name the origin with --cors or set an API key',
    };
  }
  if (!settings.enableCors && !isNamed) return { kind: 'go-on' };
  reply.header('access-control-allow-origin', settings.enableCors ? '*' : origin);
  if (!settings.enableCors) reply.header('vary', 'Origin');
  reply.header('access-control-expose-headers', '*');
  if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return { kind: 'go-on' };
  reply.header('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  reply.header('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '*');
  reply.header('access-control-max-age', '3600');
  return { kind: 'preflight' };
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return origin === `http://${host}` || origin === `https://${host}`;
}
