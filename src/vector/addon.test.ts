import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import { loadAddon } from './addon.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const addonFile = path.join(root, 'build/nearkeep.node');
const withAddon = { skip: process.env['NEARKEEP_NATIVE'] === 'off' };

test('NEARKEEP_NATIVE=off hides the addon', () => {
  const before = process.env['NEARKEEP_NATIVE'];
  process.env['NEARKEEP_NATIVE'] = 'off';
  try {
    assert.equal(loadAddon(), undefined);
  } finally {
    if (before === undefined) delete process.env['NEARKEEP_NATIVE'];
    else process.env['NEARKEEP_NATIVE'] = before;
  }
});

test('a locked file refuses this process and others, until it is released', withAddon, async (t) => {
  const addon = must(loadAddon(), 'the addon is built');
  const file = path.join(await temporaryFolder(t), 'LOCK');
  const lock = must(addon.lockFile(file), 'nobody has the lock');
  assert.equal(addon.lockFile(file), undefined);
  assert.equal(lockElsewhere(file), 'held');
  lock.release();
  lock.release();
  assert.equal(lockElsewhere(file), 'taken');
  must(addon.lockFile(file), 'the other process has ended, and its lock with it').release();
});

test('a lock that cannot be opened says why', withAddon, async (t) => {
  const addon = must(loadAddon(), 'the addon is built');
  const folder = await temporaryFolder(t);
  assert.throws(() => addon.lockFile(path.join(folder, 'absent/LOCK')), { code: 'ENOENT' });
  assert.throws(() => addon.lockFile(folder), { code: 'EISDIR' });
});

test('the lock of a killed process is free', withAddon, async (t) => {
  const addon = must(loadAddon(), 'the addon is built');
  const file = path.join(await temporaryFolder(t), 'LOCK');
  const script = `require(${JSON.stringify(addonFile)}).lockFile(${JSON.stringify(file)}); process.kill(process.pid, 'SIGKILL')`;
  assert.equal(spawnSync(process.execPath, ['-e', script]).signal, 'SIGKILL');
  must(addon.lockFile(file), 'a lock ends with its process').release();
});

test('an exit in the middle of searches is an ordinary exit', withAddon, () => {
  const script = `
    const addon = require(${JSON.stringify(addonFile)});
    const rows = addon.growRows('scalar', 768, 'Cosine', 'float32');
    addon.appendRows(rows, new Uint8Array(3072 * 10000));
    const search = () => addon.searchRows(rows, [new Float32Array(768)], [5], [new Uint32Array(313).fill(0xffffffff)], 0);
    for (let i = 0; i < 20; i++) search();
    search().then(() => process.exit(7));`;
  const { status, signal, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.deepEqual([status, signal], [7, null], stderr);
});

test('a search keeps the process alive, an idle addon does not', withAddon, () => {
  const script = `
    const addon = require(${JSON.stringify(addonFile)});
    const rows = addon.growRows('scalar', 2, 'Dot', 'uint8');
    addon.appendRows(rows, Uint8Array.of(1, 2));
    addon.searchRows(rows, [Float32Array.of(3, 4)], [1], [Uint32Array.of(1)], 0).then((hits) => console.log(hits.scores[0]));`;
  const { status, stdout } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 20_000 });
  assert.deepEqual([status, stdout], [0, '11\n']);
});

test('it works in worker threads, which may end at any time', withAddon, () => {
  const script = `
    const { Worker } = require('node:worker_threads');
    const body = \`
      const addon = require(${JSON.stringify(addonFile)});
      const rows = addon.growRows('scalar', 256, 'Dot', 'uint8');
      addon.appendRows(rows, new Uint8Array(256 * 20000));
      const search = () => addon.searchRows(rows, [new Float32Array(256)], [1], [new Uint32Array(625).fill(0xffffffff)], 0);
      for (let i = 0; i < 10; i++) search();
      search().then(() => require('node:worker_threads').parentPort.postMessage('found'));\`;
    for (let i = 0; i < 4; i++) {
      const worker = new Worker(body, { eval: true });
      worker.once('message', (text) => { console.log(text); worker.terminate(); });
    }`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 30_000 });
  assert.deepEqual([status, stdout], [0, 'found\n'.repeat(4)], stderr);
});

