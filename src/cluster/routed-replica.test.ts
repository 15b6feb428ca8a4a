import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from '../shard/shard.ts';
import { draft, shardOptions, upsert } from '../shard/testing/shard-fixtures.ts';
import { NotServedError } from './peer-wire.ts';
import { RoutedReplica, type RouteSource } from './routed-replica.ts';

/** Of a shard whose only replica is this node's. */
function sourceOf(changes: Partial<RouteSource>): RouteSource {
  return {
    shardId: 3, generation: 1, local: () => undefined, joining: () => undefined, isComing: () => false, remotes: () => [], replicas: () => 1,
    writesNeeded: () => 1, refuseWrites: () => undefined, appliedElsewhere: () => Promise.resolve(0), successor: () => Promise.resolve(undefined), ...changes,
  };
}

test('reads and writes wait for a replica that could not be opened just now', async () => {
  await using shard = await Shard.create(shardOptions(new MemoryDisk(), '/shard'));
  await upsert(shard, draft(1));
  let asked = 0;
  const opensThird = (): Shard | undefined => {
    asked += 1;
    return asked < 3 ? undefined : shard;
  };
  const routed = new RoutedReplica(sourceOf({ local: opensThird, isComing: () => true }));
  assert.equal(await routed.count({ exact: true }), 1);
  assert.equal(asked, 3);
  asked = 0;
  const { status } = await routed.write({ kind: 'upsert', points: [draft(2)] }, { wait: true });
  assert.equal(status, 'completed');
  assert.equal(await routed.count({ exact: true }), 2);
});

test('a read that asks for what a write did, or for several replicas, waits likewise while the shard moves', async () => {
  await using shard = await Shard.create(shardOptions(new MemoryDisk(), '/shard'));
  await upsert(shard, draft(1));
  for (const wish of [{ after: { generation: 1, seq: shard.applied } }, { consistency: 'all' as const }]) {
    let asked = 0;
    const comesThird = (): Shard | undefined => {
      asked += 1;
      return asked < 3 ? undefined : shard;
    };
    const routed = new RoutedReplica(sourceOf({ local: comesThird, isComing: () => true }));
    const readable = await routed.readable(wish);
    assert.equal(await readable.count({ exact: true }), 1);
    assert.equal(asked, 3);
  }
});

test('what does not come is refused at once', async () => {
  const routed = new RoutedReplica(sourceOf({}));
  const isRefused = (error: unknown): boolean => error instanceof RequestError && !(error instanceof NotServedError) && error.message.endsWith('shard 3 has no active replica that can be reached');
  await assert.rejects(routed.count({ exact: true }), isRefused);
  await assert.rejects(routed.write({ kind: 'upsert', points: [draft(1)] }, { wait: true }), isRefused);
});
