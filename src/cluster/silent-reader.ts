// Ends a reader of a stream that gives no more sign of life or has lost its connection, so that whoever reads makes it again from where it stood.
//
// The client library makes a reader again by itself in most cases, but not in all: where the server is gone just when it asks what
// became of its consumer, it asks no more, and the reader waits without end. And where a connection broke with messages on their way, it
// goes on with the same consumer, for which they count as delivered: they would be missed only when the next one comes.
import type { ConsumerMessages } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';
import type { NatsClient } from './nats-client.ts';

/** Of pulls that expire after 3 to 5 s, whose idle heartbeats come twice as often: several in a row were missed. */
const silentMs = 8_000;
const lookMs = 500;

export interface Watched {
  /** A message came. */
  heard(): void;
  end(): void;
}

/** Heartbeats count, and whatever else the server says; that something is missed does not. */
export function closeWhenSilent(messages: ConsumerMessages, { clock, client }: { readonly clock: Pick<Clock, 'monotonic'>; readonly client: Pick<NatsClient, 'reconnects'> }): Watched {
  const { reconnects } = client;
  let heardMs = clock.monotonic();
  const heard = (): void => {
    heardMs = clock.monotonic();
  };
  void (async () => {
    for await (const { type } of messages.status()) if (type === 'heartbeat' || type === 'debug') heard();
  })();
  const timer = setInterval(() => {
    if (clock.monotonic() - heardMs < silentMs && client.reconnects === reconnects) return;
    clearInterval(timer);
    void messages.close();
  }, lookMs);
  timer.unref();
  return { heard, end: () => clearInterval(timer) };
}
