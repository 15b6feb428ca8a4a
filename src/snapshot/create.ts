// A snapshot, step by step: name → freeze → manifest → link → publish → checksum.
import type { Disk } from '../fs/disk.ts';
import { CorruptionError } from '../base/errors.ts';
import type { SnapshotSource } from '../collection/snapshot-source.ts';
import { layoutOf } from './archive-layout.ts';
import { archiveParts } from './archive-write.ts';
import { describe, type NameReservation, type SnapshotCatalog } from './catalog.ts';
import type { SnapshotDescription } from './description.ts';
import type { Hasher } from './hasher.ts';
import type { JobHandle } from './jobs.ts';
import { linkShards } from './link.ts';
import { manifestOf, type SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';
import { publish } from './publish.ts';
import { readSealedManifest } from './stored-folder.ts';

export interface CreateContext {
  readonly disk: Disk;
  readonly source: SnapshotSource;
  readonly catalog: SnapshotCatalog;
  readonly hasher: Hasher;
  readonly peerId: number;
  readonly productVersion: string;
}

/** @param collection its real name. Answers when the snapshot is durable and proved: its checksum covers every byte of it.
 *  @throws CorruptionError where a live file is not what it was when it was sealed; the snapshot is then removed. */
export async function createSnapshot(context: CreateContext, collection: string, job: JobHandle): Promise<SnapshotDescription> {
  const reservation = await context.catalog.reserve(collection);
  try {
    await job.nameSnapshot(reservation.name);
    const sealed = await freezeAndPublish(context, collection, { reservation, job });
    job.progress({ phase: 'verifying', bytesTotal: layoutOf(sealed).sizeBytes });
    const checksum = await proveSnapshot(context, reservation.path, job).catch(async (error: unknown) => {
      if (error instanceof CorruptionError) await context.catalog.delete(collection, reservation.name);
      throw error;
    });
    return describe({
      kind: 'folder', name: reservation.name, path: reservation.path, createdAtMs: reservation.atMs, sizeBytes: layoutOf(sealed).sizeBytes, etag: sealed.sha256, checksum,
    });
  } finally {
    reservation.release();
  }
}

async function freezeAndPublish(context: CreateContext, collection: string, at: { readonly reservation: NameReservation; readonly job: JobHandle }): Promise<SealedManifest> {
  const { disk, source, catalog, hasher, peerId, productVersion } = context;
  const { reservation, job } = at;
  const older = (await catalog.list(collection)).filter(({ kind }) => kind === 'folder').map((stored) => stored.path).reverse();
  const folder = catalog.temporaryBeside(reservation.path);
  job.progress({ phase: 'freezing' });
  const frozen = await source.freeze(collection);
  try {
    const sealed = await manifestOf(frozen, { createdAtMs: reservation.atMs, productVersion, peerId });
    await parseManifest(sealed.text); // a snapshot that our own reader would refuse must not come to be
    job.progress({ phase: 'linking' });
    await disk.makeDirectory(folder);
    await linkShards({ disk, hasher, folder, shards: frozen.shards, older, signal: job.signal });
    job.signal.throwIfAborted();
    await publish(disk, sealed, { folder, target: reservation.path });
    return sealed;
  } catch (error) {
    await disk.removeTree(folder).catch(() => undefined); // the first error counts; a start sweeps what is left
    throw error;
  } finally {
    frozen.release();
  }
}

/** Reads the whole archive once: each file against its own sha256, all of it into the checksum that is stored beside it.
 *  @throws CorruptionError naming the first file that is damaged. */
export async function proveSnapshot({ catalog, hasher }: Pick<CreateContext, 'catalog' | 'hasher'>, snapshotPath: string, job: Pick<JobHandle, 'signal' | 'progress'>): Promise<string> {
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
