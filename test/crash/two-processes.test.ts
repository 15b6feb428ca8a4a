// One process per data directory, with and without the native addon in any combination: the second one ends with code 10 and
// names the holder, the first one does not notice, and a kill -9 frees the directory.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { cleanEnvironment, program, startServer } from '../support/server-process.ts';
import { assertSound, result } from './world.ts';

const kinds = { native: {}, fallback: { NEARKEEP_NATIVE: 'off' } } as const;
const kindNames = ['native', 'fallback'] as const;

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...cleanEnvironment(), ...env } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
  return new Promise((resolve) => {
    child.on('close', (code) => {
      resolve({ code, output });
    });
  });
}

/** Every second process on the directory is refused and told who has it. */
async function assertRefused(data: string, holder: number, title: string): Promise<void> {
  const attempts = kindNames.flatMap((kind) => [['serve', '--data', data, '--port', '0'], ['verify', data]].map((args) => ({ kind, args })));
  for (const { kind, args } of attempts) {
    const { code, output } = await run(args, kinds[kind]);
    assert.equal(code, 10, `${title}, then ${kind} ${args[0]}: ${output}`);
    assert.match(output, new RegExp(`is in use by pid ${holder} `), `${title}, then ${kind} ${args[0]}`);
  }
}

for (const kind of kindNames) {
  test(`a ${kind} server has its directory alone, until kill -9`, async () => {
    await using folder = await temporaryFolder();
    const data = path.join(folder.path, 'data');
    const server = await startServer({ data, env: kinds[kind] });
    try {
      await result(server.url, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' } });
      await assertRefused(data, server.pid, kind);
      await result(server.url, 'PUT', '/collections/c/points?wait=true', { points: [{ id: 1, vector: [1, 2] }] });
      assert.deepEqual(await result(server.url, 'POST', '/collections/c/points/count', { exact: true }), { count: 1 });
    } finally {
      await server.kill();
    }
    for (const next of kindNames) {
      const again = await startServer({ data, env: kinds[next] });
      assert.deepEqual(await result(again.url, 'POST', '/collections/c/points/count', { exact: true }), { count: 1 });
      if (next === 'native') await again.kill();
      else assert.equal(await again.stop(), 0);
    }
    assert.deepEqual(await assertSound(data, `${kind}, at the end`), []);
  });
}

test('of processes that start together over what a kill left, exactly one gets the directory', async () => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  for (const mix of [['native', 'fallback', 'native', 'fallback'], ['fallback', 'fallback', 'fallback', 'fallback']] as const) {
    const outcomes = await Promise.allSettled(mix.map((kind) => startServer({ data, env: kinds[kind] })));
    const started = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [String(outcome.reason)] : []));
    for (const server of started) await server.kill();
    assert.equal(started.length, 1, refused.join('\n'));
    for (const reason of refused) assert.match(reason, /ended with 10 /);
  }
});
