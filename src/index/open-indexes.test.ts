import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { openVectorIndexes } from './open-indexes.ts';

const openThere = `import { openVectorIndexes } from ${JSON.stringify(path.join(import.meta.dirname, 'open-indexes.js'))};
openVectorIndexes().then((indexes) => { console.log(indexes.kernel); }, (error) => { console.log(error.name + ': ' + error.message); });`;

test('the kernel in use is native, unless the fallback was asked for', async () => {
  const indexes = await openVectorIndexes();
  console.log(`kernel: ${indexes.kernel}`);
  const asked = process.env['NEARKEEP_NATIVE'] === 'off';
  assert.equal(indexes.kernel === 'wasm', asked, 'no addon was built: install a C++ compiler and run npm run build, or set NEARKEEP_NATIVE=off');
  await indexes.close();
});

for (const [title, env, want] of [
  ['NEARKEEP_NATIVE=off forces the fallback', { NEARKEEP_NATIVE: 'off' }, /^wasm$/],
  ['NEARKEEP_KERNEL names a kernel', { NEARKEEP_KERNEL: 'scalar' }, /^scalar$/],
  ['an unknown kernel is refused by name', { NEARKEEP_KERNEL: 'mmx' }, /^RequestError: NEARKEEP_KERNEL=mmx: this CPU offers .*scalar$/],
] as const) {
  test(title, { skip: process.env['NEARKEEP_NATIVE'] === 'off' }, () => {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', openThere], { env: { ...process.env, ...env }, encoding: 'utf8' });
    assert.match(stdout.trim(), want, stderr);
  });
}
