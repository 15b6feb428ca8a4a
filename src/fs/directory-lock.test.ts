import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { bothLocks, lockDirectory, socketLock, type TakeLock } from './directory-lock.ts';
import { temporaryFolder } from './testing/temporary-folder.ts';

const noSockets: TakeLock = () => Promise.reject(new RangeError('no sockets here'));

test('the socket excludes a second one, also under a path longer than a socket may have, and leaves nothing', async () => {
  await using folder = await temporaryFolder();
  const directory = path.join(folder.path, 'd'.repeat(200));
  await fs.mkdir(directory);
  const lock = await lockDirectory(directory, socketLock);
  await assert.rejects(lockDirectory(directory, socketLock), (error) => error instanceof RequestError && error.code === 'locked' && error.message.includes(`pid ${process.pid} `));
  await lock.release();
  assert.deepEqual(await fs.readdir(directory), ['LOCK']);
  await (await lockDirectory(directory, socketLock)).release();
});

test('of many that find a dead socket, one gets the lock', async () => {
  await using folder = await temporaryFolder();
  const file = path.join(folder.path, 'LOCK');
  for (let round = 0; round < 5; round += 1) {
    await leaveDeadSocket(folder.path);
    const held = (await Promise.all(Array.from({ length: 12 }, () => socketLock(file)))).filter((lock) => lock !== undefined);
    assert.equal(held.length, 1, `round ${round}`);
    for (const lock of held) await lock.release();
  }
  assert.deepEqual(await fs.readdir(folder.path), []);
});

/** As a killed process does: the file stays, nobody listens. */
async function leaveDeadSocket(directory: string): Promise<void> {
  const [socket, aside] = [path.join(directory, 'LOCK.socket'), path.join(directory, 'aside')];
  const lock = await socketLock(path.join(directory, 'LOCK'));
  await fs.rename(socket, aside);
  await lock?.release();
  await fs.rename(aside, socket);
}

test('two locks: the first one is let go where the second is held, and stands alone where there can be no second', async () => {
  await using folder = await temporaryFolder();
  let held = 0;
  const first: TakeLock = () => {
    held += 1;
    return Promise.resolve({ release: () => void (held -= 1) });
  };
  const lock = await lockDirectory(folder.path, socketLock);
  await assert.rejects(lockDirectory(folder.path, bothLocks(first, socketLock)), RequestError);
  assert.equal(held, 0);
  await lock.release();
  const alone = await lockDirectory(folder.path, bothLocks(first, noSockets));
  assert.equal(held, 1);
  await alone.release();
  assert.equal(held, 0);
});
