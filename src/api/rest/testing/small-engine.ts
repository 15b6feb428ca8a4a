// An engine for tests of the transport alone: collections without points in a map, snapshots as texts, and places where a test
// can make a call wait or fail. The tests of engine and clients use the real one.
import { RequestError } from '../../../base/errors.ts';
import type { CollectionInfo } from '../../../collection/collection-info.ts';
import { mergeConfig, fillConfig } from '../../../command/config-defaults.ts';
import type { AliasAction, CollectionConfig, CreateCollection, UpdateCollection } from '../../../command/collection-config.ts';
import type { StartedJob } from '../../../snapshot/jobs.ts';
import type { ArchiveDownload, RecoverOptions, RecoverRequest, SnapshotDescription } from '../../../snapshot/description.ts';

export class SmallSnapshots {
  /** `collection/name` → content. */
  readonly archives = new Map<string, Buffer>();
  readonly uploads: { readonly collection: string; readonly bytes: Buffer; readonly options: RecoverOptions }[] = [];
  readonly recoveries: { readonly collection: string; readonly request: RecoverRequest }[] = [];
  readonly detached: string[] = [];
  /** What was started as a job, in order. */
  readonly started: string[] = [];
  readonly failures: unknown[] = [];
  /** Bytes that uploads have taken so far, also those that failed. */
  takenBytes = 0;
  released = 0;
  /** Awaited by an upload after its body has come. */
  beforeRestore: () => Promise<void> = () => Promise.resolve();
  /** Called with each piece of an upload. */
  onPiece: (piece: Uint8Array) => void = () => undefined;

  list(collection: string): Promise<readonly SnapshotDescription[]> {
    return Promise.resolve(
      [...this.archives]
        .filter(([key]) => key.startsWith(`${collection}/`))
        .map(([key, bytes]) => describe(key.slice(collection.length + 1), bytes)),
    );
  }

  startCreate(collection: string): StartedJob<SnapshotDescription> {
    return this.#start(`create ${collection}`, this.create(collection));
  }

  startUpload(...args: Parameters<SmallSnapshots['upload']>): StartedJob<boolean> {
    return this.#start(`upload to ${args[0]}`, this.upload(...args));
  }

  startRecover(...args: Parameters<SmallSnapshots['recover']>): StartedJob<boolean> {
    return this.#start(`recover ${args[0]}`, this.recover(...args));
  }

  create(collection: string): Promise<SnapshotDescription> {
    const name = `${collection}-1-2026-01-01-00-00-00.snapshot`;
    this.archives.set(`${collection}/${name}`, Buffer.from('0123456789'));
    return Promise.resolve(describe(name, Buffer.from('0123456789')));
  }

  openDownload(collection: string, name: string): Promise<ArchiveDownload> {
    const bytes = this.#get(collection, name);
    return Promise.resolve({
      name,
      sizeBytes: bytes.byteLength,
      etag: 'tag-1',
      lastModifiedMs: Date.UTC(2026, 0, 1) + 500,
      async *read(start: number, end: number) {
        yield bytes.subarray(start, end + 1);
      },
      release: () => {
        this.released += 1;
      },
    });
  }

  async delete(collection: string, name: string): Promise<void> {
    this.#get(collection, name);
    this.archives.delete(`${collection}/${name}`);
  }

  async upload(
    collection: string,
    body: AsyncIterable<Uint8Array>,
    options: RecoverOptions,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const pieces: Uint8Array[] = [];
    try {
      for await (const piece of body) {
        this.takenBytes += piece.byteLength;
        this.onPiece(piece);
        pieces.push(piece);
      }
      await this.beforeRestore();
      signal?.throwIfAborted();
    } catch (error) {
      this.failures.push(error);
      throw error;
    }
    this.uploads.push({ collection, bytes: Buffer.concat(pieces), options });
    return true;
  }

  recover(collection: string, request: RecoverRequest): Promise<boolean> {
    this.recoveries.push({ collection, request });
    return Promise.resolve(true);
  }

  detach(work: Promise<unknown>, what: string): void {
    this.detached.push(what);
    work.catch((error: unknown) => this.failures.push(error));
  }

