// Proves a data directory: the metastore's records, every shard they name, and what lies there that none of them names.
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import { uuidPattern } from '../base/ids.ts';
import { FileMetastore, metastoreFileName } from '../collection/file-metastore.ts';
import { byKey } from '../collection/key-places.ts';
import type { Metastore } from '../collection/metastore.ts';
import { collectionDirectory } from '../collection/shard-files.ts';
import { parseShardKeyText, type ShardKey } from '../command/shard-key.ts';
import type { Disk } from '../fs/disk.ts';
import { readManifest } from '../shard/shard-manifest.ts';
import { verifyShard } from '../shard/verify-shard.ts';
import { decodeJob } from '../snapshot/job-record.ts';
import { lockDataDirectory } from './data-directory.ts';
import type { Machine } from './machine.ts';
import type { VerifyFindings } from './verify-report.ts';

export interface DataVerification {
  readonly disk: Disk;
  readonly lock: Machine['lock'];
  readonly deep: boolean;
  readonly findings: VerifyFindings;
  readonly progress?: (place: string) => void;
}

interface ShardRecord {
  readonly id: number;
  readonly generation: number;
  readonly key?: ShardKey;
  /** Kept so that a restore can be undone: proved like the others, but no part of what is served. */
  readonly isKept?: boolean;
}

const keptSuffix = ' (replaced)';

interface NamedCollection {
  readonly name: string;
  readonly uuid: string;
  readonly shards: readonly ShardRecord[];
}

/** What the directory keeps of restores that can be undone: name → uuid of the state before. */
function replacedEntries(directory: unknown): readonly (readonly [string, string])[] {
  const replaced = (directory as { readonly replaced?: Readonly<Record<string, { readonly uuid?: unknown }>> }).replaced ?? {};
  return Object.entries(replaced).map(([name, state]) => [`${name}${keptSuffix}`, String(state.uuid)]);
}

/** Every damaged file is a problem; what the next start would remove is a note. @throws RequestError 'locked' */
export async function verifyData(data: DataVerification, directory: string): Promise<void> {
  const { disk, findings } = data;
  await using _lock = await lockForReading(data, directory);
  const file = path.join(directory, metastoreFileName);
  if ((await disk.findStat(file)) === undefined) {
    findings.problem(file, 'is missing');
    return;
  }
  const collections = await findings.collect(file, async () => {
    await using metastore = await FileMetastore.open(disk, directory);
    return await readCollections(findings, metastore, file);
  });
  if (collections === undefined) return;
  const stat = await disk.stat(file);
  findings.add({ files: 1, bytes: stat.sizeBytes, collections: collections.filter(({ shards }) => shards.length === 0 || shards.some(({ isKept }) => isKept !== true)).length });
  for (const collection of collections) {
    findings.add({ keys: byKey(collection.shards.filter(({ isKept }) => isKept !== true)).size });
    for (const shard of collection.shards) {
      data.progress?.(`${collection.name} shard ${shard.id}`);
      await verifyLiveShard(data, directory, { collection, shard });
    }
  }
  await noteOrphans(data, directory, collections);
  await verifyJobs(data, path.join(directory, 'jobs'));
}

/** Records of jobs, which count for nothing but what they tell. */
async function verifyJobs({ disk, findings }: DataVerification, folder: string): Promise<void> {
  if ((await disk.findStat(folder)) === undefined) return;
  for (const name of (await disk.list(folder)).sort()) {
    const file = path.join(folder, name);
    const bytes = name.endsWith('.json') ? await disk.readFile(file) : undefined;
    if (bytes === undefined) findings.notes.push(`${file}: left over`);
    else if (decodeJob(bytes) === undefined) findings.problem(file, 'is no record of a job, or does not match its sha256');
    findings.add({ files: 1, bytes: bytes?.length ?? 0 });
  }
}

