import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultyDisk, stopAfter } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { DirectoryStore } from './directory-store.ts';
import { piecesOf, storeContract } from './store.contract.ts';

storeContract('directory store in memory', async () => await DirectoryStore.open(new MemoryDisk(), '/store'));

storeContract('directory store on the real disk', async () => {
  const folder = await temporaryFolder();
  const store = await DirectoryStore.open(new NodeDisk(), `${folder.path}/store`);
  const close = async (): Promise<void> => folder[Symbol.asyncDispose]();
  return Object.assign(store, { close, [Symbol.asyncDispose]: close });
});

test('a blob that put has answered survives a power cut; at any cut before it is whole or absent', async () => {
  for (let at = 0; ; at += 1) {
    const disk = new MemoryDisk();
    const stop = stopAfter(at);
    const store = await DirectoryStore.open(new FaultyDisk(disk, stop.decide), '/store').catch(() => undefined);
    const done = await store?.put('a/b', piecesOf('content')).then(() => true, () => false);
    disk.cutPower();
    const found = await (await DirectoryStore.open(disk, '/store')).find('a/b');
    assert.ok(found === undefined ? done !== true : found.sizeBytes === 7, `cut after operation ${at}`);
    if (stop.seen() < at) break;
  }
});