  counts(): { readonly creating: number; readonly recovering: number; readonly created: number } {
    return { creating: 0, recovering: 1, created: 2 };
  }

  #start<T>(what: string, done: Promise<T>): StartedJob<T> {
    this.started.push(what);
    done.catch(() => undefined);
    return { id: `job-${this.started.length}`, done };
  }

  #get(collection: string, name: string): Buffer {
    const bytes = this.archives.get(`${collection}/${name}`);
    if (bytes === undefined) throw new RequestError('not-found', `Snapshot ${name} not found`);
    return bytes;
  }
}

export class SmallEngine {
  readonly version = '0.0.0-test';
  readonly kernel = 'test';
  readonly graphsBuilt = 0;
  readonly graphPointsKept = 0;
  readonly walked = { walks: 1, codeEvaluations: 2, rowEvaluations: 3, rescored: 4 };
  readonly peerId = 4711;
  readonly startedAtMs = Date.UTC(2026, 0, 1);
  readonly snapshots = new SmallSnapshots();
  readonly configs = new Map<string, CollectionConfig>();
  readonly aliasNames = new Map<string, string>();
  points = 3;
  damagedGraphs: CollectionInfo['damagedGraphs'] = new Map();
  /** Thrown by collectionInfo where set. */
  infoFailure: Error | undefined;
  /** Awaited by createCollection. */
  beforeCreate: () => Promise<void> = () => Promise.resolve();

  /** What `count` does; by default it waits for its signal. */
  onCount: (signal: AbortSignal) => Promise<number> = (signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });

  count(_name: string, _request: unknown, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    return this.onCount(signal);
  }

  listCollections(): readonly string[] {
    return [...this.configs.keys()];
  }

  collectionInfo(name: string): CollectionInfo {
    if (this.infoFailure !== undefined) throw this.infoFailure;
    const real = this.realName(name);
    const config = this.configs.get(real);
    if (config === undefined) throw new RequestError('not-found', `Collection \`${name}\` doesn't exist!`);
    return {
      name: real,
      uuid: 'c0ffee',
      config,
      status: 'green',
      points: this.points,
      indexedVectors: this.points,
      scannedVectors: new Map(),
      damagedGraphs: this.damagedGraphs,
      damagedGraphsFound: this.damagedGraphs.size,
      codesBytes: { memory: 5, mapped: 6 },
      segments: 2,
      payloadSchema: new Map([['city', { schema: { type: 'keyword' }, points: 1 }]]),
      unappliedEntries: 0,
      diskBytes: 10,
      aliases: [], awaitedShards: [],
      shards: [{ id: 0, points: this.points, indexedVectors: 0, status: 'green' }],
    };
  }

  collectionExists(name: string): boolean {
    return this.configs.has(this.realName(name));
  }

  realName(name: string): string {
    return this.aliasNames.get(name) ?? name;
  }

  async createCollection(name: string, create: CreateCollection): Promise<boolean> {
    if (this.configs.has(name)) throw new RequestError('already-exists', `Collection \`${name}\` already exists!`);
    await this.beforeCreate();
    this.configs.set(name, fillConfig(create));
    return true;
  }

  updateCollection(name: string, update: UpdateCollection): Promise<boolean> {
    this.configs.set(name, mergeConfig(this.collectionInfo(name).config, update));
    return Promise.resolve(true);
  }

  deleteCollection(name: string): Promise<boolean> {
    return Promise.resolve(this.configs.delete(name));
  }

  changeAliases(actions: readonly AliasAction[]): Promise<boolean> {
    for (const action of actions) {
      if (action.kind === 'create') this.aliasNames.set(action.alias, action.collection);
      if (action.kind === 'delete') this.aliasNames.delete(action.alias);
    }
    return Promise.resolve(true);
  }

  aliases(collection?: string): readonly { readonly alias: string; readonly collection: string }[] {
    return [...this.aliasNames]
      .map(([alias, target]) => ({ alias, collection: target }))
      .filter((entry) => collection === undefined || entry.collection === collection);
  }
}

function describe(name: string, bytes: Buffer): SnapshotDescription {
  return { name, creationTime: '2026-01-01T00:00:00', sizeBytes: bytes.byteLength, checksum: 'a'.repeat(64) };
}
