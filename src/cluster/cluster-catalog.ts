// All collections of a cluster as one node sees and serves them: names, aliases, configurations and shard maps are records of the
// shared metastore; this node opens the shards that the records place on it and reaches the others through their nodes.
//
// Invariants:
// - What exists is what the metastore says. Every change is a pure function of the record it found, put in place by compare-and-set
//   and worked out again where another node was first.
// - Local shards follow the records (reconcile), never the other way round; reconciling one collection twice changes nothing.
// - A change answers when this node has followed it and the nodes that answer have been given time to.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import { Lock } from '../base/lock.ts';
import { isCustomSharded, isUnnamed, type AliasAction, type CollectionConfig, type CreateCollection, type UpdateCollection } from '../command/collection-config.ts';
import { fillConfig, mergeConfig } from '../command/config-defaults.ts';
import { indexingOf, mergingOf } from '../command/indexing-config.ts';
import { refuseNewName, refuseVectorName } from '../command/names.ts';
import type { ShardOperation } from '../command/cluster-operation.ts';
import type { WriteOptions, WriteResult } from '../command/write.ts';
import { applyAliasActions, collectionNotFound, emptyDirectory, resolveName, withCollection, withoutCollection, type NameDirectory } from '../collection/aliases.ts';
import { Collection } from '../collection/collection.ts';
import type { CollectionInfo } from '../collection/collection-info.ts';
import type { Collections } from '../collection/collections.ts';
import type { ShardPlace } from '../collection/shard-files.ts';
import { ShardSet, type ShardSlot } from '../collection/shard-set.ts';
import { haveSameIndexes, refuseIncompatible, type ArchiveShape } from '../collection/compatibility.ts';
import { declaredSchema, withIndexChange } from '../collection/declared-indexes.ts';
import { InDoubtError } from '../collection/metastore.ts';
import type { AdoptRequest, AdoptShardRequest, FrozenCollection, RestoreRules } from '../collection/snapshot-source.ts';
import { shardNotFound } from '../collection/shard-set.ts';
import type { SchemaChange } from '../collection/split-operation.ts';
import { withVector, withoutVector } from '../collection/vector-names.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { refuseElsewhere } from './any-node.ts';
import { freezeLocal, schemaOf } from './freeze-local.ts';
import type { Shard } from '../shard/shard.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { CatchingUp } from './catching-up.ts';
import type { ClusterMetastore } from './kv-metastore.ts';
import { Leftovers } from './leftovers.ts';
import { LocalShards, type LocalShardsOptions } from './local-shards.ts';
import { LogCare } from './log-care.ts';
import { ReplicaCare, type Transfer, type TransfersMax } from './replica-care.ts';
import { ReplicaMarks } from './replica-marks.ts';
import { ShardKeys } from './shard-keys.ts';
import { ShardRestores } from './shard-restores.ts';
import { ClusterRecords, directoryKey, recordPrefix } from './cluster-records.ts';
import { isServedBeside, peersIn, placeShards, replicaOf, shapeOf, type ClusterCollection, type ShardRecord } from './cluster-record.ts';
import type { Membership, ShardBeat } from './membership.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerMethods } from './peer-server.ts';
import type { ShardName } from './remote-replica.ts';
import { ShardMoves } from './shard-moves.ts';
import { ShardRoutes } from './shard-routes.ts';
import { createStream, deleteStream, streamFacts } from './shard-stream.ts';

const streamsMakingMax = 8;
const followTimeoutMs = 10_000;

export interface ClusterCatalogOptions extends LocalShardsOptions {
  readonly metastore: ClusterMetastore;
  readonly peers: PeerClient;
  /** Servers that keep each stream. */
  readonly streamReplicas: () => number;
  /** Shards of a new collection for each node, where nothing is asked. */
  readonly shardsPerNode: number;
  readonly transfersMax: TransfersMax;
}

interface Open {
  readonly collection: Collection;
  record: ClusterCollection;
}

