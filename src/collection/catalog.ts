// All collections of a node: which there are, under which names, and with which shards. Owns <data>/collections/.
//
// Invariants:
// - What exists is what the metastore says: `dir` (names, aliases) and `c.<uuid>` (configuration, shard map). Folders that no
//   record names are leftovers of a create, restore or delete that did not finish, and are removed at start.
// - Every change prepares files first and becomes true by one compare-and-set; before it everything is as before.
// - Changes run one after another; reads and writes of points never wait for them.
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { invariant, must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import type { AliasAction, CollectionConfig, CreateCollection, UpdateCollection } from '../command/collection-config.ts';
import { fillConfig, mergeConfig } from '../command/config-defaults.ts';
import { indexingOf } from '../command/indexing-config.ts';
import type { WriteOperation, WriteOptions, WriteResult } from '../command/write.ts';
import { freezeShards } from '../shard/freeze.ts';
import { applyAliasActions, collectionNotFound, emptyDirectory, resolveName, withCollection, withoutCollection, type NameDirectory } from './aliases.ts';
import { Collection } from './collection.ts';
import type { CollectionInfo } from './collection-info.ts';
import { refuseIncompatible } from './compatibility.ts';
import { ShardFiles, type CollectionRecord, type ShardFilesOptions } from './shard-files.ts';
import type { Metastore } from './metastore.ts';
import type { ShardSet } from './shard-set.ts';
import type { AdoptRequest, FrozenCollection, SnapshotSource } from './snapshot-source.ts';
import { withVector, withoutVector } from './vector-names.ts';

const directoryKey = 'dir';
const recordKey = (uuid: string): string => `c.${uuid}`;

export interface CatalogOptions extends ShardFilesOptions {
  readonly metastore: Metastore;
}

interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
}

export class Catalog implements SnapshotSource {
  readonly #metastore: Metastore;
  readonly #files: ShardFiles;
  readonly #logger: Logger;
  readonly #changes = new Lock();
  readonly #collections = new Map<string, Collection>(); // by uuid
  #directory: Versioned<NameDirectory>;

  private constructor(options: CatalogOptions, directory: Versioned<NameDirectory>) {
    this.#metastore = options.metastore;
    this.#files = new ShardFiles(options);
    this.#logger = options.logger;
    this.#directory = directory;
  }

  /** Opens every collection that has a name and removes what has none. A damaged shard leaves its collection red, not closed. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    const catalog = new Catalog(options, await loadDirectory(options.metastore));
    await catalog.#load();
    return catalog;
  }

  names(): readonly string[] {
    return Object.keys(this.#directory.value.names);
  }

  resolve(name: string): string | undefined {
    return resolveName(this.#directory.value, name);
  }

  /** By name or alias. @throws RequestError 'not-found' */
  get(name: string): Collection {
    const real = this.resolve(name);
    if (real === undefined) throw collectionNotFound(name);
    const uuid = must(this.#directory.value.names[real], 'a resolved name has a uuid');
    return must(this.#collections.get(uuid), 'a named collection is open');
  }

  info(name: string): CollectionInfo {
    const collection = this.get(name);
    return collection.info(this.#aliasesOf(collection.name));
  }

  config(name: string): CollectionConfig | undefined {
    return this.resolve(name) === undefined ? undefined : this.get(name).config;
  }

  aliases(): readonly { readonly alias: string; readonly collection: string }[] {
    return Object.entries(this.#directory.value.aliases).map(([alias, collection]) => ({ alias, collection }));
  }

  create(name: string, create: CreateCollection): Promise<void> {
    return this.#changes.run(async () => {
      this.#refuseTakenName(name);
      const uuid = randomUUID();
      const config = fillConfig(create);
      const shards = Array.from({ length: config.params.shard_number }, (_, id) => ({ id, generation: 0 }));
      await this.#publishNew(name, uuid, { config, shards }, () => this.#files.createAll(uuid, { config, shards }));
    });
  }

  /** false where there is none of that name; an alias is not a name here. */
  delete(name: string): Promise<boolean> {
    return this.#changes.run(async () => {
      const uuid = Object.hasOwn(this.#directory.value.names, name) ? this.#directory.value.names[name] : undefined;
      if (uuid === undefined) return false;
      await this.#setDirectory(withoutCollection(this.#directory.value, name));
      const collection = must(this.#collections.get(uuid), 'a named collection is open');
      this.#collections.delete(uuid);
      await collection.set.retire();
      await this.#removeRecord(uuid);
      await this.#files.removeCollection(uuid);
      return true;
    });
  }

  update(name: string, update: UpdateCollection): Promise<void> {
    return this.#changes.run(async () => {
      const collection = this.get(name);
      await this.#setConfig(collection, mergeConfig(collection.config, update));
    });
  }

