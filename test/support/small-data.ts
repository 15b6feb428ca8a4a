// A small data directory on the real disk with every kind of file that nearkeep writes: named vectors of each datatype, payload
// indexes of each type, dead rows, graphs where the addon is there, entries that only the log has, aliases, a snapshot folder and
// its archive. Its contents depend on the seed alone.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { must } from '../../src/base/assert.ts';
import { sha256Hex } from '../../src/base/checksum.ts';
import { yieldToLoop } from '../../src/base/clock.ts';
import type { PointId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { Engine } from '../../src/engine/engine.ts';
import type { FieldSchema } from '../../src/payload/field-schema.ts';

/** Seals after a few rows; nothing is merged, so that dead rows stay. */
const shardLimits = { headBytesMax: 16 << 20, headRowsMax: 40, unsealedBytesMax: 64 << 20, logBytesMax: 1 << 20, mergedBytesMax: 1, quietMs: Infinity, vacuumRowsMin: 100_000 };
const selectors = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
const fields = { tag: 'keyword', n: 'integer', f: 'float', b: 'bool', u: 'uuid', d: 'datetime' } as const;
/** Keywords are tenants: their values have links of their own. */
const schemaOf = (type: FieldSchema['type']): FieldSchema => (type === 'keyword' ? { type, params: { type, is_tenant: true } } : { type });
/** Name → dimension. */
const vectorsOf: Readonly<Record<string, Readonly<Record<string, number>>>> = { mixed: { a: 16, h: 8, u: 8 }, plain: { '': 4 } };

export interface SmallData {
  readonly data: string;
  readonly snapshots: string;
  /** The file; beside it lies its checksum. */
  readonly archive: string;
  readonly snapshotName: string;
}

export function placesBelow(root: string, snapshotName: string): SmallData {
  return { data: path.join(root, 'data'), snapshots: path.join(root, 'snapshots'), archive: path.join(root, 'archives', 'mixed.snapshot'), snapshotName };
}

export function openSmall({ data, snapshots }: Pick<SmallData, 'data' | 'snapshots'>): Promise<Engine> {
  return Engine.open({
    dataDirectory: data, snapshotsDirectory: snapshots, logger: silentLogger, shardLimits, undoHours: 0,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

/** Makes it below `root`, closed in order. @param rows of the larger collection */
export async function makeSmall(root: string, seed: number, rows = 200): Promise<SmallData> {
  const random = seededRandom(seed);
  const engine = await openSmall(placesBelow(root, ''));
  try {
    await engine.createCollection('mixed', {
      vectors: { a: { size: 16, distance: 'Cosine' }, h: { size: 8, distance: 'Dot', datatype: 'float16' }, u: { size: 8, distance: 'Euclid', datatype: 'uint8' } },
      shardNumber: 2, hnswConfig: { m: 8, ef_construct: 32, full_scan_threshold: 10 }, optimizersConfig: { indexing_threshold: 1 },
    });
    await engine.createCollection('plain', { vectors: { size: 4, distance: 'Manhattan' } });
    await engine.changeAliases([{ kind: 'create', alias: 'current', collection: 'mixed' }, { kind: 'create', alias: 'other', collection: 'plain' }]);
    for (const [field, type] of Object.entries(fields)) await engine.write('mixed', { kind: 'create-index', field, schema: schemaOf(type) }, { wait: true });
    await fill(engine, 'mixed', { from: 0, to: rows / 2, random });
    await remove(engine, 'mixed', Array.from({ length: rows / 10 }, (_, at) => at * 3));
    await fill(engine, 'mixed', { from: rows / 2, to: rows, random });
    await fill(engine, 'plain', { from: 0, to: 50, random });
    await settled(engine);
    const { name } = await engine.snapshots.create('mixed');
    const places = placesBelow(root, name);
    await keepArchive(engine, places);
    await engine.write('mixed', { kind: 'set-payload', selector: { kind: 'ids', ids: [rows - 1 as PointId] }, payload: '{"late":true}' }, { wait: true });
    await remove(engine, 'mixed', [rows - 2]);
    await fill(engine, 'plain', { from: 50, to: 53, random });
    await settled(engine);
    return places;
  } finally {
    await engine.close();
  }
}

async function remove(engine: Engine, name: string, ids: readonly number[]): Promise<void> {
  await engine.write(name, { kind: 'delete-points', selector: { kind: 'ids', ids: ids as PointId[] } }, { wait: true });
}

async function fill(engine: Engine, name: string, range: { readonly from: number; readonly to: number; readonly random: Random }): Promise<void> {
  for (let from = range.from; from < range.to; from += 10) {
    const points = Array.from({ length: Math.min(10, range.to - from) }, (_, at) => point(name, from + at, range.random));
    await engine.write(name, { kind: 'upsert', points }, { wait: true });
  }
}

function point(collection: string, id: number, random: Random): PointDraft {
  const vectors = new Map<string, Float32Array>();
  for (const [name, size] of Object.entries(must(vectorsOf[collection], 'known'))) {
    if (name !== 'h' || id % 4 !== 0) vectors.set(name, Float32Array.from({ length: size }, () => 1 + random.below(200)));
  }
  const payload = {
    tag: [`t${random.below(5)}`, `s${id % 7}`], n: random.below(1_000), f: random.below(1_000) / 8, b: id % 2 === 0,
    u: `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`, d: new Date(Date.UTC(2026, 0, 1, id)).toISOString(), text: `prose ${id} äöü`,
  };
  return { id: id as PointId, vectors, payload: JSON.stringify(payload) };
}

/** Nothing that was due is under way any more. */
export async function settled(engine: Engine): Promise<void> {
  for (const name of engine.listCollections()) while (engine.collectionInfo(name).status === 'yellow') await yieldToLoop();
}

async function keepArchive(engine: Engine, { archive, snapshotName }: SmallData): Promise<void> {
  const download = await engine.snapshots.openDownload('mixed', snapshotName);
  const parts: Buffer[] = [];
  for await (const part of download.read(0, download.sizeBytes - 1)) parts.push(Buffer.from(part));
  download.release();
  const bytes = Buffer.concat(parts);
  mkdirSync(path.dirname(archive), { recursive: true });
  writeFileSync(archive, bytes);
  writeFileSync(`${archive}.checksum`, sha256Hex(bytes));
}

/** Every point with all that it has. */
export async function readAll(engine: Engine, name: string): Promise<Readonly<Record<string, unknown>>> {
  const { points } = await engine.scroll(name, { limit: 100_000, selectors });
  assert.equal(engine.collectionInfo(name).points, points.length, `${name}: as many points as it says`);
  const contents: Record<string, unknown> = {};
  for (const { id, payload, vectors } of points) contents[String(id)] = { payload, vectors: Object.fromEntries(Array.from(vectors ?? [], ([vector, values]) => [vector, Array.from(values)])) };
  return contents;
}

/** The best by each vector. */
export async function searchAll(engine: Engine, name: string, vectors = must(vectorsOf[name], 'known')): Promise<Readonly<Record<string, unknown>>> {
  const found: Record<string, unknown> = {};
  for (const [using, size] of Object.entries(vectors)) {
    const vector = Float32Array.from({ length: size }, (_, at) => 1 + ((at * 37) % 100));
    const [hits] = await engine.search(name, [{ target: { kind: 'vector', vector }, using, limit: 5, offset: 0, selectors }]);
    found[using] = must(hits, 'one list').map(({ id, score, payload }) => [String(id), score, payload]);
  }
  return found;
}
