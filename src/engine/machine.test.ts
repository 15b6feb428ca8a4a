import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, promises as fs } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { diskContract } from '../fs/disk.contract.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { loadAddon } from '../vector/addon.ts';
import { thisMachine } from './machine.ts';

diskContract('the disk of this machine', async () => {
  const folder = await temporaryFolder();
  return { disk: thisMachine.disk, root: folder.path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
});

/** libuv has so many threads unless a variable of the environment says otherwise. */
const libuvThreads = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4);
/** Only a failing run waits so long. */
const giveUpMs = 60_000;

test('files are read while every thread of libuv is busy', { skip: loadAddon() === undefined ? 'no addon was built' : false }, async () => {
  await using folder = await temporaryFolder();
  const file = path.join(folder.path, 'file');
  await fs.writeFile(file, 'content');
  const fifo = path.join(folder.path, 'fifo');
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  await using handle = await thisMachine.disk.openRead(file);
  const order: string[] = [];
  const blocked = Array.from({ length: libuvThreads }, () => fs.open(fifo, 'r')); // each holds a thread until somebody writes
  let writer: number | undefined;
  const release = (): void => {
    if (writer !== undefined) return;
    order.push('released');
    writer = openSync(fifo, 'w');
  };
  const timer = setTimeout(release, giveUpMs);
  const bytes = await handle.read(0, 7);
  order.push('read');
  clearTimeout(timer);
  release();
  for (const opened of await Promise.all(blocked)) await opened.close();
  if (writer !== undefined) closeSync(writer);
  assert.equal(bytes.toString(), 'content');
  assert.deepEqual(order, ['read', 'released']);
});

test('a close waits for the reads under way', async () => {
  await using folder = await temporaryFolder();
  const file = path.join(folder.path, 'file');
  await fs.writeFile(file, Buffer.alloc(8 << 20, 'x'));
  const handle = await thisMachine.disk.openRead(file);
  const order: string[] = [];
  const reads = Array.from({ length: 16 }, async (_, at) => {
    const bytes = await handle.read(at << 19, 1 << 19);
    order.push('read');
    return bytes;
  });
  await handle.close();
  order.push('closed');
  for (const bytes of await Promise.all(reads)) assert.ok(bytes.every((byte) => byte === 120));
  assert.deepEqual(order, [...Array.from({ length: 16 }, () => 'read'), 'closed']);
});
