// The power cut at every change of the disk (power-cut.ts). NEARKEEP_FAULTS=all also takes every change with four random survivals of
// unsynced pieces, and every start after a cut; NEARKEEP_FAULTS_PART=2/5 takes the second of five parts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inThread } from './in-thread.ts';
import type { CutReport, CutRequest } from './power-cut.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const isWhole = process.env['NEARKEEP_FAULTS'] === 'all';
const [part = 1, parts = 1] = (process.env['NEARKEEP_FAULTS_PART'] ?? '1/1').split('/').map(Number);
const again = `NEARKEEP_SEED=${seed} node --test dist/test/crash/power-cut.test.js`;
const request: CutRequest = { seed, isWhole, part: [part, parts] };
const runs = new URL('power-cut.js', import.meta.url);

test(`a power cut at every change of the disk, seed ${seed}`, async (t) => {
  const { changes, bare, surviving } = await inThread<CutReport>(runs, 'cutEverywhere', request);
  t.diagnostic(`${changes} changes, ${bare} different platters without the unsynced, ${surviving} more with some of it; ${again}`);
  assert.ok(changes > 1000, `the script changes the disk ${changes} times`);
});

test(`a power cut at every change of the start after a power cut, seed ${seed}`, async (t) => {
  const { changes, bare } = await inThread<CutReport>(runs, 'cutStarts', request);
  t.diagnostic(`${changes} changes, ${bare} different platters; ${again}`);
  assert.ok(bare > 12, 'starts change the disk');
});

test(`a power cut some time after a kill at any change, seed ${seed}`, async (t) => {
  const { changes, bare } = await inThread<CutReport>(runs, 'cutAfterKills', request);
  t.diagnostic(`${bare} kills of ${changes}, each with a start, writes and a cut; ${again}`);
  assert.ok(bare > 25 && changes > 1000, `${bare} kills`);
});

test('canaries: each sync and rename that the engine relies on is missed when it is left out', async (t) => {
  const { tried, unmissed } = await inThread<{ readonly tried: number; readonly unmissed: readonly string[] }>(runs, 'findUnmissed', seed);
  t.diagnostic(`${tried} canaries`);
  assert.deepEqual(unmissed, []);
});
