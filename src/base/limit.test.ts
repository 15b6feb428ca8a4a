import assert from 'node:assert/strict';
import test from 'node:test';
import { Limit, mapLimit } from './limit.ts';

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

test('mapLimit keeps the order, holds its limit, and a failure stops what has not begun', async () => {
  for (const [items, limit, most] of [[3, 8, 3], [8, 8, 8], [9, 8, 8], [9, 2, 2]] as const) {
    let running = 0;
    let highest = 0;
    const doubled = await mapLimit(Array.from({ length: items }, (_, at) => at), limit, async (item, index) => {
      running += 1;
      highest = Math.max(highest, running);
      await new Promise((resolve) => { setImmediate(resolve); });
      running -= 1;
      return item + index;
    });
    assert.deepEqual([doubled, highest], [Array.from({ length: items }, (_, at) => 2 * at), most]);
  }
  const begun: number[] = [];
  await assert.rejects(mapLimit([0, 1, 2, 3], 2, (item) => {
    begun.push(item);
    return Promise.reject(new RangeError(`${item} fails`));
  }), /0 fails/);
  assert.deepEqual(begun, [0, 1]);
});