export class ClusterCatalog implements Collections {
  readonly takesSomeShards = true;
  readonly #options: ClusterCatalogOptions;
  readonly #catchingUp = new CatchingUp(() => this.#access());
  readonly #local: LocalShards;
  readonly #records: ClusterRecords;
  readonly #open = new Map<string, Open>(); // by uuid
  readonly #reconciling = new Lock();
  readonly #unwatch: (() => void)[] = [];
  readonly shardKeys = new ShardKeys(() => this.#access());
  readonly #restores = new ShardRestores(() => this.#access(), this.shardKeys);
  readonly #moves = new ShardMoves(() => this.#access());
  readonly marks = new ReplicaMarks(() => this.#access());
  readonly #routes = new ShardRoutes(() => this.#access(), this.marks);
  #accessed: CatalogAccess | undefined;
  #care: ReplicaCare | undefined;
  #logCare: LogCare | undefined;
  #leftovers: Leftovers | undefined;
  #membership: Membership | undefined;
  #directory: NameDirectory = emptyDirectory;
  /** Every collection that has a name is open. */
  #isWhole = false;
  /** Of the metastore: what this node has followed. */
  #followed = 0;
  #planned = false;
  #closed = false;

  private constructor(options: ClusterCatalogOptions) {
    this.#options = options;
    this.#records = new ClusterRecords(options.metastore);
    this.#local = new LocalShards(options, this.#catchingUp);
  }

  /** Nothing is open before `serve`. */
  static create(options: ClusterCatalogOptions): ClusterCatalog {
    return new ClusterCatalog(options);
  }

  /** Opens what the records place here, and follows them from now on. */
  async serve(membership: Membership): Promise<void> {
    this.#membership = membership;
    const { metastore } = this.#options;
    const named = await this.#records.open();
    await this.#local.files.sweepCollections(new Set(Object.values(named.names)));
    for (const uuid of Object.values(named.names)) await this.#endDeadRestore(uuid);
    for (const prefix of [directoryKey, recordPrefix]) this.#unwatch.push(metastore.watch(prefix, () => this.#plan()));
    await this.#reconcile();
    const logCare = new LogCare(this.#access(), this.#restores);
    this.#logCare = logCare;
    this.#care = new ReplicaCare(this.#access(), { marks: this.marks, fetchesMax: this.#options.transfersMax.incoming, onLost: (name) => logCare.check(name) });
    this.#leftovers = new Leftovers(this.#access(), this.#restores.turns);
  }

  /** Of the process that was this node before: first it is certain that it changes nothing more, then its folders go. */
  async #endDeadRestore(uuid: string): Promise<void> {
    try {
      await this.#restores.turns.endLost(uuid, false);
      const record = await this.#records.get(uuid);
      if (record !== undefined) await this.#local.files.sweepShards(uuid, placesOf(record, this.#members().self.peerId)); // and replicas that left while this node was away
    } catch (error) {
      this.#options.logger.warn({ collection: uuid, error: String(error) }, 'what a dead restore left could not be removed; the next start tries again');
    }
  }

  /** What this node is fetching from others. */
  get transfers(): readonly Transfer[] {
    return this.#care?.transfers ?? [];
  }

  /** Entries that the streams of this node's shards count as missing. */
  get missingEntries(): number {
    return this.#logCare?.missing ?? 0;
  }

  /** What other nodes may ask of this one about its shards. */
  methods(): PeerMethods['calls'] {
    return {
      ...this.#routes.methods(),
      'is-removed': (_args: unknown, { peerId }) => Promise.resolve(this.#members().isRemoved(peerId)),
      'follow': async ({ revision }: { readonly revision: number }) => {
        await this.#whenFollowed(revision);
        this.#members().beat(); // what it holds now
      },
    };
  }

  /** For the parts of the node that change shards and nodes. */
  get access(): CatalogAccess {
    return this.#access();
  }

  /** For heartbeats. */
  beats(): readonly ShardBeat[] {
    return this.#closed ? [] : [...this.#open].flatMap(([collectionUuid, { collection }]) => collection.set.slots.flatMap(({ id: shardId, generation, shard }) => {
      if (shard === undefined) return [];
      return [{ collectionUuid, shardId, generation, applied: shard.applied, checkpoint: shard.checkpointed, marks: shard.marks, info: shard.info() }];
    }));
  }

