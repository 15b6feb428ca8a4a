import assert from 'node:assert/strict';
import test from 'node:test';
import { yieldToLoop } from './clock.ts';

test('of many that yield one goes on in each turn of the loop, in their order', async () => {
  let turn = 0;
  let isOver = false;
  const count = (): void => {
    turn += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const turns: (readonly [who: string, turn: number])[] = [];
  const work = async (who: string): Promise<void> => {
    for (let slice = 0; slice < 3; slice += 1) {
      await yieldToLoop();
      turns.push([who, turn]);
    }
  };
  await Promise.all(['a', 'b', 'c'].map(work));
  isOver = true;
  assert.deepEqual(turns.map(([who]) => who), 'abcabcabc'.split(''));
  assert.equal(new Set(turns.map(([, at]) => at)).size, turns.length, 'no two in one turn');
});

test('one that yields while another goes on is not forgotten', async () => {
  await yieldToLoop();
  const first = yieldToLoop();
  const second = yieldToLoop().then(() => yieldToLoop());
  await first;
  const ends = await Promise.all([yieldToLoop().then(() => 'third'), second.then(() => 'second')]);
  assert.deepEqual(ends, ['third', 'second']);
});
