import assert from 'node:assert/strict';
import test from 'node:test';
import { Limit } from './limit.ts';

test('a limit holds, in order, and a failure gives its place on', async () => {
  const limit = new Limit(2);
  const ends: (() => void)[] = [];
  const begun: number[] = [];
  const all = Array.from({ length: 5 }, (_, at) => limit.run(async () => {
    begun.push(at);
    await new Promise<void>((resolve) => { ends.push(resolve); });
    if (at === 0) throw new RangeError('the first fails');
    return at;
  }));
  const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });
  await turn();
  assert.deepEqual(begun, [0, 1]);
  ends[0]?.();
  await assert.rejects(all[0] ?? Promise.resolve(), RangeError);
  await turn();
  assert.deepEqual(begun, [0, 1, 2]);
  ends[1]?.();
  ends[2]?.();
  await turn();
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
  for (const end of ends) end();
  assert.deepEqual(await Promise.all(all.slice(1)), [1, 2, 3, 4]);
  assert.equal(await limit.run(() => Promise.resolve('free again')), 'free again');
});
