import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { kernelsContract } from './kernels.contract.ts';
import { wasmKernels } from './wasm-kernels.ts';

kernelsContract('wasm', wasmKernels);

test('the committed modules are what their sources build', () => {
  const root = path.resolve(import.meta.dirname, '../../..');
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build-wasm.mjs', '--check'], { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
