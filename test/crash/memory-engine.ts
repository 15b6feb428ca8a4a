// The whole engine over a disk in memory, and what can be seen of it as one value that can be compared.
import assert from 'node:assert/strict';
import path from 'node:path';
import type { Clock } from '../../src/base/clock.ts';
import { yieldToLoop } from '../../src/base/clock.ts';
import type { PointId } from '../../src/base/ids.ts';
import { silentLogger, type Logger } from '../../src/base/logger.ts';
import { vectorSpecs } from '../../src/command/collection-config.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { Engine } from '../../src/engine/engine.ts';
import type { Machine } from '../../src/engine/machine.ts';
import { verifyPath } from '../../src/engine/verify.ts';
import type { VerifyReport } from '../../src/engine/verify-report.ts';
import type { Disk } from '../../src/fs/disk.ts';
import { plainIndexes } from '../../src/index/testing/plain-indexes.ts';
import { PlainHasher } from '../../src/snapshot/testing/plain-hasher.ts';

export const dataDirectory = '/data';
export const snapshotsDirectory = '/data/snapshots';

/** Seals after a few rows and merges soon, so that a short script meets every kind of file. */
const shardLimits = { headBytesMax: 16 << 20, headRowsMax: 8, unsealedBytesMax: 64 << 20, logBytesMax: 1 << 20, quietMs: Infinity, mergedBytesMax: 1 << 30, vacuumRowsMin: 4 };

function memoryMachine(disk: Disk): Machine {
  return {
    disk,
    lock: () => Promise.resolve({ release: () => Promise.resolve() }),
    openIndexes: () => Promise.resolve(plainIndexes()),
    openHasher: () => new PlainHasher(disk),
  };
}

/** Each look at it is a second later, so that no snapshot waits for a free name. */
function hastyClock(): Clock {
  let seconds = Date.UTC(2026, 0, 1) / 1000;
  return { now: () => (seconds += 1) * 1000, monotonic: () => performance.now() };
}

export function openMemoryEngine(disk: Disk, logger: Logger = silentLogger): Promise<Engine> {
  return Engine.open({
    dataDirectory, snapshotsDirectory, logger, shardLimits, clock: hastyClock(), machine: memoryMachine(disk),
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

export function verifyMemory(disk: Disk): Promise<VerifyReport> {
  return verifyPath(disk, dataDirectory, { deep: true, machine: memoryMachine(disk) });
}

/** No seal, merge or removal that was due is under way any more. */
export async function settle(engine: Engine): Promise<void> {
  for (const name of engine.listCollections()) {
    while (engine.collectionInfo(name).status === 'yellow') await yieldToLoop();
  }
}

/** Id → payload and vectors. */
export type Contents = Readonly<Record<string, unknown>>;

export interface EngineWorld {
  readonly aliases: Readonly<Record<string, string>>;
  readonly collections: Readonly<Record<string, CollectionWorld>>;
}

interface CollectionWorld {
  readonly isSound: boolean;
  readonly vectors: readonly string[];
  readonly indexes: readonly string[];
  readonly snapshots: readonly string[];
  readonly contents: Contents;
}

export async function readEngine(engine: Engine): Promise<EngineWorld> {
  const collections: Record<string, CollectionWorld> = {};
  for (const name of [...engine.listCollections()].sort()) {
    const info = engine.collectionInfo(name);
    collections[name] = {
      isSound: info.status !== 'red',
      vectors: [...vectorSpecs(info.config.params.vectors).keys()].sort(),
      indexes: [...info.payloadSchema.keys()].sort(),
      snapshots: (await engine.snapshots.list(name)).map((snapshot) => snapshot.name),
      contents: await readContents(engine, name),
    };
  }
  return { aliases: Object.fromEntries(engine.aliases().map(({ alias, collection }) => [alias, collection])), collections };
}

export async function readContents(engine: Engine, name: string): Promise<Contents> {
  const selectors = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
  const { points } = await engine.scroll(name, { limit: 100_000, selectors });
  assert.equal(engine.collectionInfo(name).points, points.length, `${name}: as many points as it says`);
  return Object.fromEntries(points.map(({ id, payload, vectors }) => [String(id), { payload, vectors: Array.from(vectors ?? [], ([vector, values]) => [vector, ...values]) }]));
}

/** What the snapshot holds, by restoring it under another name and dropping that again. */
export async function readSnapshot(engine: Engine, collection: string, name: string): Promise<Contents> {
  const restored = 'restored-for-a-look';
  await uploadSnapshot(engine, { collection, name }, restored);
  const contents = await readContents(engine, restored);
  await engine.deleteCollection(restored);
  return contents;
}

export async function uploadSnapshot(engine: Engine, from: { readonly collection: string; readonly name: string }, target: string): Promise<void> {
  const download = await engine.snapshots.openDownload(from.collection, from.name);
  try {
    await engine.snapshots.upload(target, download.read(0, download.sizeBytes - 1), { priority: 'snapshot' });
  } finally {
    download.release();
  }
}

export function snapshotUrl(collection: string, name: string): string {
  return `file://${path.join(snapshotsDirectory, collection, name)}`;
}

/** Points with the ids from … to-1 whose values tell which write they came from. */
export function points(range: { readonly from: number; readonly to: number }, write: number, vector = ''): PointDraft[] {
  return Array.from({ length: range.to - range.from }, (_, at) => {
    const id = range.from + at;
    return { id: id as PointId, vectors: new Map([[vector, Float32Array.of(id, write, 1, -1)]]), payload: JSON.stringify({ n: id, write }) };
  });
}
