// One process's engine: everything a transport or the library can ask for. Opens in the order lock, metastore, collections,
// snapshots, and closes in reverse. Transports authorise before they call; nothing here knows about keys or wire shapes.
import { systemClock, type Clock } from '../base/clock.ts';
import { runClosers, type Closer } from '../base/closers.ts';
import { explainDiskError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { Catalog, type CatalogOptions } from '../collection/catalog.ts';
import type { ClusterNode } from '../cluster/cluster-node.ts';
import { refuseMember } from '../cluster/own-cluster.ts';
import type { Collections } from '../collection/collections.ts';
import type { CollectionInfo } from '../collection/collection-info.ts';
import { FileMetastore } from '../collection/file-metastore.ts';
import { isSchemaChange } from '../collection/split-operation.ts';
import type { AliasAction, CreateCollection, UpdateCollection } from '../command/collection-config.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { CountRequest, PointRecord, ReadOptions, RetrieveRequest, ScoredRecord, ScrollPage, ScrollRequest, SearchRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions, WriteResult } from '../command/write.ts';
import type { Disk } from '../fs/disk.ts';
import type { VectorIndexes, WalkCounts } from '../index/vector-index.ts';
import type { ShardLimits } from '../shard/shard-limits.ts';
import type { ArchiveDownload } from '../snapshot/description.ts';
import type { StartedJob } from '../snapshot/jobs.ts';
import type { Hasher } from '../snapshot/hasher.ts';
import { Snapshots } from '../snapshot/snapshots.ts';
import type { ClusterSettings } from './cluster-settings.ts';
import { loadPeerId, lockDataDirectory, sweepStaging } from './data-directory.ts';
import { thisMachine, type Machine } from './machine.ts';
import { reportJson } from './verify.ts';
import { VerifyFindings, type VerifyReport } from './verify-report.ts';
import { verifySnapshotFolder } from './verify-snapshot.ts';
import { productVersion } from './version.ts';

export interface EngineOptions {
  readonly dataDirectory: string;
  readonly snapshotsDirectory: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** For tests that seal and merge small data. */
  readonly shardLimits?: ShardLimits;
  readonly recovery: RecoverySettings;
  /** How long what a restore replaces can be brought back; 0: not at all. Default 24. */
  readonly undoHours?: number;
  /** Makes this process a node of a cluster; without it, it is one node by itself. */
  readonly cluster?: ClusterSettings;
  /** Ends an opening that waits for other nodes of a cluster. */
  readonly signal?: AbortSignal | undefined;
  /** For tests: milliseconds between two looks at what is kept for an undo. */
  readonly tidyMs?: number;
  /** For tests on a simulated disk. */
  readonly machine?: Machine;
}

/** Which URLs a recover may fetch (docs/snapshots.md). */
interface RecoverySettings {
  /** undefined: only while the server listens on loopback. */
  readonly urlRecovery: boolean | undefined;
  readonly boundToLoopback: boolean;
  /** Hosts, addresses and networks beyond the public ones; `*`: all. */
  readonly urlAllow?: readonly string[];
}

const undoHoursDefault = 24;
/** Between two looks at what is kept for an undo. */
const tidyMsDefault = 60_000;

interface EngineParts {
  readonly indexes: VectorIndexes;
  readonly peerId: number;
  readonly catalog: Collections;
  readonly cluster: ClusterNode | undefined;
  readonly disk: Disk;
  readonly hashes: Hasher;
  readonly snapshots: Snapshots;
  readonly closers: readonly Closer[];
}

export class Engine implements AsyncDisposable {
  readonly version = productVersion;
  readonly startedAtMs: number;
  readonly kernel: string;
  readonly peerId: number;
  readonly dataDirectory: string;
  readonly snapshotsDirectory: string;
  readonly snapshots: Snapshots;
  readonly #indexes: VectorIndexes;
  readonly #catalog: Collections;
  /** undefined on one node. */
  readonly cluster: ClusterNode | undefined;
  readonly #disk: Disk;
  readonly #hashes: Hasher;
  readonly #closers: readonly Closer[];
  #closed: Promise<void> | undefined;

  private constructor(options: EngineOptions, parts: EngineParts) {
    this.dataDirectory = options.dataDirectory;
    this.snapshotsDirectory = options.snapshotsDirectory;
    this.startedAtMs = (options.clock ?? systemClock).now();
    this.kernel = parts.indexes.kernel;
    this.#indexes = parts.indexes;
    this.peerId = parts.peerId;
    this.snapshots = parts.snapshots;
    this.#catalog = parts.catalog;
    this.cluster = parts.cluster;
    this.#disk = parts.disk;
    this.#hashes = parts.hashes;
    this.#closers = parts.closers;
  }

  /** Opens or creates the data directory. @throws RequestError 'locked' where another process has it; the reason of `signal` where that ended it. */
  static async open(options: EngineOptions): Promise<Engine> {
    const closers: Closer[] = [];
    try {
      return new Engine(options, await openParts(options, closers));
    } catch (error) {
      await runClosers(closers);
      throw explainDiskError(error);
    }
  }

  /** Graphs built since the start; a restore brings its own. */
  get graphsBuilt(): number {
    return this.#indexes.graphsBuilt;
  }

  /** Points whose links these took over from the graphs of merged segments. */
  get graphPointsKept(): number {
    return this.#indexes.pointsKept;
  }

  /** What walks over graphs have done since the start. */
  get walked(): Readonly<WalkCounts> {
    return this.#indexes.walked;
  }

  listCollections(): readonly string[] {
    return this.#catalog.names();
  }

  /** By name or alias. @throws RequestError 'not-found' */
  collectionInfo(name: string): CollectionInfo {
    return this.#catalog.info(name);
  }

  /** Keys of custom sharding, in the order of their creation; undefined under automatic sharding. @throws RequestError 'not-found' */
  shardKeys(name: string): readonly ShardKey[] | undefined {
    const { shardKeys } = this.#catalog.get(name).shape;
    return shardKeys === undefined ? undefined : [...new Set(shardKeys.map(({ key }) => key))];
  }

  collectionExists(name: string): boolean {
    return this.#catalog.resolve(name) !== undefined;
  }

  /** @throws RequestError 'not-found' for the collection or the shard */
  checkShard(name: string, shardId: number): void {
    this.#catalog.checkShard(name, shardId);
  }

  /** The collection behind an alias; any other name as it is. */
  realName(name: string): string {
    return this.#catalog.resolve(name) ?? name;
  }

  async createCollection(name: string, create: CreateCollection): Promise<boolean> {
    await this.#catalog.create(name, create);
    return true;
  }

  async updateCollection(name: string, update: UpdateCollection): Promise<boolean> {
    await this.#catalog.update(name, update);
    return true;
  }

  /** false where there is none of that name. */
  deleteCollection(name: string): Promise<boolean> {
    return this.#catalog.delete(name);
  }

  /** All actions or none. */
  async changeAliases(actions: readonly AliasAction[]): Promise<boolean> {
    await this.#catalog.changeAliases(actions);
    return true;
  }

  /** All aliases, or those of one collection. @throws RequestError 'not-found' */
  aliases(collection?: string): readonly { readonly alias: string; readonly collection: string }[] {
    if (collection === undefined) return this.#catalog.aliases();
    const { name } = this.#catalog.get(collection);
    return this.#catalog.aliases().filter((entry) => entry.collection === name);
  }

  async write(name: string, operation: WriteOperation, options: WriteOptions): Promise<WriteResult> {
    if (isSchemaChange(operation)) return await this.#catalog.changeSchema(name, operation, options);
    return await this.#catalog.get(name).write(operation, options);
  }

  async retrieve(name: string, request: RetrieveRequest, options?: ReadOptions): Promise<readonly PointRecord[]> {
    return await this.#catalog.get(name).retrieve(request, options);
  }

  async scroll(name: string, request: ScrollRequest, options?: ReadOptions): Promise<ScrollPage> {
    return await this.#catalog.get(name).scroll(request, options);
  }

  async count(name: string, request: CountRequest, options?: ReadOptions): Promise<number> {
    return await this.#catalog.get(name).count(request, options);
  }

  /** One list per request, best first. */
  async search(name: string, requests: readonly SearchRequest[], options?: ReadOptions): Promise<readonly (readonly ScoredRecord[])[]> {
    return await this.#catalog.get(name).search(requests, options);
  }

  /** Proves a collection as it is at this moment, while it is served. The job's result is the report. @throws RequestError 'not-found' */
  startVerify(name: string, options: { readonly deep: boolean }): StartedJob<VerifyReport> {
    const collection = this.#catalog.get(name).name;
    return this.snapshots.jobs.start({ kind: 'verify', target: collection }, (job) => this.snapshots.withFrozen(collection, job, async ({ folder }) => {
      job.progress({ phase: 'verifying' });
      const findings = new VerifyFindings();
      await verifySnapshotFolder({ disk: this.#disk, hasher: this.#hashes, deep: options.deep, findings }, folder);
      return findings.report({ folder, shown: collection });
    }), { show: reportJson });
  }

  /** Idempotent. Waits for requests in flight; unfinished snapshots and restores are undone. */
  close(): Promise<void> {
    this.#closed ??= runClosers(this.#closers);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function openParts(options: EngineOptions, closers: Closer[]): Promise<EngineParts> {
  const { dataDirectory, snapshotsDirectory, logger, machine = thisMachine } = options;
  const { disk } = machine;
  const clock = options.clock ?? systemClock;
  const lock = await lockDataDirectory(machine, dataDirectory);
  closers.push(() => lock.release());
  await sweepStaging(disk, dataDirectory);
  const metastore = await FileMetastore.open(disk, dataDirectory);
  closers.push(() => metastore.close());
  if (options.cluster === undefined) await refuseMember(metastore);
  const peerId = await loadPeerId(metastore, options.cluster?.peerId);
  const indexes = await machine.openIndexes();
  closers.push(() => indexes.close());
  const files = { disk, dataDirectory, indexes, clock, logger, ...(options.shardLimits === undefined ? {} : { shardLimits: options.shardLimits }) };
  // One node by itself loads nothing of a cluster.
  const cluster = options.cluster === undefined ? undefined : await (await import('./cluster-settings.ts')).startClusterNode(options.cluster, { ...files, peerId, metastore, signal: options.signal }, closers);
  const catalog = cluster?.catalog ?? await openCatalog({ ...files, metastore, undoMs: (options.undoHours ?? undoHoursDefault) * 3_600_000 }, { closers, tidyMs: options.tidyMs });
  const hashes = machine.openHasher();
  closers.push(() => hashes.close());
  const snapshots = await Snapshots.open({
    disk, clock, logger, peerId, hashes, source: catalog, snapshotsPath: snapshotsDirectory, stagingRoot: dataDirectory,
    productVersion, recovery: options.recovery,
  });
  closers.push(() => snapshots.close());
  cluster?.serveArchives(async ({ collection, shardId }, signal) => bytesOf(await snapshots.openStream({ kind: 'shard', collection, shardId }, signal)), snapshots);
  return { indexes, peerId, catalog, cluster, disk, hashes, snapshots, closers };
}

async function openCatalog(options: CatalogOptions, { closers, tidyMs }: { readonly closers: Closer[]; readonly tidyMs: number | undefined }): Promise<Catalog> {
  const catalog = await Catalog.open(options);
  closers.push(() => catalog.close());
  closers.push(await startTidying(catalog, options.logger, tidyMs));
  return catalog;
}

async function* bytesOf(archive: ArchiveDownload): AsyncGenerator<Uint8Array> {
  try {
    yield* archive.read(0, archive.sizeBytes - 1);
  } finally {
    archive.release();
  }
}

/** Once now and then again and again: what is kept for an undo goes when its time has passed or its room is needed. */
async function startTidying(catalog: Catalog, logger: Logger, tidyMs = tidyMsDefault): Promise<Closer> {
  const tidy = (): Promise<void> => catalog.tidyReplaced().catch((error: unknown) => {
    logger.warn({ error: String(error) }, 'states kept for an undo could not be looked through');
  });
  let last = tidy();
  await last;
  const timer = setInterval(() => {
    last = tidy();
  }, tidyMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await last;
  };
}
