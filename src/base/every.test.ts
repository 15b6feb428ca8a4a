import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pause, waitUntil } from './testing/wait-until.ts';
import { every } from './every.ts';

/** Longer than what is closed would have taken to begin. */
async function untilOtherTimersRan(): Promise<void> {
  let times = 0;
  const other = every(2, () => Promise.resolve(void (times += 1)), assert.ifError);
  await waitUntil('others ran', () => times >= 5);
  await other.close();
}

test('work goes on after a failure, and never twice at once', async () => {
  const errors: unknown[] = [];
  let times = 0;
  let atOnce = 0;
  let atOnceMost = 0;
  const repeated = every(1, async () => {
    times += 1;
    atOnce += 1;
    atOnceMost = Math.max(atOnceMost, atOnce);
    await pause(5);
    atOnce -= 1;
    if (times === 1) throw new RangeError('the first time');
  }, (error) => errors.push(error));
  await waitUntil('it was done three times', () => times >= 3);
  await repeated.close();
  assert.deepEqual([atOnceMost, atOnce, errors.map(String)], [1, 0, ['RangeError: the first time']]);
});

test('a close tells the work under way, waits for it, and none begins any more', async () => {
  let times = 0;
  let end = (): void => undefined;
  const repeated = every(1, () => {
    times += 1;
    return new Promise((resolve) => {
      end = resolve;
    });
  }, assert.ifError);
  await waitUntil('it has begun', () => times === 1);
  let isClosed = false;
  const closed = repeated.close().then(() => {
    isClosed = true;
  });
  assert.equal(repeated.signal.aborted, true);
  await new Promise(setImmediate);
  assert.equal(isClosed, false);
  end();
  await closed;
  await repeated.close();
  await untilOtherTimersRan();
  assert.equal(times, 1);
});

test('closed before it began it never does', async () => {
  let times = 0;
  await every(1, () => Promise.resolve(void (times += 1)), assert.ifError).close();
  await untilOtherTimersRan();
  assert.equal(times, 0);
});
