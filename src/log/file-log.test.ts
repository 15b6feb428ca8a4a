import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { Disk } from '../fs/disk.ts';
import { FaultyDisk, stopAfter, type DecideFault, type OperationKind } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { FileLog } from './file-log.ts';
import { draft, logContract, numbersOf, readAll } from './shard-log.contract.ts';

const identity = { collectionUuid: '0b0a7c1e-9d5e-4f63-8f0e-0a1b2c3d4e5f', shardId: 2, generation: 1 };
const zeroChain = '0'.repeat(32);

async function memoryDisk(capacityBytes?: number): Promise<MemoryDisk> {
  const disk = new MemoryDisk(capacityBytes);
  await disk.makeDirectory('/logs');
  await disk.syncDirectory('/');
  return disk;
}

function openLog(disk: Disk, options: { readonly directory?: string; readonly applied?: { seq: number; chain: string }; readonly mark?: number; readonly clock?: Clock } = {}): Promise<FileLog> {
  return FileLog.open({
    ...identity, disk, directory: options.directory ?? '/logs', clock: options.clock ?? systemClock, logger: silentLogger,
    applied: options.applied ?? { seq: 0, chain: zeroChain }, durableMark: options.mark ?? 0,
  });
}

logContract('file log on a memory disk', async () => {
  const disk = await memoryDisk();
  return { reopen: () => openLog(disk) };
});

test('file log on the real disk: entries survive a reopen and rotated files have the announced size and sha256', async () => {
  await using folder = await temporaryFolder();
  const disk = new NodeDisk();
  const log = await openLog(disk, { directory: folder.path });
  await Promise.all(Array.from({ length: 300 }, (_, index) => log.append(draft(index, 20_000))));
  const files = await log.rotate(0);
  for (const file of files) {
    const bytes = await disk.readFile(file.path);
    assert.deepEqual([bytes.length, sha256Hex(bytes)], [file.sizeBytes, await log.hash(file)]);
  }
  await log.close();
  await using again = await openLog(disk, { directory: folder.path });
  assert.equal((await readAll(again)).length, 300);
});

/** A log with `count` closed entries of 8 · n bytes each in one file; answers that file. */
async function filledLog(disk: MemoryDisk, count: number): Promise<string> {
  await using log = await openLog(disk);
  for (let index = 0; index < count; index += 1) await log.append(draft(index));
  const [file] = await log.rotate(0);
  return file!.path;
}

test('a torn last entry is cut at every byte; everything before it stays', async () => {
  const probe = await memoryDisk();
  const whole = (await probe.readFile(await filledLog(probe, 3))).length;
  const before = (await (async () => {
    const disk = await memoryDisk();
    return await disk.readFile(await filledLog(disk, 2));
  })()).length;
  for (let size = before; size < whole; size += 1) {
    const disk = await memoryDisk();
    disk.corrupt(await filledLog(disk, 3), (bytes) => bytes.subarray(0, size));
    await using log = await openLog(disk);
    assert.deepEqual(numbersOf(await readAll(log)), [0, 1], `cut to ${size} bytes`);
    assert.equal(log.info().tornTailBytes, size - before);
    assert.equal((await log.append(draft(9))).seq, 3);
  }
});

test('a zeroed last entry is a torn tail, unless a mark says that it had been stored', async () => {
  for (const mark of [0, 2, 3]) {
    const disk = await memoryDisk();
    const file = await filledLog(disk, 3);
    const entryBytes = 56 + 40;
    disk.corrupt(file, (bytes) => bytes.fill(0, bytes.length - entryBytes));
    if (mark === 3) {
      await assert.rejects(openLog(disk, { mark }), (error) => error instanceof CorruptionError && error.file === file && error.offsetBytes === 64 + 2 * entryBytes);
    } else {
      await using log = await openLog(disk, { mark });
      assert.equal(log.lastSeq, 2);
    }
  }
});

test('a flipped bit anywhere before the last entry refuses the log and names file and offset', async () => {
  const probe = await memoryDisk();
  const file = await filledLog(probe, 3);
  const { length } = await probe.readFile(file);
  const lastEntryAt = length - 96;
  for (let at = 0; at < lastEntryAt; at += 1) {
    const disk = await memoryDisk();
    await filledLog(disk, 3);
    disk.corrupt(file, (bytes) => {
      bytes[at]! ^= 1 << (at % 8);
      return bytes;
    });
    await assert.rejects(openLog(disk), (error) => error instanceof CorruptionError && error.file === file && error.offsetBytes !== undefined && error.offsetBytes <= at, `bit of byte ${at}`);
  }
});

