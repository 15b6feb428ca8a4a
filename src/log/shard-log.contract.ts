// Runs on every implementation of the log port.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry, EntryDraft, ShardLog } from './shard-log.ts';

export interface LogFixture {
  /** The log over the same storage as before; the one before was closed. */
  readonly reopen: () => Promise<ShardLog>;
}

/** A draft whose body tells its number. */
export function draft(number: number, bodyBytes = 40): EntryDraft {
  const body = Buffer.alloc(Math.max(bodyBytes, 4), number & 255);
  body.writeUInt32LE(number, 0);
  const opUuid = Buffer.alloc(16);
  opUuid.writeUInt32LE(number, 0);
  return { kind: 'upsert', version: 1, body, opUuid };
}

export async function readAll(log: ShardLog, from = 1): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of log.read(from)) entries.push(entry);
  return entries;
}

export const numbersOf = (entries: readonly Entry[]): number[] => entries.map((entry) => Buffer.from(entry.body).readUInt32LE(0));

export function logContract(name: string, fixture: () => Promise<LogFixture>): void {
  const contractTest = (title: string, check: (fixture: LogFixture) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => check(await fixture()));
  };

  contractTest('concurrent appends get consecutive seqs in the order of the calls', async ({ reopen }) => {
    await using log = await reopen();
    const entries = await Promise.all(Array.from({ length: 50 }, (_, index) => log.append(draft(index))));
    assert.deepEqual(entries.map((entry) => entry.seq), Array.from({ length: 50 }, (_, index) => index + 1));
    assert.deepEqual(numbersOf(await readAll(log)), numbersOf(entries));
    assert.equal(log.lastSeq, 50);
  });

  contractTest('time never goes backwards and the chain changes with every entry', async ({ reopen }) => {
    await using log = await reopen();
    const chains = new Set([log.position().chain]);
    let time = 0n;
    for (let index = 0; index < 5; index += 1) {
      const entry = await log.append(draft(index));
      assert.ok(entry.time > time);
      time = entry.time;
      chains.add(log.position().chain);
    }
    assert.equal(chains.size, 6);
  });

  contractTest('a reopened log has every entry, the same position, and goes on', async ({ reopen }) => {
    const first = await reopen();
    for (let index = 0; index < 5; index += 1) await first.append(draft(index, index * 100));
    const position = first.position();
    await first.close();
    await using log = await reopen();
    assert.deepEqual(log.position(), position);
    assert.equal((await log.append(draft(5))).seq, 6);
    assert.deepEqual(numbersOf(await readAll(log)), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(numbersOf(await readAll(log, 4)), [3, 4, 5]);
    assert.deepEqual(await readAll(log, 7), []);
  });

  contractTest('rotate lists the files with later entries, and they never change again', async ({ reopen }) => {
    await using log = await reopen();
    await log.append(draft(0));
    const [first] = await log.rotate(0);
    await log.append(draft(1));
    const files = await log.rotate(0);
    assert.deepEqual(files.map((file) => [file.firstSeq, file.lastSeq]), [[1, 1], [2, 2]]);
    assert.deepEqual(files[0], first);
    assert.deepEqual((await log.rotate(1)).map((file) => file.firstSeq), [2]);
    assert.deepEqual(await log.rotate(2), []);
  });

  contractTest('purging drops a prefix at most, and reading a purged entry is an error, not a gap', async ({ reopen }) => {
    await using log = await reopen();
    for (let index = 0; index < 6; index += 1) {
      await log.append(draft(index));
      if (index % 2 === 1) await log.rotate(0);
    }
    await log.purgeTo(3);
    assert.ok(log.info().firstSeq <= 4);
    assert.deepEqual(numbersOf(await readAll(log, 4)), [3, 4, 5]);
    await log.purgeTo(6);
    assert.equal((await log.append(draft(6))).seq, 7);
    await assert.rejects(readAll(log, 1));
  });

  contractTest('an append after close is refused', async ({ reopen }) => {
    const log = await reopen();
    const before = log.append(draft(0));
    await log.close();
    await log.close();
    assert.equal((await before).seq, 1);
    await assert.rejects(log.append(draft(1)));
  });
}
