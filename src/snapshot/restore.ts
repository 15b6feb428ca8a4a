// A restore, step by step: source of the bytes → stage and verify → adopt. Nothing outside the staging folder changes before
// `source.adopt`, and that is all or nothing.
import path from 'node:path';
import { isNoSpace, RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SnapshotSource } from '../collection/snapshot-source.ts';
import type { Disk } from '../fs/disk.ts';
import type { SnapshotCatalog } from './catalog.ts';
import type { RecoverOptions, RecoverRequest } from './description.ts';
import { fetchSnapshot, type Address } from './fetch.ts';
import { fileBytes } from './file-bytes.ts';
import type { Hasher } from './hasher.ts';
import type { JobHandle } from './jobs.ts';
import { resolveLocation, type Location } from './location.ts';
import type { SealedManifest } from './manifest.ts';
import { receiveArchive } from './receive.ts';
import { shareFolder } from './share.ts';
import { openStaging, type Staging } from './staging.ts';
import { readSealedManifest } from './stored-folder.ts';
import { asBadSnapshot, checkChecksum, checkComplete, checkShardManifests } from './verify.ts';

export interface UrlPolicy {
  /** undefined: only while the server listens on loopback. */
  readonly urlRecovery: boolean | undefined;
  readonly boundToLoopback: boolean;
}

export interface RestoreContext {
  readonly disk: Disk;
  readonly source: SnapshotSource;
  readonly catalog: SnapshotCatalog;
  readonly hasher: Hasher;
  readonly logger: Logger;
  readonly snapshotsPath: string;
  readonly stagingRoot: string;
  readonly recovery: UrlPolicy;
  readonly userAgent: string;
  readonly urlIdleMs: number;
  readonly resolve: (host: string) => Promise<readonly Address[]>;
}

interface Restore extends RecoverOptions {
  readonly name: string;
  readonly origin: 'upload' | 'recover';
  readonly job: JobHandle;
}

export async function restoreUpload(context: RestoreContext, body: AsyncIterable<Uint8Array>, restore: Omit<Restore, 'origin'>): Promise<void> {
  await restoreArchive(context, body, { ...restore, origin: 'upload' });
}

export async function restoreLocation(context: RestoreContext, request: RecoverRequest, restore: Omit<Restore, 'origin' | 'priority'>): Promise<void> {
  const location = await resolveLocation(context.disk, request.location, context.snapshotsPath);
  const order: Restore = { ...restore, priority: request.priority, origin: 'recover' };
  switch (location.kind) {
    case 'folder': await restoreFolder(context, location.path, order); break;
    case 'archive': await restoreArchive(context, fileBytes(context.disk, location.path), order); break;
    case 'url': await restoreArchive(context, urlBytes(context, location, { apiKey: request.apiKey, signal: restore.job.signal }), order); break;
  }
}

async function restoreArchive(context: RestoreContext, body: AsyncIterable<Uint8Array>, restore: Restore): Promise<void> {
  const { disk } = context;
  const { job } = restore;
  job.progress({ phase: 'receiving' });
  await withStaging(context, async (staging) => {
    const { sealed, checksum } = await receiveArchive({
      disk, staging, body, checksum: restore.checksum !== undefined, signal: job.signal,
      onBytes: (bytesDone, bytesTotal) => {
        job.progress({ bytesDone, bytesTotal });
      },
      accept: (manifest) => {
        accept(context, manifest, restore.name);
      },
    });
    checkChecksum(restore.checksum, checksum, restore.origin);
    await adopt(context, { sealed, staging, restore });
  });
}

async function restoreFolder(context: RestoreContext, folder: string, restore: Restore): Promise<void> {
  const { disk, catalog, hasher } = context;
  const lease = catalog.leases.take(folder);
  try {
    const sealed = await readSealedManifest((name) => lease.open(name));
    accept(context, sealed, restore.name);
    await withStaging(context, async (staging) => {
      const checksum = await shareFolder({ disk, hasher, lease, sealed, staging, job: restore.job });
      checkChecksum(restore.checksum, checksum, restore.origin);
      await adopt(context, { sealed, staging, restore });
    });
  } finally {
    lease.release();
  }
}

/** The staging folder is gone afterwards, well or badly; a disk that fills up meanwhile is the caller's 507. */
async function withStaging({ disk, stagingRoot }: RestoreContext, work: (staging: Staging) => Promise<void>): Promise<void> {
  try {
    await using staging = await openStaging(disk, stagingRoot);
    await work(staging).catch((error: unknown) => {
      throw asBadSnapshot(error, staging.path);
    });
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    const { freeBytes } = await disk.space(stagingRoot);
    throw new RequestError('no-space', `the disk filled up during the restore; ${freeBytes} bytes are free on ${stagingRoot} without it`, { cause: error });
  }
}

/** Everything that can be refused from the manifest alone, before anything else is read. */
function accept({ source }: RestoreContext, sealed: SealedManifest, name: string): void {
  const { shards, config } = sealed.manifest.collection;
  if (shards.length === 0 && source.resolve(name) === undefined) {
    throw new RequestError('bad-request', `Invalid snapshot: it holds no shard, so it cannot create collection \`${name}\``);
  }
  source.checkCompatible(name, config);
  if (shards.length > 0) checkComplete(sealed);
}

async function adopt({ disk, source, logger }: RestoreContext, ready: { readonly sealed: SealedManifest; readonly staging: Staging; readonly restore: Restore }): Promise<void> {
  const { sealed, staging, restore } = ready;
  const { config, uuid, shards } = sealed.manifest.collection;
  await checkShardManifests(disk, staging.path, sealed);
  const { job } = restore;
  job.signal.throwIfAborted();
  job.progress({ phase: 'adopting' });
  if (shards.length === 0) return; // made on a node that held none of the collection's shards
  const points = await source.adopt({
    name: restore.name,
    config,
    originUuid: uuid,
    restoreId: job.id,
    onCommit: () => {
      job.commit();
    },
    shards: shards.map(({ shardId, position, points: count }) => ({ id: shardId, directory: path.join(staging.path, String(shardId)), position, points: count })),
  });
  job.progress({ pointsDone: points });
  logger.info({ collection: restore.name, points, priority: restore.priority, origin: restore.origin, made_at: new Date(sealed.manifest.createdAtMs).toISOString() }, 'collection restored');
}

/** @throws RequestError 'forbidden' before any network traffic where the configuration says so. */
function urlBytes(context: RestoreContext, location: Location & { kind: 'url' }, request: { readonly apiKey: string | undefined; readonly signal: AbortSignal }): AsyncIterable<Uint8Array> {
  const { recovery, userAgent, urlIdleMs, resolve } = context;
  if (!(recovery.urlRecovery ?? recovery.boundToLoopback)) {
    const hint = recovery.urlRecovery === undefined ? '; service.enable_snapshot_url_recovery=true allows it' : '';
    throw new RequestError('forbidden', `Snapshot recovery from remote URLs is disabled in the configuration${hint}`);
  }
  return fetchSnapshot(location.url, {
    allowLoopback: recovery.boundToLoopback, userAgent, idleMs: urlIdleMs, signal: request.signal, resolve,
    ...(request.apiKey === undefined ? {} : { apiKey: request.apiKey }),
  });
}
