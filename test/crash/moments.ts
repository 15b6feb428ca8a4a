// A run of the script with the disk forked before each change, and what must hold when the power is cut at such a moment.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import path from 'node:path';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { FaultyDisk, isChange, type DecideFault } from '../../src/fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../../src/fs/testing/memory-disk.ts';
import { vectorSpecs } from '../../src/command/collection-config.ts';
import { dataDirectory, openMemoryEngine, points, readEngine, readSnapshot, settle, verifyMemory, type Contents, type EngineWorld } from './memory-engine.ts';
import { script, type Step } from './script.ts';

export interface Moment {
  /** The change that comes next. */
  readonly next: string;
  readonly disk: MemoryDisk;
  /** Steps of the script that were acknowledged. */
  readonly done: number;
}

export interface Recording {
  readonly moments: readonly Moment[];
  /** What is seen after each step, and before the first. */
  readonly worlds: readonly EngineWorld[];
  /** What each snapshot holds, by name. */
  readonly snapshots: ReadonlyMap<string, Contents>;
}

/** @param decide faults of the disk all along: for canaries */
export async function record(decide: DecideFault = () => undefined): Promise<Recording> {
  const disk = new MemoryDisk();
  const moments: Moment[] = [];
  const worlds: EngineWorld[] = [];
  const snapshots = new Map<string, Contents>();
  const watched = new FaultyDisk(disk, (operation) => {
    const next = `${operation.kind} ${operation.path}`;
    if (isChange(operation)) moments.push({ next, disk: disk.fork(), done: Math.max(0, worlds.length - 1) });
    return decide(operation);
  });
  const engine = await openMemoryEngine(watched);
  try {
    worlds.push(await readEngine(engine));
    for (const step of script) {
      await step.run(engine);
      const world = await readEngine(engine);
      for (const { contents, snapshots: names } of Object.values(world.collections)) {
        for (const name of names) if (!snapshots.has(name)) snapshots.set(name, contents);
      }
      worlds.push(world);
    }
    moments.push({ next: 'nothing more', disk: disk.fork(), done: script.length });
  } finally {
    await engine.close();
  }
  return { moments, worlds, snapshots };
}

/** The moments of a start over this disk, as far as the end of its background work. */
export async function recordStart(disk: MemoryDisk, done: number): Promise<readonly Moment[]> {
  const moments: Moment[] = [];
  const watched = new FaultyDisk(disk, (operation) => {
    if (isChange(operation)) moments.push({ next: `${operation.kind} ${operation.path}`, disk: disk.fork(), done });
    return undefined;
  });
  const engine = await openMemoryEngine(watched);
  await settle(engine);
  await engine.close();
  return moments;
}

/** @throws AssertionError, or what the engine throws, where anything is lost, invented or left over. */
export async function checkStart(disk: MemoryDisk, recording: Recording, at: { readonly done: number; readonly place: string }): Promise<void> {
  const { done, place } = at;
  const hasMetastore = (await disk.findStat(path.join(dataDirectory, 'metastore.json'))) !== undefined;
  assert.ok(hasMetastore || done === 0, `${place}: the metastore is there`);
  if (hasMetastore) assert.deepEqual((await verifyMemory(disk)).problems, [], place);
  const engine = await openMemoryEngine(disk);
  try {
    const found = await readEngine(engine);
    const worlds = { old: must(recording.worlds[done], 'a world for each step'), next: recording.worlds[done + 1] };
    assertOneOf(found, worlds, { step: script[done], place });
    for (const [collection, { snapshots }] of Object.entries(found.collections)) {
      for (const name of snapshots) assert.deepEqual(await readSnapshot(engine, collection, name), recording.snapshots.get(name), `${place}: contents of ${name}`);
    }
    await settle(engine);
  } finally {
    await engine.close();
  }
  const { problems, notes } = await verifyMemory(disk);
  assert.deepEqual({ problems, notes, unfinished: await unfinished(disk, dataDirectory) }, { problems: [], notes: [], unfinished: [] }, place);
}

/** A start on what a killed process left, some acknowledged calls, and then the power cut: what was seen is there.
 *  @throws AssertionError, or what the engine throws */
export async function checkCutAfterKill(disk: MemoryDisk, seed: number, place: string): Promise<void> {
  const first = await openMemoryEngine(disk);
  let seen: EngineWorld;
  let platter: MemoryDisk;
  try {
    seen = await useAfterKill(first, seed);
    platter = disk.fork();
  } finally {
    await first.close();
  }
  platter.cutPower(seed % 3 === 0 ? undefined : seededRandom(seed), seed % 3 === 1 ? 'prefix' : 'scattered');
  assert.deepEqual((await verifyMemory(platter)).problems, [], place);
  const engine = await openMemoryEngine(platter);
  try {
    assert.deepEqual(await readEngine(engine), seen, place);
  } finally {
    await engine.close();
  }
}

async function useAfterKill(first: Engine, seed: number): Promise<EngineWorld> {
  for (const name of first.listCollections()) {
    const [vector = ''] = vectorSpecs(first.collectionInfo(name).config.params.vectors).keys();
    await first.write(name, { kind: 'upsert', points: points({ from: 200, to: 203 }, 9, vector) }, { wait: true });
  }
  if (seed % 2 === 0) await settle(first);
  await first.createCollection('after', { vectors: { size: 4, distance: 'Dot' } });
  return await readEngine(first);
}

/** Names of what only a cut-off job leaves. */
export async function unfinished(disk: MemoryDisk, folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of await disk.list(folder)) {
    const at = path.join(folder, name);
    if (/^\.staging-|\.tmp/.test(name)) found.push(at);
    else if ((await disk.stat(at)).isDirectory) found.push(...(await unfinished(disk, at)));
  }
  return found;
}

/** The world before the step under way or after it; for a step that goes shard by shard, each point by itself. */
function assertOneOf(found: EngineWorld, worlds: { readonly old: EngineWorld; readonly next: EngineWorld | undefined }, at: { readonly step: Step | undefined; readonly place: string }): void {
  const { old, next } = worlds;
  if (next === undefined || at.step === undefined) return assert.deepEqual(found, old, at.place);
  if (isDeepStrictEqual(found, next)) return;
  assert.deepEqual(found, at.step.isAtomic ? old : blend(found, old, next), at.place);
}

/** Of each point and each other part the new value where it is found, else the old one. */
export function blend(found: EngineWorld, old: EngineWorld, next: EngineWorld): EngineWorld {
  const collections = Object.fromEntries(Object.entries(old.collections).map(([name, before]) => {
    const [seen, after] = [found.collections[name], next.collections[name]];
    if (seen === undefined || after === undefined) return [name, before];
    const choose = (key: string): [string, unknown][] => {
      const value = isDeepStrictEqual(seen.contents[key], after.contents[key]) ? after.contents[key] : before.contents[key];
      return value === undefined ? [] : [[key, value]];
    };
    const ids = new Set([...Object.keys(before.contents), ...Object.keys(after.contents)]);
    const { contents: _points, ...facts } = isDeepStrictEqual(seen.indexes, after.indexes) ? after : before;
    return [name, { ...facts, contents: Object.fromEntries([...ids].flatMap(choose)) }];
  }));
  return { ...old, collections };
}

/** The platter after a cut at this moment: unsynced pieces are gone, or with a random source some of them. */
export function cutAt(moment: Moment, random?: Random): MemoryDisk {
  const disk = moment.disk.fork();
  disk.cutPower(random);
  return disk;
}
