// What the real process asks of the system: a sync for each acknowledged write, and the right answer where the system fails it.
// (That a sync is needed is shown on simulated disks; that the process issues it, here.)
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { startServer, type ServerProcess } from '../support/server-process.ts';
import { buildShim, openShim, type FaultShim, type ShimFault } from './shim/fault-shim.ts';
import { skipReason } from './skip.ts';
import { assertSound, result } from './world.ts';

const built = buildShim();
const skip = skipReason('missing' in built ? built.missing : undefined);
const straceMissing = spawnSync('strace', ['-V']).status === 0 ? undefined : 'no strace';

interface Rig extends AsyncDisposable {
  readonly data: string;
  readonly shim: FaultShim;
  server: ServerProcess;
  /** Ids whose write was acknowledged, and those whose write was refused. */
  readonly acknowledged: Set<number>;
  readonly refused: Set<number>;
}

/** @param under a program that runs the server; then the shim counts from the start on */
async function openRig(under: readonly string[] = []): Promise<Rig> {
  assert.ok('library' in built);
  const folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const shim = openShim(built.library, folder.path);
  if (under.length > 0) shim.arm({ mode: 'watch', path: data });
  const server = await startServer({ data, env: shim.env, under });
  await result(server.url, 'PUT', '/collections/c', { vectors: { size: 4, distance: 'Dot' } });
  const rig = {
    data, shim, server, acknowledged: new Set<number>(), refused: new Set<number>(),
    [Symbol.asyncDispose]: async () => {
      await rig.server.kill();
      shim[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
  return rig;
}

async function write(rig: Rig, wait = true): Promise<{ readonly status: number; readonly error: string }> {
  const id = rig.acknowledged.size + rig.refused.size;
  const body = { points: [{ id, vector: [id, 1, 2, 3], payload: { text: `${id} `.repeat(100) } }] };
  const { status, error } = await call(rig.server.url, 'PUT', `/collections/c/points?wait=${wait}`, { body }).catch((cause: unknown) => ({ status: 0, error: String(cause) }));
  (status === 200 ? rig.acknowledged : rig.refused).add(id);
  return { status, error };
}

async function writeWell(rig: Rig, count: number, wait = true): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    const { status, error } = await write(rig, wait);
    assert.equal(status, 200, error);
  }
}

/** After a kill and a start: each acknowledged point, and of the others only refused ones. */
async function checkAfterKill(rig: Rig, title: string): Promise<void> {
  await rig.server.kill();
  await assertSound(rig.data, title);
  rig.server = await startServer({ data: rig.data, env: rig.shim.env });
  const { points } = (await result(rig.server.url, 'POST', '/collections/c/points/scroll', { limit: 10_000 })) as { points: { id: number }[] };
  const found = new Set(points.map(({ id }) => id));
  for (const id of rig.acknowledged) assert.ok(found.has(id), `${title}: ${id} was acknowledged`);
  for (const id of found) assert.ok(rig.acknowledged.has(id) || rig.refused.has(id), `${title}: ${id} was never sent`);
}

for (const wait of [true, false]) {
  test(`100 writes one after another, wait=${wait}: at least 100 syncs of the log`, skip, async (t) => {
    await using rig = await openRig();
    rig.shim.arm({ mode: 'watch', path: '/logs/', kinds: ['sync'] });
    await writeWell(rig, 100, wait);
    const { fdatasyncs } = rig.shim.counts();
    t.diagnostic(`${fdatasyncs} fdatasync calls`);
    assert.ok(fdatasyncs >= 100, `${fdatasyncs} fdatasync calls for 100 acknowledged writes`);
    await checkAfterKill(rig, 'after 100 writes');
  });
}

test('writes that arrive together share a sync, and none is answered without one', skip, async (t) => {
  await using rig = await openRig();
  rig.shim.arm({ mode: 'watch', path: '/logs/', kinds: ['sync'] });
  const bodies = Array.from({ length: 200 }, (_, id) => ({ points: [{ id, vector: [id, 1, 2, 3] }] }));
  await Promise.all(bodies.map(async (body, id) => {
    await result(rig.server.url, 'PUT', '/collections/c/points?wait=true', body);
    rig.acknowledged.add(id);
  }));
  const { fdatasyncs } = rig.shim.counts();
  t.diagnostic(`${fdatasyncs} fdatasync calls for 200 writes at once`);
  assert.ok(fdatasyncs > 0 && fdatasyncs < 200, `${fdatasyncs} fdatasync calls for 200 writes at once`);
  await checkAfterKill(rig, 'after 200 writes at once');
});

/** Log files by name, with what tells one file from its replacement. */
function logInodes(data: string): ReadonlyMap<string, number> {
  const names = readdirSync(data, { recursive: true, encoding: 'utf8' }).filter((name) => /\/logs\/\d+$/.test(name));
  return new Map(names.map((name) => [name, statSync(path.join(data, name)).ino]));
}

interface Failure extends Omit<ShimFault, 'path'> {
  readonly name: string;
  /** How many of the writes under it are refused, and with what status. */
  readonly refused: number;
  readonly status: number;
  /** Whether what was written before may not be trusted any more and has to stand in a new file. */
  readonly isRewritten: boolean;
}

// A short write is tried again by the runtime and by the log, so a full disk refuses two more calls.
const failures: readonly Failure[] = [
  { name: 'a failed sync', mode: 'fail', kinds: ['sync'], refused: 1, status: 500, isRewritten: true },
  { name: 'a failed write', mode: 'fail', kinds: ['write'], refused: 1, status: 500, isRewritten: false },
  { name: 'a full disk', mode: 'fail', kinds: ['write'], error: 'ENOSPC', refused: 1, status: 507, isRewritten: false },
  { name: 'a short write that goes on', mode: 'short', kinds: ['write'], refused: 0, status: 200, isRewritten: false },
  { name: 'a short write on a full disk', mode: 'short', kinds: ['write'], count: 3, error: 'ENOSPC', refused: 1, status: 507, isRewritten: false },
];

test('where the system fails a write or a sync, nothing is acknowledged that a kill could lose, and writing goes on', skip, async (t) => {
  await using rig = await openRig();
  for (const { name, refused, status, isRewritten, ...fault } of failures) {
    await writeWell(rig, 5);
    const before = logInodes(rig.data);
    rig.shim.arm({ ...fault, path: '/logs/' });
    const answers: { readonly status: number; readonly error: string }[] = [];
    for (let at = 0; at < refused || at === 0; at += 1) answers.push(await write(rig));
    assert.deepEqual(answers.map((answer) => answer.status), Array.from(answers, () => status), `${name}: ${answers[0]?.error}`);
    assert.ok(rig.shim.counts().faults > 0, `${name} was met`);
    await writeWell(rig, 5);
    const after = logInodes(rig.data);
    const kept = [...before].filter(([file, inode]) => after.get(file) === inode).length;
    assert.equal(kept === 0, isRewritten, `${name}: the log file is ${isRewritten ? 'rewritten' : 'kept'}`);
    await checkAfterKill(rig, name);
  }
  t.diagnostic(`${rig.acknowledged.size} acknowledged, ${rig.refused.size} refused, 0 lost`);
});

test('syncs that go on failing: no write is acknowledged until the file stands anew', skip, async () => {
  await using rig = await openRig();
  await writeWell(rig, 5);
  rig.shim.arm({ mode: 'fail', path: '/logs/', kinds: ['sync'], count: 1_000_000 });
  for (let at = 0; at < 5; at += 1) assert.equal((await write(rig)).status, 500);
  rig.shim.arm({ mode: 'watch', path: '/logs/', kinds: ['sync'] });
  await writeWell(rig, 5);
  await checkAfterKill(rig, 'after syncs that went on failing');
});

test('killed in the middle of a write of the log: the tail is cut, reported, and nothing else is missing', skip, async () => {
  await using rig = await openRig();
  await writeWell(rig, 10);
  rig.shim.arm({ mode: 'torn', path: '/logs/', kinds: ['write'] });
  assert.equal((await write(rig)).status, 0, 'the process is gone');
  rig.shim.arm({ mode: 'watch', path: '/logs/' });
  await checkAfterKill(rig, 'after half a write');
  assert.match(rig.server.output(), /"tornTailBytes":\d+/);
});

/** Every call of Linux that changes a file or a folder; of opens only those that make or empty a file count. */
const changingCalls = [
  'open', 'openat', 'openat2', 'creat', 'write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'fsync', 'fdatasync', 'sync_file_range', 'truncate', 'ftruncate', 'fallocate',
  'rename', 'renameat', 'renameat2', 'link', 'linkat', 'symlink', 'symlinkat', 'unlink', 'unlinkat', 'rmdir', 'mkdir', 'mkdirat', 'copy_file_range', 'sendfile', 'msync',
];

function countCalls(trace: string, data: string): { readonly seen: number; readonly fdatasyncs: number } {
  const lines = readFileSync(trace, 'utf8').split('\n').map((line) => line.replace(/^\d+ +/, ''));
  const isWatched = (line: string): boolean => (/^(pwrite|write)/.test(line) ? line.includes(`<${data}`) : line.includes(data)); // what is written may name the folder too
  const calls = lines.filter((line) => !line.startsWith('<... ') && isWatched(line)).filter((line) => !line.startsWith('open') || /O_CREAT|O_TRUNC/.test(line));
  return { seen: calls.length, fdatasyncs: calls.filter((line) => line.startsWith('fdatasync')).length };
}

test('the shim sees every call that changes a file, and strace counts as many syncs', { ...skip, ...skipReason(straceMissing) }, async (t) => {
  await using folder = await temporaryFolder();
  const trace = path.join(folder.path, 'trace');
  await using rig = await openRig(['strace', '-f', '-qq', '-y', '-s', '512', '-o', trace, '-e', `trace=${changingCalls.join(',')}`]);
  await writeWell(rig, 20);
  await result(rig.server.url, 'POST', '/collections/c/snapshots');
  await result(rig.server.url, 'DELETE', '/collections/c');
  const ended = once(rig.server.child, 'close');
  process.kill(Number(must(/pid (\d+)/.exec(readFileSync(path.join(rig.data, 'LOCK'), 'utf8'))?.[1], 'the lock names its holder')));
  await ended;
  const { seen, fdatasyncs } = rig.shim.counts();
  t.diagnostic(`${seen} changing calls, ${fdatasyncs} of them fdatasync`);
  assert.ok(fdatasyncs >= 20);
  assert.deepEqual(countCalls(trace, rig.data), { seen, fdatasyncs });
});
