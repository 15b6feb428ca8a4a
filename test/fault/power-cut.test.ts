// The power cut at every change of the disk that a script of the whole engine makes: after the next start everything that was
// acknowledged is there, each listed snapshot verifies and restores, and nothing unfinished is left.
//
// The script runs once; before each change the disk is forked with what is synced and what is not, and every fork is cut and
// started by itself. NEARKEEP_FAULTS=all also takes every fork with four random survivals of unsynced pieces, else some are drawn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import type { DecideFault, OperationKind } from '../../src/fs/testing/faulty-disk.ts';
import { checkStart, cutAt, record, recordStart, type Moment, type Recording } from './moments.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const isWhole = process.env['NEARKEEP_FAULTS'] === 'all';
const drawn = 120;
const startsDrawn = 12;
const again = `NEARKEEP_SEED=${seed} node --test dist/test/fault/power-cut.test.js`;

interface Cut {
  readonly moment: Moment;
  readonly place: string;
  /** Of the random survival; undefined: all that is unsynced is gone. */
  readonly seed: number | undefined;
}

function cutsOf(moments: readonly Moment[], seeds: (index: number) => readonly (number | undefined)[]): Cut[] {
  return moments.flatMap((moment, index) => seeds(index).map((each) => ({
    moment, seed: each, place: `cut before change ${index}, ${moment.next}, with ${moment.done} steps done, survival ${each ?? 'none'}; ${again}`,
  })));
}

/** Each different platter once; answers how many there were. */
async function checkAll(recording: Recording, cuts: Iterable<Cut>, checked = new Set<string>()): Promise<number> {
  for (const { moment, place, seed: survival } of cuts) {
    const disk = cutAt(moment, survival === undefined ? undefined : seededRandom(survival));
    const key = `${moment.done} ${disk.digest()}`;
    if (checked.has(key)) continue;
    checked.add(key);
    await checkStart(disk, recording, { done: moment.done, place });
  }
  return checked.size;
}

test(`a power cut at every change of the disk, seed ${seed}`, { timeout: 3_600_000 }, async (t) => {
  const recording = await record();
  const count = recording.moments.length;
  assert.ok(count > 1000, `the script changes the disk ${count} times`);
  const checked = new Set<string>();
  const bare = await checkAll(recording, cutsOf(recording.moments, () => [undefined]), checked);
  const random = seededRandom(seed);
  const chosen = new Set(Array.from({ length: drawn }, () => random.below(count)));
  const survivals = cutsOf(recording.moments, (index) => (isWhole ? [0, 1, 2, 3].map((each) => seed + 4 * index + each) : chosen.has(index) ? [seed + 4 * index] : []));
  const all = await checkAll(recording, survivals, checked);
  t.diagnostic(`${count} changes, ${bare} different platters without the unsynced, ${all - bare} more with some of it`);
  t.diagnostic(again);
});

test(`a power cut at every change of the start after a power cut, seed ${seed}`, { timeout: 3_600_000 }, async (t) => {
  const recording = await record();
  const random = seededRandom(seed);
  const checked = new Set<string>();
  const first = isWhole ? recording.moments.keys() : Array.from({ length: startsDrawn }, () => random.below(recording.moments.length));
  for (const index of first) {
    const moment = must(recording.moments[index], 'an index of a moment');
    const again = await recordStart(cutAt(moment, seededRandom(seed + index)), moment.done);
    const cuts = cutsOf(again, () => [undefined]).map((cut) => ({ ...cut, place: `start after the cut before change ${index}: ${cut.place}` }));
    await checkAll(recording, cuts, checked);
  }
  t.diagnostic(`${checked.size} different platters`);
  assert.ok(checked.size > startsDrawn, 'starts change the disk');
});

interface Canary {
  readonly kind: OperationKind;
  readonly path: RegExp;
}

/** What the engine must not leave out. */
const canaries: readonly Canary[] = [
  { kind: 'sync', path: /\/logs\/\d+$/ },
  { kind: 'syncDirectory', path: /\/logs$/ },
  { kind: 'sync', path: /\/files\// },
  { kind: 'syncDirectory', path: /\/files$/ },
  { kind: 'sync', path: /\/metastore\.json/ },
  { kind: 'syncDirectory', path: /^\/data$/ },
  { kind: 'rename', path: /\/shards\/[^/]+\/manifest\.json/ },
  { kind: 'sync', path: /\/shards\/[^/]+\/manifest\.json/ },
  { kind: 'syncDirectory', path: /\/shards\/[^/]+$/ },
  { kind: 'syncDirectory', path: /\/shards$/ },
  { kind: 'syncDirectory', path: /\/collections$/ },
  { kind: 'sync', path: /\/snapshot\.json$/ },
  { kind: 'sync', path: /\/snapshot\.json\.sha256$/ },
  { kind: 'syncDirectory', path: /\/snapshots\/a$/ },
  { kind: 'syncDirectory', path: /\/snapshots\/a\/\.tmp-[^/]+\/\d\/logs$/ },
];

/** The first failure without the operation, undefined where all goes well all the same. */
async function findLoss({ kind, path }: Canary): Promise<unknown> {
  const ignore: DecideFault = (operation) => (operation.kind === kind && path.test(operation.path) ? { kind: 'ignore' } : undefined);
  try {
    const recording = await record(ignore);
    const cuts = cutsOf(recording.moments, () => [undefined]);
    const random = seededRandom(seed);
    // in random order: most losses last for a while, so one is met soon
    const shuffled = cuts.map((cut) => ({ cut, at: random.next() })).sort((a, b) => a.at - b.at).map(({ cut }) => cut);
    await checkAll(recording, shuffled);
    return undefined;
  } catch (error) {
    return error;
  }
}

test('canaries: each sync and rename that the engine relies on is missed when it is left out', { timeout: 600_000 }, async (t) => {
  for (const canary of canaries) {
    const loss = await findLoss(canary);
    assert.ok(loss instanceof Error, `nobody misses ${canary.kind} of ${String(canary.path)}`);
  }
  t.diagnostic(`${canaries.length} canaries`);
});
