// A snapshot, step by step: name → freeze → manifest → link → publish → checksum. One that nobody keeps (a stream, a verification)
// stays in its temporary folder and goes with its reader.
import { must } from '../base/assert.ts';
import type { Logger } from '../base/logger.ts';
import type { FrozenCollection, SnapshotSource } from '../collection/snapshot-source.ts';
import { makeDirectoryDurably } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { layoutOf } from './archive-layout.ts';
import { archiveParts } from './archive-write.ts';
import { describe, type NameReservation, type SnapshotCatalog } from './catalog.ts';
import type { SnapshotDescription } from './description.ts';
import type { Hasher } from './hasher.ts';
import type { JobHandle } from './jobs.ts';
import { linkShards, type FrozenPlace } from './link.ts';
import { manifestOf, placedShards, type SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';
import { publish, writeDescription } from './publish.ts';
import { scopeText, type SnapshotScope } from './snapshot-name.ts';
import { readSealedManifest } from './stored-folder.ts';

export interface CreateContext {
  readonly disk: Disk;
  readonly logger: Logger;
  readonly source: SnapshotSource;
  readonly catalog: SnapshotCatalog;
  readonly hasher: Hasher;
  readonly peerId: number;
  readonly productVersion: string;
}

type Progress = Pick<JobHandle, 'signal' | 'progress'>;

/** @param scope with a collection's real name. Answers when the snapshot is durable and proved: its checksum covers every byte of it.
 *  @throws CorruptionError where a live file is not what it was when it was sealed, or the disk's error; there is no snapshot then.
 *  Only a stop of the process leaves one, sound but without its checksum. */
export async function createSnapshot(context: CreateContext, scope: SnapshotScope, job: JobHandle): Promise<SnapshotDescription> {
  const reservation = await context.catalog.reserve(scope);
  try {
    await job.nameSnapshot(reservation.name);
    const sealed = await freezeAndPublish(context, scope, { reservation, job });
    job.progress({ phase: 'verifying', bytesTotal: layoutOf(sealed).sizeBytes });
    const checksum = await proveSnapshot(context, reservation.path, job).catch(async (error: unknown) => {
      if (!job.signal.aborted || job.isCancelled()) await deleteIfThere(context, scope, reservation.name);
      throw error;
    });
    return describe({
      kind: 'folder', name: reservation.name, path: reservation.path, createdAtMs: reservation.atMs, sizeBytes: layoutOf(sealed).sizeBytes, etag: sealed.sha256, checksum,
    });
  } finally {
    reservation.release();
  }
}

/** Somebody else may have deleted it meanwhile. */
async function deleteIfThere({ catalog }: CreateContext, scope: SnapshotScope, name: string): Promise<void> {
  if ((await catalog.find(scope, name)) !== undefined) await catalog.delete(scope, name);
}

/** A snapshot folder without a name; `remove` it when it has been read. */
export interface UnpublishedSnapshot {
  readonly folder: string;
  readonly sealed: SealedManifest;
  readonly remove: () => Promise<void>;
}

/** @param held names in `files/` that the receiver has: they are left out, and the snapshot is a partial one. */
export async function freezeUnpublished(context: CreateContext, scope: SnapshotScope, options: { readonly atMs: number; readonly held?: ReadonlySet<string>; readonly job: Progress }): Promise<UnpublishedSnapshot> {
  const { disk, catalog } = context;
  const parent = catalog.folderOf(scope);
  await makeDirectoryDurably(disk, parent);
  const folder = catalog.temporaryBeside(`${parent}/-`);
  const sealed = await freezeInto(context, scope, { ...options, folder, older: [], finish: (made) => writeDescription(disk, made, folder) });
  return { folder, sealed, remove: () => disk.removeTree(folder).catch(() => undefined) }; // a start sweeps what is left
}

async function freezeAndPublish(context: CreateContext, scope: SnapshotScope, at: { readonly reservation: NameReservation; readonly job: JobHandle }): Promise<SealedManifest> {
  const { disk, catalog } = context;
  const { reservation, job } = at;
  // Older ones save hashing and space, no more: one that cannot be read stops no new snapshot.
  const older = (await catalog.list(scope).catch(() => [])).filter(({ kind }) => kind === 'folder').map((stored) => stored.path).reverse();
  const folder = catalog.temporaryBeside(reservation.path);
  return await freezeInto(context, scope, {
    folder, older, atMs: reservation.atMs, job, finish: (sealed) => publish(disk, sealed, { folder, target: reservation.path }),
  });
}

interface FreezeOptions {
  /** Made here; gone again where anything fails. */
  readonly folder: string;
  readonly older: readonly string[];
  readonly atMs: number;
  readonly held?: ReadonlySet<string>;
  readonly job: Progress;
  readonly finish: (sealed: SealedManifest) => Promise<void>;
}

async function freezeInto(context: CreateContext, scope: SnapshotScope, options: FreezeOptions): Promise<SealedManifest> {
  const { disk, logger, hasher, peerId, productVersion } = context;
  const { folder, older, atMs, held, job } = options;
  const started = performance.now();
  job.progress({ phase: 'freezing' });
  const frozen = await freeze(context.source, scope);
  try {
    const sealed = await manifestOf(frozen, { createdAtMs: atMs, productVersion, peerId, kind: scope.kind, ...(held === undefined ? {} : { held }) });
    await parseManifest(sealed.text); // a snapshot that our own reader would refuse must not come to be
    job.progress({ phase: 'linking' });
    await disk.makeDirectory(folder);
    await linkShards({ disk, hasher, folder, shards: frozenPlaces(sealed, frozen), older, signal: job.signal });
    job.signal.throwIfAborted();
    await options.finish(sealed);
    logger.info({ of: scopeText(scope), freeze_ms: Math.round(performance.now() - started) }, 'snapshot frozen');
    return sealed;
  } catch (error) {
    await disk.removeTree(folder).catch(() => undefined); // the first error counts; a start sweeps what is left
    throw error;
  } finally {
    for (const each of frozen) each.release();
  }
}

async function freeze(source: SnapshotSource, scope: SnapshotScope): Promise<readonly FrozenCollection[]> {
  switch (scope.kind) {
    case 'collection': return [await source.freeze(scope.collection)];
    case 'shard': return [await source.freeze(scope.collection, scope.shardId)];
    case 'storage': return await source.freezeAll();
  }
}

function frozenPlaces({ manifest }: SealedManifest, frozen: readonly FrozenCollection[]): readonly FrozenPlace[] {
  const byUuid = new Map(frozen.map((collection) => [collection.uuid, collection]));
  return placedShards(manifest).map(({ folder, collection, shard: { shardId, absent } }) => {
    const shard = must(byUuid.get(collection.uuid)?.shards.find((each) => each.shardId === shardId), 'the manifest describes what was frozen');
    return { folder, shard, ...(absent === undefined ? {} : { absent }) };
  });
}

/** Reads the whole archive once: each file against its own sha256, all of it into the checksum that is stored beside it.
 *  @throws CorruptionError naming the first file that is damaged. */
export async function proveSnapshot({ catalog, hasher }: Pick<CreateContext, 'catalog' | 'hasher'>, snapshotPath: string, job: Progress): Promise<string> {
  const lease = catalog.leases.take(snapshotPath);
  try {
    const layout = layoutOf(await readSealedManifest((name) => lease.open(name)));
    const checksum = await lease.use((folder) => hasher.hash(archiveParts(folder, layout), job.signal, (bytesDone) => {
      job.progress({ bytesDone });
    }));
    await catalog.storeChecksum(snapshotPath, checksum);
    return checksum;
  } finally {
    lease.release();
  }
}
