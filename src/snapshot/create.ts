// A snapshot, step by step: name → freeze → manifest → link → publish → checksum.
import type { Disk } from '../fs/disk.ts';
import type { Logger } from '../base/logger.ts';
import type { SnapshotSource } from '../collection/snapshot-source.ts';
import { layoutOf } from './archive-layout.ts';
import { archiveParts } from './archive-write.ts';
import { describe, type NameReservation, type SnapshotCatalog } from './catalog.ts';
import type { SnapshotDescription } from './description.ts';
import type { Hasher } from './hasher.ts';
import { linkShards } from './link.ts';
import { manifestOf, type SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';
import { publish } from './publish.ts';
import { readSealedManifest } from './stored-folder.ts';

export interface CreateContext {
  readonly disk: Disk;
  readonly logger: Logger;
  readonly source: SnapshotSource;
  readonly catalog: SnapshotCatalog;
  readonly hasher: Hasher;
  readonly peerId: number;
  readonly productVersion: string;
  /** Ends the long steps when the process stops. */
  readonly signal: AbortSignal;
}

/** @param collection its real name. Answers when the snapshot is durable and proved: its checksum covers every byte of it.
 *  @throws CorruptionError where a live file is not what it was when it was sealed, or the disk's error; there is no snapshot then.
 *  Only a stop of the process leaves one, sound but without its checksum. */
export async function createSnapshot(context: CreateContext, collection: string): Promise<SnapshotDescription> {
  const reservation = await context.catalog.reserve(collection);
  try {
    const sealed = await freezeAndPublish(context, collection, reservation);
    const checksum = await proveSnapshot(context, reservation.path).catch(async (error: unknown) => {
      if (!context.signal.aborted) await context.catalog.delete(collection, reservation.name);
      throw error;
    });
    return describe({
      kind: 'folder', name: reservation.name, path: reservation.path, createdAtMs: reservation.atMs, sizeBytes: layoutOf(sealed).sizeBytes, etag: sealed.sha256, checksum,
    });
  } finally {
    reservation.release();
  }
}

async function freezeAndPublish(context: CreateContext, collection: string, reservation: NameReservation): Promise<SealedManifest> {
  const { disk, logger, source, catalog, hasher, peerId, productVersion, signal } = context;
  const older = (await catalog.list(collection)).filter(({ kind }) => kind === 'folder').map((stored) => stored.path).reverse();
  const folder = catalog.temporaryBeside(reservation.path);
  const started = performance.now();
  const frozen = await source.freeze(collection);
  try {
    const sealed = await manifestOf(frozen, { createdAtMs: reservation.atMs, productVersion, peerId });
    await parseManifest(sealed.text); // a snapshot that our own reader would refuse must not come to be
    await disk.makeDirectory(folder);
    await linkShards({ disk, hasher, folder, shards: frozen.shards, older, signal });
    await publish(disk, sealed, { folder, target: reservation.path });
    logger.info({ collection, snapshot: reservation.name, freeze_ms: Math.round(performance.now() - started) }, 'snapshot published');
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
export async function proveSnapshot({ catalog, hasher, signal }: Pick<CreateContext, 'catalog' | 'hasher' | 'signal'>, snapshotPath: string): Promise<string> {
  const lease = catalog.leases.take(snapshotPath);
  try {
    const layout = layoutOf(await readSealedManifest((name) => lease.open(name)));
    const checksum = await lease.use((folder) => hasher.hash(archiveParts(folder, layout), signal));
    await catalog.storeChecksum(snapshotPath, checksum);
    return checksum;
  } finally {
    lease.release();
  }
}
