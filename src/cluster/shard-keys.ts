// Keys of custom sharding in a cluster: made and dropped as changes of the collection's record, like everything that exists.
//
// Invariants:
// - The streams of a key's shards are there before the record names them, and go after it has ceased to and the nodes have followed.
// - Ids are taken from the record before anything is made under them, so no two keys ever share one, nor does a key get one of a
//   key that was dropped.
import type { CreateShardKey } from '../command/cluster-operation.ts';
import { RequestError } from '../base/errors.ts';
import { idAbove, keyedShards, placeByKeys, type KeyedShard, type KeyPlaces } from '../collection/key-places.ts';
import { isCustomSharded } from '../command/collection-config.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { awaitedShards, nextShardOf, placeShards, type ClusterCollection, type ShardRecord } from './cluster-record.ts';
import { deleteStream, streamFacts } from './shard-stream.ts';

/** Of one key: more only cost streams. */
const keyShardsMax = 1000;

/** Where the shards of an archive go. */
export interface EnsuredKeys {
  /** Id in the archive → id here; empty under automatic sharding. */
  readonly ids: ReadonlyMap<number, number>;
  readonly made: readonly ShardRecord[];
}

interface Named {
  readonly uuid: string;
  readonly name: string;
}

export class ShardKeys {
  readonly #access: () => CatalogAccess;

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** Answers when the nodes that are alive serve the key. @throws RequestError 'bad-request' with the API's texts */
  async create({ uuid, name }: Named, create: CreateShardKey): Promise<void> {
    const access = this.#access();
    const { key } = create;
    const taken = (): RequestError => new RequestError('bad-request', `Sharding key ${key} already exists for collection ${name}`);
    let shards: readonly ShardRecord[] = [];
    await access.records.change(uuid, (record) => {
      if (!isCustomSharded(record.config)) throw new RequestError('bad-request', 'Shard Key cannot be created with Auto sharding method');
      if (hasKey(record, key)) throw taken();
      shards = this.#place(record, create);
      return { ...record, nextShard: nextShardOf(record) + shards.length };
    });
    if (!(await this.#add(uuid, shards))) throw taken();
  }

  /** With all points under it. @throws RequestError 'bad-request' */
  async drop({ uuid, name }: Named, key: ShardKey): Promise<void> {
    const access = this.#access();
    let dropped: readonly ShardRecord[] = [];
    await access.records.change(uuid, (record) => {
      if (!isCustomSharded(record.config)) throw new RequestError('bad-request', 'Shard Key cannot be removed with Auto sharding method');
      if (!hasKey(record, key)) throw new RequestError('bad-request', `Sharding key ${key} does not exist for collection ${name}`);
      dropped = record.shards.filter((shard) => shard.key === key);
      return { ...record, shards: record.shards.filter((shard) => shard.key !== key), nextShard: nextShardOf(record) };
    });
    await access.spread();
    await this.#deleteStreams(uuid, dropped);
  }

  /** The shards of an archive's keys, made where the collection lacks the key: empty, and awaited until a file brings them.
   *  @throws RequestError 'bad-input' where a key has another number of shards here */
  async ensure(uuid: string, archive: readonly KeyedShard[]): Promise<EnsuredKeys> {
    const access = this.#access();
    for (;;) {
      let places: KeyPlaces = { ids: new Map(), missing: [] };
      await access.records.change(uuid, (record) => {
        places = placeByKeys(archive, keyedShards(isCustomSharded(record.config), record.shards) ?? [], nextShardOf(record));
        return places.missing.length === 0 ? record : { ...record, nextShard: idAbove(places.missing) };
      });
      const shards = awaitedShards(places.missing, access.load());
      if (await this.#add(uuid, shards)) return { ids: places.ids, made: shards };
    }
  }

  /** Takes back what `ensure` made, where nothing has come into it meanwhile. */
  async removeUntouched(uuid: string, made: readonly ShardRecord[]): Promise<void> {
    const access = this.#access();
    const untouched: ShardRecord[] = [];
    for (const shard of made) {
      const { lastSeq } = await streamFacts(access.client, { collectionUuid: uuid, shardId: shard.id, generation: shard.generation });
      if (lastSeq === 0) untouched.push(shard);
    }
    const isUntouched = (shard: ShardRecord): boolean => shard.awaited === true && untouched.some(({ id }) => id === shard.id);
    let dropped: readonly ShardRecord[] = [];
    await access.records.change(uuid, (record) => {
      dropped = record.shards.filter((shard) => shard.key !== undefined && record.shards.filter(({ key }) => key === shard.key).every(isUntouched));
      return dropped.length === 0 ? record : { ...record, shards: record.shards.filter((shard) => !dropped.includes(shard)) };
    });
    if (dropped.length === 0) return;
    await access.spread();
    await this.#deleteStreams(uuid, dropped);
  }

  /** false where one of the keys has come to be meanwhile: then nothing is there of these. */
  async #add(uuid: string, shards: readonly ShardRecord[]): Promise<boolean> {
    if (shards.length === 0) return true;
    const access = this.#access();
    let isAdded = false;
    try {
      await access.createStreams(uuid, shards);
      await access.records.change(uuid, (record) => {
        isAdded = shards.every(({ key }) => key !== undefined && !hasKey(record, key));
        return isAdded ? { ...record, shards: [...record.shards, ...shards] } : record;
      });
    } catch (error) {
      const record = await access.records.get(uuid).catch(() => undefined);
      if (record === undefined || !shards.every(({ id }) => record.shards.some((shard) => shard.id === id))) await this.#deleteStreams(uuid, shards);
      throw error;
    }
    if (isAdded) await access.spread();
    else await this.#deleteStreams(uuid, shards);
    return isAdded;
  }

  #place(record: ClusterCollection, { key, shardsNumber, replicationFactor, placement, initialState = 'Active' }: CreateShardKey): readonly ShardRecord[] {
    const { params } = record.config;
    if (initialState !== 'Active' && initialState !== 'Partial') throw new RequestError('bad-request', `Initial state cannot be ${initialState}, only Active or Partial are allowed`);
    const count = shardsNumber ?? params.shard_number;
    if (count > keyShardsMax) throw new RequestError('bad-request', `shards_number ${count}: a key has at most ${keyShardsMax} shards`);
    const placed = placeShards(count, replicationFactor ?? params.replication_factor, this.#pool(key, placement), nextShardOf(record));
    const factor = replicationFactor === undefined || replicationFactor === params.replication_factor ? {} : { factor: replicationFactor };
    return placed.map((shard) => ({ ...shard, key, ...factor, replicas: Object.fromEntries(Object.keys(shard.replicas).map((peer) => [peer, initialState])) }));
  }

  /** The nodes that may take the key's shards. */
  #pool(key: ShardKey, placement: readonly number[] | undefined): ReadonlyMap<number, number> {
    const { membership } = this.#access();
    const live = this.#access().load();
    if (placement === undefined) return live;
    if (placement.length === 0) throw new RequestError('bad-request', `Sharding key ${key} placement cannot be empty. If you want to use random placement, do not specify placement`);
    const unknown = placement.find((peer) => membership.node(peer) === undefined);
    if (unknown !== undefined) throw new RequestError('bad-request', `Peer ${unknown} does not exist`);
    const silent = placement.find((peer) => !live.has(peer));
    if (silent !== undefined) throw new RequestError('unavailable', `peer ${silent} cannot take a shard: it does not answer, or is a listener`);
    return new Map([...live].filter(([peer]) => placement.includes(peer)));
  }

  /** Nobody reads them any more: one that stays costs room only. */
  async #deleteStreams(uuid: string, shards: readonly ShardRecord[]): Promise<void> {
    const { client, logger } = this.#access();
    for (const { id, generation } of shards) {
      await deleteStream(client, { collectionUuid: uuid, shardId: id, generation }).catch((error: unknown) => logger.warn({ uuid, shard: id, error: String(error) }, 'the stream of a shard that is gone stays'));
    }
  }
}

function hasKey({ shards }: ClusterCollection, key: ShardKey): boolean {
  return shards.some((shard) => shard.key === key);
}
