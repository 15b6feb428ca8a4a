// Runs on every implementation of the disk port.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { CorruptionError, systemCode } from '../base/errors.ts';
import type { Disk } from './disk.ts';

export interface DiskFixture extends AsyncDisposable {
  readonly disk: Disk;
  /** An existing, empty folder. */
  readonly root: string;
}

const failsWith = (code: string) => (error: unknown) => systemCode(error) === code;

export function diskContract(name: string, open: () => Promise<DiskFixture>): void {
  const contractTest = (title: string, check: (disk: Disk, root: string) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      await using fixture = await open();
      await check(fixture.disk, fixture.root);
    });
  };

  contractTest('what was appended is read back, in order', async (disk, root) => {
    const file = path.join(root, 'a');
    await using handle = await disk.create(file);
    await handle.append([Buffer.from('one'), Buffer.alloc(0), Buffer.from('two')]);
    await handle.append(Array.from({ length: 2000 }, (_, index) => Buffer.from([index & 255])));
    await handle.sync();
    assert.equal(handle.sizeBytes, 2006);
    const bytes = await disk.readFile(file);
    assert.equal(bytes.toString('latin1', 0, 6), 'onetwo');
    assert.ok(bytes.subarray(6).every((byte, index) => byte === (index & 255)));
  });

  contractTest('create refuses every name that is taken', async (disk, root) => {
    await (await disk.create(path.join(root, 'a'))).close();
    await disk.makeDirectory(path.join(root, 'd'));
    await assert.rejects(disk.create(path.join(root, 'a')), failsWith('EEXIST'));
    await assert.rejects(disk.create(path.join(root, 'd')), failsWith('EEXIST'));
    await assert.rejects(disk.makeDirectory(path.join(root, 'd')), failsWith('EEXIST'));
    await assert.rejects(disk.create(path.join(root, 'no', 'a')), failsWith('ENOENT'));
  });

  contractTest('reading past the end is corruption that names file and offset', async (disk, root) => {
    const file = path.join(root, 'a');
    await using handle = await disk.create(file);
    await handle.append([Buffer.from('abc')]);
    await using reader = await disk.openRead(file);
    assert.equal(reader.sizeBytes, 3);
    await assert.rejects(reader.read(1, 5), (error) => error instanceof CorruptionError && error.file === file && error.offsetBytes === 3);
  });

  contractTest('truncate cuts, and appends go on from there', async (disk, root) => {
    const file = path.join(root, 'a');
    await using handle = await disk.create(file);
    await handle.append([Buffer.from('abcdef')]);
    await handle.truncate(2);
    assert.equal(handle.sizeBytes, 2);
    await handle.append([Buffer.from('X')]);
    assert.equal((await disk.readFile(file)).toString(), 'abX');
  });

  contractTest('a link is the same file under a second name; removing one leaves the other', async (disk, root) => {
    const [a, b] = [path.join(root, 'a'), path.join(root, 'b')];
    await using handle = await disk.create(a);
    await handle.append([Buffer.from('abc')]);
    await disk.link(a, b);
    assert.equal((await disk.stat(b)).linkCount, 2);
    await assert.rejects(disk.link(a, b), failsWith('EEXIST'));
    await disk.remove(a);
    assert.equal((await disk.readFile(b)).toString(), 'abc');
    assert.equal((await disk.stat(b)).linkCount, 1);
  });

  contractTest('rename replaces a file and refuses a folder with content', async (disk, root) => {
    for (const name of ['a', 'b']) {
      await using handle = await disk.create(path.join(root, name));
      await handle.append([Buffer.from(name)]);
    }
    await disk.rename(path.join(root, 'a'), path.join(root, 'b'));
    assert.equal((await disk.readFile(path.join(root, 'b'))).toString(), 'a');
    assert.deepEqual(await disk.list(root), ['b']);
    await disk.makeDirectory(path.join(root, 'd'));
    await disk.makeDirectory(path.join(root, 'e'));
    await (await disk.create(path.join(root, 'e', 'x'))).close();
    await assert.rejects(disk.rename(path.join(root, 'd'), path.join(root, 'e')), failsWith('ENOTEMPTY'));
  });

  contractTest('copy makes an independent file', async (disk, root) => {
    const [a, b] = [path.join(root, 'a'), path.join(root, 'b')];
    await using handle = await disk.create(a);
    await handle.append([Buffer.from('abc')]);
    await disk.copy(a, b);
    await handle.append([Buffer.from('d')]);
    assert.equal((await disk.readFile(b)).toString(), 'abc');
    await assert.rejects(disk.copy(a, b), failsWith('EEXIST'));
  });

  contractTest('what is absent is ENOENT, and undefined for findStat', async (disk, root) => {
    const no = path.join(root, 'no');
    assert.equal(await disk.findStat(no), undefined);
    for (const work of [() => disk.stat(no), () => disk.openRead(no), () => disk.remove(no), () => disk.list(no), () => disk.rename(no, `${no}2`)]) {
      await assert.rejects(work(), failsWith('ENOENT'));
    }
    await disk.removeTree(no);
  });

  contractTest('removeTree takes everything below', async (disk, root) => {
    await disk.makeDirectory(path.join(root, 'd'));
    await disk.makeDirectory(path.join(root, 'd', 'e'));
    await (await disk.create(path.join(root, 'd', 'e', 'x'))).close();
    await disk.removeTree(path.join(root, 'd'));
    assert.deepEqual(await disk.list(root), []);
  });

  contractTest('a read fills the memory it is given', async (disk, root) => {
    const file = path.join(root, 'a');
    await using handle = await disk.create(file);
    await handle.append([Buffer.from('abcdef')]);
    await using reader = await disk.openRead(file);
    const memory = Buffer.alloc(8, '-');
    const bytes = await reader.read(2, 3, memory);
    assert.equal(bytes.toString(), 'cde');
    assert.equal(memory.toString(), 'cde-----');
    assert.equal((await reader.read(0, 6, memory.subarray(0, 5))).toString(), 'abcdef', 'memory that is too small is left alone');
    assert.equal(memory.toString(), 'cde-----');
  });

  contractTest('readFile refuses what is larger than asked for', async (disk, root) => {
    await using handle = await disk.create(path.join(root, 'a'));
    await handle.append([Buffer.alloc(11)]);
    await assert.rejects(disk.readFile(path.join(root, 'a'), 10), RangeError);
  });

  contractTest('a folder can be synced and space is known', async (disk, root) => {
    await disk.syncDirectory(root);
    await assert.rejects(disk.syncDirectory(path.join(root, 'no')), failsWith('ENOENT'));
    const { freeBytes, totalBytes } = await disk.space(root);
    assert.ok(freeBytes > 0 && totalBytes >= freeBytes);
  });
}
