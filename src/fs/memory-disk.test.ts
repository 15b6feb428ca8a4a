import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isNoSpace, systemCode } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { writeFileAtomically } from './atomic-file.ts';
import { diskContract } from './disk.contract.ts';
import { FaultyDisk, stopAfter } from './testing/faulty-disk.ts';
import { MemoryDisk } from './testing/memory-disk.ts';

const open = async (): Promise<MemoryDisk> => {
  const disk = new MemoryDisk();
  await disk.makeDirectory('/d');
  await disk.syncDirectory('/');
  return disk;
};

diskContract('memory disk', async () => ({ disk: await open(), root: '/d', [Symbol.asyncDispose]: () => Promise.resolve() }));
diskContract('faulty disk without faults', async () => ({ disk: new FaultyDisk(await open(), () => undefined), root: '/d', [Symbol.asyncDispose]: () => Promise.resolve() }));

test('a power cut keeps synced bytes under synced names and nothing else', async () => {
  const disk = await open();
  const handle = await disk.create('/d/a');
  await handle.append([Buffer.from('kept')]);
  await handle.sync();
  await handle.append([Buffer.from('lost')]);
  await disk.syncDirectory('/d');
  await (await disk.create('/d/nameless')).sync();
  disk.cutPower();
  assert.deepEqual(await disk.list('/d'), ['a']);
  assert.equal((await disk.readFile('/d/a')).toString(), 'kept');
  await assert.rejects(handle.append([Buffer.from('x')]), (error) => systemCode(error) === 'EIO');
});

test('an unsynced rename is undone, a synced one stays', async () => {
  const disk = await open();
  await writeFileAtomically(disk, '/d/a', Buffer.from('old'));
  const handle = await disk.create('/d/new');
  await handle.append([Buffer.from('new')]);
  await handle.sync();
  await disk.rename('/d/new', '/d/a');
  disk.cutPower();
  assert.equal((await disk.readFile('/d/a')).toString(), 'old');
});

test('an atomic file is old or new at every cut, never anything else', async () => {
  const script = async (at: number, cut: (disk: MemoryDisk) => void): Promise<number> => {
    const disk = await open();
    await writeFileAtomically(disk, '/d/a', Buffer.from('old'));
    const stop = stopAfter(at);
    await writeFileAtomically(new FaultyDisk(disk, stop.decide), '/d/a', Buffer.from('new content')).catch((error: unknown) => assert.equal(systemCode(error), 'EIO'));
    cut(disk);
    const content = (await disk.readFile('/d/a')).toString();
    assert.ok(content === 'old' || content === 'new content', `cut at ${at}: ${content}`);
    return stop.seen();
  };
  const total = await script(Infinity, () => undefined);
  for (let at = 0; at <= total; at += 1) {
    await script(at, (disk) => disk.cutPower());
    for (let seed = 0; seed < 20; seed += 1) await script(at, (disk) => disk.cutPower(seededRandom(seed)));
  }
});

test('a full disk takes what fits and then fails; space comes back with a removal', async () => {
  const disk = new MemoryDisk(10);
  const handle = await disk.create('/a');
  await assert.rejects(handle.append([Buffer.alloc(8), Buffer.alloc(8)]), isNoSpace);
  assert.equal(handle.sizeBytes, 10);
  await disk.remove('/a');
  await (await disk.create('/b')).append([Buffer.alloc(10)]);
});
