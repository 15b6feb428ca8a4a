// A log that syncs behind its appends, as the copy of a stream does: what a power cut takes of it is appended again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/testing/random.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import type { Disk } from '../fs/disk.ts';
import { FaultyDisk, stopAfter } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { FileLog } from './file-log.ts';
import { draft, logContract, numbersOf, readAll } from './shard-log.contract.ts';

const identity = { collectionUuid: '0b0a7c1e-9d5e-4f63-8f0e-0a1b2c3d4e5f', shardId: 2, generation: 1 };
const applied = { seq: 0, chain: '0'.repeat(32) };
const headerBytes = 64;
const entryBytes = 56 + 40;

async function memoryDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('/logs');
  await disk.syncDirectory('/');
  return disk;
}

async function openLog(disk: Disk, { mark = 0, isBehind = true }: { readonly mark?: number; readonly isBehind?: boolean } = {}): Promise<FileLog> {
  const log = await FileLog.open({ ...identity, disk, directory: '/logs', clock: systemClock, logger: silentLogger, applied, durableMark: mark });
  log.syncBehind(isBehind);
  return log;
}

const append = async (log: FileLog, count: number): Promise<void> => {
  for (let at = 0; at < count; at += 1) await log.append(draft(log.lastSeq));
};

/** Every entry tells its place. */
const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

logContract('file log that syncs behind', async () => {
  const disk = await memoryDisk();
  return { reopen: () => openLog(disk) };
});

test('appends wait for no sync, and one comes by itself', async () => {
  const disk = await memoryDisk();
  let syncs = 0;
  await using log = await openLog(new FaultyDisk(disk, ({ kind }) => {
    if (kind === 'sync') syncs += 1;
    return undefined;
  }));
  await append(log, 20);
  assert.deepEqual([syncs, log.durableSeq, log.lastSeq], [1, 0, 20], 'that of the header alone');
  await waitUntil('what was written is synced', () => log.durableSeq === 20);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.equal(again.lastSeq, 20);
});

test('so much is written at most before a sync begins', async () => {
  const disk = await memoryDisk();
  await using log = await openLog(disk);
  for (let at = 0; at < 5; at += 1) await log.append(draft(at, 2 << 20));
  assert.ok(log.durableSeq >= 4, `durable up to ${log.durableSeq}`);
});

test('a sync vouches for what was written before it began, not for what came meanwhile', async () => {
  const disk = await memoryDisk();
  const create = disk.create.bind(disk);
  let isHeld = false;
  let release = (): void => undefined;
  disk.create = async (file) => {
    const handle = await create(file);
    const sync = handle.sync.bind(handle);
    handle.sync = async () => {
      await sync();
      if (isHeld) await new Promise<void>((resolve) => { release = resolve; });
    };
    return handle;
  };
  await using log = await openLog(disk);
  await append(log, 2);
  isHeld = true;
  const synced = log.sync();
  await append(log, 2);
  isHeld = false;
  release();
  await synced;
  assert.deepEqual([log.durableSeq, log.lastSeq], [2, 4]);
});

test('files that rotate lists, and a closed log, are on disk', async () => {
  for (const end of ['rotate', 'close'] as const) {
    const disk = await memoryDisk();
    const log = await openLog(disk);
    await append(log, 3);
    if (end === 'rotate') assert.equal((await log.rotate(0)).length, 1);
    else await log.close();
    assert.equal(log.durableSeq, 3);
    disk.cutPower();
    await using again = await openLog(disk);
    assert.deepEqual(numbersOf(await readAll(again)), numbers(3), end);
  }
});

interface Cut {
  /** Entries up to here were said to be durable. */
  readonly durable: number;
  readonly lastSeq: number;
}

async function script(disk: Disk): Promise<Cut> {
  const log = await openLog(disk);
  try {
    await append(log, 4);
    await log.sync();
    await append(log, 6);
    await log.rotate(0);
    await append(log, 5);
    await Promise.all([append(log, 1), log.sync()]);
    await append(log, 5);
  } catch {
    // the disk has failed: what stands on it now is the question
  }
  const cut = { durable: log.durableSeq, lastSeq: log.lastSeq };
  await log.close().catch(() => undefined);
  return { durable: Math.max(cut.durable, log.durableSeq), lastSeq: cut.lastSeq };
}

/** Cuts the power after every operation; answers the first loss. */
async function findLoss(wrap: (disk: Disk) => Disk): Promise<unknown> {
  const whole = stopAfter(Infinity);
  await script(new FaultyDisk(await memoryDisk(), whole.decide));
  for (let at = 0; at <= whole.seen(); at += 1) {
    for (let seed = 0; seed < 30; seed += 1) {
      const disk = await memoryDisk();
      const { durable, lastSeq } = await script(wrap(new FaultyDisk(disk, stopAfter(at).decide))).catch(() => ({ durable: 0, lastSeq: 0 })); // cut before it was open
      disk.cutPower(seed === 0 ? undefined : seededRandom(at * 100 + seed), 'scattered');
      try {
        await checkCut(disk, { durable, lastSeq }, `cut after operation ${at}, seed ${seed}`);
      } catch (error) {
        return error;
      }
    }
  }
  return undefined;
}

