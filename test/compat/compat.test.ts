// What earlier versions wrote is read by this one: copies of their data directories verify deep, open and answer what they held, and
// their archives restore. scripts/compat-corpus.mjs adds the folder of a new version.
import assert from 'node:assert/strict';
import { cpSync, createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { verifyPath } from '../../src/engine/verify.ts';
import { productVersion } from '../../src/engine/version.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { root } from '../support/server-process.ts';
import { openSmall } from '../support/small-data.ts';
import { collection, contentsOf, factsOf, makeCorpus, type Expected } from './corpus.ts';

const corpus = path.join(root, 'test', 'compat');
const versions = readdirSync(corpus, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();

async function readCorpus(folder: string): Promise<Expected> {
  await using copy = await temporaryFolder();
  cpSync(folder, copy.path, { recursive: true });
  const data = path.join(copy.path, 'data');
  for (const place of [data, path.join(copy.path, 'archive.snapshot')]) assert.deepEqual((await verifyPath(new NodeDisk(), place, { deep: true })).problems, [], place);
  await using engine = await openSmall({ data, snapshots: path.join(copy.path, 'snapshots') });
  const found = { aliases: engine.aliases(), ...factsOf(engine, collection), data: await contentsOf(engine, collection) };
  const checksum = readFileSync(path.join(copy.path, 'archive.snapshot.checksum'), 'latin1').trim();
  await engine.snapshots.upload('restored', createReadStream(path.join(copy.path, 'archive.snapshot')), { priority: 'snapshot', checksum });
  assert.deepEqual(factsOf(engine, 'restored'), factsOf(engine, collection));
  return { ...found, archive: await contentsOf(engine, 'restored') };
}

test('there is a corpus of the first version and of this one', () => {
  for (const version of ['0.1.0', productVersion]) assert.ok(versions.includes(version), `${version} is not among ${versions.join(', ')}: scripts/compat-corpus.mjs makes it`);
  for (const version of versions) for (const name of ['data/metastore.json', 'archive.snapshot', 'expected.json']) assert.ok(existsSync(path.join(corpus, version, name)), `${version}/${name}`);
});

for (const version of versions) {
  test(`what ${version} wrote is read and restored by ${productVersion}`, async () => {
    const folder = path.join(corpus, version);
    assert.deepEqual(await readCorpus(folder), JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')));
  });
}

test('a corpus made now is read the same way', async () => {
  await using made = await temporaryFolder();
  await using work = await temporaryFolder();
  await makeCorpus(made.path, work.path);
  assert.deepEqual(await readCorpus(made.path), JSON.parse(readFileSync(path.join(made.path, 'expected.json'), 'utf8')));
});
