// What holds because something is not there at all: looked for in the source.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../support/server-process.ts';

const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/\.(test|bench|contract)\.ts$|(^|\/)testing\//.test(name))
  .map((name) => ({ name, text: readFileSync(path.join(root, 'src', name), 'utf8') }));

const filesWith = (pattern: RegExp): readonly string[] => sources.filter(({ text }) => pattern.test(text)).map(({ name }) => name);

test('advisory 29: the product starts one program, a cluster\'s nats-server, without a shell and with no word of a request', () => {
  assert.ok(sources.length > 100);
  assert.deepEqual(filesWith(/child_process|\bcluster\.fork\b/), ['cluster/nats-binary.ts', 'cluster/nats-server.ts']);
  assert.deepEqual(filesWith(/\bshell: |\bexec\(.*child|execSync/), []);
  assert.deepEqual(filesWith(/nats-binary\.ts'|nats-server\.ts'/).filter((name) => name.startsWith('api/')), []);
});

test('advisory 21: no text of a request or an archive becomes code, and modules are loaded by fixed names', () => {
  assert.deepEqual(filesWith(/\beval\(|new Function\(|from 'node:vm'/), []);
  assert.deepEqual(filesWith(/\bimport\((?!')/), []);
});

test('advisory 32: only the disk opens files, and no route of the API names it', () => {
  assert.deepEqual(
    filesWith(/from 'node:fs(\/promises)?'/).filter((name) => name.startsWith('api/')),
    [],
  );
});
