// Damage that must not become a loss: a restore over a collection that does not open, and a data directory without its metastore.
import assert from 'node:assert/strict';
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { parsePointId } from '../base/ids.ts';
import { silentLogger } from '../base/logger.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { Engine } from './engine.ts';

function openEngine(folder: string): Promise<Engine> {
  return Engine.open({
    dataDirectory: folder,
    snapshotsDirectory: path.join(folder, 'snapshots'),
    logger: silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

/** A collection with an index, a point, and a snapshot of both; answers where the collection's files lie and the snapshot. */
async function prepare(folder: string, shardNumber: number): Promise<{ readonly shard: string; readonly location: string }> {
  await using engine = await openEngine(folder);
  await engine.createCollection('c', { vectors: { size: 2, distance: 'Dot' }, shardNumber });
  await engine.write('c', { kind: 'create-index', field: 'year', schema: { type: 'integer' } }, { wait: true });
  const id = must(parsePointId(1), 'an integer is a point id');
  await engine.write(
    'c',
    { kind: 'upsert', points: [{ id, vectors: new Map([['', Float32Array.of(1, 2)]]), payload: '{"year":1999}' }] },
    { wait: true },
  );
  const { name } = await engine.snapshots.create('c');
  const { uuid } = engine.collectionInfo('c');
  return {
    shard: path.join(folder, 'collections', uuid, 'shards/0.g0'),
    location: `file://${path.join(folder, 'snapshots/c', name)}`,
  };
}

for (const shardNumber of [1, 2]) {
  test(`a restore over a collection with a shard that does not open brings points and payload indexes back, ${shardNumber} shards`, async () => {
    await using folder = await temporaryFolder();
    const { shard, location } = await prepare(folder.path, shardNumber);
    writeFileSync(path.join(shard, 'manifest.json'), 'damaged');
    await using engine = await openEngine(folder.path);
    assert.equal(engine.collectionInfo('c').status, 'red');
    await assert.rejects(engine.count('c', { exact: true }), /shard 0 refused to open: .*manifest\.json/);
    await engine.snapshots.recover('c', { priority: 'snapshot', location });
    const info = engine.collectionInfo('c');
    assert.equal(info.status, 'green');
    assert.equal(info.points, 1);
    assert.deepEqual([...info.payloadSchema], [['year', { schema: { type: 'integer' }, points: 1 }]]);
  });
}

test('a data directory whose metastore is gone is refused and keeps its collections', async () => {
  await using folder = await temporaryFolder();
  await prepare(folder.path, 1);
  const [metastore, aside] = [path.join(folder.path, 'metastore.json'), path.join(folder.path, 'aside')];
  renameSync(metastore, aside);
  for (let start = 0; start < 2; start += 1)
    await assert.rejects(openEngine(folder.path), /the metastore has no record of names/);
  assert.equal(readdirSync(path.join(folder.path, 'collections')).length, 1);
  rmSync(metastore);
  renameSync(aside, metastore);
  await using engine = await openEngine(folder.path);
  assert.equal(await engine.count('c', { exact: true }), 1);
});
