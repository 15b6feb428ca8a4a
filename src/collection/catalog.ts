// All collections of a node: which there are, under which names, and with which shards. Owns <data>/collections/.
//
// Invariants:
// - What exists is what the metastore says: `dir` (names, aliases) and `c.<uuid>` (configuration, shard map). Folders that no
//   record names are leftovers of a create, restore or delete that did not finish, and are removed at start.
// - Every change prepares files first and becomes true by one compare-and-set; before it everything is as before.
// - Changes run one after another; reads and writes of points never wait for them.
// - A restore builds collections of new uuids beside the old; the directory's compare-and-set makes them the named ones. The old
//   stay as closed folders while the restore can be undone (replaced.ts).
import { randomUUID } from 'node:crypto';
import { must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { explainDiskError, RequestError } from '../base/errors.ts';
import { Lifetimes } from '../base/lifetimes.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import { isCustomSharded, isUnnamed, type AliasAction, type CollectionConfig, type CreateCollection, type UpdateCollection } from '../command/collection-config.ts';
import { fillConfig, mergeConfig } from '../command/config-defaults.ts';
import { indexingOf, mergingOf } from '../command/indexing-config.ts';
import { refuseNewName, refuseVectorName } from '../command/names.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { WriteOptions, WriteResult } from '../command/write.ts';
import { freezeShards, type FrozenShard } from '../shard/freeze.ts';
import { applyAliasActions, collectionNotFound, resolveName, withCollection, withoutCollection, type NameDirectory, type ReplacedState } from './aliases.ts';
import { Collection } from './collection.ts';
import type { Collections } from './collections.ts';
import type { CollectionInfo } from './collection-info.ts';
import { CollectionRecords } from './collection-records.ts';
import { refuseIncompatible, refuseLostKeys, refuseOtherKey, refuseOtherVectors, type CollectionShape } from './compatibility.ts';
import { declaredIndexes, withIndexChange, type IndexChange } from './declared-indexes.ts';
import { emptyPlaces, ShardFiles, type CollectionRecord, type ShardFilesOptions } from './shard-files.ts';
import { InDoubtError, type Metastore } from './metastore.ts';
import { keptCollection, keptShard, momentAfter, replacedUuids, withoutReplaced, withRestored, withUndone, type KeptState } from './replaced.ts';
import { shardNotFound, ShardSet } from './shard-set.ts';
import type { AdoptCollection, AdoptRequest, AdoptShardRequest, FrozenCollection, RestoreRules } from './snapshot-source.ts';
import type { SchemaChange } from './split-operation.ts';
import { withVector, withoutVector } from './vector-names.ts';

/** Ids of restores that a record remembers: a start after a crash asks for the last few only. */
const restoresKeptMax = 16;
/** Of the disk: below it, replaced states are not worth their room. */
const lowSpaceShare = 0.05;

export interface CatalogOptions extends ShardFilesOptions {
  readonly metastore: Metastore;
  /** How long what a restore replaces can be brought back; 0: not at all. */
  readonly undoMs?: number;
}

interface Restored {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly collection: Collection;
  readonly record: CollectionRecord;
}

export class Catalog implements Collections {
  readonly #records: CollectionRecords;
  readonly #files: ShardFiles;
  readonly #logger: Logger;
  readonly #changes = new Lock();
  /** Configuration and shards change their vectors together: a freeze sees both before or both after. */
  readonly #vectorChanges = new Lock();
  readonly #clock: Clock;
  readonly #lifetimes: Lifetimes;
  readonly #undoMs: number;
  readonly #collections = new Map<string, Collection>(); // by uuid

  private constructor(options: CatalogOptions, records: CollectionRecords) {
    this.#records = records;
    this.#files = new ShardFiles(options);
    this.#logger = options.logger;
    this.#clock = options.clock;
    this.#lifetimes = new Lifetimes(options.clock);
    this.#undoMs = options.undoMs ?? 0;
  }

  /** Opens every collection that has a name and removes what has none. A damaged shard leaves its collection red, not closed. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    const catalog = new Catalog(options, await CollectionRecords.open(options));
    await catalog.#load();
    return catalog;
  }

  names(): readonly string[] {
    return Object.keys(this.#records.directory.names);
  }

  resolve(name: string): string | undefined {
    return resolveName(this.#records.directory, name);
  }

  /** By name or alias. @throws RequestError 'not-found' */
  get(name: string): Collection {
    const real = this.resolve(name);
    if (real === undefined) throw collectionNotFound(name);
    const uuid = must(this.#records.directory.names[real], 'a resolved name has a uuid');
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
    return Object.entries(this.#records.directory.aliases).map(([alias, collection]) => ({ alias, collection }));
  }

  create(name: string, create: CreateCollection): Promise<void> {
    return this.#change(async () => {
      refuseNewName('collection_name', name);
      if (!isUnnamed(create.vectors)) for (const vector of Object.keys(create.vectors)) refuseVectorName(vector);
      this.#refuseTakenName(name);
      const uuid = randomUUID();
      const config = fillConfig(create);
      // Under custom sharding shards come with their keys.
      const shards = isCustomSharded(config) ? [] : emptyPlaces(config);
      await this.#publishNew(name, uuid, { config, shards }, () => this.#files.createAll(uuid, { config, shards }));
    });
  }

  /** false where there is none of that name; an alias is not a name here. */
  delete(name: string): Promise<boolean> {
    return this.#change(async () => {
      const uuid = Object.hasOwn(this.#records.directory.names, name) ? this.#records.directory.names[name] : undefined;
      if (uuid === undefined) return false;
      const replaced = this.#replacedOf(name);
      await this.#records.setDirectory(withoutCollection(this.#records.directory, name));
      const collection = must(this.#collections.get(uuid), 'a named collection is open');
      this.#collections.delete(uuid);
      await this.#cleanUp(uuid, async () => {
        await collection.set.retire();
        await this.#forget(replaced === undefined ? [uuid] : [uuid, replaced.uuid]);
      });
      return true;
    });
  }

  update(name: string, update: UpdateCollection): Promise<void> {
    return this.#change(async () => {
      const collection = this.get(name);
      await this.#setConfig(collection, mergeConfig(collection.config, update));
    });
  }

  changeAliases(actions: readonly AliasAction[]): Promise<void> {
    return this.#change(async () => {
      await this.#records.setDirectory(applyAliasActions(this.#records.directory, actions));
    });
  }

  async changeSchema(name: string, operation: SchemaChange, options: WriteOptions): Promise<WriteResult> {
    if (operation.kind === 'create-vector' || operation.kind === 'drop-vector') return await this.#changeVectors(name, operation, options);
    const isCustom = isCustomSharded(this.get(name).config);
    return isCustom ? await this.#changeIndexes(name, operation, options) : await this.get(name).write(operation, options);
  }

  /** Under custom sharding: every shard's log, then the record. */
  #changeIndexes(name: string, operation: IndexChange, options: WriteOptions): Promise<WriteResult> {
    return this.#change(async () => {
      const collection = this.get(name);
      const value = await this.#records.get(collection.uuid);
      const indexes = withIndexChange(value.indexes ?? [], operation);
      const result = await collection.write(operation, options);
      await this.#records.set(collection.uuid, { ...value, indexes });
      collection.setIndexes(indexes);
      return result;
    });
  }

  /** The configuration first, then every shard's log. A start after a crash between the two finishes it. Where a shard fails, a new
   *  vector is taken back; one to be dropped may be gone from another shard, so it goes from all. */
  #changeVectors(name: string, operation: SchemaChange & { kind: 'create-vector' | 'drop-vector' }, options: WriteOptions): Promise<WriteResult> {
    return this.#change(async () => {
      const collection = this.get(name);
      const { vectors } = collection.config.params;
      const changed = operation.kind === 'create-vector' ? withVector(vectors, operation.name, operation.params) : withoutVector(vectors, operation.name);
      const { config } = collection;
      return await this.#vectorChanges.run(async () => {
        await this.#setConfig(collection, { ...config, params: { ...config.params, vectors: changed } });
        try {
          return await collection.write(operation, options);
        } catch (error) {
          await this.#settleVectors(collection, operation.kind === 'create-vector' ? config : collection.config);
          throw error;
        }
      });
    });
  }

  freeze(name: string, shardId?: number): Promise<FrozenCollection> {
    return this.#vectorChanges.run(async () => {
      const collection = this.get(name);
      const shards = shardId === undefined ? collection.set.shards() : [collection.set.shard(shardId)];
      return this.#describeFrozen(collection, await collection.set.use(() => freezeShards(shards)));
    });
  }

  /** Creates, restores and alias changes wait for it, so that what it holds together was so at one instant. */
  freezeAll(): Promise<readonly FrozenCollection[]> {
    return this.#changes.run(() => this.#vectorChanges.run(async () => {
      const collections = this.names().map((name) => this.get(name));
      const shards = collections.map(({ set }) => set.shards());
      const frozen = await freezeShards(shards.flat());
      let at = 0;
      return collections.map((collection, index) => {
        const from = at;
        at += shards[index]?.length ?? 0;
        return this.#describeFrozen(collection, frozen.slice(from, at));
      });
    }));
  }

  async checkpoint(name: string, shardId: number): Promise<void> {
    const collection = this.get(name);
    const shard = collection.set.shard(shardId);
    await collection.set.use(() => shard.checkpoint());
  }

  checkShard(name: string, shardId: number): void {
    if (!this.get(name).set.slots.some(({ id }) => id === shardId)) throw shardNotFound(shardId);
  }

  schema(name: string): ReadonlyMap<string, FieldSchema> | undefined {
    return this.resolve(name) === undefined ? undefined : schemaOf(this.get(name));
  }

  points(name: string): number {
    return this.resolve(name) === undefined ? 0 : this.get(name).info([]).points;
  }

  checkCompatible(name: string, archive: CollectionShape, rules: Partial<RestoreRules> = {}): void {
    if (this.resolve(name) === undefined || rules.config === 'whole') return;
    const current = this.get(name).shape;
    refuseIncompatible(current, archive, { anyShardNumber: rules.reshard === true });
    refuseLostKeys(current, archive);
  }

  adopt(request: AdoptRequest): Promise<number> {
    return this.#change(async () => {
      const restored: Restored[] = [];
      try {
        for (const each of request.collections) restored.push(await this.#buildRestored(each, request));
        const { aliases } = request;
        const names = restored.map(({ name, collection: { uuid }, aliases: wanted }) => ({ name, uuid, aliases: wanted }));
        const before = this.#records.directory;
        const directory = withRestored(before, names, { aliases, atMs: await this.#nextMoment(), undoMs: this.#undoMs });
        for (const { collection, record } of restored) {
          await this.#records.create(collection.uuid, record);
          this.#collections.set(collection.uuid, collection);
        }
        request.onCommit();
        await this.#records.setDirectory(directory);
        await this.#retireUnnamed(before);
      } catch (error) {
        if (restored.every(({ name, collection: { uuid } }) => this.#records.directory.names[name] !== uuid)) await this.#discard(restored.map(({ collection }) => collection), error);
        throw error;
      }
      return restored.reduce((sum, { collection }) => sum + collection.info([]).points, 0);
    });
  }

  adoptShard(request: AdoptShardRequest): Promise<number> {
    return this.#change(async () => {
      const collection = this.get(request.name);
      refuseIncompatible(collection.shape, request);
      refuseOtherKey(collection.shape, request, request.shard.id);
      const current = await this.#records.get(collection.uuid);
      const { id } = request.shard;
      const old = current.shards.find((place) => place.id === id);
      if (old === undefined) throw shardNotFound(id);
      const [kept, dropped] = partition(current.replaced ?? [], (place) => place.id !== id);
      const place = { ...old, generation: Math.max(old.generation, ...dropped.map(({ generation }) => generation)) + 1 };
      const slot = await this.#files.adoptOne(collection.uuid, collection.config, { place, staging: request.shard });
      const added = new ShardSet([slot]);
      const atMs = await this.#nextMoment();
      const replaced = this.#undoMs > 0 ? [...kept, { ...old, atMs, untilMs: atMs + this.#undoMs }] : kept;
      try {
        refuseOtherVectors(added.shards(), collection.config);
        await this.#files.reconcileIndexes(added, schemaOf(collection));
        request.onCommit();
        await this.#records.set(collection.uuid, {
          ...current, shards: current.shards.map((each) => (each.id === id ? place : each)), restores: withRestore(current, request.restoreId), replaced,
        });
      } catch (error) {
        await added.retire();
        if (!(error instanceof InDoubtError)) await this.#files.removeShards(collection.uuid, [place]);
        throw error;
      }
      await this.#replaceSlots(collection, [slot]);
      await this.#files.removeShards(collection.uuid, this.#undoMs > 0 ? dropped : [...dropped, old]);
      return added.shards().reduce((sum, shard) => sum + shard.info().points, 0);
    });
  }

  undo(name: string): Promise<void> {
    return this.#change(async () => {
      const collection = this.get(name);
      const record = await this.#records.get(collection.uuid);
      const shards = (record.replaced ?? []).filter((place) => !this.#isOver(keptShard(collection.uuid, place)));
      const found = this.#replacedOf(collection.name);
      const state = found === undefined || this.#isOver(keptCollection(found)) ? undefined : found;
      const latest = Math.max(-Infinity, ...shards.map(({ atMs }) => atMs));
      if (shards.length > 0 && latest >= (state?.atMs ?? -Infinity)) return await this.#undoShards(collection, record, shards.filter(({ atMs }) => atMs === latest));
      const before = this.#records.directory;
      const moment = { atMs: await this.#nextMoment(), undoMs: this.#undoMs };
      const directory = state === undefined ? undefined : withUndone(before, collection.name, moment);
      if (directory === undefined || state === undefined) throw new RequestError('not-found', `Collection \`${collection.name}\` has no replaced state to bring back`);
      const back = await this.#openCollection(collection.name, state.uuid);
      try {
        back.set.shards(); // all of them sound
        this.#collections.set(state.uuid, back);
        await this.#records.setDirectory(directory);
      } catch (error) {
        this.#collections.delete(state.uuid);
        await back.set.retire();
        throw error;
      }
      await this.#retireUnnamed(before);
    });
  }

  dropOldestReplaced(): Promise<boolean> {
    return this.#changes.run(async () => {
      const kept = await this.#kept(Object.values(this.#records.directory.names));
      const [oldest] = kept.sort((a, b) => a.atMs - b.atMs);
      return oldest !== undefined && (await this.#dropReplaced(({ key }) => key === oldest.key));
    });
  }

  /** Removes kept states whose time has passed, and the oldest of the others as long as space runs low. */
  async tidyReplaced(): Promise<void> {
    await this.#changes.run(() => this.#dropReplaced((kept) => this.#isOver(kept)));
    for (;;) {
      const { freeBytes, totalBytes } = await this.#files.space();
      if (freeBytes >= totalBytes * lowSpaceShare || !(await this.dropOldestReplaced())) return;
    }
  }

  async hasCommitted(restoreId: string): Promise<boolean> {
    for (const uuid of Object.values(this.#records.directory.names)) {
      if ((await this.#records.get(uuid)).restores?.includes(restoreId) === true) return true;
    }
    return false;
  }

  /** Idempotent; requests in flight are waited for. */
  async close(): Promise<void> {
    await this.#changes.run(async () => {
      await Promise.all([...this.#collections.values()].map((collection) => collection.set.retire()));
      this.#collections.clear();
      this.#records.forgetDirectory();
    });
  }

  #change<T>(section: () => Promise<T>): Promise<T> {
    return this.#changes.run(() => section().catch((error: unknown) => {
      throw explainDiskError(error);
    }));
  }

  async #load(): Promise<void> {
    const uuids = new Set([...Object.values(this.#records.directory.names), ...replacedUuids(this.#records.directory)]);
    for (const uuid of await this.#records.uuids()) if (!uuids.has(uuid)) await this.#records.remove(uuid);
    await this.#files.sweepCollections(uuids);
    for (const uuid of replacedUuids(this.#records.directory)) await this.#files.sweepKept(uuid);
    for (const [name, uuid] of Object.entries(this.#records.directory.names)) {
      this.#collections.set(uuid, await this.#openCollection(name, uuid));
    }
  }

  async #openCollection(name: string, uuid: string): Promise<Collection> {
    const record = await this.#records.get(uuid);
    const set = await this.#files.openAll(uuid, record);
    await this.#files.reconcileVectors(set, record.config);
    return new Collection(name, uuid, { ...record, set });
  }

  /** A collection of a new uuid out of staged files; nobody can reach it yet. */
  async #buildRestored(each: AdoptCollection, request: AdoptRequest): Promise<Restored> {
    const { names, aliases } = this.#records.directory;
    if (request.config === 'whole' && Object.hasOwn(aliases, each.name) && !Object.hasOwn(names, each.name)) this.#refuseTakenName(each.name);
    const live = this.resolve(each.name) === undefined ? undefined : this.get(each.name);
    this.checkCompatible(each.name, each, request);
    const isWhole = live === undefined || request.config === 'whole';
    const config = isWhole ? each.config : live.config;
    // Shards that refused to open do not tell their indexes: there is nothing of theirs to keep.
    const takesSchema = isWhole || request.schema === 'snapshot' || live.set.slots.some(({ shard }) => shard === undefined);
    const schema = takesSchema ? each.payloadSchema : schemaOf(live);
    const indexes = declaredIndexes(schema);
    const uuid = randomUUID();
    const shards = each.shardKeys?.map(({ id, key }) => ({ id, key, generation: 0 })) ?? emptyPlaces(config);
    const record: CollectionRecord = { config, shards, restores: [request.restoreId], ...(each.shardKeys === undefined ? {} : { indexes }) };
    const asTheyAre = each.shards.length === shards.length;
    let set: ShardSet | undefined;
    try {
      set = asTheyAre ? await this.#files.adoptAll(uuid, record, each.shards) : await this.#files.reshardAll(uuid, record, each.shards, request);
      refuseOtherVectors(set.shards(), config);
      if (!asTheyAre || !takesSchema) await this.#files.reconcileIndexes(set, schema);
    } catch (error) {
      await set?.retire();
      await this.#forget([uuid]);
      throw error;
    }
    const collection = new Collection(live?.name ?? each.name, uuid, { ...record, set });
    return { name: collection.name, aliases: each.aliases, collection, record };
  }

  /** Of a restore that did not come to be. Where that is in doubt the files stay: the next start may find that it did. */
  async #discard(collections: readonly Collection[], cause: unknown): Promise<void> {
    for (const { uuid, set } of collections) {
      this.#collections.delete(uuid);
      await this.#cleanUp(uuid, async () => {
        await set.retire();
        if (cause instanceof InDoubtError) await this.#records.remove(uuid);
        else await this.#forget([uuid]);
      });
    }
  }

  /** After the directory has changed: closes collections that lost their names, and removes the files of those that are not kept. */
  async #retireUnnamed(before: NameDirectory): Promise<void> {
    const named = new Set(Object.values(this.#records.directory.names));
    const kept = new Set([...named, ...replacedUuids(this.#records.directory)]);
    for (const uuid of new Set([...Object.values(before.names), ...replacedUuids(before)])) {
      const collection = named.has(uuid) ? undefined : this.#collections.get(uuid);
      if (collection !== undefined) {
        this.#collections.delete(uuid);
        await collection.set.retire().catch((error: unknown) => this.#logger.error({ uuid, error: String(error) }, 'a replaced collection did not close in order'));
      }
      if (!kept.has(uuid)) await this.#forget([uuid]);
    }
  }

  /** A failure costs space only: the next start removes what has no name. */
  async #forget(uuids: readonly string[]): Promise<void> {
    for (const uuid of uuids) {
      try {
        await this.#records.remove(uuid);
        await this.#files.removeCollection(uuid);
        this.#lifetimes.forget(uuid);
      } catch (error) {
        this.#logger.warn({ uuid, error: String(error) }, 'files of a collection that is gone stay until the next start');
      }
    }
  }

  async #undoShards(collection: Collection, record: CollectionRecord, back: readonly { readonly id: number; readonly generation: number }[]): Promise<void> {
    const places = record.shards.map((place) => ({ ...place, generation: back.find(({ id }) => id === place.id)?.generation ?? place.generation }));
    const atMs = await this.#nextMoment();
    const swapped = record.shards.filter((place) => back.some(({ id }) => id === place.id)).map((place) => ({ ...place, atMs, untilMs: atMs + this.#undoMs }));
    const kept = (record.replaced ?? []).filter((place) => !back.some(({ id }) => id === place.id));
    const next = { ...record, shards: places, replaced: [...kept, ...swapped] };
    const slots = await this.#files.openSome(collection.uuid, record.config, places.filter(({ id }) => back.some((each) => each.id === id)));
    const added = new ShardSet(slots);
    try {
      added.shards();
      await this.#records.set(collection.uuid, next);
    } catch (error) {
      await added.retire();
      throw error;
    }
    await this.#replaceSlots(collection, slots);
  }

  async #replaceSlots(collection: Collection, slots: ShardSet['slots']): Promise<void> {
    const others = collection.set.slots.filter(({ id }) => !slots.some((slot) => slot.id === id));
    const set = new ShardSet([...others, ...slots]);
    await collection.replaceSet(set).retire(set);
  }

  async #dropReplaced(isGone: (state: KeptState) => boolean): Promise<boolean> {
    let dropped = false;
    const before = this.#records.directory;
    const directory = withoutReplaced(before, (state) => isGone(keptCollection(state)));
    if (directory !== before) {
      await this.#records.setDirectory(directory);
      await this.#retireUnnamed(before);
      dropped = true;
    }
    for (const uuid of Object.values(directory.names)) {
      const value = await this.#records.get(uuid);
      const [kept, gone] = partition(value.replaced ?? [], (place) => !isGone(keptShard(uuid, place)));
      if (gone.length === 0) continue;
      await this.#records.set(uuid, { ...value, replaced: kept });
      await this.#files.removeShards(uuid, gone);
      for (const place of gone) this.#lifetimes.forget(keptShard(uuid, place).key);
      dropped = true;
    }
    return dropped;
  }

  #isOver({ key, atMs, untilMs }: KeptState): boolean {
    return this.#lifetimes.isOver(key, { fromMs: atMs, forMs: untilMs - atMs });
  }

  /** Later than every state that is kept. */
  async #nextMoment(): Promise<number> {
    return momentAfter(this.#clock.now(), await this.#kept([...Object.values(this.#records.directory.names), ...replacedUuids(this.#records.directory)]));
  }

  /** Of collections, and of shards of the collections with these uuids. */
  async #kept(uuids: readonly string[]): Promise<KeptState[]> {
    const kept = Object.values(this.#records.directory.replaced ?? {}).map(keptCollection);
    for (const uuid of uuids) kept.push(...((await this.#records.get(uuid)).replaced ?? []).map((place) => keptShard(uuid, place)));
    return kept;
  }

  #replacedOf(name: string): ReplacedState | undefined {
    const replaced = this.#records.directory.replaced ?? {};
    return Object.hasOwn(replaced, name) ? replaced[name] : undefined;
  }

  #describeFrozen(collection: Collection, shards: readonly FrozenShard[]): FrozenCollection {
    return {
      name: collection.name,
      uuid: collection.uuid,
      ...collection.shape,
      payloadSchema: schemaOf(collection),
      aliases: this.#aliasesOf(collection.name),
      shards,
      release: () => {
        for (const shard of shards) shard.release();
      },
    };
  }

  /** Files, then the record, then the name: only the last makes it exist. On a failure nothing is left. */
  async #publishNew(name: string, uuid: string, record: CollectionRecord, build: () => Promise<ShardSet>): Promise<Collection> {
    let set: ShardSet | undefined;
    try {
      set = await build();
      await this.#records.create(uuid, record);
      const collection = new Collection(name, uuid, { ...record, set });
      this.#collections.set(uuid, collection);
      await this.#records.setDirectory(withCollection(this.#records.directory, name, uuid));
      return collection;
    } catch (error) {
      this.#collections.delete(uuid);
      await this.#cleanUp(uuid, async () => {
        await set?.retire();
        await this.#records.remove(uuid);
        if (!(error instanceof InDoubtError)) await this.#files.removeCollection(uuid);
      });
      throw error;
    }
  }

  /** What is decided stays decided: leftovers go at the next start. */
  async #cleanUp(uuid: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#logger.warn({ collection: uuid, error: String(error) }, 'files that are no longer needed could not all be removed; the next start does it');
    }
  }

  async #settleVectors(collection: Collection, config: CollectionConfig): Promise<void> {
    try {
      if (config !== collection.config) await this.#setConfig(collection, config);
      await this.#files.reconcileVectors(collection.set, config);
    } catch (error) {
      this.#logger.error({ collection: collection.name, error: String(error) }, 'shards do not have the vectors of the configuration; the next start gives them');
    }
  }

  async #setConfig(collection: Collection, config: CollectionConfig): Promise<void> {
    const value = await this.#records.get(collection.uuid);
    await this.#records.set(collection.uuid, { ...value, config });
    collection.setConfig(config);
    for (const shard of collection.set.shards()) shard.setIndexing(indexingOf(config), mergingOf(config));
  }

  #refuseTakenName(name: string): void {
    const { names, aliases } = this.#records.directory;
    if (Object.hasOwn(names, name)) throw new RequestError('already-exists', `Collection \`${name}\` already exists!`);
    if (Object.hasOwn(aliases, name)) throw new RequestError('bad-input', `Can't create collection with name ${name}. Alias with the same name already exists`);
  }

  #aliasesOf(name: string): readonly string[] {
    return this.aliases().filter(({ collection }) => collection === name).map(({ alias }) => alias);
  }
}

function schemaOf(collection: Collection): ReadonlyMap<string, FieldSchema> {
  return new Map([...collection.info([]).payloadSchema].map(([field, { schema }]) => [field, schema]));
}

function withRestore({ restores = [] }: CollectionRecord, restoreId: string): readonly string[] {
  return [...restores, restoreId].slice(-restoresKeptMax);
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))];
}
