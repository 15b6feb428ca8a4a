// Ends a reader of a stream that gives no more sign of life or has lost its connection, so that whoever reads makes it again from where it stood.
//
// A reader lives on one of the stream's servers, which need not be this node's own, and is gone with it. The client library makes it
// again by itself, but asks what became of it first, which may take twice the time of an answer, and in some cases for ever. And where a
// connection broke with messages on their way it goes on with the same consumer, for which they count as delivered: they would be
// missed only when the next one comes.
import type { ConsumerMessages } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import type { NatsClient } from './nats-client.ts';

/** For whoever makes a reader: how often the server gives a sign of life where there is nothing to read. */
export const heartbeatMs = 1_000;
/** Several in a row were missed. */
const silentMs = 3_500;
const lookMs = 500;
/** A process that stood still for so long, stopped or asleep, begins anew: what it is told after that need not be all. */
const frozenMs = 60_000;

export interface Watched {
  /** A message came. */
  heard(): void;
  end(): void;
}

/** Heartbeats count, and whatever else the server says; that something is missed does not. */
export function closeWhenSilent(messages: ConsumerMessages, { clock, client }: { readonly clock: Pick<Clock, 'monotonic'>; readonly client: Pick<NatsClient, 'reconnects'> }): Watched {
  const { reconnects } = client;
  let heardMs = clock.monotonic();
  let lookedMs = heardMs;
  const heard = (): void => {
    if (clock.monotonic() - heardMs >= frozenMs) void messages.close();
    heardMs = clock.monotonic();
  };
  void (async () => {
    for await (const { type } of messages.status()) if (type === 'heartbeat' || type === 'debug') heard();
  })();
  const timer = setInterval(() => {
    const now = clock.monotonic();
    const isBehind = now - lookedMs > 2 * lookMs; // this process was busy, and may have been told what it has not taken in yet
    lookedMs = now;
    if (client.reconnects === reconnects && (isBehind || now - heardMs < silentMs)) return;
    clearInterval(timer);
    void messages.close();
  }, lookMs);
  timer.unref();
  return { heard, end: () => clearInterval(timer) };
}
