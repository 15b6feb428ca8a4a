// Snapshots and jobs under a clock that jumps forward by years, backward by hours or before 1970, or stands still.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { watchedMsMin } from '../base/lifetimes.ts';
import { SteppedClock } from '../base/testing/stepped-clock.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { readArchive, type ArchiveTarget } from './archive-read.ts';
import { Jobs } from './jobs.ts';
import { inChunks } from './testing/archives.ts';
import { allBytes, openRig } from './testing/rig.ts';

const hour = 3_600_000;
const day = 24 * hour;
const year = 365 * day;
const startMs = Date.UTC(2026, 5, 1, 12, 0, 0, 250);
const draft = { kind: 'create', target: 'c' } as const;

/** What the clock does before each two snapshots. */
const jumps: readonly (readonly [string, (clock: SteppedClock) => void])[] = [
  ['no jump', () => undefined],
  ['years forward', (clock) => { clock.step(20 * year); }],
  ['years back', (clock) => { clock.step(-20 * year); }],
  ['hours back', (clock) => { clock.step(-5 * hour); }],
  ['before 1970', (clock) => { clock.step(-clock.now() - 3 * day); }],
  ['a little on, still before 1970', (clock) => { clock.step(hour); }],
  ['back to now, and stuck', (clock) => { clock.step(startMs - clock.now()); clock.isStuck = true; }],
  ['still stuck', () => undefined],
];

const discard: ArchiveTarget = {
  begin: () => Promise.resolve(),
  open: () => Promise.resolve({ write: () => Promise.resolve(), commit: () => Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() }),
};

test('whatever the clock does, snapshots get names of their own, are listed, and their archives are whole', async () => {
  const clock = new SteppedClock(startMs);
  await using rig = await openRig({ clock, wait: (ms) => { clock.pass(ms); return Promise.resolve(); } });
  const made = new Map<string, string>();
  for (const [title, jump] of jumps) {
    jump(clock);
    for (let count = 0; count < 3; count += 1) {
      const { name, checksum, creationTime } = await rig.snapshots.create('c');
      assert.ok(!made.has(name), `${title}: ${name} is taken`);
      assert.match(creationTime, /^(19[7-9]|20)\d/, title);
      made.set(name, checksum ?? '');
    }
  }
  await using again = await rig.reopen();
  const listed = await again.list('c');
  assert.deepEqual(listed.map(({ name, checksum }) => [name, checksum]), [...made].sort(([a], [b]) => (a < b ? -1 : 1)));
  for (const { name, checksum } of listed) {
    const download = await again.openDownload('c', name);
    const read = await readArchive(inChunks(await allBytes(download)), discard, { checksum: true });
    download.release();
    assert.equal(read.checksum, checksum, name);
  }
  const { name } = listed[0] ?? { name: '' };
  await again.recover('n', { priority: 'snapshot', location: `file://${path.join(rig.snapshotsPath, 'c', name)}` });
  assert.equal(rig.source.contentOf('n'), rig.source.contentOf('c'));
});

test('two creates at once under a stuck clock get two names', async () => {
  const clock = new SteppedClock(startMs);
  clock.isStuck = true;
  await using rig = await openRig({ clock, wait: (ms) => { clock.pass(ms); return Promise.resolve(); } });
  const all = await Promise.all([1, 2, 3, 4].map(() => rig.snapshots.create('c')));
  assert.equal(new Set(all.map(({ name }) => name)).size, 4);
});

test('a clock beyond 2242 refuses a snapshot in words, and leaves nothing', async () => {
  const clock = new SteppedClock(Date.UTC(2300, 0, 1));
  await using rig = await openRig({ clock });
  await assert.rejects(rig.snapshots.create('c'), (error: unknown) => error instanceof RequestError && /clock of this machine shows 2300-01-01.*between 1970 and 2242/.test(error.message));
  assert.deepEqual(await rig.snapshots.list('c'), []);
  assert.deepEqual(rig.leftovers(), []);
});

test('ids of jobs grow whatever the clock does, also over a restart, and the list is in their order', async () => {
  await using folder = await temporaryFolder();
  const clock = new SteppedClock(startMs);
  const open = (): Promise<Jobs> => Jobs.open({ disk: new NodeDisk(), clock, logger: silentLogger, directory: path.join(folder.path, 'jobs'), isCommitted: () => Promise.resolve(false) });
  let jobs = await open();
  const ids: string[] = [];
  for (const [, jump] of jumps) {
    jump(clock);
    for (let count = 0; count < 3; count += 1) {
      const started = jobs.start(draft, () => Promise.resolve());
      ids.push(started.id);
      await started.done;
    }
    await jobs.close();
    jobs = await open();
  }
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(jobs.list().map(({ id }) => id), ids.toReversed(), 'none has gone, newest first');
  await jobs.close();
});

test('records of jobs go when 30 days have passed, not when the clock says so all at once', async () => {
  await using folder = await temporaryFolder();
  const clock = new SteppedClock(startMs);
  const open = (): Promise<Jobs> => Jobs.open({ disk: new NodeDisk(), clock, logger: silentLogger, directory: path.join(folder.path, 'jobs'), isCommitted: () => Promise.resolve(false) });
  let jobs = await open();
  const run = async (): Promise<number> => {
    await jobs.start(draft, () => Promise.resolve()).done;
    return jobs.list().length;
  };
  assert.equal(await run(), 1);
  clock.step(10 * year);
  assert.equal(await run(), 2, 'a jump in a running process');
  await jobs.close();
  jobs = await open();
  assert.equal(await run(), 3, 'a start with a clock of another decade');
  clock.step(-10 * year - 5 * hour);
  clock.pass(watchedMsMin);
  assert.equal(await run(), 4, 'and that was set right');
  clock.step(-clock.now() - day);
  clock.pass(30 * day - 2 * watchedMsMin);
  assert.equal(await run(), 5);
  clock.pass(3 * watchedMsMin);
  assert.equal(await run(), 2, 'the first four have been watched for 30 days');
  await jobs.close();
});
