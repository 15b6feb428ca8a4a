import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifetimes, watchedMsMin } from './lifetimes.ts';
import { SteppedClock } from './testing/stepped-clock.ts';

const hour = 3_600_000;
const day = 24 * hour;
const startMs = Date.UTC(2026, 0, 1);
const life = { fromMs: startMs, forMs: day };

test('a lifetime ends by time that passes, and not a moment before', () => {
  const clock = new SteppedClock(startMs);
  const lifetimes = new Lifetimes(clock);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.pass(day - 1);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.pass(1);
  assert.equal(lifetimes.isOver('x', life), true);
});

test('a jump forward in a running process ends nothing early', () => {
  const clock = new SteppedClock(startMs);
  const lifetimes = new Lifetimes(clock);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.step(10 * 365 * day);
  for (let hours = 1; hours < 24; hours += 1) {
    clock.pass(hour);
    assert.equal(lifetimes.isOver('x', life), false, `after ${hours} hours`);
  }
  clock.pass(hour);
  assert.equal(lifetimes.isOver('x', life), true);
});

for (const [title, stepMs] of [['hours back', -5 * hour], ['back before 1970', -startMs - day]] as const) {
  test(`a jump ${title} keeps nothing for ever`, () => {
    const clock = new SteppedClock(startMs);
    const lifetimes = new Lifetimes(clock);
    assert.equal(lifetimes.isOver('x', life), false);
    clock.step(stepMs);
    clock.pass(day - 1);
    assert.equal(lifetimes.isOver('x', life), false);
    clock.pass(1);
    assert.equal(lifetimes.isOver('x', life), true, 'the process has watched a day go by');
  });
}

test('a stuck clock keeps nothing for ever', () => {
  const clock = new SteppedClock(startMs);
  const lifetimes = new Lifetimes(clock);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.isStuck = true;
  clock.pass(day);
  assert.equal(lifetimes.isOver('x', life), true);
});

test('what ended while nobody watched goes after a while, so that a start with a wrong clock can be set right', () => {
  const clock = new SteppedClock(startMs + 3 * day);
  const lifetimes = new Lifetimes(clock);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.pass(watchedMsMin - 1);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.pass(1);
  assert.equal(lifetimes.isOver('x', life), true);

  const wrong = new SteppedClock(startMs + 3650 * day);
  const corrected = new Lifetimes(wrong);
  assert.equal(corrected.isOver('x', life), false);
  wrong.step(-3650 * day);
  wrong.pass(2 * watchedMsMin);
  assert.equal(corrected.isOver('x', life), false, 'the time that is shown now counts too');
});

test('a lifetime of nothing is over at once; a forgotten key is watched anew', () => {
  const clock = new SteppedClock(startMs);
  const lifetimes = new Lifetimes(clock);
  assert.equal(lifetimes.isOver('none', { fromMs: startMs, forMs: 0 }), true);
  assert.equal(lifetimes.isOver('x', life), false);
  clock.step(-hour);
  clock.pass(day - hour);
  lifetimes.forget('x');
  assert.equal(lifetimes.isOver('x', life), false);
  clock.pass(hour);
  assert.equal(lifetimes.isOver('x', life), false, 'an hour was watched, and wall time has gone back one');
});
