import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replicasThatCount, withActive, withoutPeer, withoutRemoved, withTransfer, type ReplicaState, type ShardRecord } from './cluster-record.ts';

const shard = (replicas: Readonly<Record<string, ReplicaState>>): ShardRecord => ({ id: 0, generation: 0, base: null, replicas });
const transfer = { from: 1, to: 2, method: 'stream_records', isMove: false } as const;

test('the state of a transfer target is named after the method, and a write waits for it no more than before', () => {
  assert.equal(withTransfer(shard({ 1: 'Active' }), transfer).replicas[2], 'Partial');
  const begun = withTransfer(shard({ 1: 'Active' }), { ...transfer, method: 'snapshot' });
  assert.equal(begun.replicas[2], 'PartialSnapshot');
  assert.equal(replicasThatCount(begun), 1);
  assert.equal(replicasThatCount(withActive(begun, 2)), 2);
});

test('a target that is Active ends its transfer, and with a move the source leaves at once', () => {
  assert.deepEqual(withActive(withTransfer(shard({ 1: 'Active' }), transfer), 2), shard({ 1: 'Active', 2: 'Active' }));
  assert.deepEqual(withActive(withTransfer(shard({ 1: 'Active', 3: 'Active' }), { ...transfer, isMove: true }), 2), shard({ 2: 'Active', 3: 'Active' }));
});

test('another replica that becomes Active leaves a transfer as it is', () => {
  const begun = withTransfer(shard({ 1: 'Active', 3: 'Recovery' }), transfer);
  assert.deepEqual(withActive(begun, 3), withTransfer(shard({ 1: 'Active', 3: 'Active' }), transfer));
});

test('a transfer goes with its target, not with another replica', () => {
  const begun = withTransfer(shard({ 1: 'Active', 3: 'Active' }), transfer);
  assert.deepEqual(withoutPeer(begun, 2), shard({ 1: 'Active', 3: 'Active' }));
  assert.deepEqual(withoutPeer(begun, 3), withTransfer(shard({ 1: 'Active' }), transfer));
});

test('a transfer from a node that is removed goes on from another Active replica as a copy, or ends', () => {
  const move = { ...transfer, isMove: true };
  assert.deepEqual(withoutRemoved(withTransfer(shard({ 1: 'Active', 3: 'Active' }), move), 1), withTransfer(shard({ 3: 'Active' }), { ...transfer, from: 3 }));
  assert.deepEqual(withoutRemoved(withTransfer(shard({ 1: 'Active' }), move), 1), shard({}));
  assert.deepEqual(withoutRemoved(withTransfer(shard({ 1: 'Active' }), move), 1, 4), shard({ 4: 'Partial' }));
});

test('an heir takes the place of the last Active replica alone', () => {
  assert.deepEqual(withoutRemoved(shard({ 1: 'Active', 2: 'Active' }), 1, 4), shard({ 2: 'Active' }));
  assert.deepEqual(withoutRemoved(shard({ 1: 'Active' }), 1, 4), shard({ 4: 'Partial' }));
});
