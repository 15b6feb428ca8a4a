// The whole engine under a clock that jumps: what a restore replaced is kept as long as it should be, the latest of two restores is
// the one that an undo takes back, and nothing else minds.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { yieldToLoop } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import { watchedMsMin } from '../base/lifetimes.ts';
import { silentLogger } from '../base/logger.ts';
import { SteppedClock } from '../base/testing/stepped-clock.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import type { TargetLike } from '../snapshot/snapshots.ts';
import { Engine } from './engine.ts';
import { verifyPath } from './verify.ts';

const hour = 3_600_000;
const day = 24 * hour;
const year = 365 * day;
const startMs = Date.UTC(2026, 5, 1, 12);

interface At extends AsyncDisposable {
  engine: Engine;
  readonly clock: SteppedClock;
  reopen(): Promise<void>;
  /** Folders of collections: those that are served and those that are kept. */
  folders(): number;
}

/** A collection `c` of two points, its snapshot restored over a third. */
async function openRestored(): Promise<At> {
  const folder = await temporaryFolder();
  const clock = new SteppedClock(startMs);
  const data = path.join(folder.path, 'storage');
  const open = (): Promise<Engine> => Engine.open({
    dataDirectory: data, snapshotsDirectory: path.join(folder.path, 'snapshots'), logger: silentLogger, clock, tidyMs: 1,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
  const at: At = {
    engine: await open(), clock,
    reopen: async () => {
      await at.engine.close();
      at.engine = await open();
    },
    folders: () => readdirSync(path.join(data, 'collections')).length,
    [Symbol.asyncDispose]: async () => {
      await at.engine.close();
      const { problems, notes } = await verifyPath(new NodeDisk(), data, { deep: true });
      await folder[Symbol.asyncDispose]();
      assert.deepEqual([problems, notes], [[], []]);
    },
  };
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 2, distance: 'Dot' } });
  await fill(engine, 1, 2);
  await engine.snapshots.create('c');
  await fill(engine, 3);
  await restore(at);
  return at;
}

async function fill(engine: Engine, ...ids: readonly number[]): Promise<void> {
  await engine.write('c', { kind: 'upsert', points: ids.map((id) => ({ id: id as PointId, vectors: new Map([['', Float32Array.of(id, 1)]]), payload: '{}' })) }, { wait: true });
}

/** Of the first snapshot there is. */
async function restore({ engine }: At, into: TargetLike = 'c', of: Parameters<Engine['snapshots']['list']>[0] = 'c'): Promise<void> {
  const { name } = must((await engine.snapshots.list(of))[0], 'a snapshot');
  const download = await engine.snapshots.openDownload(of, name);
  try {
    await engine.snapshots.upload(into, download.read(0, download.sizeBytes - 1), { priority: 'snapshot' });
  } finally {
    download.release();
  }
}

const points = ({ engine }: At): number => engine.collectionInfo('c').points;

/** The tidying that runs all the time takes it; waits as long as it takes. */
async function untilGone(at: At): Promise<void> {
  while (at.folders() > 1) await yieldToLoop();
}

async function assertNothingKept(at: At): Promise<void> {
  await assert.rejects(at.engine.snapshots.undo('c'), (error: unknown) => error instanceof RequestError && error.code === 'not-found');
}

for (const [title, jump] of [
  ['no jump', () => undefined],
  ['a jump of ten years forward', (clock) => { clock.step(10 * year); }],
  ['a jump of five hours back', (clock) => { clock.step(-5 * hour); }],
  ['a jump before 1970', (clock) => { clock.step(-startMs - day); }],
  ['a clock that stands still', (clock) => { clock.isStuck = true; }],
] as readonly (readonly [string, (clock: SteppedClock) => void])[]) {
  test(`what a restore replaced is kept for a day and no longer: ${title}`, async () => {
    await using at = await openRestored();
    jump(at.clock);
    at.clock.pass(day - 1000);
    await fill(at.engine, 4);
    await at.engine.snapshots.undo('c');
    assert.equal(points(at), 3, 'it was there');
    at.clock.pass(day - 1000);
    await at.engine.snapshots.undo('c');
    assert.equal(points(at), 3, 'and so was the other state, 1 and 2 and 4');
    assert.equal(at.folders(), 2);
    at.clock.pass(day);
    await assertNothingKept(at);
    await untilGone(at);
    assert.equal(points(at), 3);
  });
}

test('a start with a clock of another decade drops nothing for an hour, and nothing at all once the clock is right', async () => {
  await using at = await openRestored();
  at.clock.step(10 * year);
  await at.reopen();
  assert.equal(at.folders(), 2);
  at.clock.step(-10 * year);
  at.clock.pass(watchedMsMin + hour);
  await at.reopen();
  await at.engine.snapshots.undo('c');
  assert.equal(points(at), 3);
  at.clock.step(10 * year);
  await at.reopen();
  at.clock.pass(watchedMsMin);
  await untilGone(at);
  await assertNothingKept(at);
});

test('an undo takes back the latest restore, also where the clock went back between two', async () => {
  await using at = await openRestored();
  const shard = { kind: 'shard', collection: 'c', shardId: 0 } as const;
  await at.engine.snapshots.create(shard);
  await fill(at.engine, 10, 11, 12);
  at.clock.step(-6 * hour);
  await restore(at, { kind: 'shard', name: 'c', shardId: 0, isPartial: false }, shard);
  assert.equal(points(at), 2);
  await at.engine.snapshots.undo('c');
  assert.equal(points(at), 5, 'the restore of the shard');
  at.clock.step(-6 * hour);
  await restore(at);
  await fill(at.engine, 20);
  at.clock.step(-6 * hour);
  await at.engine.snapshots.undo('c');
  assert.equal(points(at), 5, 'the restore of the collection');
  at.clock.step(-6 * hour);
  await at.engine.snapshots.undo('c');
  assert.equal(points(at), 3, 'and that undo');
});