test('no sha256 is given for a closed file that is not what was written', async () => {
  const disk = await memoryDisk();
  await using log = await openLog(disk);
  for (let index = 0; index < 3; index += 1) await log.append(draft(index));
  const [file] = await log.rotate(0);
  const written = await disk.readFile(file!.path);
  const entryBytes = 56 + 40;
  const other = await memoryDisk();
  const otherLog = await openLog(other);
  for (let index = 0; index < 3; index += 1) await otherLog.append(draft(index + 5));
  await otherLog.close();
  const otherHistory = await other.readFile(file!.path);
  const refused = async (bytes: Buffer, what: string): Promise<void> => {
    disk.corrupt(file!.path, () => bytes);
    await assert.rejects(log.hash(file!), (error) => error instanceof CorruptionError && error.file === file!.path, what);
  };
  for (let at = 0; at < written.length; at += 1) {
    const flipped = Buffer.from(written);
    flipped[at]! ^= 1 << (at % 8);
    await refused(flipped, `bit of byte ${at}`);
  }
  await refused(written.subarray(0, -entryBytes), 'one entry fewer');
  await refused(otherHistory, 'whole entries of another history');
  disk.corrupt(file!.path, () => written);
  assert.equal(await log.hash(file!), sha256Hex(written));
});

test('a bad tail of an earlier file refuses the log even when that file alone would pass', async () => {
  const disk = await memoryDisk();
  const log = await openLog(disk);
  await log.append(draft(0));
  const [first] = await log.rotate(0);
  await log.append(draft(1));
  await log.close();
  disk.corrupt(first!.path, (bytes) => bytes.subarray(0, bytes.length - 1));
  await assert.rejects(openLog(disk), (error) => error instanceof CorruptionError && error.file === first!.path);
});

test('a missing file, a file of another shard and a file under a wrong name are refused', async () => {
  const disk = await memoryDisk();
  const log = await openLog(disk);
  for (let index = 0; index < 3; index += 1) {
    await log.append(draft(index));
    await log.rotate(0);
  }
  await log.close();
  const names = (await disk.list('/logs')).sort();
  await disk.rename(path.join('/logs', names[1]!), '/aside');
  await assert.rejects(openLog(disk), /log files are missing/);
  await disk.rename('/aside', path.join('/logs', '00000000000000000007'));
  await assert.rejects(openLog(disk), CorruptionError);
  await disk.rename('/logs/00000000000000000007', path.join('/logs', names[1]!));
  const other = FileLog.open({ ...identity, shardId: 3, disk, directory: '/logs', clock: systemClock, logger: silentLogger, applied: { seq: 0, chain: zeroChain }, durableMark: 0 });
  await assert.rejects(other, /belongs to collection/);
});

test('a checkpoint whose chain hash is not the one of the log is refused', async () => {
  const disk = await memoryDisk();
  await filledLog(disk, 3);
  await assert.rejects(openLog(disk, { applied: { seq: 2, chain: 'f'.repeat(32) } }), /chain hash/);
});

test('a log whose newest file vanished is refused where a mark knows of its entries', async () => {
  const disk = await memoryDisk();
  const file = await filledLog(disk, 3);
  await disk.remove(file);
  await assert.rejects(openLog(disk, { mark: 3 }), CorruptionError);
});

test('files that the checkpoint covers and whose purge was cut off are removed at open', async () => {
  const disk = await memoryDisk();
  const log = await openLog(disk);
  for (let index = 0; index < 3; index += 1) {
    await log.append(draft(index));
    await log.rotate(0);
  }
  await log.close();
  const [first, second, third] = (await disk.list('/logs')).sort();
  await using again = await openLog(disk, { applied: { seq: 2, chain: await chainAt(disk, 2) } });
  assert.deepEqual([await disk.list('/logs'), again.lastSeq], [[third], 3], `${first} and ${second} are gone`);
});

async function chainAt(disk: MemoryDisk, seq: number): Promise<string> {
  const copy = disk.fork();
  await copy.remove(`/logs/${String(seq + 1).padStart(20, '0')}`);
  await using log = await openLog(copy);
  return log.position().chain;
}

test('time goes on after the clock jumped back', async () => {
  const disk = await memoryDisk();
  let now = 1_000_000;
  const clock: Clock = { now: () => now, monotonic: () => 0 };
  await using log = await openLog(disk, { clock });
  const first = await log.append(draft(0));
  now = 5;
  const second = await log.append(draft(1));
  assert.ok(second.time > first.time);
});

test('time goes on from the checkpoint where every entry before it was purged and the clock jumped back', async () => {
  const disk = await memoryDisk();
  const time = 5n << 40n;
  const clock: Clock = { now: () => 5, monotonic: () => 0 };
  await using log = await FileLog.open({
    ...identity, disk, directory: '/logs', clock, logger: silentLogger, applied: { seq: 7, chain: 'a'.repeat(32), time }, durableMark: 7,
  });
  assert.equal((await log.append(draft(0))).time, time + 1n);
});

interface Outcome {
  readonly acknowledged: readonly number[];
  readonly refused: readonly unknown[];
}

/** Appends with a rotate in between and a retry of nothing: what was acknowledged must be there afterwards. */
async function appendScript(log: FileLog): Promise<Outcome> {
  const acknowledged: number[] = [];
  const refused: unknown[] = [];
  const append = (number: number): Promise<void> => log.append(draft(number, 200)).then(() => void acknowledged.push(number), (error: unknown) => void refused.push(error));
  for (let round = 0; round < 4; round += 1) {
    await Promise.all([append(round * 10), append(round * 10 + 1), append(round * 10 + 2)]);
    if (round === 1) await log.rotate(0).catch((error: unknown) => refused.push(error));
  }
  await log.close().catch(() => undefined);
  return { acknowledged, refused };
}

