// Snapshots of 300 MB pass through a bounded amount of memory, on every way in and out.
import assert from 'node:assert/strict';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'node:test';
import type { PointId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { Engine } from '../../src/engine/engine.ts';
import { verifyStream } from '../../src/engine/verify.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import type { ArchiveDownload } from '../../src/snapshot/description.ts';
import { fileBytes } from '../../src/snapshot/file-bytes.ts';

const dimension = 4096;
const pointCount = 18_500;
const batch = 500;
/** A restore into other shards holds 48 MB of rows that are in no file yet; garbage waits for its collection. */
const extraBytesMax = 125e6;
const options = { priority: 'snapshot' } as const;

/** Heap and buffers of this process; files that are mapped do not count. */
function memory(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The largest growth while `work` runs. */
async function growth(work: () => Promise<unknown>): Promise<number> {
  const before = memory();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, memory());
  }, 5);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return most - before;
}

async function fill(engine: Engine): Promise<void> {
  await engine.createCollection('c', { vectors: { size: dimension, distance: 'Dot' } });
  for (let from = 0; from < pointCount; from += batch) {
    const points = Array.from({ length: batch }, (_, index) => {
      const vector = new Float32Array(dimension);
      for (let at = 0; at < dimension; at += 1) vector[at] = ((from + index) * 31 + at * 7) % 1009;
      return { id: (from + index) as PointId, vectors: new Map([['', vector]]), payload: '{}' };
    });
    await engine.write('c', { kind: 'upsert', points }, { wait: true });
  }
}

test('300 MB in and out: storage, shard, stream, partial, another number of shards, verification', async (t) => {
  await using folder = await temporaryFolder();
  await using engine = await Engine.open({
    dataDirectory: path.join(folder.path, 'storage'), snapshotsDirectory: path.join(folder.path, 'snapshots'), logger: silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true }, undoHours: 0,
  });
  await fill(engine);
  const disk = new NodeDisk();
  const shard = { kind: 'shard', collection: 'c', shardId: 0 } as const;
  const storage = { kind: 'storage' } as const;
  const save = async (download: ArchiveDownload, name: string): Promise<string> => {
    const file = path.join(folder.path, name);
    await pipeline(Readable.from(download.read(0, download.sizeBytes - 1), { objectMode: false }), createWriteStream(file));
    download.release();
    return file;
  };
  const files = { storage: '', stream: '', collection: '', partial: '' };
  await engine.createCollection('spread', { vectors: { size: dimension, distance: 'Dot' }, shardNumber: 3 });
  const steps: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['create and download of the storage', async () => {
      const { name, sizeBytes } = await engine.snapshots.create(storage);
      assert.ok(sizeBytes > 300e6, `${sizeBytes} bytes`);
      files.storage = await save(await engine.snapshots.openDownload(storage, name), 'storage.snapshot');
      await engine.snapshots.delete(storage, name);
    }],
    ['stream of a shard', async () => { files.stream = await save(await engine.snapshots.openStream(shard, new AbortController().signal), 'stream.snapshot'); }],
    ['changes of a shard', async () => {
      const changes = await engine.snapshots.partial.openChanges(shard, [], new AbortController().signal);
      assert.ok(changes !== undefined);
      files.partial = await save(changes, 'partial.snapshot');
    }],
    ['upload of the storage', () => engine.snapshots.upload(storage, fileBytes(disk, files.storage), options)],
    ['upload of a shard', () => engine.snapshots.upload({ kind: 'shard', name: 'c', shardId: 0, isPartial: false }, fileBytes(disk, files.stream), options)],
    ['partial recovery of a shard', () => engine.snapshots.partial.startUpload({ kind: 'shard', name: 'c', shardId: 0, isPartial: true }, fileBytes(disk, files.partial), options).done],
    ['create and download of a collection', async () => {
      const { name } = await engine.snapshots.create('c');
      files.collection = await save(await engine.snapshots.openDownload('c', name), 'c.snapshot');
    }],
    ['another number of shards', () => engine.snapshots.upload('spread', fileBytes(disk, files.collection), { ...options, reshard: true })],
    ['verification of a stream', async () => { assert.deepEqual((await verifyStream(disk, fileBytes(disk, files.collection), { deep: false })).problems, []); }],
    ['verification of what is served', async () => { assert.deepEqual((await engine.startVerify('c', { deep: false }).done).problems, []); }],
  ];
  for (const [title, work] of steps) {
    const started = performance.now();
    const grown = await growth(work);
    t.diagnostic(`${title}: ${(grown / 1e6).toFixed(0)} MB more, ${Math.round(performance.now() - started)} ms`);
    assert.ok(grown < extraBytesMax, `${title} took ${(grown / 1e6).toFixed(0)} MB`);
  }
  assert.deepEqual([engine.collectionInfo('c').points, engine.collectionInfo('spread').points], [pointCount, pointCount]);
});
