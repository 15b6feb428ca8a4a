// Everything about snapshots that a transport can ask for. Owns the jobs at work; what they do is in the files named after the steps.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { explainDiskError, RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { collectionNotFound } from '../collection/aliases.ts';
import type { RestoreRules, SnapshotSource } from '../collection/snapshot-source.ts';
import type { Disk } from '../fs/disk.ts';
import { SnapshotCatalog, describe } from './catalog.ts';
import { createSnapshot, freezeUnpublished, proveSnapshot, type CreateContext, type UnpublishedSnapshot } from './create.ts';
import type { ArchiveDownload, RecoverOptions, RecoverRequest, RestoreResult, SnapshotDescription } from './description.ts';
import { openArchiveDownload } from './download.ts';
import { systemResolver, type Address } from './fetch.ts';
import type { Hasher } from './hasher.ts';
import type { JobRecord } from './job-record.ts';
import { Jobs, type JobDraft, type JobHandle, type StartedJob } from './jobs.ts';
import { PartialSnapshots } from './partial.ts';
import type { RestorePlan, RestoreTarget } from './preflight.ts';
import { originOf, planRestore, restore, type RestoreContext, type RestoreOrder, type RestoreOrigin, type UrlPolicy } from './restore.ts';
import { scopeText, snapshotMoment, type SnapshotScope } from './snapshot-name.ts';
import { restoreAtStart, type StartRestore } from './start-restore.ts';

const urlIdleMsDefault = 60_000;

export interface SnapshotsOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peerId: number;
  readonly hashes: Hasher;
  readonly source: SnapshotSource;
  readonly snapshotsPath: string;
  /** The data directory: a restore becomes true by renames within it. */
  readonly stagingRoot: string;
  readonly productVersion: string;
  readonly recovery: UrlPolicy;
  /** Wall time, name resolution and patience of the real world, unless a test brings its own. */
  readonly wait?: (timeMs: number) => Promise<void>;
  readonly resolve?: (host: string) => Promise<readonly Address[]>;
  readonly urlIdleMs?: number;
}

export interface SnapshotCounts {
  readonly creating: number;
  readonly recovering: number;
  /** Since the start. */
  readonly created: number;
}

/** A text is the name or alias of a collection. */
export type ScopeLike = string | SnapshotScope;
export type TargetLike = string | RestoreTarget;

export class Snapshots implements AsyncDisposable {
  readonly jobs: Jobs;
  readonly partial: PartialSnapshots;
  readonly #options: SnapshotsOptions;
  readonly #catalog: SnapshotCatalog;
  readonly #create: CreateContext;
  readonly #restore: RestoreContext;
  readonly #closing: AbortController;
  readonly #detached = new Set<Promise<unknown>>();
  /** Folders whose missing checksum has been asked for; one attempt each. */
  readonly #proved = new Set<string>();
  #counts: SnapshotCounts = { creating: 0, recovering: 0, created: 0 };