  names(): readonly string[] {
    return Object.keys(this.#directory.names);
  }

  resolve(name: string): string | undefined {
    return resolveName(this.#directory, name);
  }

  /** By name or alias. @throws RequestError 'not-found' */
  get(name: string): Collection {
    return this.#openOf(name).collection;
  }

  /** The shard map of a collection. @throws RequestError 'not-found' */
  record(name: string): ClusterCollection {
    return this.#openOf(name).record;
  }

  /** Whether every replica that the records place here is open, Active and read, but for those that an operator has on the way here. */
  isReady(): boolean {
    const self = this.#members().self.peerId;
    return this.#isWhole && [...this.#open].every(([uuid, { record }]) => record.shards.every((shard) => {
      const state = replicaOf(shard, self);
      const local = this.#localShard(nameOf(uuid, shard));
      return state === undefined || shard.transfer?.to === self || (state === 'Active' && local !== undefined && !this.#catchingUp.has(local));
    }));
  }

  /** The name of a collection that this node serves. */
  nameOf(uuid: string): string | undefined {
    return this.#open.get(uuid)?.collection.name;
  }

  info(name: string): CollectionInfo {
    const { collection, record } = this.#openOf(name);
    const info = collection.info(this.#aliasesOf(collection));
    const awaitedShards = record.shards.filter(({ awaited }) => awaited === true).map(({ id }) => id);
    return { ...info, awaitedShards, status: awaitedShards.length > 0 && info.status === 'green' ? 'yellow' : info.status };
  }

  config(name: string): CollectionConfig | undefined {
    return this.resolve(name) === undefined ? undefined : this.get(name).config;
  }

  aliases(): readonly { readonly alias: string; readonly collection: string }[] {
    return Object.entries(this.#directory.aliases).map(([alias, collection]) => ({ alias, collection }));
  }

  async create(name: string, create: CreateCollection): Promise<void> {
    const { client, shardsPerNode } = this.#options;
    refuseNewName('collection_name', name);
    if (!isUnnamed(create.vectors)) for (const vector of Object.keys(create.vectors)) refuseVectorName(vector);
    refuseTakenName(await this.#records.directory(), name);
    const load = this.#load();
    const isCustom = create.shardingMethod === 'custom';
    const config = fillConfig({ ...create, shardNumber: create.shardNumber ?? (isCustom ? 1 : load.size * shardsPerNode) });
    const shards = isCustom ? [] : placeShards(config.params.shard_number, config.params.replication_factor, load); // those of a key come with it
    const uuid = randomUUID();
    await this.#records.create(uuid, { config, shards });
    try {
      await this.#createStreams(uuid, shards);
      await this.#records.changeDirectory((directory) => {
        refuseTakenName(directory, name);
        return withCollection(directory, name, uuid);
      });
    } catch (error) {
      if (error instanceof InDoubtError) throw error; // it may exist yet, whatever the directory says now
      if (Object.values((await this.#records.directory()).names).includes(uuid)) throw error; // it exists; what failed came later
      await this.#records.remove(uuid);
      for (const shard of shards) await deleteStream(client, nameOf(uuid, shard)).catch(() => undefined);
      throw error;
    }
    await this.#spread();
  }

  /** false where there is none of that name; an alias is not a name here. */
  async delete(name: string): Promise<boolean> {
    let uuid: string | undefined;
    await this.#records.changeDirectory((directory) => {
      uuid = Object.hasOwn(directory.names, name) ? directory.names[name] : undefined;
      return uuid === undefined ? directory : withoutCollection(directory, name);
    });
    if (uuid === undefined) return false;
    const record = await this.#records.get(uuid);
    await this.#spread();
    await this.#records.remove(uuid);
    for (const shard of record?.shards ?? []) {
      await deleteStream(this.#options.client, nameOf(uuid, shard)).catch((error: unknown) => this.#options.logger.warn({ uuid, error: String(error) }, 'the stream of a shard that is gone stays for the sweep'));
    }
    return true;
  }

  async update(name: string, update: UpdateCollection): Promise<void> {
    await this.#records.change(this.get(name).uuid, (record) => ({ ...record, config: mergeConfig(record.config, update) }));
    await this.#spread();
  }

  /** Replicas where an operator wants them. @throws RequestError */
  changeShards(name: string, operation: ShardOperation): Promise<void> {
    return this.#moves.run(this.get(name), operation);
  }

  async changeAliases(actions: readonly AliasAction[]): Promise<void> {
    await this.#records.changeDirectory((directory) => applyAliasActions(directory, actions));
    await this.#spread();
  }

  /** The record first, then every shard's log; a node that finds a shard without a vector of the configuration gives it to it. Under
   *  automatic sharding the shards alone know of payload indexes. */
  async changeSchema(name: string, operation: SchemaChange, options: WriteOptions): Promise<WriteResult> {
    const collection = this.get(name);
    await this.#records.change(collection.uuid, (record) => {
      if (operation.kind === 'create-index' || operation.kind === 'drop-index') {
        return isCustomSharded(record.config) ? { ...record, indexes: withIndexChange(record.indexes ?? [], operation) } : record;
      }
      const { params } = record.config;
      const vectors = operation.kind === 'create-vector' ? withVector(params.vectors, operation.name, operation.params) : withoutVector(params.vectors, operation.name);
      return { ...record, config: { ...record.config, params: { ...params, vectors } } };
    });
    if (isInRecord(operation, collection)) await this.#spread();
    return await collection.write(operation, options);
  }

  async freeze(name: string, shardId?: number): Promise<FrozenCollection> {
    const { collection, record } = this.#openOf(name);
    await this.#catchUp(collection, shardId);
    return await collection.set.use(async (slots) => {
      const mine = slots.filter(({ id, shard }) => shard !== undefined && (shardId === undefined || id === shardId) && this.#routes.isActiveHere(collection.uuid, id));
      if (shardId !== undefined && mine.length === 0) throw this.#notHere(name, shardId);
      return await freezeLocal(collection, { shards: mine.map(({ shard }) => must(shard, 'filtered')), aliases: this.#aliasesOf(collection), shape: shapeOf(record) });
    });
  }

  /** This node's part of all collections; each at an instant of its own. */
  async freezeAll(): Promise<readonly FrozenCollection[]> {
    const frozen: FrozenCollection[] = [];
    try {
      for (const name of this.names()) frozen.push(await this.freeze(name));
      return frozen;
    } catch (error) {
      for (const each of frozen) each.release();
      throw error;
    }
  }

  async checkpoint(name: string, shardId: number): Promise<void> {
    const { collection } = this.#openOf(name);
    await collection.set.use(async (slots) => {
      const shard = slots.find(({ id }) => id === shardId)?.shard;
      if (shard === undefined) throw this.#notHere(name, shardId);
      await shard.checkpoint();
    });
  }

  /** Whether another node has content of the shard that `priority=replica` keeps. */
  isServedElsewhere(name: string, shardId: number): boolean {
    return this.record(name).shards.some((shard) => shard.id === shardId && isServedBeside(shard, this.#members().self.peerId));
  }

  /** @throws RequestError 'bad-input' that says where a shard lies that has no replica here */
  refuseElsewhere(name: string, shardId: number, what: string): void {
    refuseElsewhere(this.record(name), { membership: this.#members(), shardId, what });
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

  checkCompatible(name: string, archive: ArchiveShape, rules: Partial<RestoreRules> = {}): void {
    if (rules.config === 'whole' || rules.reshard === true) throw new RequestError('bad-request', 'in a cluster a restore neither replaces a configuration nor spreads points anew');
    if (this.resolve(name) === undefined) return;
    const record = this.record(name);
    refuseIncompatible(shapeOf(record), archive);
    const keepsIndexes = isCustomSharded(record.config) && !haveSameIndexes(declaredSchema(record.indexes ?? []), archive.payloadSchema);
    // shards that the file does not bring would keep theirs
    if (rules.schema === 'snapshot' && keepsIndexes) throw new RequestError('bad-request', 'in a cluster a collection with shard keys keeps its payload indexes: schema=snapshot cannot replace them; restore without it, then create and drop indexes');
  }

  adopt(request: AdoptRequest): Promise<number> {
    return this.#restores.adopt(request);
  }

  adoptShard(request: AdoptShardRequest): Promise<number> {
    return this.#restores.adoptShard(request);
  }

  undo(name: string): Promise<void> {
    return Promise.reject(new RequestError('bad-request', `in a cluster the state before a restore of \`${name}\` is not kept`));
  }

  dropOldestReplaced(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async hasCommitted(restoreId: string): Promise<boolean> {
    for (const uuid of await this.#records.uuids()) {
      if ((await this.#records.get(uuid))?.restores?.includes(restoreId) === true) return true;
    }
    return false;
  }

  /** Idempotent; requests in flight are waited for. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#restores.close();
    await this.#leftovers?.close();
    await this.#care?.close();
    await this.#logCare?.close();
    this.#catchingUp.close();
    for (const end of this.#unwatch) end();
    await this.#reconciling.run(async () => {
      await this.#local.settled();
      await Promise.all([...this.#open.values()].map(({ collection }) => collection.set.retire()));
      this.#open.clear();
      await this.#local.closeOffered();
      this.#directory = emptyDirectory;
    });
  }

  /** A snapshot has what was acknowledged before it was asked for, also where this node's replica had not applied that yet. Without a
   *  majority nobody can say what that is, and what is here is taken. */
  async #catchUp({ uuid, set }: Collection, shardId?: number): Promise<void> {
    const { client, logger } = this.#options;
    const mine = set.slots.filter(({ id }) => (shardId === undefined || id === shardId) && this.#routes.isActiveHere(uuid, id));
    await Promise.all(mine.map(async ({ id, generation, shard }) => {
      const facts = await streamFacts(client, { collectionUuid: uuid, shardId: id, generation }).catch((error: unknown) => {
        logger.warn({ collection: uuid, shard: id, error: String(error) }, 'a snapshot may lack the latest writes: the stream does not answer');
        return undefined;
      });
      if (facts !== undefined) await shard?.readable({ after: { generation, seq: facts.lastSeq } });
    }));
  }

  #notHere(name: string, shardId: number): RequestError {
    this.refuseElsewhere(name, shardId, 'local or queue proxy shard');
    return new RequestError('unavailable', `shard ${shardId} is not active on this node`);
  }

  #aliasesOf({ name }: Collection): readonly string[] {
    return this.aliases().filter(({ collection }) => collection === name).map(({ alias }) => alias);
  }

  #openOf(name: string): Open {
    const real = this.resolve(name);
    if (real === undefined) throw collectionNotFound(name);
    return must(this.#open.get(must(this.#directory.names[real], 'a resolved name has a uuid')), 'a named collection is open');
  }

  async #createStreams(uuid: string, shards: readonly ShardRecord[]): Promise<void> {
    const { client, clock } = this.#options;
    const replicas = this.#options.streamReplicas();
    const deadlineMs = clock.monotonic() + followTimeoutMs;
    await mapLimit(shards, streamsMakingMax, (shard) => createStream(client, nameOf(uuid, shard), { firstSeq: (shard.base?.seq ?? 0) + 1, replicas, deadlineMs }));
  }

  /** Peer id → replicas that it holds, of nodes that answer. */
  #load(): ReadonlyMap<number, number> {
    const membership = this.#members();
    const load = new Map(membership.nodes().filter(({ peerId, listener }) => membership.isLive(peerId) && !membership.isRemoved(peerId) && !listener).map(({ peerId }) => [peerId, 0]));
    for (const { record } of this.#open.values()) {
      for (const peer of record.shards.flatMap((shard) => peersIn(shard))) if (load.has(peer)) load.set(peer, (load.get(peer) ?? 0) + 1);
    }
    return load;
  }

  /** This node and every node that answers have followed what is true now; one that takes too long follows by itself. */
  async #spread(): Promise<void> {
    const { metastore, peers, logger } = this.#options;
    const membership = this.#members();
    const { revision } = metastore;
    await Promise.all([
      this.#whenFollowed(revision),
      ...membership.nodes().filter(({ peerId }) => peerId !== membership.self.peerId && membership.isLive(peerId)).map(async ({ uri, peerId }) => {
        await peers.call(uri, 'follow', { revision }, { timeoutMs: followTimeoutMs, isRepeatable: true }).catch((error: unknown) => logger.warn({ peerId, error: String(error) }, 'a node has not followed a change yet'));
      }),
    ]);
  }

  #plan(): void {
    if (this.#planned || this.#closed) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      this.#reconcile().catch((error: unknown) => this.#options.logger.error({ error: String(error) }, 'shards could not be brought in line with the records'));
    });
  }

  #reconcile(): Promise<void> {
    return this.#reconciling.run(async () => {
      if (this.#closed) return;
      const { metastore } = this.#options;
      const { revision } = metastore;
      const directory = await this.#records.directory();
      const named = new Map(Object.entries(directory.names).map(([name, uuid]) => [uuid, name]));
      for (const [uuid, name] of named) {
        const record = await this.#records.get(uuid);
        if (record !== undefined) await this.#follow(uuid, name, record);
      }
      this.#isWhole = [...named.keys()].every((uuid) => this.#open.has(uuid));
      this.#directory = { ...directory, names: Object.fromEntries([...named].filter(([uuid]) => this.#open.has(uuid)).map(([uuid, name]) => [name, uuid])) };
      for (const [uuid, { collection }] of this.#open) {
        if (named.has(uuid)) continue;
        this.#open.delete(uuid);
        await this.#local.settled(uuid);
        await collection.set.retire();
        await this.#local.files.removeCollection(uuid);
      }
      this.#followed = revision;
    });
  }

  async #follow(uuid: string, name: string, record: ClusterCollection): Promise<void> {
    const self = this.#members().self.peerId;
    const open = this.#open.get(uuid);
    const before = open?.collection.set.slots ?? [];
    const slots: ShardSlot[] = [];
    const held = placesOf(record, self);
    for (const shard of record.shards) {
      const known = before.find(({ id, generation }) => id === shard.id && generation === shard.generation);
      const isMine = replicaOf(shard, self) !== undefined;
      const local = !isMine ? undefined : known?.shard ?? (await this.#local.open(uuid, record, shard));
      slots.push(known !== undefined && known.shard === local ? known : {
        id: shard.id, generation: shard.generation, ...(shard.key === undefined ? {} : { key: shard.key }), shard: local,
        replica: this.#routes.route(nameOf(uuid, shard)), isServed: () => this.#routes.isServed(nameOf(uuid, shard)),
      });
    }
    if (open === undefined) {
      this.#open.set(uuid, { collection: new Collection(name, uuid, { ...record, set: new ShardSet(slots) }), record });
    } else {
      const gone = placesOf(open.record, self).filter((place) => !held.some(({ id, generation }) => id === place.id && generation === place.generation));
      open.record = record;
      if (gone.length > 0 || slots.length !== before.length || slots.some((slot) => !before.includes(slot))) void this.#local.replaceSlots(open.collection, slots, gone);
      open.collection.setConfig(record.config);
      open.collection.setIndexes(record.indexes);
    }
    for (const { shard } of slots) shard?.setIndexing(indexingOf(record.config), mergingOf(record.config));
  }

  async #whenFollowed(revision: number): Promise<void> {
    const until = this.#options.clock.monotonic() + followTimeoutMs;
    while (this.#options.metastore.revision < revision) {
      if (this.#options.clock.monotonic() > until) throw new RequestError('timeout', 'this node does not hear of changes');
      await sleep(1);
    }
    if (this.#followed < revision) await this.#reconcile();
  }

  #access(): CatalogAccess {
    this.#accessed ??= this.#makeAccess();
    return this.#accessed;
  }

  #makeAccess(): CatalogAccess {
    const { disk, dataDirectory, clock, logger, client, peers, metastore, streamReplicas } = this.#options;
    return {
      disk, dataDirectory, clock, logger, client, peers, metastore, streamReplicas, files: this.#local.files, membership: this.#members(),
      records: this.#records,
      createStreams: (uuid, shards) => this.#createStreams(uuid, shards),
      load: () => this.#load(),
      spread: () => this.#spread(),
      reconcile: () => this.#reconcile(),
      followed: () => new Map([...this.#open].map(([uuid, { record }]) => [uuid, record])),
      record: (uuid) => this.#open.get(uuid)?.record,
      slot: (uuid, shardId) => this.#open.get(uuid)?.collection.set.slots.find(({ id }) => id === shardId),
      localShard: (uuid, shardId, generation) => this.#localShard({ collectionUuid: uuid, shardId, generation }),
      isDamaged: (name) => this.#local.isDamaged(name),
      logOf: (uuid, shardId, generation) => this.#local.logOf({ collectionUuid: uuid, shardId, generation }),
      offer: (uuid, shard, generation) => this.#local.offer({ collectionUuid: uuid, shardId: shard.shardId, generation }, shard),
      withdraw: (uuid, shardId, generation) => this.#reconciling.run(async () => {
        const name = { collectionUuid: uuid, shardId, generation };
        if (this.#localShard(name) === undefined) await this.#local.withdraw(name);
      }),
      discard: (uuid, shardId, generation) => this.#reconciling.run(() => this.#local.discard(uuid, this.#open.get(uuid)?.collection, { id: shardId, generation })),
      catchingUp: this.#catchingUp,
      joining: new Set(),
      install: (uuid, place, adopt) => this.#reconciling.run(() => this.#install(uuid, place, adopt)),
    };
  }

  /** In one piece, so that nothing opens the folder meanwhile. */
  async #install(uuid: string, place: ShardPlace, adopt: (config: CollectionConfig) => Promise<Shard>): Promise<boolean> {
    const collection = this.#open.get(uuid)?.collection;
    const record = await this.#records.get(uuid);
    const isWanted = record !== undefined && placesOf(record, this.#members().self.peerId).some(({ id, generation }) => id === place.id && generation === place.generation);
    if (collection === undefined || !isWanted) return false;
    await this.#local.discard(uuid, collection, place);
    this.#local.offer({ collectionUuid: uuid, shardId: place.id, generation: place.generation }, await adopt(record.config));
    await this.#follow(uuid, collection.name, record);
    return true;
  }

  #members(): Membership {
    return must(this.#membership, 'a catalog that serves knows the nodes');
  }

  #localShard({ collectionUuid, shardId, generation }: ShardName): Shard | undefined {
    return this.#open.get(collectionUuid)?.collection.set.slots.find((slot) => slot.id === shardId && slot.generation === generation)?.shard;
  }
}

/** What a record places on a node. */
function placesOf(record: ClusterCollection, peerId: number): readonly ShardPlace[] {
  return record.shards.filter((shard) => replicaOf(shard, peerId) !== undefined).map(({ id, generation }) => ({ id, generation }));
}

/** Of payload indexes the record tells under custom sharding only. */
function isInRecord({ kind }: SchemaChange, { config }: Collection): boolean {
  return kind === 'create-vector' || kind === 'drop-vector' || isCustomSharded(config);
}

function nameOf(collectionUuid: string, { id: shardId, generation }: ShardRecord): ShardName {
  return { collectionUuid, shardId, generation };
}

function refuseTakenName({ names, aliases }: NameDirectory, name: string): void {
  if (Object.hasOwn(names, name)) throw new RequestError('already-exists', `Collection \`${name}\` already exists!`);
  if (Object.hasOwn(aliases, name)) throw new RequestError('bad-input', `Can't create collection with name ${name}. Alias with the same name already exists`);
}
