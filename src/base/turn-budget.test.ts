import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SteppedClock } from './testing/stepped-clock.ts';
import { TurnBudget } from './turn-budget.ts';

function budgetOf(msMax: number): { readonly budget: TurnBudget; readonly busy: (ms: number) => () => string } {
  const clock = new SteppedClock(0);
  return { budget: new TurnBudget(msMax, clock), busy: (ms) => () => (clock.pass(ms), 'here') };
}

const elsewhere = (): Promise<string> => Promise.resolve('elsewhere');

test('a turn has its budget, one that comes too late has it of the next, more go elsewhere', async () => {
  const { budget, busy } = budgetOf(4);
  assert.equal(await budget.run(4.1, busy(0), elsewhere), 'elsewhere', 'no turn has room for it');
  assert.equal(budget.run(4, busy(3), elsewhere), 'here');
  assert.equal(budget.run(1, busy(1), elsewhere), 'here');
  await Promise.resolve(); // still the same turn
  let turns = 0;
  setImmediate(() => { turns += 1; });
  const late = [1, 2, 3].map(() => budget.run(2, busy(2), elsewhere));
  assert.deepEqual([await late[1], await late[2], turns], ['elsewhere', 'elsewhere', 0]);
  assert.deepEqual([await late[0], turns], ['here', 1]);
  assert.equal(budget.run(2, busy(2), elsewhere), 'here');
  assert.ok(budget.run(1, busy(1), elsewhere) instanceof Promise, 'one may wait again');
});

test('callers that await one piece after another let the loop turn', async () => {
  const { budget, busy } = budgetOf(1);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  for (let at = 0; at < 40; at += 1) assert.equal(await budget.run(0.25, busy(0.25), elsewhere), 'here');
  clearImmediate(counting);
  assert.ok(turns >= 8, `${turns} turns`);
});

test('what cannot be done here is done elsewhere; that, and work that throws, have taken their time', async () => {
  const { budget, busy } = budgetOf(4);
  assert.equal(await budget.run(1, () => { busy(2)(); }, elsewhere), 'elsewhere');
  assert.throws(() => budget.run(1, () => {
    busy(2)();
    throw new RangeError('no');
  }, elsewhere), RangeError);
  assert.ok(budget.run(0.1, busy(0), elsewhere) instanceof Promise);
  await nextTurn();
  assert.equal(budget.run(0.1, busy(0), elsewhere), 'here');
});
