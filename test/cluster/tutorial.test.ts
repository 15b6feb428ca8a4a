// `npm run tutorial` over three nodes: both clients tell the whole story, and whatever goes wrong nothing stays behind.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { runTutorial, skipPython } from '../support/run-tutorial.ts';
import { root } from '../support/server-process.ts';

for (const [client, args, skip] of [['Python', [], skipPython], ['TypeScript', ['--js'], false]] as const) {
  test(`npm run tutorial over three nodes and https restores into a second cluster and leaves nothing behind, in ${client}`, { skip: noNats ?? skip }, async () => {
    const { status, output } = await runTutorial(['--nodes', '3', ...args]);
    assert.equal(status, 0, output);
    assert.match(output, /proved +256 points equal at 8 addresses/);
  });
}

test('npm run tutorial over three nodes leaves nothing behind where it fails', { skip: noNats ?? false }, async () => {
  const { status, output } = await runTutorial(['--nodes', '3', '--js', '--papers', path.join(root, 'no-papers')]);
  assert.equal(status, 1, output);
  assert.match(output, /no-papers/);
});

test('npm run tutorial leaves nothing behind where its nodes do not start', { skip: noNats ?? false }, async () => {
  const { status, output } = await runTutorial(['--nodes', '3', '--js'], { NATS_SERVER_BIN: path.join(root, 'no-nats-server') });
  assert.equal(status, 1, output);
  assert.match(output, /the server ended with \d+ before it listened/);
});
