// The folders of a collection's shards: <data>/collections/<uuid>/shards/<number>.g<generation>/. Makes, opens, adopts and
// removes them; which of them count is the catalog's to decide.
import path from 'node:path';
import { must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { mapLimit } from '../base/limit.ts';
import { isUnnamed, vectorSpecs, type CollectionConfig } from '../command/collection-config.ts';
import { indexingOf } from '../command/indexing-config.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { adoptShard } from '../shard/adopt.ts';
import { Shard, type ShardOptions } from '../shard/shard.ts';
import type { ShardLimits } from '../shard/shard-limits.ts';
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
}

export interface ShardPlace {
  readonly id: number;
  readonly generation: number;
}

/** The metastore's record of a collection. */
export interface CollectionRecord {
  readonly config: CollectionConfig;
  readonly shards: readonly ShardPlace[];
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

  /** Builds each shard from its staged files; the folders of `staged` are used up. */
  adoptAll(uuid: string, record: CollectionRecord, staged: readonly StagedShard[]): Promise<ShardSet> {
    return this.#build(uuid, record, (options) => {
      const staging = must(staged.find(({ id }) => id === options.shardId), 'every shard of the record is staged');
      return adoptShard({ ...options, staging });
    });
  }

  /** A shard that refuses to open takes part as a broken one. */
  async openAll(uuid: string, record: CollectionRecord): Promise<ShardSet> {
    await this.#sweepShards(uuid, record.shards);
    const slots = await mapLimit(record.shards, shardsOpeningMax, async (place): Promise<ShardSlot> => {
      try {
        const shard = await Shard.open(this.#shardOptions(uuid, record.config, place));
        return { ...place, shard, replica: shard };
      } catch (error) {
        this.#logger.error({ collection: uuid, shard: place.id, error: String(error) }, 'shard refused to open; its files are left as they are');
        return { ...place, shard: undefined, replica: new BrokenReplica(place.id, error) };
      }
    });
    return new ShardSet(slots);
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

  async #sweepShards(uuid: string, places: readonly ShardPlace[]): Promise<void> {
    const wanted = new Set(places.map((place) => path.basename(this.#shardDirectory(uuid, place))));
    const folder = path.join(this.#root, uuid, 'shards');
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

  #shardOptions(uuid: string, config: CollectionConfig, place: ShardPlace): ShardOptions {
    const { disk, indexes, clock, logger, shardLimits } = this.#options;
    return {
      disk, indexes, clock, logger, collectionUuid: uuid, shardId: place.id, generation: place.generation,
      directory: this.#shardDirectory(uuid, place), vectors: vectorSpecs(config.params.vectors), indexing: indexingOf(config),
      ...(shardLimits === undefined ? {} : { limits: shardLimits }),
    };
  }

  #shardDirectory(uuid: string, place: ShardPlace): string {
    return path.join(this.#root, uuid, 'shards', `${place.id}.g${place.generation}`);
  }
}
