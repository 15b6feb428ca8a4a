import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShardOperation } from '../../command/cluster-operation.ts';
import { decodeClusterOperation } from './decode-cluster-operation.ts';

const key = { shard_id: 3, from_peer_id: 1, to_peer_id: 9_007_199_254_740_991 };
const peers = { shardId: 3, from: 1, to: 9_007_199_254_740_991 };

const good: readonly (readonly [body: unknown, operation: ShardOperation])[] = [
  [{ move_shard: key }, { kind: 'move-shard', ...peers, method: 'stream_records' }],
  [{ move_shard: { ...key, method: null } }, { kind: 'move-shard', ...peers, method: 'stream_records' }],
  [{ replicate_shard: { ...key, method: 'snapshot' } }, { kind: 'replicate-shard', ...peers, method: 'snapshot' }],
  [{ restart_transfer: { ...key, method: 'wal_delta' } }, { kind: 'restart-transfer', ...peers, method: 'wal_delta' }],
  [{ abort_transfer: key }, { kind: 'abort-transfer', ...peers }],
  [{ drop_replica: { shard_id: 0, peer_id: 7n } }, { kind: 'drop-replica', shardId: 0, peerId: 7 }],
];
for (const [body, operation] of good) {
  test(`cluster operation: ${operation.kind}`, async () => {
    assert.deepEqual(await decodeClusterOperation(body), operation);
  });
}

const format = 'Format error in JSON body: ';
const bad: readonly (readonly [title: string, body: unknown, error: string])[] = [
  ['none', {}, `${format}data did not match any variant of untagged enum ClusterOperations`],
  ['a list', [], `${format}data did not match any variant of untagged enum ClusterOperations`],
  ['an unknown one', { drop_everything: {} }, `${format}data did not match any variant of untagged enum ClusterOperations`],
  ['no target', { move_shard: { shard_id: 0, from_peer_id: 1 } }, `${format}move_shard: missing field \`to_peer_id\``],
  ['a negative peer', { drop_replica: { shard_id: 0, peer_id: -1 } }, `${format}drop_replica.peer_id: invalid value: integer \`-1\`, expected u64`],
  ['a peer as text', { drop_replica: { shard_id: 0, peer_id: '1' } }, `${format}drop_replica.peer_id: invalid type: string "1", expected u64`],
  ['an unknown method', { move_shard: { ...key, method: 'x' } }, `${format}move_shard.method: unknown variant \`x\`, expected one of \`stream_records\`, \`snapshot\`, \`wal_delta\``],
  ['a restart without a method', { restart_transfer: key }, `${format}restart_transfer: missing field \`method\``],
  ['resharding', { start_resharding: { direction: 'up' } }, 'Bad request: resharding is only supported in Qdrant Cloud'],
];
for (const [title, body, error] of bad) {
  test(`cluster operation refused: ${title}`, async () => {
    await assert.rejects(decodeClusterOperation(body), { wireText: error });
  });
}
