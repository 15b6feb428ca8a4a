// Everything about snapshots that a transport can ask for. Owns the jobs at work; what they do is in the files named after the steps.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { collectionNotFound } from '../collection/aliases.ts';
import type { SnapshotSource } from '../collection/snapshot-source.ts';
import type { Disk } from '../fs/disk.ts';
import { SnapshotCatalog, describe } from './catalog.ts';
import { createSnapshot, proveSnapshot, type CreateContext } from './create.ts';
import type { ArchiveDownload, RecoverOptions, RecoverRequest, SnapshotDescription } from './description.ts';
import { openArchiveDownload } from './download.ts';
import { systemResolver, type Address } from './fetch.ts';
import type { Hasher } from './hasher.ts';
import type { JobRecord } from './job-record.ts';
import { Jobs, type JobDraft, type JobHandle, type StartedJob } from './jobs.ts';
import { restoreLocation, restoreUpload, type RestoreContext, type UrlPolicy } from './restore.ts';

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

export class Snapshots implements AsyncDisposable {
  readonly jobs: Jobs;
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
    this.#create = { disk, source, catalog, hasher, peerId, productVersion };
    this.#restore = {
      disk, source, catalog, hasher, logger, snapshotsPath, stagingRoot, recovery, userAgent: `nearkeep/${productVersion}`,
      urlIdleMs: options.urlIdleMs ?? urlIdleMsDefault, resolve: options.resolve ?? systemResolver,
    };
  }

  /** Opens the snapshots folder and removes what a crash left in it. */
  static async open(options: SnapshotsOptions): Promise<Snapshots> {
    const catalog = await SnapshotCatalog.open({ ...options, wait: options.wait ?? ((timeMs) => sleep(timeMs)) });
    const isCommitted = (record: JobRecord): Promise<boolean> => hasCommitted(record, options.source, catalog);
    const jobs = await Jobs.open({ ...options, directory: path.join(options.stagingRoot, 'jobs'), isCommitted });
    return new Snapshots(options, { catalog, jobs });
  }

  /** By name or alias, in order of name. @throws RequestError 'not-found' where there is no such collection. */
  async list(collection: string): Promise<readonly SnapshotDescription[]> {
    const found = await this.#catalog.list(this.#realName(collection));
    for (const stored of found) {
      if (stored.kind === 'folder' && stored.checksum === undefined) this.#proveLater(stored.path);
    }
    return found.map(describe);
  }

  /** @throws RequestError 'not-found' */
  async create(collection: string): Promise<SnapshotDescription> {
    return await this.startCreate(collection).done;
  }

  /** @throws RequestError 'not-found' before there is a job */
  startCreate(collection: string): StartedJob<SnapshotDescription> {
    const name = this.#realName(collection);
    return this.#start('creating', { kind: 'create', target: name }, async (job) => {
      const description = await createSnapshot(this.#create, name, job);
      this.#counts = { ...this.#counts, created: this.#counts.created + 1 };
      return description;
    });
  }

  /** @throws RequestError 'not-found' for the collection or the snapshot. The caller releases what it gets. */
  async openDownload(collection: string, name: string): Promise<ArchiveDownload> {
    return openArchiveDownload(this.#options.disk, this.#catalog, await this.#catalog.get(this.#realName(collection), name));
  }

  /** @throws RequestError 'not-found' */
  async delete(collection: string, name: string): Promise<void> {
    await this.#catalog.delete(this.#realName(collection), name);
  }

  /** Restores an archive into a collection that exists, or creates it. On any failure or abort nothing has changed. */
  async upload(collection: string, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): Promise<boolean> {
    return await this.startUpload(collection, body, options, signal).done;
  }

  startUpload(collection: string, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): StartedJob<boolean> {
    return this.#start('recovering', { kind: 'restore', target: collection, source: 'upload' }, async (job) => {
      await restoreUpload(this.#restore, body, { ...options, name: collection, job });
      return true;
    }, signal);
  }

  /** The same from `file://` below the snapshots folder or from a URL. */
  async recover(collection: string, request: RecoverRequest, signal?: AbortSignal): Promise<boolean> {
    return await this.startRecover(collection, request, signal).done;
  }

  startRecover(collection: string, request: RecoverRequest, signal?: AbortSignal): StartedJob<boolean> {
    return this.#start('recovering', { kind: 'restore', target: collection, source: shownLocation(request.location) }, async (job) => {
      await restoreLocation(this.#restore, request, { ...request, name: collection, job });
      return true;
    }, signal);
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

  #realName(collection: string): string {
    const name = this.#options.source.resolve(collection);
    if (name === undefined) throw collectionNotFound(collection);
    return name;
  }

  /** A create that was cut off by a stop left a sound snapshot without a checksum. */
  #proveLater(folder: string): void {
    if (this.#closing.signal.aborted || this.#catalog.isReserved(folder) || this.#proved.has(folder)) return;
    this.#proved.add(folder);
    this.detach(proveSnapshot(this.#create, folder, { signal: this.#closing.signal, progress: () => undefined }), `checksum of ${folder}`);
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

/** What a start finds of a job that a crash cut off. */
async function hasCommitted(record: JobRecord, source: SnapshotSource, catalog: SnapshotCatalog): Promise<boolean> {
  switch (record.kind) {
    case 'restore': return await source.hasCommitted(record.id);
    case 'create': return record.snapshot !== undefined && (await catalog.find(record.target, record.snapshot)) !== undefined;
    case 'verify': return false;
  }
}

/** Without user, password and query: they may be credentials. */
function shownLocation(location: string): string {
  if (!URL.canParse(location)) return 'location';
  const { protocol, host, pathname } = new URL(location);
  return `${protocol}//${host}${pathname}`;
}

function closedError(): RequestError {
  return new RequestError('unavailable', 'the server is shutting down');
}
