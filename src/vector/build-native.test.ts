import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const root = path.resolve(import.meta.dirname, '../../..');

/** Builds in a copy of what an installed package has, so that the addon in use stays. */
async function build(env: Readonly<Record<string, string>>): Promise<{ readonly status: number | null; readonly output: string; readonly built: boolean }> {
  const folder = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-build-'));
  try {
    for (const part of ['native', 'scripts/build-native.mjs']) await fs.cp(path.join(root, part), path.join(folder, part), { recursive: true });
    await fs.symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/build-native.mjs'], { cwd: folder, env, encoding: 'utf8' });
    const built = await fs.access(path.join(folder, 'build/nearkeep.node')).then(() => true, () => false);
    return { status, output: stdout + stderr, built };
  } finally {
    await fs.rm(folder, { recursive: true });
  }
}

test('without a compiler: one line, and the install goes on', async () => {
  const { status, output, built } = await build({ PATH: '/nonexistent' });
  assert.deepEqual([status, built], [0, false]);
  assert.match(output, /^nearkeep: no C\+\+ compiler found .*\n$/);
});

test('a CXX that does not run is an error', async () => {
  const { status, output, built } = await build({ PATH: process.env['PATH'] ?? '', CXX: 'no-such-compiler' });
  assert.deepEqual([status, built], [1, false]);
  assert.match(output, /CXX names 'no-such-compiler'/);
});

test('a compile that fails is an error', async () => {
  const folder = await fs.mkdtemp(path.join(tmpdir(), 'nearkeep-cxx-'));
  try {
    const compiler = path.join(folder, 'c++');
    await fs.writeFile(compiler, '#!/bin/sh\ntest "$1" = --version\n', { mode: 0o755 });
    const { status, output, built } = await build({ PATH: process.env['PATH'] ?? '', CXX: compiler });
    assert.deepEqual([status, built], [1, false]);
    assert.match(output, /could not compile .*native\/core\/cpu\.cc/);
  } finally {
    await fs.rm(folder, { recursive: true });
  }
});
