// The example of docs/library.md, as a program of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { cleanEnvironment, root, verifySound } from '../support/server-process.ts';

test('examples/library runs, twice over one directory, and leaves it sound', async () => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  for (let run = 0; run < 2; run += 1) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(root, 'dist/examples/library/library.js'), data], {
      encoding: 'utf8',
      env: cleanEnvironment(),
    });
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^found {6}2 0\.707 \{"year":2005\}\nfound {6}3 0\.447 \{"year":2015\}\nsaved .*\nrestored {3}3 points\n$/,
    );
  }
  verifySound(data);
});
