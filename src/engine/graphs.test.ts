// Graphs of a whole collection: configured, changed by an update, and restored from a snapshot in another engine.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { must } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { ShardLimits } from '../shard/shard-limits.ts';
import { loadAddon } from '../vector/addon.ts';
import { Engine } from './engine.ts';

const limits: ShardLimits = { headBytesMax: 1 << 20, headRowsMax: 1_000, unsealedBytesMax: 64 << 20, logBytesMax: 64 << 20, mergedBytesMax: 512 << 20, quietMs: 20, vacuumRowsMin: 100_000 };
const size = 32;
const skip = loadAddon() === undefined ? 'NEARKEEP_NATIVE=off' : false;

function openEngine(root: string, name: string): Promise<Engine> {
  return Engine.open({
    dataDirectory: path.join(root, name), snapshotsDirectory: path.join(root, 'snapshots'), logger: silentLogger, shardLimits: limits,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

async function untilGreen(engine: Engine): Promise<void> {
  do await new Promise(setImmediate);
  while (engine.collectionInfo('c').status !== 'green');
}

async function search(engine: Engine): Promise<readonly unknown[]> {
  const [hits] = await engine.search('c', [{ target: { kind: 'vector', vector: Float32Array.from({ length: size }, (_, at) => at % 5) }, using: '', limit: 10, offset: 0, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } } }]);
  return must(hits, 'one list').map(({ id, score }) => [id, score]);
}

test('graphs follow the configuration, and a restored collection needs no build', { skip }, async (t) => {
  const root = mkdtempSync(path.join(tmpdir(), 'nearkeep-engine-graphs-'));
  t.after(() => {
    rmSync(root, { recursive: true });
  });
  const random = seededRandom(91);
  let location: string;
  let before: readonly unknown[];
  {
    await using engine = await openEngine(root, 'a');
    await engine.createCollection('c', { vectors: { size, distance: 'Cosine' }, hnswConfig: { full_scan_threshold: 10, m: 0 }, optimizersConfig: { indexing_threshold: 50 } });
    for (let first = 0; first < 4_000; first += 500) {
      const points = Array.from({ length: 500 }, (_, at) => ({ id: (first + at) as PointId, vectors: new Map([['', Float32Array.from({ length: size }, () => random.next())]]), payload: '{}' }));
      await engine.write('c', { kind: 'upsert', points }, { wait: true });
    }
    await untilGreen(engine);
    assert.deepEqual([engine.collectionInfo('c').indexedVectors, engine.graphsBuilt], [0, 0]);
    await engine.updateCollection('c', { hnswConfig: { m: 16 } });
    assert.equal(engine.collectionInfo('c').status, 'yellow');
    await untilGreen(engine);
    assert.ok(engine.collectionInfo('c').indexedVectors >= 3_000, `${engine.collectionInfo('c').indexedVectors} linked: all but a small head and small segments`);
    assert.ok(engine.graphsBuilt >= 1);
    before = await search(engine);
    const snapshot = await engine.snapshots.create('c');
    location = path.join(engine.snapshotsDirectory, 'c', snapshot.name);
  }
  await using other = await openEngine(root, 'b');
  await other.snapshots.recover('c', { location: pathToFileURL(location).href, priority: 'snapshot' });
  await untilGreen(other);
  assert.ok(other.collectionInfo('c').indexedVectors >= 3_000);
  assert.deepEqual(await search(other), before);
  assert.equal(other.graphsBuilt, 0);
});