/** Every acknowledged number stands in the reopened log, in order; what else stands there had been asked for. */
async function checkAcknowledged(disk: Disk, outcome: Outcome, title: string): Promise<void> {
  await using log = await openLog(disk);
  const found = numbersOf(await readAll(log));
  assert.deepEqual(found, [...found].sort((a, b) => a - b), `${title}: in order, none twice`);
  for (const number of outcome.acknowledged) assert.ok(found.includes(number), `${title}: ${number} was acknowledged, found ${found.join(' ')}`);
  assert.equal((await log.append(draft(99))).seq, found.length + 1, `${title}: the log goes on`);
}

test('one failure at each operation: what was acknowledged is there, and the log goes on by itself', async () => {
  const faults = [{ kind: 'error', code: 'EIO' }, { kind: 'error', code: 'ENOSPC' }, { kind: 'short', bytes: 30 }] as const;
  for (const fault of faults) {
    const count = await operationCount();
    for (let at = 0; at < count; at += 1) {
      const disk = await memoryDisk();
      let seen = 0;
      const decide: DecideFault = ({ kind }) => (isLogChange(kind) && seen++ === at ? fault : undefined);
      const outcome = await appendScript(await openLog(new FaultyDisk(disk, decide)));
      const title = `${JSON.stringify(fault)} at operation ${at}`;
      assert.ok(outcome.acknowledged.length >= 6, `${title}: later appends succeed, ${outcome.acknowledged.length} did`);
      for (const error of outcome.refused) assert.ok(error instanceof RequestError || error instanceof RangeError, `${title}: ${String(error)}`);
      await checkAcknowledged(disk, outcome, title);
    }
  }
});

test('a failed sync: the pages it lost are written anew before anything else is acknowledged', async () => {
  const disk = await memoryDisk();
  let failing = false;
  const decide: DecideFault = ({ kind }) => (failing && kind === 'sync' ? { kind: 'error', code: 'EIO' } : undefined);
  const log = await openLog(new FaultyDisk(disk, decide));
  await log.append(draft(0));
  failing = true;
  await assert.rejects(log.append(draft(1)), (error) => error instanceof RequestError && error.code === 'internal');
  await assert.rejects(log.append(draft(2)), RequestError);
  failing = false;
  assert.equal((await log.append(draft(3))).seq, 2);
  disk.cutPower();
  await using again = await openLog(disk);
  assert.deepEqual(numbersOf(await readAll(again)), [0, 3]);
});

test('a full disk answers no-space and writing goes on once there is room', async () => {
  const disk = await memoryDisk(4096);
  await using log = await openLog(disk);
  let stored = 0;
  await assert.rejects(async () => {
    for (;;) {
      await log.append(draft(stored, 500));
      stored += 1;
    }
  }, (error) => error instanceof RequestError && error.code === 'no-space');
  const files = await log.rotate(0);
  await log.purgeTo(files.at(-1)!.lastSeq);
  assert.equal((await log.append(draft(100, 500))).seq, stored + 1);
});

async function operationCount(): Promise<number> {
  let count = 0;
  await appendScript(await openLog(new FaultyDisk(await memoryDisk(), ({ kind }) => {
    if (isLogChange(kind)) count += 1;
    return undefined;
  })));
  return count;
}

function isLogChange(kind: OperationKind): boolean {
  return kind !== 'read' && kind !== 'openRead' && kind !== 'list' && kind !== 'stat';
}

/** Cuts the power after every operation, forgetting all or a random part of what was not synced. Answers the first loss. */
async function findLoss(wrap: (disk: Disk) => Disk): Promise<unknown> {
  const total = await operationCount();
  for (let at = 0; at <= total; at += 1) {
    for (let seed = 0; seed < 8; seed += 1) {
      const disk = await memoryDisk();
      const log = await openLog(wrap(new FaultyDisk(disk, stopAfter(at).decide))).catch(() => undefined); // cut before it was open
      const outcome = log === undefined ? { acknowledged: [], refused: [] } : await appendScript(log);
      disk.cutPower(seed === 0 ? undefined : seededRandom(seed));
      try {
        await checkAcknowledged(disk, outcome, `cut after operation ${at}, seed ${seed}`);
      } catch (error) {
        return error;
      }
    }
  }
  return undefined;
}

test('a power cut at every operation loses nothing that was acknowledged', async () => {
  assert.equal(await findLoss((disk) => disk), undefined);
});

test('canary: without the sync of a file, or of the folder, the power cut is caught', async () => {
  for (const skipped of ['sync', 'syncDirectory']) {
    const loss = await findLoss((disk) => new FaultyDisk(disk, ({ kind }) => (kind === skipped ? { kind: 'ignore' } : undefined)));
    assert.ok(loss instanceof assert.AssertionError, `${skipped} is needed`);
  }
});
