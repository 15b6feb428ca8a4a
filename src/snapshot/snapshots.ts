// Everything about snapshots that a transport can ask for. Owns the jobs at work; what they do is in the files named after the steps.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { explainDiskError, RequestError } from '../base/errors.ts';
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
  readonly #options: SnapshotsOptions;
  readonly #catalog: SnapshotCatalog;
  readonly #create: CreateContext;
  readonly #restore: RestoreContext;
  readonly #closing: AbortController;
  readonly #jobs = new Set<Promise<unknown>>();
  /** Folders whose missing checksum has been asked for; one attempt each. */
  readonly #proved = new Set<string>();
  #counts: SnapshotCounts = { creating: 0, recovering: 0, created: 0 };

  private constructor(options: SnapshotsOptions, catalog: SnapshotCatalog) {
    const { disk, source, hashes: hasher, logger, peerId, productVersion, snapshotsPath, stagingRoot, recovery } = options;
    this.#options = options;
    this.#catalog = catalog;
    this.#closing = new AbortController();
    this.#create = { disk, logger, source, catalog, hasher, peerId, productVersion, signal: this.#closing.signal };
    this.#restore = {
      disk, source, catalog, hasher, logger, snapshotsPath, stagingRoot, recovery, userAgent: `nearkeep/${productVersion}`,
      urlIdleMs: options.urlIdleMs ?? urlIdleMsDefault, resolve: options.resolve ?? systemResolver,
    };
  }

  /** Opens the snapshots folder and removes what a crash left in it. */
  static async open(options: SnapshotsOptions): Promise<Snapshots> {
    return new Snapshots(options, await SnapshotCatalog.open({ ...options, wait: options.wait ?? ((timeMs) => sleep(timeMs)) }));
  }

  /** By name or alias, in order of name. @throws RequestError 'not-found' where there is no such collection. */
  async list(collection: string): Promise<readonly SnapshotDescription[]> {
    const found = await explained(this.#catalog.list(this.#realName(collection)));
    for (const stored of found) {
      if (stored.kind === 'folder' && stored.checksum === undefined) this.#proveLater(stored.path);
    }
    return found.map(describe);
  }

  /** @throws RequestError 'not-found' */
  async create(collection: string): Promise<SnapshotDescription> {
    const name = this.#realName(collection);
    const description = await this.#job('creating', () => createSnapshot(this.#create, name));
    this.#counts = { ...this.#counts, created: this.#counts.created + 1 };
    return description;
  }

  /** @throws RequestError 'not-found' for the collection or the snapshot. The caller releases what it gets. */
  async openDownload(collection: string, name: string): Promise<ArchiveDownload> {
    const stored = await explained(this.#catalog.get(this.#realName(collection), name));
    return await explained(openArchiveDownload(this.#options.disk, this.#catalog, stored));
  }

  /** @throws RequestError 'not-found' */
  async delete(collection: string, name: string): Promise<void> {
    await explained(this.#catalog.delete(this.#realName(collection), name));
  }

  /** Restores an archive into a collection that exists, or creates it. On any failure or abort nothing has changed. */
  async upload(collection: string, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): Promise<boolean> {
    await this.#job('recovering', () => restoreUpload(this.#restore, body, { ...options, name: collection, signal: this.#until(signal) }));
    return true;
  }

  /** The same from `file://` below the snapshots folder or from a URL. */
  async recover(collection: string, request: RecoverRequest, signal?: AbortSignal): Promise<boolean> {
    await this.#job('recovering', () => restoreLocation(this.#restore, request, { ...request, name: collection, signal: this.#until(signal) }));
    return true;
  }

  /** Keeps a job that nobody waits for: close waits for it, and its failure is logged. */
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
    while (this.#jobs.size > 0) await Promise.allSettled(this.#jobs);
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
    this.detach(proveSnapshot(this.#create, folder), `checksum of ${folder}`);
  }

  #until(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }

  async #job<T>(kind: 'creating' | 'recovering', work: () => Promise<T>): Promise<T> {
    if (this.#closing.signal.aborted) throw closedError();
    const count = (change: number): void => {
      this.#counts = { ...this.#counts, [kind]: this.#counts[kind] + change };
    };
    count(1);
    try {
      return await this.#track(explained(work()));
    } finally {
      count(-1);
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const forget = (): void => {
      this.#jobs.delete(work);
    };
    this.#jobs.add(work);
    work.then(forget, forget);
    return work;
  }
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