  private constructor(options: SnapshotsOptions, { catalog, jobs }: { readonly catalog: SnapshotCatalog; readonly jobs: Jobs }) {
    const { disk, source, hashes: hasher, logger, peerId, productVersion, snapshotsPath, stagingRoot, recovery } = options;
    this.jobs = jobs;
    this.#options = options;
    this.#catalog = catalog;
    this.#closing = new AbortController();
    this.#create = { disk, logger, source, catalog, hasher, peerId, productVersion };
    this.#restore = {
      disk, source, catalog, hasher, logger, snapshotsPath, stagingRoot, recovery, userAgent: `nearkeep/${productVersion}`,
      urlIdleMs: options.urlIdleMs ?? urlIdleMsDefault, resolve: options.resolve ?? systemResolver,
    };
    this.partial = new PartialSnapshots({
      create: this.#create, restore: this.#restore, clock: options.clock,
      start: (draft, work, parent) => this.#start('recovering', draft, work, parent),
    });
  }

  /** Opens the snapshots folder and removes what a crash left in it. */
  static async open(options: SnapshotsOptions): Promise<Snapshots> {
    const catalog = await SnapshotCatalog.open({ ...options, wait: options.wait ?? ((timeMs) => sleep(timeMs)) });
    const isCommitted = (record: JobRecord): Promise<boolean> => hasCommitted(record, options.source, catalog);
    const jobs = await Jobs.open({ ...options, directory: path.join(options.stagingRoot, 'jobs'), isCommitted });
    return new Snapshots(options, { catalog, jobs });
  }

  /** In order of name. @throws RequestError 'not-found' where there is no such collection or shard. */
  async list(of: ScopeLike): Promise<readonly SnapshotDescription[]> {
    const found = await explained(this.#catalog.list(this.#scopeOf(of)));
    for (const stored of found) {
      if (stored.kind === 'folder' && stored.checksum === undefined) this.#proveLater(stored.path);
    }
    return found.map(describe);
  }

  /** @throws RequestError 'not-found' */
  async create(of: ScopeLike): Promise<SnapshotDescription> {
    return await this.startCreate(of).done;
  }

  /** @throws RequestError 'not-found' before there is a job */
  startCreate(of: ScopeLike): StartedJob<SnapshotDescription> {
    const scope = this.#scopeOf(of);
    return this.#start('creating', { kind: 'create', target: scopeText(scope) }, async (job) => {
      const description = await createSnapshot(this.#create, scope, job);
      this.#counts = { ...this.#counts, created: this.#counts.created + 1 };
      return description;
    });
  }

  /** Whether there is one of that name, sound or not. @throws RequestError 'not-found' for the scope */
  async has(of: ScopeLike, name: string): Promise<boolean> {
    return await explained(this.#catalog.has(this.#scopeOf(of), name));
  }

  /** @throws RequestError 'not-found' for the scope or the snapshot. The caller releases what it gets. */
  async openDownload(of: ScopeLike, name: string): Promise<ArchiveDownload> {
    const stored = await explained(this.#catalog.get(this.#scopeOf(of), name));
    return await explained(openArchiveDownload(this.#options.disk, this.#catalog, stored));
  }

  /** The state of now as an archive that is in no list; it goes with its reader. */
  async openStream(of: ScopeLike, signal: AbortSignal): Promise<ArchiveDownload> {
    const scope = this.#scopeOf(of);
    return await this.partial.openWhole(scope, signal);
  }

  /** Runs work on the folder of a snapshot of now that nobody else sees. */
  async withFrozen<T>(of: ScopeLike, job: Pick<JobHandle, 'signal' | 'progress'>, work: (frozen: UnpublishedSnapshot) => Promise<T>): Promise<T> {
    const frozen = await freezeUnpublished(this.#create, this.#scopeOf(of), { atMs: snapshotMoment(this.#options.clock), job });
    try {
      return await work(frozen);
    } finally {
      await frozen.remove();
    }
  }

  /** @throws RequestError 'not-found' */
  async delete(of: ScopeLike, name: string): Promise<void> {
    await explained(this.#catalog.delete(this.#scopeOf(of), name));
  }

  /** Restores an archive into a collection that exists, or creates it. On any failure or abort nothing has changed. */
  async upload(into: TargetLike, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): Promise<boolean> {
    await this.startUpload(into, body, options, signal).done;
    return true;
  }

  startUpload(into: TargetLike, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): StartedJob<RestoreResult> {
    const target = this.#targetOf(into);
    return this.#start('recovering', { kind: 'restore', target: targetText(target), source: 'upload' }, async (job) =>
      await restore(this.#restore, { kind: 'body', body }, orderOf(target, options, { job, origin: 'upload' })), signal);
  }

  /** The same from `file://` below the snapshots folder or from a URL; a shard's also by the name of a snapshot of its own. */
  async recover(into: TargetLike, request: RecoverRequest, signal?: AbortSignal): Promise<boolean> {
    await this.startRecover(into, request, signal).done;
    return true;
  }

  startRecover(into: TargetLike, request: RecoverRequest, signal?: AbortSignal): StartedJob<RestoreResult> {
    const target = this.#targetOf(into);
    return this.#start('recovering', { kind: 'restore', target: targetText(target), source: shownLocation(request.location) }, async (job) =>
      await restore(this.#restore, await this.#originOf(target, request), orderOf(target, request, { job, origin: 'recover' })), signal);
  }

  /** What an upload would do. Of the body only the beginning is read. */
  async planUpload(into: TargetLike, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal: AbortSignal): Promise<RestorePlan> {
    const target = this.#targetOf(into);
    return await planRestore(this.#restore, { kind: 'body', body }, orderOf(target, options, { job: asideJob(signal), origin: 'upload' }));
  }

  async planRecover(into: TargetLike, request: RecoverRequest, signal: AbortSignal): Promise<RestorePlan> {
    const target = this.#targetOf(into);
    return await planRestore(this.#restore, await this.#originOf(target, request), orderOf(target, request, { job: asideJob(signal), origin: 'recover' }));
  }

  /** Brings back what the last restore of the collection replaced. @throws RequestError 'not-found' */
  async undo(collection: string): Promise<void> {
    await this.#options.source.undo(this.#realName(collection));
  }

  /** Before the server listens: files that the command line names, all of them or none. */
  async restoreAtStart(request: StartRestore): Promise<void> {
    await restoreAtStart(this.#restore, request, (draft, work) => this.#start('recovering', draft, work).done);
  }

  /** Keeps work that nobody waits for and that is no job: close waits for it, and its failure is logged. */
  detach(work: Promise<unknown>, what: string): void {
    void this.#track(work.catch((error: unknown) => {
      this.#options.logger.error({ job: what, error: error instanceof Error ? error.message : String(error) }, 'job failed');
    }));
  }

  counts(): SnapshotCounts {
    return this.#counts;
  }

  /** Idempotent. Restores that have not reached their commit point are undone, everything else is waited for. */
  async close(): Promise<void> {
    this.#closing.abort(closedError());
    await this.jobs.close();
    while (this.#detached.size > 0) await Promise.allSettled(this.#detached);
    await this.#catalog.leases.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #originOf(target: RestoreTarget, request: RecoverRequest): Promise<RestoreOrigin> {
    return target.kind === 'shard' ? this.partial.shardOrigin(target, request) : originOf(this.#restore, request);
  }

  #realName(collection: string): string {
    const name = this.#options.source.resolve(collection);
    if (name === undefined) throw collectionNotFound(collection);
    return name;
  }

  /** With the real name. @throws RequestError 'not-found' */
  #scopeOf(of: ScopeLike): SnapshotScope {
    const scope: SnapshotScope = typeof of === 'string' ? { kind: 'collection', collection: of } : of;
    if (scope.kind === 'storage') return scope;
    const collection = this.#realName(scope.collection);
    if (scope.kind === 'shard') this.#options.source.checkShard(collection, scope.shardId);
    return { ...scope, collection };
  }

  /** A collection need not exist; a shard must. @throws RequestError 'not-found' */
  #targetOf(into: TargetLike): RestoreTarget {
    const target: RestoreTarget = typeof into === 'string' ? { kind: 'collection', name: into } : into;
    if (target.kind !== 'shard') return target;
    const name = this.#realName(target.name);
    this.#options.source.checkShard(name, target.shardId);
    return { ...target, name };
  }

  /** A create that was cut off by a stop left a sound snapshot without a checksum. */
  #proveLater(folder: string): void {
    if (this.#closing.signal.aborted || this.#catalog.isReserved(folder) || this.#proved.has(folder)) return;
    this.#proved.add(folder);
    this.detach(proveSnapshot(this.#create, folder, asideJob(this.#closing.signal)), `checksum of ${folder}`);
  }

  #start<T>(kind: 'creating' | 'recovering', draft: JobDraft, work: (job: JobHandle) => Promise<T>, parent?: AbortSignal): StartedJob<T> {
    const count = (change: number): void => {
      this.#counts = { ...this.#counts, [kind]: this.#counts[kind] + change };
    };
    const started = this.jobs.start(draft, work, parent === undefined ? {} : { parent });
    count(1);
    const ended = started.done.finally(() => {
      count(-1);
    });
    ended.catch(() => undefined); // in the record, and for whoever awaits it
    return { id: started.id, done: ended };
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const forget = (): void => {
      this.#detached.delete(work);
    };
    this.#detached.add(work);
    work.then(forget, forget);
    return work;
  }
}

function orderOf(target: RestoreTarget, options: RecoverOptions, at: { readonly job: JobHandle; readonly origin: 'upload' | 'recover' }): RestoreOrder {
  const { priority, checksum, schema = 'live', reshard = false } = options;
  // Of the whole storage everything is restored; into one collection, what the request asks for.
  const rules: RestoreRules = target.kind === 'storage'
    ? { config: 'whole', schema: 'snapshot', aliases: 'take', reshard: false }
    : { config: 'content', schema, aliases: options.aliases ?? 'keep', reshard };
  return { target, rules, priority, ...at, ...(checksum === undefined ? {} : { checksum }) };
}

/** Steps that report to nobody. */
function asideJob(signal: AbortSignal): JobHandle {
  return { id: '', signal, isCancelled: () => false, progress: () => undefined, nameSnapshot: () => Promise.resolve(), commit: () => undefined };
}

function targetText(target: RestoreTarget): string {
  switch (target.kind) {
    case 'collection': return target.name;
    case 'shard': return `${target.name}/shards/${target.shardId}`;
    case 'storage': return '/';
  }
}

/** What a start finds of a job that a crash cut off. */
async function hasCommitted(record: JobRecord, source: SnapshotSource, catalog: SnapshotCatalog): Promise<boolean> {
  switch (record.kind) {
    case 'restore': return await source.hasCommitted(record.id);
    case 'create': return record.snapshot !== undefined && (await catalog.find(scopeFromText(record.target), record.snapshot)) !== undefined;
    case 'verify': return false;
  }
}

/** Of a record: the opposite of scopeText. */
function scopeFromText(text: string): SnapshotScope {
  if (text === '/') return { kind: 'storage' };
  const [collection = '', folder, shardId] = text.split('/');
  if (folder !== undefined) return { kind: 'shard', collection, shardId: Number(shardId) };
  return { kind: 'collection', collection };
}

/** Without user, password and query: they may be credentials. */
function shownLocation(location: string): string {
  if (!URL.canParse(location)) return 'location';
  const { protocol, host, pathname } = new URL(location);
  return `${protocol}//${host}${pathname}`;
}

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explainDiskError(error);
  }
}

function closedError(): RequestError {
  return new RequestError('unavailable', 'the server is shutting down');
}