/** A read-only copy cannot be locked, and nobody can serve from it either. */
async function lockForReading({ disk, lock: take, findings }: DataVerification, directory: string): Promise<AsyncDisposable> {
  const lockFile = path.join(directory, 'LOCK');
  const wasThere = (await disk.findStat(lockFile)) !== undefined;
  try {
    const lock = await lockDataDirectory({ disk, lock: take }, directory);
    return { [Symbol.asyncDispose]: async () => {
      if (!wasThere) await disk.removeTree(lockFile);
      await lock.release();
    } };
  } catch (error) {
    if (!['EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw error;
    findings.notes.push(`${directory}: cannot be written, so it was verified without its lock`);
    return { [Symbol.asyncDispose]: () => Promise.resolve() };
  }
}

/** Names, aliases and shard maps; what does not fit together is a problem of the metastore. */
async function readCollections(findings: VerifyFindings, metastore: Metastore, file: string): Promise<readonly NamedCollection[]> {
  const directory = (await metastore.get('dir'))?.value;
  if (directory === undefined) {
    findings.notes.push(`${file}: holds no collections yet`);
    return [];
  }
  const names = textEntries(directory, 'names');
  const aliases = textEntries(directory, 'aliases');
  if (names === undefined || aliases === undefined) {
    findings.problem(file, 'record dir is not of the form {names, aliases}');
    return [];
  }
  const known = new Set(names.map(([name]) => name));
  for (const [alias, target] of aliases) if (!known.has(target)) findings.problem(file, `alias ${alias} leads to no collection`);
  const collections: NamedCollection[] = [];
  for (const [name, uuid] of [...names, ...replacedEntries(directory)]) {
    const record = uuidPattern.test(uuid) ? (await metastore.get(`c.${uuid}`))?.value : undefined;
    const shards = shardRecords(record);
    const isKept = name.endsWith(keptSuffix) && !names.some(([known]) => known === name);
    if (shards === undefined) findings.problem(file, `collection ${name} has no record with a shard map`);
    else collections.push({ name, uuid, shards: [...shards.map((shard) => ({ ...shard, isKept })), ...keptShards(record)] });
  }
  const used = new Set(collections.map(({ uuid }) => `c.${uuid}`));
  for (const key of await metastore.keys('c.')) if (!used.has(key)) findings.notes.push(`${file}: record ${key} has no name`);
  return collections;
}

function textEntries(directory: unknown, member: string): readonly (readonly [string, string])[] | undefined {
  const entries: unknown = typeof directory === 'object' && directory !== null ? (directory as Readonly<Record<string, unknown>>)[member] : undefined;
  if (typeof entries !== 'object' || entries === null) return undefined;
  const found = Object.entries(entries) as readonly (readonly [string, unknown])[];
  return found.every((entry): entry is readonly [string, string] => typeof entry[1] === 'string') ? found : undefined;
}

/** Shards' states before their last restores. */
function keptShards(record: unknown): readonly ShardRecord[] {
  const { replaced = [] } = record as { readonly replaced?: readonly ShardRecord[] };
  return replaced.map(({ id, generation }) => ({ id, generation, isKept: true }));
}

/** undefined unless the map has exactly the shards 0 … shard_number-1, or under custom sharding each with a key and no id twice. */
function shardRecords(record: unknown): readonly ShardRecord[] | undefined {
  const { config, shards } = (record ?? {}) as { readonly config?: { readonly params?: { readonly shard_number?: unknown; readonly sharding_method?: unknown } }; readonly shards?: unknown };
  if (!Array.isArray(shards)) return undefined;
  const places = shards as readonly ShardRecord[];
  if (!places.every((place) => Number.isSafeInteger(place.id) && Number.isSafeInteger(place.generation))) return undefined;
  if (config?.params?.sharding_method === 'custom') {
    const isKeyed = places.every(({ key }) => typeof key === 'string' && parseShardKeyText(key) !== undefined);
    return isKeyed && new Set(places.map(({ id }) => id)).size === places.length ? places : undefined;
  }
  return config?.params?.shard_number !== places.length ? undefined : [...places].sort((a, b) => a.id - b.id).every(({ id }, index) => id === index) ? places : undefined;
}

async function verifyLiveShard({ disk, deep, findings }: DataVerification, dataDirectory: string, at: { readonly collection: NamedCollection; readonly shard: ShardRecord }): Promise<void> {
  const { collection, shard } = at;
  const directory = path.join(collectionDirectory(dataDirectory, collection.uuid), 'shards', `${shard.id}.g${shard.generation}`);
  const verdict = await verifyShard({ disk, directory, deep });
  findings.add({ shards: shard.isKept === true ? 0 : 1, files: verdict.fileCount, bytes: verdict.sizeBytes });
  if (shard.isKept !== true) findings.addPoints(verdict.points);
  findings.problems.push(...verdict.findings);
  // A kept shard is swept when it is opened again; until then what lies there beside its files goes with the folder.
  if (shard.isKept !== true) findings.notes.push(...verdict.leftovers.map((name) => `${directory}/${name}: left over`));
  if (verdict.position === undefined) return;
  const { manifest } = await readManifest(disk, directory);
  if (manifest.collectionUuid === collection.uuid && manifest.shardId === shard.id && manifest.generation === shard.generation) return;
  findings.problem(directory, `is shard ${manifest.shardId} generation ${manifest.generation} of collection ${manifest.collectionUuid}`);
}

/** Folders that no record names: what a create, a restore or a removal left when it was cut off. */
async function noteOrphans({ disk, findings }: DataVerification, dataDirectory: string, collections: readonly NamedCollection[]): Promise<void> {
  const note = async (folder: string, isKnown: (name: string) => boolean): Promise<void> => {
    if ((await disk.findStat(folder))?.isDirectory !== true) return;
    for (const name of await disk.list(folder)) if (!isKnown(name)) findings.notes.push(`${path.join(folder, name)}: left over`);
  };
  const uuids = new Set(collections.map(({ uuid }) => uuid));
  await note(dataDirectory, (name) => !name.startsWith('.staging-'));
  await note(path.join(dataDirectory, 'collections'), (name) => uuids.has(name));
  for (const { uuid, shards } of collections) {
    const wanted = new Set(shards.map(({ id, generation }) => `${id}.g${generation}`));
    await note(path.join(collectionDirectory(dataDirectory, uuid), 'shards'), (name) => wanted.has(name));
  }
}
