import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitUntil } from './wait-until.ts';

test('a wait ends when it is true, errors on the way are not yet', async () => {
  let asked = 0;
  await waitUntil('it is the third time', () => {
    asked += 1;
    if (asked === 1) throw new RangeError('the first');
    return asked === 3;
  }, { pollMs: 1 });
  assert.equal(asked, 3);
});

test('a wait in vain says what it waited for, what was wrong last and what more there is to tell', async () => {
  const waiting = waitUntil('the moon is square', () => assert.equal('round', 'square'), { timeoutMs: 20, pollMs: 1, tell: () => 'last lines' });
  await assert.rejects(waiting, /waited 20 ms in vain: the moon is square\n[^]*round[^]*\nlast lines/);
});

test('a question that is never answered does not keep a wait from its end', async () => {
  await assert.rejects(waitUntil('an answer', () => new Promise(() => undefined), { timeoutMs: 20, pollMs: 1 }), /an answer\na question was not answered/);
});
