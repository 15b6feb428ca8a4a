// A restore, step by step: source of the bytes → preflight → stage and verify → adopt. Nothing outside the staging folder changes
// before `source.adopt`, and that is all or nothing.
import path from 'node:path';
import { must } from '../base/assert.ts';
import { isNoSpace, RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { CollectionShape } from '../collection/compatibility.ts';
import type { AdoptMoment, RestoreRules, SnapshotPriority, SnapshotSource, StagedShard } from '../collection/snapshot-source.ts';
import type { Disk } from '../fs/disk.ts';
import { linkOrCopy } from '../fs/link.ts';
import { badSnapshot } from './archive-error.ts';
import { readArchiveManifest } from './archive-read.ts';
import type { SnapshotCatalog } from './catalog.ts';
import type { RestoreResult } from './description.ts';
import { fetchSnapshot, type Address } from './fetch.ts';
import { fileBytes } from './file-bytes.ts';
import type { Hasher } from './hasher.ts';
import { joinParts, type StagedCollection } from './join-parts.ts';
import type { JobHandle } from './jobs.ts';
import { resolveLocation, type Location } from './location.ts';
import { isWithoutShards, placedShards, shardFolder, type SealedManifest, type SnapshotCollection } from './manifest.ts';
import { preflight, refuseLackOfSpace, type RestorePlan, type RestoreTarget } from './preflight.ts';
import { receiveArchive } from './receive.ts';
import { shareFolder } from './share.ts';
import { openStaging, type Staging } from './staging.ts';
import { readSealedManifest } from './stored-folder.ts';
import { asBadSnapshot, checkChecksum, checkShardManifests } from './verify.ts';

export interface UrlPolicy {
  /** undefined: only while the server listens on loopback. */
  readonly urlRecovery: boolean | undefined;
  readonly boundToLoopback: boolean;
  /** Hosts, addresses and networks beyond the public ones; `*`: all. */
  readonly urlAllow?: readonly string[];
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

export interface RestoreOrder {
  readonly target: RestoreTarget;
  readonly rules: RestoreRules;
  readonly priority: SnapshotPriority;
  /** Of the whole archive; lower-case hex. */
  readonly checksum?: string;
  readonly origin: 'upload' | 'recover';
  readonly job: JobHandle;
}

/** Where the bytes come from. */
export type RestoreOrigin = ({ readonly kind: 'body'; readonly body: AsyncIterable<Uint8Array> } | Location) & { readonly apiKey?: string };

/** The location of a request, once it may be used at all. @throws RequestError with the texts of the API */
export async function originOf({ disk, snapshotsPath, recovery }: RestoreContext, request: { readonly location: string; readonly apiKey?: string }): Promise<RestoreOrigin> {
  const location = await resolveLocation(disk, request.location, snapshotsPath);
  if (location.kind === 'url') refuseUrls(recovery);
  return { ...location, ...(request.apiKey === undefined ? {} : { apiKey: request.apiKey }) };
}

export async function restore(context: RestoreContext, origin: RestoreOrigin, order: RestoreOrder): Promise<RestoreResult> {
  return await restoreTogether(context, [{ origin, order }]);
}

/** What would be done; nothing is read but the manifest. */
export async function planRestore(context: RestoreContext, origin: RestoreOrigin, order: RestoreOrder): Promise<RestorePlan> {
  const sealed = origin.kind === 'folder'
    ? await readSealedManifest((name) => context.disk.openRead(path.join(origin.path, name)))
    : await readArchiveManifest(bytesOf(context, origin, order.job), order.job.signal);
  const plan = await preflight(context, sealed, order);
  if (origin.kind !== 'folder') refuseLackOfSpace(plan, context.stagingRoot);
  return plan;
}

interface Staged {
  readonly sealed: SealedManifest;
  readonly staging: Staging;
  readonly plan: RestorePlan;
  readonly order: RestoreOrder;
}

/** Several archives by one commit: all of them or none. */
export async function restoreTogether(context: RestoreContext, parts: readonly { readonly origin: RestoreOrigin; readonly order: RestoreOrder }[], staged: readonly Staged[] = []): Promise<RestoreResult> {
  const [part, ...others] = parts;
  if (part === undefined) return await adoptStaged(context, staged);
  return await withStaging(context, async (staging) => {
    const { sealed, plan } = await stage(context, part, staging);
    await checkShardManifests(context.disk, staging.path, sealed);
    return await restoreTogether(context, others, [...staged, { sealed, staging, plan, order: part.order }]);
  });
}

async function stage(context: RestoreContext, { origin, order }: { readonly origin: RestoreOrigin; readonly order: RestoreOrder }, staging: Staging): Promise<{ readonly sealed: SealedManifest; readonly plan: RestorePlan }> {
  if (origin.kind === 'folder') return await stageFolder(context, origin.path, { order, staging });
  const { disk } = context;
  const { job } = order;
  job.progress({ phase: 'receiving' });
  let plan: RestorePlan | undefined;
  const { sealed, checksum } = await receiveArchive({
    disk, staging, body: bytesOf(context, origin, job), checksum: order.checksum !== undefined, signal: job.signal,
    onBytes: (bytesDone, bytesTotal) => {
      job.progress({ bytesDone, bytesTotal });
    },
    accept: async (manifest) => {
      plan = await preflight(context, manifest, order);
      while (plan.freeBytes < plan.neededBytes && (await context.source.dropOldestReplaced())) plan = await preflight(context, manifest, order);
      refuseLackOfSpace(plan, context.stagingRoot);
    },
  });
  checkChecksum(order.checksum, checksum, order.origin);
  if (sealed.manifest.isPartial) await completePartial(context, staging, { sealed, order });
  return { sealed, plan: must(plan, 'an archive that was read was accepted') };
}

async function stageFolder(context: RestoreContext, folder: string, at: { readonly order: RestoreOrder; readonly staging: Staging }): Promise<{ readonly sealed: SealedManifest; readonly plan: RestorePlan }> {
  const { disk, catalog, hasher } = context;
  const { order, staging } = at;
  const lease = catalog.leases.take(folder);
  try {
    const sealed = await readSealedManifest((name) => lease.open(name));
    const plan = await preflight(context, sealed, order);
    const checksum = await shareFolder({ disk, hasher, lease, sealed, staging, job: order.job });
    checkChecksum(order.checksum, checksum, order.origin);
    return { sealed, plan };
  } finally {
    lease.release();
  }
}

/** Puts the files that a partial snapshot leaves out beside those it brought: from the shard that it goes into, each proved. */
async function completePartial({ disk, source, hasher }: RestoreContext, staging: Staging, { sealed, order }: { readonly sealed: SealedManifest; readonly order: RestoreOrder }): Promise<void> {
  const [placed] = placedShards(sealed.manifest);
  const { collection, shard, folder } = must(placed, 'a snapshot of a shard has one');
  const live = await source.freeze(order.target.kind === 'shard' ? order.target.name : collection.name, shard.shardId);
  try {
    const files = new Map(live.shards.flatMap(({ files: all }) => all.map((file) => [file.name, file] as const)));
    for (const name of shard.absent ?? []) {
      order.job.signal.throwIfAborted();
      const file = files.get(name);
      if (file === undefined) throw badSnapshot(`${folder}/${name}`, 'is left out of the partial snapshot, and the shard does not have it');
      await hasher.hash([{ kind: 'file', path: file.path, sizeBytes: file.sizeBytes, sha256: file.sha256 }], order.job.signal);
      await linkOrCopy(disk, { from: file.path, to: path.join(staging.path, folder, name) });
    }
    await disk.syncDirectory(path.join(staging.path, folder, 'files'));
  } finally {
    live.release();
  }
}

/** The staging folder is gone afterwards, well or badly; a disk that fills up meanwhile is the caller's 507. */
async function withStaging<T>({ disk, stagingRoot }: RestoreContext, work: (staging: Staging) => Promise<T>): Promise<T> {
  try {
    await using staging = await openStaging(disk, stagingRoot);
    return await work(staging).catch((error: unknown) => {
      throw asBadSnapshot(error, staging.path);
    });
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    const { freeBytes } = await disk.space(stagingRoot);
    throw new RequestError('no-space', `the disk filled up during the restore; ${freeBytes} bytes are free on ${stagingRoot} without it`, { cause: error });
  }
}

async function adoptStaged({ source, logger }: RestoreContext, staged: readonly Staged[]): Promise<RestoreResult> {
  const { order } = must(staged[0], 'a restore has an archive');
  const { job, target, rules } = order;
  job.signal.throwIfAborted();
  job.progress({ phase: 'adopting' });
  const moment: AdoptMoment = {
    restoreId: job.id,
    priority: order.priority,
    signal: job.signal,
    onCommit: () => {
      job.commit();
    },
    onPoints: (pointsDone) => {
      job.progress({ pointsDone });
    },
  };
  const collections = joinParts(staged.flatMap(({ sealed, staging, plan }) => sealed.manifest.collections.map((collection, index) => ({
    collection, name: must(plan.collections[index], 'a plan for each collection').name, shards: stagedShards(sealed, staging, index), createdAtMs: sealed.manifest.createdAtMs,
  })))).filter(({ collection, name, shards }) => shards.length > 0 || source.takesSomeShards === true || (isWithoutShards(collection) && source.config(name) === undefined)); // others: made on a node that held none of the collection's shards
  const points = await adopt(source, { target, rules, moment }, collections);
  job.progress({ pointsDone: points });
  const names = collections.map(({ name }) => name);
  logger.info({ collections: names, target: target.kind, points, priority: order.priority, origin: order.origin }, 'restored');
  return { points, notApplied: [...new Set(staged.flatMap(({ plan }) => plan.collections.flatMap(({ notApplied }) => notApplied)))] };
}

function adopt(source: SnapshotSource, how: { readonly target: RestoreTarget; readonly rules: RestoreRules; readonly moment: AdoptMoment }, collections: readonly StagedCollection[]): Promise<number> {
  const { target, rules, moment } = how;
  if (target.kind === 'shard') {
    const { collection, shards } = must(collections[0], 'a snapshot of a shard has one');
    return source.adoptShard({ ...moment, name: target.name, ...shapeOf(collection), originUuid: collection.uuid, shard: must(shards[0], 'a snapshot of a shard has one') });
  }
  if (collections.length === 0 && target.kind === 'collection') return Promise.resolve(source.points(target.name));
  return source.adopt({
    ...moment, ...rules,
    collections: collections.map(({ collection, name, shards }) => ({ name, ...shapeOf(collection), payloadSchema: collection.payloadSchema, aliases: collection.aliases, originUuid: collection.uuid, shards })),
  });
}

function shapeOf({ config, shardKeys }: SnapshotCollection): CollectionShape {
  return { config, ...(shardKeys === undefined ? {} : { shardKeys }) };
}

function stagedShards({ manifest }: SealedManifest, staging: Staging, index: number): readonly StagedShard[] {
  const { shards } = must(manifest.collections[index], 'an index of the archive');
  return shards.map(({ shardId, position, points }) => ({ id: shardId, directory: path.join(staging.path, shardFolder(manifest.kind, index, shardId)), position, points }));
}

function bytesOf(context: RestoreContext, origin: Exclude<RestoreOrigin, { kind: 'folder' }>, job: JobHandle): AsyncIterable<Uint8Array> {
  switch (origin.kind) {
    case 'body': return origin.body;
    case 'archive': return fileBytes(context.disk, origin.path);
    case 'url': return fetchSnapshot(origin.url, { ...urlOptions(context), signal: job.signal, ...(origin.apiKey === undefined ? {} : { apiKey: origin.apiKey }) });
  }
}

export function urlOptions({ recovery, userAgent, urlIdleMs, resolve }: RestoreContext): Omit<Parameters<typeof fetchSnapshot>[1], 'signal'> {
  return { allowLoopback: recovery.boundToLoopback, allow: recovery.urlAllow ?? [], userAgent, idleMs: urlIdleMs, resolve };
}

/** @throws RequestError 'forbidden' before any network traffic where the configuration says so. */
export function refuseUrls(recovery: UrlPolicy): void {
  if (recovery.urlRecovery ?? recovery.boundToLoopback) return;
  const hint = recovery.urlRecovery === undefined ? '; service.enable_snapshot_url_recovery=true allows it' : '';
  throw new RequestError('forbidden', `Snapshot recovery from remote URLs is disabled in the configuration${hint}`);
}
