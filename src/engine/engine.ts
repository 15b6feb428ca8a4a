// One process's engine: everything a transport or the library can ask for. Opens in the order lock, metastore, collections,
// snapshots, and closes in reverse. Transports authorise before they call; nothing here knows about keys or wire shapes.
import { systemClock, type Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Catalog } from '../collection/catalog.ts';
import type { CollectionInfo } from '../collection/collection-info.ts';
import { FileMetastore } from '../collection/file-metastore.ts';
import type { AliasAction, CreateCollection, UpdateCollection } from '../command/collection-config.ts';
import type { CountRequest, PointRecord, RetrieveRequest, ScoredRecord, ScrollPage, ScrollRequest, SearchRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions, WriteResult } from '../command/write.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { openVectorIndexes } from '../index/open-indexes.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { ShardLimits } from '../shard/shard-limits.ts';
import { Snapshots } from '../snapshot/snapshots.ts';
import { loadPeerId, lockDataDirectory, sweepStaging } from './data-directory.ts';
import { HashPool } from './hash-pool.ts';
import { productVersion } from './version.ts';

export interface EngineOptions {
  readonly dataDirectory: string;
  readonly snapshotsDirectory: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** For tests that seal and merge small data. */
  readonly shardLimits?: ShardLimits;
  readonly recovery: RecoverySettings;
}

/** Which URLs a recover may fetch (docs/snapshots.md). */
interface RecoverySettings {
  /** undefined: only while the server listens on loopback. */
  readonly urlRecovery: boolean | undefined;
  readonly boundToLoopback: boolean;
}

type Closer = () => Promise<void>;

interface EngineParts {
  readonly indexes: VectorIndexes;
  readonly peerId: number;
  readonly catalog: Catalog;
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
  readonly #catalog: Catalog;
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
    this.#closers = parts.closers;
  }

  /** Opens or creates the data directory. @throws RequestError 'locked' where another process has it. */
  static async open(options: EngineOptions): Promise<Engine> {
    const closers: Closer[] = [];
    try {
      return new Engine(options, await openParts(options, closers));
    } catch (error) {
      await runClosers(closers);
      throw error;
    }
  }

  /** Graphs built since the start; a restore brings its own. */
  get graphsBuilt(): number {
    return this.#indexes.graphsBuilt;
  }

  listCollections(): readonly string[] {
    return this.#catalog.names();
  }

  /** By name or alias. @throws RequestError 'not-found' */
  collectionInfo(name: string): CollectionInfo {
    return this.#catalog.info(name);
  }

  collectionExists(name: string): boolean {
    return this.#catalog.resolve(name) !== undefined;
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
    if (operation.kind === 'create-vector' || operation.kind === 'drop-vector') {
      return await this.#catalog.changeVectors(name, operation, options);
    }
    return await this.#catalog.get(name).write(operation, options);
  }

  async retrieve(name: string, request: RetrieveRequest): Promise<readonly PointRecord[]> {
    return await this.#catalog.get(name).retrieve(request);
  }

  async scroll(name: string, request: ScrollRequest, signal?: AbortSignal): Promise<ScrollPage> {
    return await this.#catalog.get(name).scroll(request, signal);
  }

  async count(name: string, request: CountRequest, signal?: AbortSignal): Promise<number> {
    return await this.#catalog.get(name).count(request, signal);
  }

  /** One list per request, best first. */
  async search(name: string, requests: readonly SearchRequest[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]> {
    return await this.#catalog.get(name).search(requests, signal);
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
  const { dataDirectory, snapshotsDirectory, logger } = options;
  const clock = options.clock ?? systemClock;
  const disk = new NodeDisk();
  const lock = await lockDataDirectory(disk, dataDirectory);
  closers.push(() => lock.release());
  await sweepStaging(disk, dataDirectory);
  const metastore = await FileMetastore.open(disk, dataDirectory);
  closers.push(() => metastore.close());
  const peerId = await loadPeerId(metastore);
  const indexes = await openVectorIndexes();
  closers.push(() => indexes.close());
  const catalog = await Catalog.open({
    disk, dataDirectory, metastore, indexes, clock, logger, ...(options.shardLimits === undefined ? {} : { shardLimits: options.shardLimits }),
  });
  closers.push(() => catalog.close());
  const hashes = new HashPool();
  closers.push(() => hashes.close());
  const snapshots = await Snapshots.open({
    disk, clock, logger, peerId, hashes, source: catalog, snapshotsPath: snapshotsDirectory, stagingRoot: dataDirectory,
    productVersion, recovery: options.recovery,
  });
  closers.push(() => snapshots.close());
  return { indexes, peerId, catalog, snapshots, closers };
}

/** In reverse order of opening; the first failure is thrown after all have run. */
async function runClosers(closers: readonly Closer[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers.toReversed()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
