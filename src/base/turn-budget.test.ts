import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SteppedClock } from './testing/stepped-clock.ts';
import { TurnBudget } from './turn-budget.ts';

function budgetOf(msMax: number): { readonly budget: TurnBudget; readonly busy: (ms: number) => () => string } {
  const clock = new SteppedClock(0);
  return { budget: new TurnBudget(msMax, clock), busy: (ms) => () => (clock.pass(ms), 'done') };
}

test('a turn has its budget, one piece waits for the next turn, more do not', async () => {
  const { budget, busy } = budgetOf(4);
  assert.equal(budget.now(4.1, busy(0)), undefined, 'no turn has room for it');
  assert.equal(budget.next(4.1), undefined);
  assert.equal(budget.next(4), undefined, 'this one has');
  assert.equal(budget.now(4, busy(3)), 'done');
  assert.equal(budget.now(1, busy(1)), 'done');
  await Promise.resolve(); // still the same turn
  assert.equal(budget.now(2, busy(2)), undefined);
  let turns = 0;
  setImmediate(() => { turns += 1; });
  const turned = budget.next(2);
  assert.deepEqual([budget.next(2), budget.next(1), turns], [undefined, undefined, 0]);
  await turned;
  assert.deepEqual([turns, budget.now(2, busy(2)), budget.now(2, busy(2))], [1, 'done', 'done']);
  assert.ok(budget.next(1) !== undefined, 'one may wait again');
});

test('callers that await one piece after another let the loop turn', async () => {
  const { budget, busy } = budgetOf(1);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  for (let at = 0; at < 40; at += 1) {
    await budget.next(0.25);
    assert.equal(budget.now(0.25, busy(0.25)), 'done');
  }
  clearImmediate(counting);
  assert.ok(turns >= 8, `${turns} turns`);
});

test('what could not be done, and work that throws, have taken their time', async () => {
  const { budget, busy } = budgetOf(4);
  assert.equal(budget.now(1, () => { busy(2)(); }), undefined);
  assert.throws(() => budget.now(1, () => {
    busy(2)();
    throw new RangeError('no');
  }), RangeError);
  assert.equal(budget.now(0.1, busy(0)), undefined);
  await nextTurn();
  assert.equal(budget.now(0.1, busy(0)), 'done');
});
