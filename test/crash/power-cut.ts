// The power cut at every change of the disk that a script of the whole engine makes: after the next start everything that was
// acknowledged is there, each listed snapshot verifies and restores, and nothing unfinished is left.
//
// The script runs once; before each change the disk is forked with what is synced and what is not, and every fork is cut and
// started by itself. Runs of power-cut.test.ts, in a thread of their own.
import { must } from '../../src/base/assert.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import type { DecideFault, OperationKind } from '../../src/fs/testing/faulty-disk.ts';
import { repeatChance } from './repeatable-chance.ts';
import { checkCutAfterKill, checkStart, cutAt, record, recordStart, type Moment, type Recording } from './moments.ts';

const drawn = 120;
const startsDrawn = 12;
const killsDrawn = 150;

export interface CutRequest {
  readonly seed: number;
  /** Also every change with four random survivals of unsynced pieces, and every start; else some are drawn. */
  readonly isWhole: boolean;
  /** The second of five is [2, 5]. */
  readonly part: readonly [number, number];
}

export interface CutReport {
  readonly changes: number;
  /** Different platters that were started from. */
  readonly bare: number;
  readonly surviving: number;
}

interface Cut {
  readonly moment: Moment;
  readonly place: string;
  /** Of the random survival; undefined: all that is unsynced is gone. */
  readonly seed: number | undefined;
}

function cutsOf(moments: Iterable<readonly [number, Moment]>, seeds: (index: number) => readonly (number | undefined)[]): Cut[] {
  return [...moments].flatMap(([index, moment]) => seeds(index).map((each) => ({
    moment, seed: each, place: `cut before change ${index}, ${moment.next}, with ${moment.done} steps done, survival ${each ?? 'none'}`,
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

/** Every change without the unsynced, and with some of it. */
export async function cutEverywhere({ seed, isWhole, part: [part, parts] }: CutRequest): Promise<CutReport> {
  repeatChance(seed);
  const recording = await record();
  const moments = [...recording.moments.entries()].filter(([index]) => index % parts === part - 1);
  const random = seededRandom(seed);
  const count = recording.moments.length;
  const chosen = new Set(Array.from({ length: drawn }, () => random.below(count)));
  const survivals = (index: number): readonly number[] => (isWhole ? [0, 1, 2, 3].map((each) => seed + 4 * index + each) : chosen.has(index) ? [seed + 4 * index] : []);
  const checked = new Set<string>();
  const bare = await checkAll(recording, cutsOf(moments, () => [undefined]), checked);
  const all = await checkAll(recording, cutsOf(moments, survivals), checked);
  return { changes: count, bare, surviving: all - bare };
}

/** Every change of a start that follows a cut. */
export async function cutStarts({ seed, isWhole, part: [part, parts] }: CutRequest): Promise<CutReport> {
  repeatChance(seed);
  const recording = await record();
  const random = seededRandom(seed);
  const checked = new Set<string>();
  const first = isWhole ? [...recording.moments.keys()] : Array.from({ length: startsDrawn }, () => random.below(recording.moments.length));
  let changes = 0;
  for (const index of first.filter((_, at) => at % parts === part - 1)) {
    const moment = must(recording.moments[index], 'an index of a moment');
    const again = await recordStart(cutAt(moment, seededRandom(seed + index)), moment.done);
    changes += again.length;
    const cuts = cutsOf(again.entries(), () => [undefined]).map((cut) => ({ ...cut, place: `start after the cut before change ${index}: ${cut.place}` }));
    await checkAll(recording, cuts, checked);
  }
  return { changes, bare: checked.size, surviving: 0 };
}

/** A process that was killed leaves changes that are not synced, and the next one sees them: nothing that it shows and acknowledges may
 *  rest on them when the power is cut later. */
export async function cutAfterKills({ seed, isWhole, part: [part, parts] }: CutRequest): Promise<CutReport> {
  repeatChance(seed);
  const recording = await record();
  const random = seededRandom(seed);
  const count = recording.moments.length;
  const killed = isWhole ? [...recording.moments.keys()] : Array.from({ length: killsDrawn }, () => random.below(count));
  const mine = killed.filter((_, at) => at % parts === part - 1);
  for (const index of mine) {
    const { disk: left, next, done } = must(recording.moments[index], 'an index of a moment');
    await checkCutAfterKill(left.fork(), seed + index, `killed before change ${index}, ${next}, with ${done} steps done`);
  }
  return { changes: count, bare: mine.length, surviving: 0 };
}

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
async function findLoss({ kind, path }: Canary, seed: number): Promise<unknown> {
  const ignore: DecideFault = (operation) => (operation.kind === kind && path.test(operation.path) ? { kind: 'ignore' } : undefined);
  try {
    const recording = await record(ignore);
    const cuts = cutsOf(recording.moments.entries(), () => [undefined]);
    const random = seededRandom(seed);
    // in random order: most losses last for a while, so one is met soon
    const shuffled = cuts.map((cut) => ({ cut, at: random.next() })).sort((a, b) => a.at - b.at).map(({ cut }) => cut);
    await checkAll(recording, shuffled);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Canaries that nobody misses: none. */
export async function findUnmissed(seed: number): Promise<{ readonly tried: number; readonly unmissed: readonly string[] }> {
  repeatChance(seed);
  const unmissed: string[] = [];
  for (const canary of canaries) {
    const loss = await findLoss(canary, seed);
    if (!(loss instanceof Error)) unmissed.push(`${canary.kind} of ${String(canary.path)}`);
  }
  return { tried: canaries.length, unmissed };
}
