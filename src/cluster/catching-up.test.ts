// Replicas that are not read yet: how long, whatever becomes of the stream meanwhile. With a stream that is drawn, since no real one
// loses its leader at a wanted moment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import type { Shard } from '../shard/shard.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { CatchingUp } from './catching-up.ts';

const name = { collectionUuid: 'c', shardId: 0, generation: 0 };

interface Drawn {
  readonly catchingUp: CatchingUp;
  readonly shard: { applied: number; isClosing: boolean };
  readonly stream: { lastSeq: number; hasLeader: boolean; asked: number };
  readonly isRead: () => boolean;
  readonly begin: (since: 'at its start' | 'when it became Active') => void;
}

function draw(applied: number, lastSeq: number): Drawn {
  const shard = { applied, isClosing: false };
  const stream = { lastSeq, hasLeader: true, asked: 0 };
  const client = {
    leaderInfo: (): Promise<unknown> => {
      stream.asked += 1;
      if (!stream.hasLeader) return Promise.reject(new RequestError('unavailable', 'the leader of the stream does not answer'));
      return Promise.resolve({ state: { last_seq: stream.lastSeq, first_seq: 1, bytes: 0 }, config: { sealed: false, num_replicas: 3 } });
    },
  };
  const access = { client, logger: silentLogger, logOf: () => undefined, record: () => undefined } as unknown as CatalogAccess;
  const catchingUp = new CatchingUp(() => access);
  const asShard = shard as unknown as Shard;
  return { catchingUp, shard, stream, isRead: () => !catchingUp.has(asShard), begin: (since) => catchingUp.begin(name, asShard, since) };
}

test('a replica is read when it has what the stream had, not what came later', async () => {
  const { shard, stream, isRead, begin } = draw(3, 5);
  begin('at its start');
  await waitUntil('the stream was asked', () => stream.asked > 0);
  stream.lastSeq = 9;
  assert.equal(isRead(), false);
  shard.applied = 5;
  await waitUntil('it is read', isRead);
  assert.equal(stream.asked, 1);
});

test('while the stream has no leader nothing is read', async () => {
  const { stream, isRead, begin } = draw(5, 5);
  stream.hasLeader = false;
  begin('when it became Active');
  await waitUntil('the stream was asked again', () => stream.asked > 2);
  assert.equal(isRead(), false);
  stream.hasLeader = true;
  await waitUntil('it is read', isRead);
});

test('begun again it waits for what the stream had at the later moment, too', async () => {
  const { shard, stream, isRead, begin } = draw(3, 5);
  begin('at its start');
  await waitUntil('the stream was asked', () => stream.asked === 1);
  stream.lastSeq = 7;
  begin('when it became Active');
  await waitUntil('the stream was asked again', () => stream.asked === 2);
  shard.applied = 5;
  await assert.rejects(waitUntil('it is read', isRead, { timeoutMs: 100, pollMs: 5 }));
  shard.applied = 7;
  await waitUntil('it is read', isRead);
});

test('a replica that closes, and a node that ends, are waited for no more', async () => {
  const [closing, ending] = [draw(3, 5), draw(3, 5)];
  for (const { begin, isRead } of [closing, ending]) {
    begin('at its start');
    assert.equal(isRead(), false);
  }
  closing.shard.isClosing = true;
  ending.catchingUp.close();
  for (const { isRead } of [closing, ending]) await waitUntil('it is let go', isRead);
});