test('searches, bodies and reads are answered while every thread that builds is busy, and those stand back', withAddon, async () => {
  const addon = must(loadAddon(), 'the addon is built');
  const { liftJson } = addon as unknown as { readonly liftJson: (body: Uint8Array) => Promise<unknown> };
  const rows = addon.growRows('scalar', 64, 'Dot', 'float32');
  const random = seededRandom(9);
  addon.appendRows(rows, new Uint8Array(Float32Array.from({ length: 64 * 30_000 }, () => random.next() - 0.5).buffer));
  const order: string[] = [];
  const tickets = [1, 2, 3].map((ticket) => 0xff_00_00_00 + ticket);
  const builds = tickets.map(async (ticket) => {
    await addon.buildGraph(rows, 16, 400, 0, 0, 0, ticket).catch(() => undefined);
    order.push('build');
  });
  const query = new Float32Array(64).fill(1);
  const found = await addon.searchRows(rows, [query], [1], [new Uint32Array(Math.ceil(30_000 / 32)).fill(0xffffffff)], 0);
  assert.equal(found.counts[0], 1);
  assert.notEqual(await liftJson(Buffer.from('{"vector":[1,2]}')), undefined);
  const file = await fs.open(addonFile);
  assert.equal(await addon.readAt(file.fd, new Uint8Array(4), 0), 4);
  await file.close();
  order.push('answers');
  if (process.platform === 'linux') {
    const stats = await Promise.all((await fs.readdir('/proc/self/task')).map((task) => fs.readFile(`/proc/self/task/${task}/stat`, 'utf8')));
    const niceness = stats.map((text) => Number(text.replace(/^.*\) /s, '').split(' ')[16]));
    const own = Math.min(...niceness);
    assert.ok(niceness.filter((value) => value >= Math.min(own + 10, 19)).length >= 2, String(niceness));
  }
  for (const ticket of tickets) addon.cancel(ticket);
  await Promise.all(builds);
  assert.deepEqual(order, ['answers', 'build', 'build', 'build']);
  addon.closeRows(rows);
});

test('no arguments can end the process: they throw, or the call does its work', withAddon, async () => {
  const addon = must(loadAddon(), 'the addon is built') as unknown as Record<string, (...args: unknown[]) => unknown>;
  const rows = addon['growRows']?.('scalar', 2, 'Dot', 'float32');
  addon['appendRows']?.(rows, new Uint8Array(80));
  const anything = fc.oneof(
    fc.constantFrom<unknown>(rows, {}, [], null, undefined, '', 'scalar', 'Dot', 'float32', 0, 1, 2, -1, 0.5, NaN, 2 ** 32, 2 ** 53, 1e300, 10n,
      new Float32Array(2), [new Float32Array(2)], [Float32Array.of(NaN, 1)], new Uint32Array(1), [new Uint32Array(1)], [1], new Uint8Array(7),
      new Uint8Array(8), Symbol('s'), new Proxy({}, {}), () => 1),
    fc.anything(),
  );
  const names = Object.keys(addon).filter((name) => typeof addon[name] === 'function' && name !== 'closeRows' && name !== 'lockFile');
  await fc.assert(fc.asyncProperty(fc.constantFrom(...names), fc.array(anything, { maxLength: 9 }), async (name, args) => {
    try {
      await addon[name]?.(...args);
    } catch (error) {
      assert.ok(error instanceof Error, `${name} threw ${String(error)}`);
    }
  }), { numRuns: 5_000 });
  addon['closeRows']?.(rows);
  assert.throws(() => addon['copyRow']?.(rows, 0), { code: 'ERR_INVALID_ARG' });
  assert.throws(() => addon['readRows']?.(rows, 0, new Uint8Array(8)), { code: 'ERR_INVALID_ARG' });
  assert.throws(() => addon['closeRows']?.(rows), { code: 'ERR_INVALID_ARG' });
});

function lockElsewhere(file: string): string {
  const script = `console.log(require(${JSON.stringify(addonFile)}).lockFile(${JSON.stringify(file)}) === undefined ? 'held' : 'taken')`;
  return spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stdout.trim();
}

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-addon-'));
  t.after(() => fs.rm(folder, { recursive: true }));
  return folder;
}
