// The folders of a collection's shards: <data>/collections/<uuid>/shards/<number>.g<generation>/. Makes, opens, adopts and
// removes them; which of them count is the catalog's to decide.
import path from 'node:path';
import { invariant, must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { CorruptionError } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import { isUnnamed, vectorSpecs, type CollectionConfig } from '../command/collection-config.ts';
import { indexingOf, mergingOf } from '../command/indexing-config.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably } from '../fs/atomic-file.ts';
import type { Disk, SpaceInfo } from '../fs/disk.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { adoptShard } from '../shard/adopt.ts';
import { manifestName, readManifest, type ShardIdentity } from '../shard/shard-manifest.ts';
import { Shard, type ShardOptions } from '../shard/shard.ts';
import { shardLimits as defaultLimits, type ShardLimits } from '../shard/shard-limits.ts';
import type { ReplacedShard } from './replaced.ts';
import { refuseOtherVectors } from './compatibility.ts';
import { reshard, type ReshardProgress } from './reshard.ts';
import { BrokenReplica, ShardSet, type ShardSlot } from './shard-set.ts';
import type { StagedShard } from './snapshot-source.ts';

const shardsOpeningMax = 4;

export interface ShardFilesOptions {
  readonly disk: Disk;
  readonly dataDirectory: string;
  readonly indexes: VectorIndexes;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For tests that seal and merge small data. */
  readonly shardLimits?: ShardLimits;
  /** In a cluster: the log of a shard over this node's copy of it. */
  readonly shareLog?: (name: ShardIdentity) => NonNullable<ShardOptions['shareLog']>;
}

export interface ShardPlace {
  readonly id: number;
  readonly generation: number;
}

/** The metastore's record of a collection. */
export interface CollectionRecord {
  readonly config: CollectionConfig;
  readonly shards: readonly ShardPlace[];
  /** The latest restores that were committed into it, oldest first. */
  readonly restores?: readonly string[];
  /** Shards' states before their last restores, while those can be undone. */
  readonly replaced?: readonly ReplacedShard[];
}

export class ShardFiles {
  readonly #options: ShardFilesOptions;
  readonly #disk: Disk;
  readonly #logger: Logger;
  readonly #root: string;

  constructor(options: ShardFilesOptions) {
    this.#options = options;
    this.#disk = options.disk;
    this.#logger = options.logger;
    this.#root = path.join(options.dataDirectory, 'collections');
  }

  createAll(uuid: string, record: CollectionRecord): Promise<ShardSet> {
    return this.#build(uuid, record, (options) => Shard.create(options));
  }

  /** One empty shard more. */
  async createOne(uuid: string, config: CollectionConfig, place: ShardPlace): Promise<ShardSlot> {
    const folder = path.join(this.#root, uuid, 'shards');
    await makeDirectoryDurably(this.#disk, folder);
    const shard = await Shard.create(this.#shardOptions(uuid, config, place));
    await this.#disk.syncDirectory(folder);
    return { ...place, shard, replica: shard };
  }

  /** Whether a folder of that shard and generation is there. */
  async hasShard(uuid: string, place: ShardPlace): Promise<boolean> {
    return (await this.#disk.findStat(path.join(this.#shardDirectory(uuid, place), manifestName))) !== undefined;
  }

  /** Builds each shard from its staged files; the folders of `staged` are used up. */
  adoptAll(uuid: string, record: CollectionRecord, staged: readonly StagedShard[]): Promise<ShardSet> {
    return this.#build(uuid, record, (options) => {
      const staging = must(staged.find(({ id }) => id === options.shardId), 'every shard of the record is staged');
      return adoptShard({ ...options, staging });
    });
  }

  /** One shard more, from its staged files, for a collection that is open. */
  async adoptOne(uuid: string, config: CollectionConfig, at: { readonly place: ShardPlace; readonly staging: StagedShard; readonly isCopy?: boolean }): Promise<ShardSlot> {
    await makeDirectoryDurably(this.#disk, path.join(this.#root, uuid, 'shards'));
    const shard = await adoptShard({ ...this.#shardOptions(uuid, config, at.place), staging: at.staging, isCopy: at.isCopy ?? false });
    await this.#disk.syncDirectory(path.join(this.#root, uuid, 'shards'));
    return { ...at.place, shard, replica: shard };
  }

  /** New shards that hold the points of the staged ones, spread by id; the staged folders stay the caller's to remove.
   *  @throws CorruptionError where a staged shard does not lead to what it should */
  async reshardAll(uuid: string, record: CollectionRecord, staged: readonly StagedShard[], progress: ReshardProgress): Promise<ShardSet> {
    const set = await this.createAll(uuid, record);
    const sources: Shard[] = [];
    try {
      for (const each of staged) sources.push(await this.#openStaged(each, record.config));
      refuseOtherVectors(sources, record.config); // rows are copied as they are
      const points = await reshard(sources, set.shards(), progress);
      invariant(points === set.shards().reduce((sum, shard) => sum + shard.info().points, 0), 'every point is in exactly one new shard');
      return set;
    } catch (error) {
      await set.retire();
      await this.removeShards(uuid, record.shards);
      throw error;
    } finally {
      for (const shard of sources) await shard.close();
    }
  }

  /** A shard that refuses to open takes part as a broken one. */
  async openAll(uuid: string, record: CollectionRecord): Promise<ShardSet> {
    const kept = record.replaced ?? [];
    await this.sweepShards(uuid, [...record.shards, ...kept]);
    for (const place of kept) await this.#sweepUnfinished(this.#shardDirectory(uuid, place));
    return new ShardSet(await this.openSome(uuid, record.config, record.shards));
  }

  openSome(uuid: string, config: CollectionConfig, places: readonly ShardPlace[]): Promise<readonly ShardSlot[]> {
    return mapLimit(places, shardsOpeningMax, async (place): Promise<ShardSlot> => {
      try {
        const shard = await Shard.open({ ...this.#shardOptions(uuid, config, place), damagedGraphs: 'drop' });
        return { ...place, shard, replica: shard };
      } catch (error) {
        this.#logger.error({ collection: uuid, shard: place.id, error: String(error) }, 'shard refused to open; its files are left as they are');
        return { ...place, shard: undefined, replica: new BrokenReplica(place.id, error) };
      }
    });
  }

  /** Finishes adding or dropping a named vector where a crash came between the configuration and a shard's log. */
  async reconcileVectors(set: ShardSet, config: CollectionConfig): Promise<void> {
    const { vectors } = config.params;
    if (isUnnamed(vectors)) return;
    for (const { shard } of set.slots) {
      if (shard === undefined) continue;
      for (const [name, params] of Object.entries(vectors)) {
        if (!shard.vectorNames().includes(name)) await shard.write({ kind: 'create-vector', name, params }, { wait: true });
      }
      for (const name of shard.vectorNames()) {
        if (!Object.hasOwn(vectors, name)) await shard.write({ kind: 'drop-vector', name }, { wait: true });
      }
    }
  }

  /** Gives restored shards the payload indexes of the collection they go into. */
  async reconcileIndexes(set: ShardSet, wanted: ReadonlyMap<string, FieldSchema>): Promise<void> {
    for (const shard of set.shards()) {
      const present = shard.info().payloadSchema;
      for (const field of present.keys()) {
        if (!wanted.has(field)) await shard.write({ kind: 'drop-index', field }, { wait: true });
      }
      for (const [field, schema] of wanted) {
        if (JSON.stringify(present.get(field)?.schema) === JSON.stringify(schema)) continue;
        await shard.write({ kind: 'create-index', field, schema }, { wait: true });
      }
    }
  }

  space(): Promise<SpaceInfo> {
    return this.#disk.space(this.#options.dataDirectory);
  }

  async removeShards(uuid: string, places: readonly ShardPlace[]): Promise<void> {
    for (const place of places) await this.#disk.removeTree(this.#shardDirectory(uuid, place));
  }

  async removeCollection(uuid: string): Promise<void> {
    await this.#disk.removeTree(path.join(this.#root, uuid));
  }

  /** Removes the folders of collections that have no name. */
  async sweepCollections(uuids: ReadonlySet<string>): Promise<void> {
    await makeDirectoryDurably(this.#disk, this.#root);
    for (const name of await this.#disk.list(this.#root)) {
      if (!uuids.has(name)) await this.removeCollection(name);
    }
  }

  /** Removes what a write that was cut off left in the folders of a collection that is kept closed. Shards that open do it themselves. */
  async sweepKept(uuid: string): Promise<void> {
    const folder = path.join(this.#root, uuid, 'shards');
    if ((await this.#disk.findStat(folder)) === undefined) return;
    for (const name of await this.#disk.list(folder)) await this.#sweepUnfinished(path.join(folder, name));
  }

  async #sweepUnfinished(folder: string): Promise<void> {
    for (const name of await this.#disk.list(folder)) {
      const at = path.join(folder, name);
      if (name.endsWith('.tmp') || name.startsWith('.tmp-')) await this.#disk.removeTree(at);
      else if ((await this.#disk.stat(at)).isDirectory) await this.#sweepUnfinished(at);
    }
  }

  /** Removes the folders of shards that are not among these. */
  async sweepShards(uuid: string, places: readonly ShardPlace[]): Promise<void> {
    const wanted = new Set(places.map((place) => path.basename(this.#shardDirectory(uuid, place))));
    const folder = path.join(this.#root, uuid, 'shards');
    if ((await this.#disk.findStat(folder)) === undefined) return; // then each shard says what it misses
    for (const name of await this.#disk.list(folder)) {
      if (!wanted.has(name)) await this.#disk.removeTree(path.join(folder, name));
    }
  }

  /** All shards or none: on a failure those already made are closed and their folders removed. */
  async #build(uuid: string, record: CollectionRecord, make: (options: ShardOptions) => Promise<Shard>): Promise<ShardSet> {
    await makeDirectoryDurably(this.#disk, path.join(this.#root, uuid, 'shards'));
    const slots: ShardSlot[] = [];
    try {
      for (const place of record.shards) {
        const shard = await make(this.#shardOptions(uuid, record.config, place));
        slots.push({ ...place, shard, replica: shard });
      }
      await this.#disk.syncDirectory(path.join(this.#root, uuid, 'shards'));
      return new ShardSet(slots);
    } catch (error) {
      await new ShardSet(slots).retire();
      await this.removeShards(uuid, record.shards);
      throw error;
    }
  }

  /** Under the identity it was written with, to be read; it seals and merges nothing. */
  async #openStaged({ id, directory, position, points }: StagedShard, config: CollectionConfig): Promise<Shard> {
    const { manifest: { collectionUuid, shardId, generation } } = await readManifest(this.#disk, directory);
    const limits = { ...(this.#options.shardLimits ?? defaultLimits), vacuumRowsMin: Infinity };
    const shard = await Shard.open({ ...this.#shardOptions(collectionUuid, config, { id, generation }), shardId, directory, limits, merging: { segmentsMin: 1, bytesMax: 0 } });
    const found = { ...shard.position(), points: shard.info().points };
    if (found.seq === position.seq && found.chain === position.chain && found.points === points) return shard;
    await shard.close();
    throw new CorruptionError({ file: directory, problem: `led to seq ${found.seq} and ${found.points} points instead of ${position.seq} and ${points}` });
  }

  #shardOptions(uuid: string, config: CollectionConfig, place: ShardPlace): ShardOptions {
    const { disk, indexes, clock, logger, shardLimits, shareLog } = this.#options;
    const identity = { collectionUuid: uuid, shardId: place.id, generation: place.generation };
    return {
      disk, indexes, clock, logger, collectionUuid: uuid, shardId: place.id, generation: place.generation,
      directory: this.#shardDirectory(uuid, place), vectors: vectorSpecs(config.params.vectors), indexing: indexingOf(config), merging: mergingOf(config),
      ...(shardLimits === undefined ? {} : { limits: shardLimits }), ...(shareLog === undefined ? {} : { shareLog: shareLog(identity) }),
    };
  }

  #shardDirectory(uuid: string, place: ShardPlace): string {
    return path.join(this.#root, uuid, 'shards', `${place.id}.g${place.generation}`);
  }
}

/** Where a collection's files lie, for the verifier. */
export function collectionDirectory(dataDirectory: string, uuid: string): string {
  return path.join(dataDirectory, 'collections', uuid);
}
