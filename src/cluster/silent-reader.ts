// Ends a reader of a stream that gives no more sign of life, so that whoever reads makes it again from where it stood.
//
// The client library makes a reader again by itself in most cases, but not in all: where the server is gone just when it asks what
// became of its consumer, it asks no more, and the reader waits without end.
import type { ConsumerMessages } from '@nats-io/jetstream';
import type { Clock } from '../base/clock.ts';

/** Of pulls that expire after 3 to 5 s, whose idle heartbeats come twice as often: several in a row were missed. */
const silentMs = 8_000;
const lookMs = 500;

export interface Watched {
  /** A message came. */
  heard(): void;
  end(): void;
}

/** Heartbeats count, and whatever else the server says; that something is missed does not. */
export function closeWhenSilent(messages: ConsumerMessages, clock: Pick<Clock, 'monotonic'>): Watched {
  let heardMs = clock.monotonic();
  const heard = (): void => {
    heardMs = clock.monotonic();
  };
  void (async () => {
    for await (const { type } of messages.status()) if (type === 'heartbeat' || type === 'debug') heard();
  })();
  const timer = setInterval(() => {
    if (clock.monotonic() - heardMs < silentMs) return;
    clearInterval(timer);
    void messages.close();
  }, lookMs);
  timer.unref();
  return { heard, end: () => clearInterval(timer) };
}
