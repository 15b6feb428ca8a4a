import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { FaultyDisk, isChange, stopAfter } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { FileMetastore, metastoreFileName } from './file-metastore.ts';
import { metastoreContract } from './metastore.contract.ts';
import { InDoubtError } from './metastore.ts';

metastoreContract('file metastore', async () => {
  const disk = new MemoryDisk();
  return await Promise.resolve({ reopen: () => FileMetastore.open(disk, '/') });
});

test('one flipped bit anywhere in the file refuses it', async () => {
  const disk = new MemoryDisk();
  const store = await FileMetastore.open(disk, '/');
  await store.create('dir', { names: { a: '1' }, aliases: {} });
  const file = `/${metastoreFileName}`;
  const { length } = await disk.readFile(file);
  for (let at = 0; at < length; at += 1) {
    const flip = (bytes: Buffer): Buffer => {
      bytes[at]! ^= 1 << (at % 8);
      return bytes;
    };
    disk.corrupt(file, flip);
    await assert.rejects(FileMetastore.open(disk, '/'), CorruptionError, `byte ${at}`);
    disk.corrupt(file, flip);
  }
  await FileMetastore.open(disk, '/');
});

test('a file of a newer format is refused by a sentence', async () => {
  const disk = new MemoryDisk();
  const store = await FileMetastore.open(disk, '/');
  await store.create('a', 1);
  disk.corrupt(`/${metastoreFileName}`, (bytes) => {
    const text = bytes.toString().replace('"format_version": 1', '"format_version": 9');
    return Buffer.from(text);
  });
  await assert.rejects(FileMetastore.open(disk, '/'), CorruptionError);
});

test('a power cut at every operation leaves the record before or after', async () => {
  for (let at = 0; ; at += 1) {
    const disk = new MemoryDisk();
    const before = await FileMetastore.open(disk, '/');
    await before.create('a', 'old');
    const stop = stopAfter(at);
    const store = await FileMetastore.open(new FaultyDisk(disk, stop.decide), '/').catch(() => undefined);
    const done = await store?.set('a', 'new', 1).then(() => true, () => false);
    disk.cutPower();
    const value = (await (await FileMetastore.open(disk, '/')).get('a'))?.value;
    assert.ok(value === 'new' || (value === 'old' && done !== true), `cut after ${at}: ${String(value)}`);
    if (stop.seen() < at) break;
  }
});

test('a set that the disk refuses changes nothing', async () => {
  const disk = new MemoryDisk();
  let failing = false;
  const store = await FileMetastore.open(new FaultyDisk(disk, ({ kind }) => (failing && kind === 'append' ? { kind: 'error', code: 'ENOSPC' } : undefined)), '/');
  await store.create('a', 1);
  failing = true;
  await assert.rejects(store.set('a', 2, 1));
  assert.deepEqual(await store.get('a'), { value: 1, revision: 1 });
  failing = false;
  assert.equal(await store.set('a', 3, 1), 2);
});

test('a set that fails, at whichever operation, is not there after the next start either', async () => {
  for (let at = 0; ; at += 1) {
    const disk = new MemoryDisk();
    await (await FileMetastore.open(disk, '/')).create('a', 'old');
    let seen = -Infinity; // an open that fails has set nothing
    const store = await FileMetastore.open(new FaultyDisk(disk, (operation) => (isChange(operation) && seen++ === at ? { kind: 'error', code: 'EIO' } : undefined)), '/');
    seen = 0;
    const failure = await store.set('a', 'new', 1).then(() => undefined, (error: unknown) => error);
    assert.deepEqual((await store.get('a'))?.value, failure === undefined ? 'new' : 'old', `fault at ${at}`);
    for (const isCut of [false, true]) {
      if (isCut) disk.cutPower();
      assert.deepEqual((await (await FileMetastore.open(disk, '/')).get('a'))?.value, failure === undefined ? 'new' : 'old', `fault at ${at}, next start`);
    }
    if (failure === undefined) break;
  }
});

test('where the old records cannot be put back either, the caller is told that it is in doubt', async () => {
  const disk = new MemoryDisk();
  let failing = false;
  const store = await FileMetastore.open(new FaultyDisk(disk, ({ kind }) => (failing && kind === 'syncDirectory' ? { kind: 'error', code: 'EIO' } : undefined)), '/');
  await store.create('a', 'old');
  failing = true;
  await assert.rejects(store.set('a', 'new', 1), InDoubtError);
  failing = false;
  await store.create('b', 1);
  disk.cutPower();
  assert.deepEqual((await (await FileMetastore.open(disk, '/')).get('a'))?.value, 'old');
});
