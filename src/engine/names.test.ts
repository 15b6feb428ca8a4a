// Names as the library takes them, past every transport: the same rules, and nothing is made of a name that no request could reach.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { Engine } from './engine.ts';
import { verifyPath } from './verify.ts';
import { thisMachine } from './machine.ts';

const bad: readonly (readonly [string, string])[] = [
  ['nothing', ''], ['the folder itself', '.'], ['the folder above', '..'], ['a slash', 'a/b'], ['a way out', '../x'], ['a backslash', 'a\\b'], ['NUL', 'a\0b'],
  ['256 characters', 'n'.repeat(256)], ['256 characters beyond the first plane', '𝄞'.repeat(256)], ['half a character', 'a\ud800'], ['a colon', 'a:b'], ['a star', '*'],
];
const good = ['n'.repeat(255), '𝄞'.repeat(255), '...', 'a b', 'ä%2F', '__proto__', 'constructor', '-', 'aliases'];
const vectors = { size: 2, distance: 'Dot' } as const;
const isRefusal = (error: unknown): boolean => error instanceof RequestError && error.code === 'validation';

async function withEngine(work: (engine: Engine, data: string) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  {
    await using engine = await Engine.open({
      dataDirectory: data, snapshotsDirectory: path.join(data, 'snapshots'), logger: silentLogger, recovery: { urlRecovery: false, boundToLoopback: true },
    });
    await work(engine, data);
  }
  assert.deepEqual((await verifyPath(thisMachine.disk, data, { deep: true })).problems, []);
}

for (const [title, name] of bad) {
  test(`a name of ${title} is refused for collections, aliases and restores`, () => withEngine(async (engine, data) => {
    await engine.createCollection('c', { vectors });
    await engine.changeAliases([{ kind: 'create', alias: 'a', collection: 'c' }]);
    const { name: snapshot } = await engine.snapshots.create('c');
    const folders = readdirSync(path.join(data, 'collections'));
    await assert.rejects(engine.createCollection(name, { vectors }), isRefusal);
    await assert.rejects(engine.changeAliases([{ kind: 'delete', alias: 'a' }, { kind: 'create', alias: name, collection: 'c' }]), isRefusal);
    await assert.rejects(engine.changeAliases([{ kind: 'rename', from: 'a', to: name }]), isRefusal);
    await assert.rejects(engine.snapshots.recover(name, { location: `file://${data}/snapshots/c/${snapshot}`, priority: 'snapshot' }), isRefusal);
    assert.deepEqual([engine.listCollections(), engine.aliases()], [['c'], [{ alias: 'a', collection: 'c' }]]);
    assert.deepEqual(readdirSync(path.join(data, 'collections')), folders);
  }));
}

test('other names are taken as they are', () => withEngine(async (engine) => {
  for (const name of good) await engine.createCollection(name, { vectors });
  assert.deepEqual([...engine.listCollections()].sort(), [...good].sort());
  for (const name of good) {
    await engine.changeAliases([{ kind: 'create', alias: `${Array.from(name).slice(0, 250).join('')}-2`, collection: name }]);
    const { name: snapshot } = await engine.snapshots.create(name);
    assert.ok((await engine.snapshots.list(name)).some((each) => each.name === snapshot));
  }
}));

for (const name of ['', 'a/b', 'a\0b', 'v'.repeat(201), 'a\udc00']) {
  test(`a vector named ${JSON.stringify(name.slice(0, 9))} is refused`, () => withEngine(async (engine) => {
    await assert.rejects(engine.createCollection('c', { vectors: { a: vectors, [name]: vectors } }), isRefusal);
    assert.deepEqual(engine.listCollections(), []);
    await engine.createCollection('c', { vectors: { a: vectors } });
    await assert.rejects(engine.write('c', { kind: 'create-vector', name, params: vectors }, { wait: true }), isRefusal);
  }));
}
