import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { systemCode } from '../base/errors.ts';
import { diskContract } from './disk.contract.ts';
import { NodeDisk } from './node-disk.ts';
import { temporaryFolder } from './testing/temporary-folder.ts';

diskContract('node disk', async () => {
  const folder = await temporaryFolder();
  return { disk: new NodeDisk(), root: folder.path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
});

test('create does not follow a link that points elsewhere', async () => {
  await using folder = await temporaryFolder();
  await fs.symlink(path.join(folder.path, 'target'), path.join(folder.path, 'link'));
  await assert.rejects(new NodeDisk().create(path.join(folder.path, 'link')), (error) => systemCode(error) === 'EEXIST');
  await assert.rejects(fs.stat(path.join(folder.path, 'target')));
});

test('stat does not follow a link', async () => {
  await using folder = await temporaryFolder();
  await fs.symlink('/etc/hostname', path.join(folder.path, 'link'));
  const stat = await new NodeDisk().stat(path.join(folder.path, 'link'));
  assert.equal(stat.isFile, false);
});
