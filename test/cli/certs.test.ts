// `nearkeep certs create`: what it makes, what it keeps when it is called again, and what it refuses. That a cluster runs on it shows
// test/cluster/tls.test.ts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { cleanEnvironment, program } from '../support/server-process.ts';

function certs(...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, [program, 'certs', ...args], { encoding: 'utf8', env: cleanEnvironment() });
}

test('an authority is made once, and each call gives every node a new certificate of it', async () => {
  await using folder = await temporaryFolder();
  const made = path.join(folder.path, 'certs');
  const read = (name: string): string => readFileSync(path.join(made, name), 'utf8');
  assert.equal(certs('create', made, 'a.example,10.0.0.1', 'b.example').status, 0);
  assert.deepEqual(readdirSync(made).sort(), ['a.example.key', 'a.example.pem', 'b.example.key', 'b.example.pem', 'ca.key', 'ca.pem']);
  for (const name of readdirSync(made)) assert.equal(statSync(path.join(made, name)).mode & 0o077, 0, `${name} is for its owner alone`);
  const [authority, first] = [read('ca.pem'), read('a.example.pem')];
  const issuer = new X509Certificate(authority);
  const node = new X509Certificate(first);
  assert.deepEqual([issuer.ca, node.ca, node.verify(issuer.publicKey)], [true, false, true]);
  assert.deepEqual([node.checkHost('a.example'), node.checkIP('10.0.0.1'), node.checkHost('b.example')], ['a.example', '10.0.0.1', undefined]);
  assert.deepEqual(node.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);

  const again = certs('create', made, 'a.example', '--days', '7', '--json');
  assert.deepEqual((JSON.parse(again.stdout) as { readonly nodes: unknown }).nodes, [{ names: ['a.example'], cert: path.join(made, 'a.example.pem'), key: path.join(made, 'a.example.key') }]);
  assert.equal(read('ca.pem'), authority);
  const renewed = new X509Certificate(read('a.example.pem'));
  assert.ok(renewed.verify(issuer.publicKey) && renewed.fingerprint256 !== node.fingerprint256);
  assert.ok(Date.parse(renewed.validTo) < Date.parse(node.validTo));
});

test('what makes no certificates is refused, and nothing is written', async () => {
  await using folder = await temporaryFolder();
  const made = path.join(folder.path, 'certs');
  for (const [args, text] of [
    [['create'], /needs a folder and the names/], [['create', made], /needs a folder and the names/], [['list', made, 'a'], /needs a folder and the names/],
    [['create', made, '../a'], /is no name or address of a node/], [['create', made, 'a,'], /is no name or address of a node/], [['create', made, 'ca'], /is no name or address of a node/],
    [['create', made, 'a', '--days', '0'], /--days must be 1 to 3650/],
  ] as const) {
    const { status, stderr } = certs(...args);
    assert.deepEqual([status, text.test(stderr)], [2, true], stderr);
  }
  assert.deepEqual(readdirSync(folder.path), []);
  assert.equal(certs('create', made, 'a').status, 0);
  rmSync(path.join(made, 'ca.key'));
  assert.match(certs('create', made, 'b').stderr, /only one is there/);
});
