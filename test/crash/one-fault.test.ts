// One operation of the disk fails, anywhere in the script of the whole engine (one-fault.ts). NEARKEEP_FAULTS=all takes every operation
// with every fault that fits it, a number draws so many; NEARKEEP_FAULTS_PART=2/5 takes the second of five parts of them, and
// NEARKEEP_FAULT_AT one that a failure has named. All failures are reported, not the first alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inThread } from './in-thread.ts';
import type { FaultReport, FaultRequest } from './one-fault.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const wanted = process.env['NEARKEEP_FAULTS'] ?? '60';
const [part = 1, parts = 1] = (process.env['NEARKEEP_FAULTS_PART'] ?? '1/1').split('/').map(Number);
const only = process.env['NEARKEEP_FAULT_AT'];

test(`one fault of the disk, seed ${seed}`, async (t) => {
  const request: FaultRequest = { seed, draw: wanted === 'all' ? wanted : Number(wanted), part: [part, parts], ...(only === undefined ? {} : { only }) };
  const { operations, plans, met, reached, failures } = await inThread<FaultReport>(new URL('one-fault.js', import.meta.url), 'runFaults', request);
  t.diagnostic(`${operations} operations, ${plans} faults, ${met} of them met, ${reached} calls failed`);
  t.diagnostic(`NEARKEEP_SEED=${seed} NEARKEEP_FAULTS=${wanted} node --test dist/test/crash/one-fault.test.js`);
  assert.deepEqual(failures, [], `${failures.length} failures`);
  assert.equal(met, plans, 'the same operations come again');
  assert.ok(only !== undefined || reached > plans / 8, 'faults reach callers');
});
