import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { BrokenReplica } from '../collection/shard-set.ts';
import { furthest, replicasAsked, type Candidate } from './read-consistency.ts';

const asks: readonly (readonly [Parameters<typeof replicasAsked>[0], readonly number[]])[] = [
  [1, [1, 1, 1, 1]],
  [2, [1, 2, 2, 2]],
  [7, [1, 2, 3, 4]],
  ['majority', [1, 2, 2, 3]],
  ['quorum', [1, 2, 2, 3]],
  ['all', [1, 2, 3, 4]],
];

for (const [consistency, wanted] of asks) {
  test(`${consistency} of one to four replicas`, () => {
    assert.deepEqual([1, 2, 3, 4].map((replicas) => replicasAsked(consistency, replicas)), wanted);
  });
}

/** Replicas that are told apart by their number, and are as far as said; undefined: it never answers, null: it fails. */
function candidates(...seqs: readonly (number | null | undefined)[]): readonly Candidate[] {
  return seqs.map((seq, at) => ({
    replica: new BrokenReplica(at, 'of a test'),
    applied: () => (seq === undefined ? new Promise<number>(() => undefined) : seq === null ? Promise.reject(new RequestError('unavailable', `replica ${at} is gone`)) : Promise.resolve(seq)),
  }));
}

const choices: readonly (readonly [string, readonly (number | null | undefined)[], number, number])[] = [
  ['the furthest of all', [5, 9, 7], 3, 1],
  ['of equal ones the nearest', [9, 9, 7], 3, 0],
  ['of those that answer first', [5, 6, 9], 2, 1],
  ['a silent one is not waited for where others are enough', [undefined, 3, 4], 2, 2],
  ['one that fails is made up for by another', [null, 3, 4], 2, 2],
];

for (const [title, seqs, asked, wanted] of choices) {
  test(`read from ${title}`, async () => {
    const found = await furthest(candidates(...seqs), { shardId: 2, asked, signal: undefined });
    assert.ok(found instanceof BrokenReplica);
    assert.match(found.reason, new RegExp(`^shard ${wanted} `));
  });
}

test('too few active replicas, and too few that answer, are told', async () => {
  const ask = (seqs: readonly (number | null)[], asked: number): Promise<unknown> => furthest(candidates(...seqs), { shardId: 2, asked, signal: undefined });
  await assert.rejects(ask([1, 2], 3), { code: 'unavailable', message: 'shard 2 has 2 active replicas of the 3 that this consistency asks for' });
  await assert.rejects(ask([1, null, null], 2), { code: 'unavailable', message: 'shard 2 has 1 replicas that answer of the 2 that this consistency asks for' });
});