  changeAliases(actions: readonly AliasAction[]): Promise<void> {
    return this.#changes.run(async () => {
      await this.#setDirectory(applyAliasActions(this.#directory.value, actions));
    });
  }

  /** Adds or drops a named vector: the configuration first, then every shard's log. A start after a crash between the two finishes it. */
  changeVectors(name: string, operation: WriteOperation & { kind: 'create-vector' | 'drop-vector' }, options: WriteOptions): Promise<WriteResult> {
    return this.#changes.run(async () => {
      const collection = this.get(name);
      const { vectors } = collection.config.params;
      const changed = operation.kind === 'create-vector' ? withVector(vectors, operation.name, operation.params) : withoutVector(vectors, operation.name);
      await this.#setConfig(collection, { ...collection.config, params: { ...collection.config.params, vectors: changed } });
      return await collection.write(operation, options);
    });
  }

  async freeze(name: string): Promise<FrozenCollection> {
    const collection = this.get(name);
    const shards = await collection.set.use(() => freezeShards(collection.set.shards()));
    const info = this.info(collection.name);
    return {
      name: collection.name,
      uuid: collection.uuid,
      config: collection.config,
      payloadSchema: new Map([...info.payloadSchema].map(([field, { schema }]) => [field, schema])),
      aliases: info.aliases,
      shards,
      release: () => {
        for (const shard of shards) shard.release();
      },
    };
  }

  checkCompatible(name: string, config: CollectionConfig): void {
    const current = this.config(name);
    if (current !== undefined) refuseIncompatible(current, config);
  }

  adopt(request: AdoptRequest): Promise<number> {
    return this.#changes.run(() => (this.resolve(request.name) === undefined ? this.#adoptNew(request) : this.#adoptInto(this.get(request.name), request)));
  }

  /** Idempotent; requests in flight are waited for. */
  async close(): Promise<void> {
    await this.#changes.run(async () => {
      await Promise.all([...this.#collections.values()].map((collection) => collection.set.retire()));
      this.#collections.clear();
      this.#directory = { value: emptyDirectory, revision: this.#directory.revision };
    });
  }

  async #load(): Promise<void> {
    const uuids = new Set(Object.values(this.#directory.value.names));
    for (const key of await this.#metastore.keys(recordKey(''))) {
      if (!uuids.has(key.slice(recordKey('').length))) await this.#removeRecord(key.slice(recordKey('').length));
    }
    await this.#files.sweepCollections(uuids);
    for (const [name, uuid] of Object.entries(this.#directory.value.names)) {
      const record = must(await this.#metastore.get(recordKey(uuid)), `collection ${name} has a record`).value as CollectionRecord;
      const set = await this.#files.openAll(uuid, record);
      this.#collections.set(uuid, new Collection(name, uuid, { config: record.config, set }));
      await this.#files.reconcileVectors(set, record.config);
    }
  }

  async #adoptNew(request: AdoptRequest): Promise<number> {
    this.#refuseTakenName(request.name);
    const uuid = randomUUID();
    const shards = request.shards.map(({ id }) => ({ id, generation: 0 }));
    const record = { config: request.config, shards };
    const collection = await this.#publishNew(request.name, uuid, record, () => this.#files.adoptAll(uuid, record, request.shards));
    return collection.info([]).points;
  }

  /** The new generation is built beside the old one and switched in by one compare-and-set of the shard map. */
  async #adoptInto(collection: Collection, request: AdoptRequest): Promise<number> {
    refuseIncompatible(collection.config, request.config);
    const current = await this.#record(collection.uuid);
    const generations = new Map(current.value.shards.map(({ id, generation }) => [id, generation]));
    const shards = request.shards.map(({ id }) => ({ id, generation: must(generations.get(id), 'shard numbers were compared') + 1 }));
    const record: CollectionRecord = { config: collection.config, shards };
    const set = await this.#files.adoptAll(collection.uuid, record, request.shards);
    try {
      const schema = collection.info([]).payloadSchema;
      await this.#files.reconcileIndexes(set, new Map([...schema].map(([field, entry]) => [field, entry.schema])));
      const revision = await this.#metastore.set(recordKey(collection.uuid), record, current.revision);
      invariant(revision !== undefined, 'changes of a collection run one after another');
    } catch (error) {
      await set.retire();
      await this.#files.removeShards(collection.uuid, shards);
      throw error;
    }
    const old = collection.replaceSet(set);
    await old.retire();
    await this.#files.removeShards(collection.uuid, current.value.shards);
    return collection.info([]).points;
  }

  /** Files, then the record, then the name: only the last makes it exist. On a failure nothing is left. */
  async #publishNew(name: string, uuid: string, record: CollectionRecord, build: () => Promise<ShardSet>): Promise<Collection> {
    let set: ShardSet | undefined;
    try {
      set = await build();
      await this.#metastore.create(recordKey(uuid), record);
      const collection = new Collection(name, uuid, { config: record.config, set });
      this.#collections.set(uuid, collection);
      await this.#setDirectory(withCollection(this.#directory.value, name, uuid));
      return collection;
    } catch (error) {
      this.#collections.delete(uuid);
      await set?.retire();
      await this.#removeRecord(uuid).catch((cause: unknown) => this.#logger.warn({ uuid, cause: String(cause) }, 'record of a failed create stays until the next start'));
      await this.#files.removeCollection(uuid);
      throw error;
    }
  }

  async #setConfig(collection: Collection, config: CollectionConfig): Promise<void> {
    const { value, revision } = await this.#record(collection.uuid);
    const next = await this.#metastore.set(recordKey(collection.uuid), { ...value, config }, revision);
    invariant(next !== undefined, 'changes of a collection run one after another');
    collection.setConfig(config);
    for (const shard of collection.set.shards()) shard.setIndexing(indexingOf(config));
  }

  async #setDirectory(value: NameDirectory): Promise<void> {
    const revision = await this.#metastore.set(directoryKey, value, this.#directory.revision);
    invariant(revision !== undefined, 'only this catalog writes names on one node');
    this.#directory = { value, revision };
  }

  async #record(uuid: string): Promise<Versioned<CollectionRecord>> {
    const record = must(await this.#metastore.get(recordKey(uuid)), 'an open collection has a record');
    return { value: record.value as CollectionRecord, revision: record.revision };
  }

  async #removeRecord(uuid: string): Promise<void> {
    const record = await this.#metastore.get(recordKey(uuid));
    if (record !== undefined) await this.#metastore.delete(recordKey(uuid), record.revision);
  }

  #refuseTakenName(name: string): void {
    const { names, aliases } = this.#directory.value;
    if (Object.hasOwn(names, name)) throw new RequestError('already-exists', `Collection \`${name}\` already exists!`);
    if (Object.hasOwn(aliases, name)) throw new RequestError('bad-input', `Can't create collection with name ${name}. Alias with the same name already exists`);
  }

  #aliasesOf(name: string): readonly string[] {
    return this.aliases().filter(({ collection }) => collection === name).map(({ alias }) => alias);
  }
}

async function loadDirectory(metastore: Metastore): Promise<Versioned<NameDirectory>> {
  const record = await metastore.get(directoryKey);
  if (record !== undefined) return { value: record.value as NameDirectory, revision: record.revision };
  const revision = must(await metastore.create(directoryKey, emptyDirectory), 'an absent record can be created');
  return { value: emptyDirectory, revision };
}

/** Where a collection's files lie, for the verifier. */
export function collectionDirectory(dataDirectory: string, uuid: string): string {
  return path.join(dataDirectory, 'collections', uuid);
}
