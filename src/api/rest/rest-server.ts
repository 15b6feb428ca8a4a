// The REST transport: a Fastify server made from the tables of routes. The order for every request: origin and key (admission.ts),
// 404 or 405, names and `timeout`, the body, the handler, the envelope. Only this file turns errors into answers.
//
// Invariants: no body byte is read before the request was admitted; every failure is logged once, without headers, bodies or
// query strings; the right a request needs is read from the matched route object, never from the URL's text.
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from '../../base/logger.ts';
import type { Access } from '../../engine/access.ts';
import type { Engine } from '../../engine/engine.ts';
import { admit, type Admission } from './admission.ts';
import { callController, callSeconds, lastValues, withinSeconds } from './call-signals.ts';
import { checkCollectionName } from './collection-name.ts';
import { sendAnswer, sendError } from './envelope.ts';
import { frameworkLogger } from './framework-logger.ts';
import type { LoopDelay, ProcessFacts } from './process-facts.ts';
import { dropRest, idleMsMax, readJsonBody } from './request-body.ts';
import { ResponseStats } from './response-stats.ts';
import type { RestAnswer, RestRoute } from './route.ts';
import { restRoutes } from './route-tables.ts';
import { toWireError } from './wire-error.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    restRoute?: RestRoute;
  }
}

export interface RestSettings {
  /** Certificate chain and key in PEM form; without them plain HTTP. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly bodyLimitBytes: number;
  readonly keepAliveTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly enableCors: boolean;
  readonly corsOrigins: readonly string[];
  readonly metricsPrefix: string;
  readonly boundToLoopback: boolean;
  /** How long a download waits for a client that takes nothing; default a minute. */
  readonly downloadIdleMs?: number;
}

export interface RestServerOptions {
  readonly engine: Engine;
  readonly logger: Logger;
  readonly access: Access;
  readonly settings: RestSettings;
  /** false: /readyz answers 503. */
  readonly isReady: () => boolean;
  /** Why the shards of this node take no writes, told by /readyz with its 503; undefined while they do. */
  readonly writesRefused: () => string | undefined;
  /** What /metrics and /telemetry tell about the process. */
  readonly processFacts: () => Promise<ProcessFacts>;
  /** How late the event loop was since the last call. */
  readonly takeLoopDelay: () => LoopDelay;
}

/** Names have up to 255 characters, each up to four bytes, each byte three characters when escaped; snapshot names are longer. */
const paramLengthMax = 8192;
/** How often Node looks for connections whose headers take too long. */
const connectionCheckMs = 1_000;
/** Probes and metrics are asked every few seconds: they are not worth a line each. */
const unloggedPaths: readonly string[] = ['/', '/healthz', '/livez', '/readyz', '/metrics', '/telemetry'];

/** Not listening yet. Closing it lets requests in flight end; the engine stays the caller's. */
export function createRestServer(options: RestServerOptions): FastifyInstance {
  const { access, settings, logger } = options;
  const stats = new ResponseStats();
  const routes = restRoutes({ ...options, stats });
  const admission: Admission = {
    access,
    origins: {
      enableCors: settings.enableCors,
      corsOrigins: settings.corsOrigins,
      isOpenOnLoopback: settings.boundToLoopback && access.isOpen,
    },
  };
  const app = newFastify(settings, logger, (error, request, reply) => {
    // A URL that cannot be decoded reaches no route and no hook.
    if (admit(admission, undefined, { request, reply })) answerError(error, request, reply, { logger, shape: 'json' });
  });
  app.addHook('onRequest', async (request, reply) => {
    if (!admit(admission, request.routeOptions.config.restRoute, { request, reply })) return reply;
    return request.is404 ? answerUnknown(routes, request, reply) : undefined;
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    // Node closes behind the answer where the client asked for it, and what still comes of the body would reset the connection
    // before the client has read that answer. dropRest bounds what is taken.
    if (!request.raw.complete && request.headers.expect === undefined) reply.raw.shouldKeepAlive = true;
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    dropRest(request.raw);
    record(stats, logger, { request, reply });
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    answerError(error, request, reply, { logger, shape: request.routeOptions.config.restRoute?.errors ?? 'json' });
  });
  for (const route of routes) {
    const collection = collectionParameter(route);
    app.route({
      method: route.hasHead === true ? [route.method, 'HEAD'] : [route.method],
      url: route.path,
      config: { restRoute: route },
      handler: (request, reply) => {
        const name = (request.params as Readonly<Record<string, string>>)[collection];
        if (name !== undefined) checkCollectionName(name);
        return serve(route, options, { request, reply });
      },
    });
  }
  return app;
}

