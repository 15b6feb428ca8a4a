// Collections whose shards are a few small real files: what a snapshot reads from and restores into, without segments and logs.
// Adopting moves the staged files, as the real catalog does, so tests compare what came back with what was there.
import { createHash, randomUUID } from 'node:crypto';
import path from 'node:path';
import { must } from '../../base/assert.ts';
import { sha256Hex } from '../../base/checksum.ts';
import { RequestError } from '../../base/errors.ts';
import { seededRandom } from '../../base/testing/random.ts';
import { collectionNotFound } from '../../collection/aliases.ts';
import { refuseIncompatible, type CollectionShape } from '../../collection/compatibility.ts';
import type { AdoptCollection, AdoptRequest, AdoptShardRequest, FrozenCollection, RestoreRules, SnapshotSource, StagedShard } from '../../collection/snapshot-source.ts';
import type { CollectionConfig } from '../../command/collection-config.ts';
import { makeDirectoryDurably, writeNewFile } from '../../fs/atomic-file.ts';
import type { Disk } from '../../fs/disk.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import type { FieldSchema } from '../../payload/field-schema.ts';
import type { FrozenFile, FrozenShard } from '../../shard/freeze.ts';
import { encodeManifest, type ShardManifest } from '../../shard/shard-manifest.ts';

export interface FakeCollection {
  readonly uuid: string;
  readonly config: CollectionConfig;
  readonly shards: readonly FakeShard[];
}

export interface FakeShard {
  readonly id: number;
  readonly manifestText: Buffer;
  readonly points: number;
  readonly files: readonly FrozenFile[];
}

const payloadSchema: ReadonlyMap<string, FieldSchema> = new Map<string, FieldSchema>([['city', { type: 'keyword' }], ['__proto__', { type: 'integer', params: { type: 'integer', range: true } }]]);

/** Sizes around the block size of tar, and an empty file. */
const fileSizes = [0, 1, 511, 512, 513, 2000];

export function configOf(shardNumber: number, size = 4): CollectionConfig {
  return {
    params: { vectors: { size, distance: 'Cosine' }, shard_number: shardNumber, replication_factor: 1, write_consistency_factor: 1, on_disk_payload: true },
    hnsw_config: { m: 16 }, optimizer_config: {}, wal_config: {}, quantization_config: null, metadata: { owner: 'test', nested: [1, 2.5, null] },
  };
}

export class FakeSource implements SnapshotSource {
  readonly collections = new Map<string, FakeCollection>();
  readonly aliases = new Map<string, string>();
  readonly disk: Disk;
  readonly #root: string;
  readonly committed = new Set<string>();
  /** Freezes that nobody has released yet. */
  borrowed = 0;
  /** Runs inside adopt, at the commit point and before anything is taken. */
  beforeAdopt: (staged: readonly StagedShard[]) => Promise<void> = () => Promise.resolve();

  constructor(root: string, disk: Disk = new NodeDisk()) {
    this.#root = root;
    this.disk = disk;
  }