async function checkCut(disk: MemoryDisk, { durable, lastSeq }: Cut, place: string): Promise<void> {
  const log = await openLog(disk, { mark: durable });
  const found = numbersOf(await readAll(log));
  assert.deepEqual(found, numbers(found.length), `${place}: what is left has no hole`);
  assert.ok(found.length >= durable, `${place}: ${durable} were durable, ${found.length} are left`);
  assert.ok(found.length <= lastSeq + 1, place);
  await append(log, 30 - found.length); // they come again
  await log.close();
  disk.cutPower();
  await using again = await openLog(disk, { mark: 30 });
  assert.deepEqual(numbersOf(await readAll(again)), numbers(30), place);
}

test('a power cut at every operation, whatever it leaves of what was not synced: all that was durable is there, and the log goes on', async () => {
  assert.equal(await findLoss((disk) => disk), undefined);
});

test('canary: without the syncs the power cut is caught', async () => {
  const loss = await findLoss((disk) => new FaultyDisk(disk, ({ kind }) => (kind === 'sync' ? { kind: 'ignore' } : undefined)));
  assert.ok(loss instanceof Error);
});

/** Eight entries in one file: the first four synced, and every later one says so. */
async function filled(isBehind: boolean): Promise<{ readonly disk: MemoryDisk; readonly file: string }> {
  const disk = await memoryDisk();
  const log = await openLog(disk, { isBehind });
  await append(log, 4);
  await log.sync();
  await append(log, 4);
  const [file] = await log.rotate(0);
  await log.close();
  return { disk, file: file?.path ?? '' };
}

for (const { title, bad, mark, end } of [
  { title: 'above the mark is where the log ends, although entries stand behind it', bad: 5, mark: 0, end: 4 },
  { title: 'that is the last one is cut', bad: 8, mark: 4, end: 7 },
  { title: 'below a mark that only entries behind it carry is damage', bad: 2, mark: 0, end: undefined },
  { title: 'that the manifest knows as durable is damage', bad: 5, mark: 6, end: undefined },
]) {
  test(`an entry ${title}`, async () => {
    const { disk, file } = await filled(true);
    const offset = headerBytes + (bad - 1) * entryBytes;
    disk.corrupt(file, (bytes) => bytes.fill(0, offset, offset + entryBytes));
    if (end === undefined) {
      await assert.rejects(openLog(disk, { mark }), (error) => error instanceof CorruptionError && error.file === file && error.offsetBytes === offset);
    } else {
      await using log = await openLog(disk, { mark });
      assert.deepEqual(numbersOf(await readAll(log)), numbers(end));
    }
  });
}

test('a file says how it was written: where each round was synced, an entry with another behind it is damage above every mark', async () => {
  for (const isBehind of [true, false]) {
    const { disk, file } = await filled(isBehind);
    assert.equal((await disk.readFile(file)).readUInt32LE(8), isBehind ? 2 : 1);
    if (isBehind) continue;
    disk.corrupt(file, (bytes) => bytes.fill(0, headerBytes + 6 * entryBytes, headerBytes + 7 * entryBytes));
    await assert.rejects(openLog(disk, { isBehind: true }), CorruptionError);
  }
});

test('a log that begins to sync behind begins a file that says so, and one that ends it has each round on disk', async () => {
  const disk = await memoryDisk();
  await using log = await openLog(disk, { isBehind: false });
  await append(log, 2);
  assert.equal(log.durableSeq, 2);
  log.syncBehind(true);
  await append(log, 2);
  assert.deepEqual([log.info().fileCount, log.durableSeq], [2, 2]);
  log.syncBehind(false);
  await append(log, 1);
  assert.equal(log.durableSeq, 5);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.equal(again.lastSeq, 5);
});

test('a process was killed: what it had not synced counts as durable only when it stands in a new file, which is before another begins', async () => {
  const before = await memoryDisk();
  await using killed = await openLog(before);
  await append(killed, 3);
  await killed.sync();
  await append(killed, 3);
  const disk = before.fork();
  await using log = await openLog(disk);
  assert.deepEqual([log.lastSeq, log.durableSeq], [6, 3]);
  await log.append(draft(6));
  assert.equal(log.durableSeq, 6);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.deepEqual(numbersOf(await readAll(again)), numbers(6));
});

test('a sync that fails: nothing more counts as durable until the file is written anew', async () => {
  const disk = await memoryDisk();
  let failing = false;
  const log = await openLog(new FaultyDisk(disk, ({ kind }) => (failing && kind === 'sync' ? { kind: 'error', code: 'EIO' } : undefined)));
  await append(log, 2);
  await log.sync();
  await append(log, 2);
  failing = true;
  await assert.rejects(log.sync());
  await assert.rejects(log.append(draft(4)), RequestError);
  await assert.rejects(log.rotate(0));
  assert.deepEqual([log.durableSeq, log.lastSeq], [2, 4]);
  failing = false;
  const before = await disk.readFile('/logs/00000000000000000001');
  await append(log, 1);
  assert.deepEqual([log.durableSeq, log.lastSeq], [4, 5], 'the round found the file written anew');
  assert.deepEqual((await disk.readFile('/logs/00000000000000000001')).subarray(0, before.length), before);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.deepEqual(numbersOf(await readAll(again)), numbers(4));
});

test('a sync in the background that fails is tried again by itself', async () => {
  const disk = await memoryDisk();
  let failures = 0;
  await using log = await openLog(new FaultyDisk(disk, ({ kind }) => {
    if (kind !== 'sync' || failures === 0) return undefined;
    failures -= 1;
    return { kind: 'error', code: 'EIO' };
  }));
  await append(log, 3);
  failures = 2;
  await waitUntil('it is on disk', () => log.durableSeq === 3);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.equal(again.lastSeq, 3);
});
