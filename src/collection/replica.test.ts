import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from '../shard/shard.ts';
import { shardOptions } from '../shard/testing/shard-fixtures.ts';
import { replicaContract } from './replica.contract.ts';
import { BrokenReplica } from './shard-set.ts';

replicaContract('a local shard', async () => {
  const shard = await Shard.create(shardOptions(new MemoryDisk(), '/shard', { vectors: new Map([['', { size: 2, distance: 'Dot', datatype: 'float32' }]]) }));
  return { replica: shard, [Symbol.asyncDispose]: () => shard.close() };
});

test('a broken replica refuses everything with its reason', async () => {
  const broken = new BrokenReplica(3, new CorruptionError({ file: '/f', offsetBytes: 7, problem: 'is damaged' }));
  const isReason = (error: unknown): boolean => error instanceof RequestError && error.message === 'shard 3 refused to open: /f at byte 7: is damaged';
  for (const work of [() => broken.check(), () => broken.write(), () => broken.readable(), () => broken.search(), () => broken.retrieve(), () => broken.scroll(), () => broken.count()]) {
    await assert.rejects(work(), isReason);
  }
  assert.throws(() => broken.info(), isReason);
});