  async add(name: string, options: { readonly shards?: number; readonly seed?: number; readonly fileBytes?: readonly number[] } = {}): Promise<void> {
    const random = seededRandom(options.seed ?? 7);
    const uuid = randomUUID();
    const shards: FakeShard[] = [];
    for (let id = 0; id < (options.shards ?? 2); id += 1) {
      const folder = path.join(this.#root, randomUUID());
      await makeDirectoryDurably(this.disk, folder);
      const write = async (named: (sha256: string) => string, sizeBytes: number): Promise<FrozenFile> => {
        const bytes = Buffer.alloc(sizeBytes);
        for (let at = 0; at < sizeBytes; at += 1) bytes[at] = random.below(256);
        const sha256 = sha256Hex(bytes);
        const file = path.join(folder, path.basename(named(sha256)));
        if ((await this.disk.findStat(file)) === undefined) await writeNewFile(this.disk, file, bytes);
        return { name: named(sha256), path: file, sizeBytes, sha256 };
      };
      const files: FrozenFile[] = [await write(() => 'logs/00000000000000000001', 700), await write(() => 'logs/00000000000000000011', 80)];
      for (const sizeBytes of options.fileBytes ?? fileSizes) files.push(await write((sha256) => `files/${sha256}.vec`, sizeBytes));
      await this.disk.syncDirectory(folder);
      shards.push({ id, manifestText: encodeManifest(manifestOf(uuid, id, files)), points: 10 + id, files });
    }
    this.collections.set(name, { uuid, config: configOf(shards.length), shards });
  }

  resolve(name: string): string | undefined {
    if (this.collections.has(name)) return name;
    return this.aliases.get(name);
  }

  config(name: string): CollectionConfig | undefined {
    return this.collections.get(this.resolve(name) ?? '')?.config;
  }

  points(name: string): number {
    return this.collections.get(this.resolve(name) ?? '')?.shards.reduce((sum, { points }) => sum + points, 0) ?? 0;
  }

  schema(name: string): ReadonlyMap<string, FieldSchema> | undefined {
    return this.resolve(name) === undefined ? undefined : payloadSchema;
  }

  checkShard(name: string, shardId: number): void {
    if (this.collections.get(name)?.shards.some(({ id }) => id === shardId) !== true) throw new RequestError('not-found', `shard ${shardId} not found`);
  }

  checkpoint(): Promise<void> {
    return Promise.resolve();
  }

  freezeAll(): Promise<readonly FrozenCollection[]> {
    return Promise.all([...this.collections.keys()].map((name) => this.freeze(name)));
  }

  freeze(name: string, shardId?: number): Promise<FrozenCollection> {
    const real = this.resolve(name);
    const collection = this.collections.get(real ?? '');
    if (real === undefined || collection === undefined) return Promise.reject(collectionNotFound(name));
    this.borrowed += 1;
    let released = false;
    return Promise.resolve({
      name: real, uuid: collection.uuid, config: collection.config, payloadSchema,
      aliases: [...this.aliases].filter(([, target]) => target === real).map(([alias]) => alias),
      shards: collection.shards.filter(({ id }) => shardId === undefined || id === shardId).map(freezeShard),
      release: () => {
        if (!released) this.borrowed -= 1;
        released = true;
      },
    });
  }

  checkCompatible(name: string, archive: CollectionShape, rules: Partial<RestoreRules> = {}): void {
    const config = this.config(name);
    if (config !== undefined && rules.config !== 'whole') refuseIncompatible({ config }, archive, { anyShardNumber: rules.reshard === true });
  }

  async adopt(request: AdoptRequest): Promise<number> {
    request.onCommit();
    await this.beforeAdopt(request.collections.flatMap(({ shards }) => shards));
    this.committed.add(request.restoreId);
    const adopted: (readonly [AdoptCollection, readonly FakeShard[]])[] = [];
    for (const each of request.collections) adopted.push([each, await this.#take(each.shards)]);
    for (const [{ name, originUuid, config, aliases }, shards] of adopted) {
      this.collections.set(this.resolve(name) ?? name, { uuid: originUuid, config, shards });
      if (request.aliases !== 'keep') for (const alias of aliases) this.aliases.set(alias, name);
    }
    return adopted.flatMap(([, shards]) => shards).reduce((sum, { points }) => sum + points, 0);
  }

  async adoptShard(request: AdoptShardRequest): Promise<number> {
    request.onCommit();
    await this.beforeAdopt([request.shard]);
    this.committed.add(request.restoreId);
    const [taken] = await this.#take([request.shard]);
    const old = this.collections.get(request.name);
    if (old === undefined || taken === undefined) throw collectionNotFound(request.name);
    this.collections.set(request.name, { ...old, shards: old.shards.map((shard) => (shard.id === taken.id ? taken : shard)) });
    return taken.points;
  }

  undo(): Promise<void> {
    return Promise.reject(new RequestError('not-found', 'nothing is kept here'));
  }

  dropOldestReplaced(): Promise<boolean> {
    return Promise.resolve(false);
  }

  hasCommitted(restoreId: string): Promise<boolean> {
    return Promise.resolve(this.committed.has(restoreId));
  }

  async #take(staged: readonly StagedShard[]): Promise<readonly FakeShard[]> {
    const shards: FakeShard[] = [];
    for (const each of staged) {
      const folder = path.join(this.#root, randomUUID());
      await this.disk.rename(each.directory, folder);
      const files: FrozenFile[] = [];
      for (const kind of ['logs', 'files']) {
        for (const base of (await this.disk.list(path.join(folder, kind))).sort()) {
          const file = path.join(folder, kind, base);
          const bytes = await this.disk.readFile(file, 1 << 30);
          files.push({ name: `${kind}/${base}`, path: file, sizeBytes: bytes.length, sha256: sha256Hex(bytes) });
        }
      }
      shards.push({ id: each.id, manifestText: await this.disk.readFile(path.join(folder, 'manifest.json')), points: each.points, files });
    }
    return shards;
  }

  /** One hash over all shards of a collection, equal exactly for equal content. */
  contentOf(name: string): string {
    const collection = this.collections.get(name);
    if (collection === undefined) throw new RequestError('not-found', name);
    const hash = createHash('sha256');
    for (const { id, manifestText, points, files } of collection.shards) {
      hash.update(`${id} ${points} ${manifestText.toString()}\n`);
      for (const { name: file, sha256 } of [...files].sort((a, b) => (a.name < b.name ? -1 : 1))) hash.update(`${file} ${sha256}\n`);
    }
    return hash.digest('hex');
  }
}

const chain = '0123456789abcdef0123456789abcdef';
const segmentUuid = '00000000-0000-4000-8000-000000000001';

/** The shard manifest of a state after entry 10 that logs lead on to 20. */
export function manifestOf(collectionUuid: string, shardId: number, files: readonly FrozenFile[]): ShardManifest {
  const named = files.filter(({ name }) => name.startsWith('files/')).map(({ sizeBytes, sha256 }) => ({ kind: 'vec', chunk: 0, sha256, size: sizeBytes }));
  return {
    collectionUuid, shardId, generation: 0, applied: 10, chain, time: 1n, durable: 20, vectors: new Map(), payloadSchema: new Map(),
    segments: [{ uuid: segmentUuid, rows: 10 + shardId, min_seq: 1, max_seq: 10, files: named }], opUuids: [],
  };
}

function freezeShard(shard: FakeShard): FrozenShard {
  const ofKind = (kind: string): FrozenFile[] => shard.files.filter(({ name }) => name.startsWith(`${kind}/`));
  const [first, second] = ofKind('logs').map(({ sizeBytes, sha256 }) => ({ sizeBytes, sha256 }));
  return {
    shardId: shard.id,
    position: { generation: 0, seq: 20, chain },
    time: 0x1_0000_0000_0001n,
    points: shard.points,
    manifest: { text: shard.manifestText, sha256: sha256Hex(shard.manifestText) },
    segments: [{
      uuid: segmentUuid, points: shard.points, deleted: 0, minSeq: 1, maxSeq: 10,
      files: ofKind('files').map(({ sizeBytes, sha256 }) => ({ kind: 'vec', vector: 'image', formatVersion: 1, sizeBytes, sha256 })),
    }],
    logFiles: [
      { firstSeq: 1, lastSeq: 10, ...must(first, 'a shard has two logs') },
      { firstSeq: 11, lastSeq: 20, ...must(second, 'a shard has two logs') },
    ],
    files: shard.files,
    release: () => undefined,
  };
}