type FrameworkErrors = (error: Error, request: FastifyRequest, reply: FastifyReply) => void;

function newFastify(settings: RestSettings, logger: Logger, frameworkErrors: FrameworkErrors): FastifyInstance {
  const app = Fastify({
    ...(settings.tls === undefined ? {} : { https: settings.tls }),
    loggerInstance: frameworkLogger(logger),
    exposeHeadRoutes: false,
    keepAliveTimeout: settings.keepAliveTimeoutMs,
    http: { headersTimeout: settings.headersTimeoutMs, connectionsCheckingInterval: connectionCheckMs },
    routerOptions: { maxParamLength: paramLengthMax, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    frameworkErrors,
    clientErrorHandler: answerMalformed,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => {
    done(null); // bodies are read after the checks of the route, by request-body.ts
  });
  app.server.on('checkContinue', (request, response) => {
    app.routing(request, response);
  });
  return app;
}

async function serve(
  route: RestRoute,
  { settings, logger }: RestServerOptions,
  at: { readonly request: FastifyRequest; readonly reply: FastifyReply },
): Promise<FastifyReply> {
  const { request, reply } = at;
  const params = request.params as Readonly<Record<string, string>>;
  const query = lastValues(request);
  const seconds = callSeconds(route, query);
  const controller = callController(reply, () => {
    logger.info({ method: route.method, route: route.path, ms: Math.round(reply.elapsedTime) }, 'client left before the answer');
  });
  const kind = route.body ?? (route.method === 'GET' || route.method === 'DELETE' ? 'none' : 'json');
  const body = kind === 'json' ? await readJsonBody(request, settings.bodyLimitBytes) : undefined;
  const work = (signal: AbortSignal): Promise<RestAnswer> => route.handle({ params, query, body, signal, idleMs: settings.downloadIdleMs ?? idleMsMax, request, reply });
  await sendAnswer(reply, seconds === undefined ? await work(controller.signal) : await withinSeconds(seconds, controller, work));
  return reply;
}

/** The parameter after `/collections/` is a collection's name on every route. */
function collectionParameter({ path }: RestRoute): string {
  return /^\/collections\/:(\w+)/.exec(path)?.[1] ?? '';
}

/** 405 where another method of this path has a route, else 404; both without a body. */
function answerUnknown(routes: readonly RestRoute[], request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = (request.raw.url ?? '')
    .replace(/\?.*$/s, '')
    .replaceAll(/\/{2,}/g, '/')
    .replace(/(?<=.)\/$/, '');
  const methods = new Set(routes.filter((route) => patternOf(route.path).test(path)).map(({ method }) => method));
  if (methods.size === 0) return reply.code(404).send();
  return reply
    .code(405)
    .header('allow', [...methods].join(', '))
    .send();
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`);
}

function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  how: { readonly logger: Logger; readonly shape: 'json' | 'text' },
): void {
  const wire = toWireError(error);
  if (wire.isFailure && !request.raw.destroyed) {
    const stack = error instanceof Error ? error.stack : undefined;
    how.logger.error(
      { method: request.method, route: request.routeOptions.url, status: wire.status, error: wire.text, stack },
      'request failed',
    );
  }
  sendError(reply, wire, how.shape);
}

/** Bytes that are no HTTP request, or headers that took too long. */
function answerMalformed(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
}

function record(
  stats: ResponseStats,
  logger: Logger,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
): void {
  const pattern = request.routeOptions.config.restRoute?.path;
  const elapsedMs = reply.elapsedTime;
  if (pattern !== undefined) stats.record({ method: request.method, pattern, status: reply.statusCode, elapsedMs });
  if (pattern !== undefined && unloggedPaths.includes(pattern)) return;
  logger.info(
    { method: request.method, route: pattern, status: reply.statusCode, ms: Math.round(elapsedMs * 1000) / 1000 },
    'request',
  );
}
