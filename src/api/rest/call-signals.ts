// When a call must end early: the client has left, or the query parameter `timeout` has passed.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../../base/errors.ts';
import { readInteger, type Query } from './query-parameters.ts';
import type { RestAnswer, RestRoute } from './route.ts';

/** Reads without a `timeout` parameter get this long. */
const readSecondsMax = 60;

/** Aborted, after `onLeft`, when the client's connection closes before the answer was written. */
export function callController(reply: FastifyReply, onLeft: () => void): AbortController {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (reply.raw.writableFinished) return;
    onLeft();
    controller.abort(new RequestError('timeout', 'the client left before the answer'));
  });
  return controller;
}

/** Seconds that `timeout` gives the call; undefined: no bound. @throws RequestError for a bad value. */
export function callSeconds(route: RestRoute, query: Query): number | undefined {
  const kind = route.timeout ?? (route.method === 'POST' && route.access === 'read' ? 'read' : 'none');
  if (kind === 'none') return undefined;
  const seconds = readInteger(query, 'timeout', { from: 1, fallback: kind === 'read' ? readSecondsMax : 0 });
  return seconds === 0 ? undefined : Math.min(seconds, timerSecondsMax);
}

/** Timers take at most 2^31-1 milliseconds. */
const timerSecondsMax = 2_147_483;

/** Runs `work` with the controller's signal for at most `seconds`, and aborts it then. @throws RequestError 'timeout' */
export async function withinSeconds(
  seconds: number,
  controller: AbortController,
  work: (signal: AbortSignal) => Promise<RestAnswer>,
): Promise<RestAnswer> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const late = new RequestError('timeout', `Operation timed out after ${seconds} seconds`);
      controller.abort(late);
      reject(late);
    }, seconds * 1000);
  });
  try {
    return await Promise.race([work(controller.signal), expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** The last value of each query parameter. */
export function lastValues(request: FastifyRequest): Query {
  const values: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.query as Record<string, string | string[]>)) {
    values[name] = typeof value === 'string' ? value : value.at(-1);
  }
  return values;
}
