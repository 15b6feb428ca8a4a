// A restore in a cluster: the shards of one uploaded file become current by one compare-and-set of the collection's record, each as
// a new generation of its shard on the node of the upload.
//
// Invariants:
// - Before the compare-and-set nothing that anyone reads has changed; after it the old generations' streams are sealed, before the
//   restore is answered. So a write is either of the old content, and was acknowledged before the answer, or of the new.
// - One restore at a time changes a collection (a lease in the metastore, of a node that answers); receiving and proving need none.
// - Among files of one origin generation the highest position wins until the first new write, in whatever order they come.
// - A shard that no file brought stays empty and `awaited`.
import { randomUUID } from 'node:crypto';
import { RequestError } from '../base/errors.ts';
import { isCustomSharded } from '../command/collection-config.ts';
import { refuseIncompatible, refuseOtherKey, refuseOtherVectors } from '../collection/compatibility.ts';
import { declaredIndexes, declaredSchema } from '../collection/declared-indexes.ts';
import { emptyPlaces } from '../collection/shard-files.ts';
import { resolveName, withCollection, withoutCollection } from '../collection/aliases.ts';
import { ShardSet } from '../collection/shard-set.ts';
import type { AdoptCollection, AdoptMoment, AdoptRequest, AdoptShardRequest, StagedShard } from '../collection/snapshot-source.ts';
import type { Shard } from '../shard/shard.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { awaitedShards, factorOf, peersIn, replicaOf, shapeOf, shardOf, withReplica, withShard, type ClusterCollection, type ShardBase, type ShardRecord } from './cluster-record.ts';
import { leasePrefix } from './cluster-records.ts';
import type { ShardKeys } from './shard-keys.ts';
import { createStream, deleteStream, sealStream, streamExists, streamFacts, type StreamIdentity } from './shard-stream.ts';

const leasePollMs = 50;
const leaseTimeoutMs = 120_000;
const streamTimeoutMs = 10_000;
const activeTimeoutMs = 60_000;
const restoresKeptMax = 16;

interface NewGeneration {
  readonly staged: StagedShard;
  readonly generation: number;
  readonly base: ShardBase;
  readonly shard: Shard;
}

interface Origin {
  readonly collectionUuid: string;
  readonly shards: readonly PlacedShard[];
}

/** With the id of the shard that it goes into. */
interface PlacedShard extends StagedShard {
  readonly originId: number;
}

export class ShardRestores {
  readonly #access: () => CatalogAccess;
  readonly #keys: ShardKeys;

  constructor(access: () => CatalogAccess, keys: ShardKeys) {
    this.#access = access;
    this.#keys = keys;
  }

  /** Answers the points that are served now by what was restored. */
  async adopt(request: AdoptRequest): Promise<number> {
    let points = 0;
    for (const each of request.collections) points += await this.#adoptOne(each, request);
    return points;
  }

  async adoptShard(request: AdoptShardRequest): Promise<number> {
    const access = this.#access();
    const uuid = await this.#uuidOf(request.name);
    if (uuid === undefined) throw new RequestError('not-found', `Collection \`${request.name}\` doesn't exist!`);
    const record = await access.records.get(uuid);
    if (record !== undefined) {
      refuseIncompatible(shapeOf(record), request);
      refuseOtherKey(shapeOf(record), request, request.shard.id);
    }
    return await this.#takeShards(uuid, { collectionUuid: request.originUuid, shards: [{ ...request.shard, originId: request.shard.id }] }, request);
  }

  async #adoptOne(each: AdoptCollection, request: AdoptRequest): Promise<number> {
    const { uuid, isNew } = await this.#ensureCollection(each);
    let made: readonly ShardRecord[] = [];
    try {
      const keys = await this.#keys.ensure(uuid, each.shardKeys ?? []);
      ({ made } = keys);
      const shards = each.shards.map((shard) => ({ ...shard, id: keys.ids.get(shard.id) ?? shard.id, originId: shard.id }));
      return await this.#takeShards(uuid, { collectionUuid: each.originUuid, shards }, request);
    } catch (error) {
      if (isNew) await this.#removeUntouched(each.name, uuid);
      else await this.#keys.removeUntouched(uuid, made);
      throw error;
    }
  }

  async #uuidOf(name: string): Promise<string | undefined> {
    const directory = await this.#access().records.directory();
    const real = resolveName(directory, name);
    return real === undefined ? undefined : directory.names[real];
  }

  /** The collection of that name; where there is none, one whose shards all wait for files. Whoever comes second joins the first. */
  async #ensureCollection({ name, config, shardKeys, payloadSchema }: AdoptCollection): Promise<{ readonly uuid: string; readonly isNew: boolean }> {
    const access = this.#access();
    for (;;) {
      const found = await this.#uuidOf(name);
      const record = found === undefined ? undefined : await access.records.get(found);
      if (found !== undefined && record !== undefined) {
        refuseIncompatible(shapeOf(record), { config, ...(shardKeys === undefined ? {} : { shardKeys }) });
        return { uuid: found, isNew: false };
      }
      const uuid = randomUUID();
      const shards = awaitedShards(shardKeys ?? emptyPlaces(config), access.load());
      await access.records.create(uuid, { config, shards, ...(shardKeys === undefined ? {} : { indexes: declaredIndexes(payloadSchema) }) });
      let isTaken = false;
      try {
        await access.createStreams(uuid, shards);
        await access.records.changeDirectory((directory) => {
          isTaken = resolveName(directory, name) !== undefined;
          return isTaken ? directory : withCollection(directory, name, uuid);
        });
      } catch (error) {
        if ((await this.#uuidOf(name)) !== uuid) await this.#dropNew(uuid, shards);
        throw error;
      }
      if (!isTaken) {
        await access.spread();
        return { uuid, isNew: true };
      }
      await this.#dropNew(uuid, shards);
    }
  }

  async #dropNew(uuid: string, shards: readonly ShardRecord[]): Promise<void> {
    const { client } = this.#access();
    await this.#access().records.remove(uuid);
    for (const { id, generation } of shards) await deleteStream(client, { collectionUuid: uuid, shardId: id, generation }).catch(() => undefined);
  }

  /** The collection that this restore made goes with its failure, unless another file has come into it or somebody has written. */
  async #removeUntouched(name: string, uuid: string): Promise<void> {
    const access = this.#access();
    const record = await access.records.get(uuid);
    if (record === undefined || record.shards.some(({ awaited }) => awaited !== true)) return;
    for (const { id, generation } of record.shards) {
      if ((await streamFacts(access.client, { collectionUuid: uuid, shardId: id, generation })).lastSeq > 0) return;
    }
    await access.records.changeDirectory((directory) => (directory.names[name] === uuid ? withoutCollection(directory, name) : directory));
    await access.spread();
    await this.#dropNew(uuid, record.shards);
  }

  async #takeShards(uuid: string, origin: Origin, moment: AdoptMoment): Promise<number> {
    const access = this.#access();
    const release = await this.#lease(uuid, moment.signal);
    const made: NewGeneration[] = [];
    let old: readonly StreamIdentity[] = [];
    try {
      const record = await access.records.get(uuid);
      if (record === undefined) throw new RequestError('not-found', 'the collection was deleted meanwhile');
      const joined: number[] = [];
      for (const staged of origin.shards) {
        if (await this.#isSuperseded(uuid, liveShard(record, staged.id), { staged, origin })) joined.push(staged.id);
        else made.push(await this.#make(uuid, record, { staged, originUuid: origin.collectionUuid }));
      }
      moment.onCommit();
      await access.records.change(uuid, (current) => this.#changed(current, { made, joined, restoreId: moment.restoreId }));
      old = made.map(({ staged: { id } }) => ({ collectionUuid: uuid, shardId: id, generation: shardOf(record, id).generation }));
    } catch (error) {
      const current = await access.records.get(uuid).catch(() => undefined);
      for (const { staged: { id }, generation } of made) {
        if (current?.shards.some((shard) => shard.id === id && shard.generation === generation) === true) continue;
        await access.withdraw(uuid, id, generation);
        await deleteStream(access.client, { collectionUuid: uuid, shardId: id, generation }).catch(() => undefined);
      }
      await release();
      throw error;
    }
    for (const stream of old) await sealStream(access.client, stream);
    await release();
    await access.spread();
    for (const stream of old) await deleteStream(access.client, stream).catch((error: unknown) => access.logger.warn({ uuid, error: String(error) }, 'the stream of an ended generation stays for the sweep'));
    return await this.#whenServed(uuid, origin.shards.map(({ id }) => id));
  }

  /** Whether what is there is the same content or a later one of the same origin, and nobody has written since. */
  async #isSuperseded(uuid: string, shard: ShardRecord, { staged, origin }: { readonly staged: PlacedShard; readonly origin: Origin }): Promise<boolean> {
    const { base } = shard;
    if (base === null || base.collectionUuid !== origin.collectionUuid || (base.shardId ?? shard.id) !== staged.originId || base.generation !== staged.position.generation || base.seq < staged.position.seq) return false;
    if (base.seq === staged.position.seq && base.chain !== staged.position.chain) return false;
    const { lastSeq } = await streamFacts(this.#access().client, { collectionUuid: uuid, shardId: shard.id, generation: shard.generation });
    return lastSeq <= base.seq + (base.entries ?? 1);
  }

  /** The next generation of a shard from its staged files, on this node; no record says so yet. */
  async #make(uuid: string, record: ClusterCollection, { staged, originUuid }: { readonly staged: PlacedShard; readonly originUuid: string }): Promise<NewGeneration> {
    const access = this.#access();
    const { seq, chain, generation: originGeneration } = staged.position;
    let { generation } = shardOf(record, staged.id);
    const stream = (): StreamIdentity => ({ collectionUuid: uuid, shardId: staged.id, generation });
    do generation += 1; while (await streamExists(access.client, stream()));
    await createStream(access.client, stream(), { firstSeq: seq + 1, replicas: access.streamReplicas, deadlineMs: access.clock.monotonic() + streamTimeoutMs });
    try {
      const { shard } = await access.files.adoptOne(uuid, record.config, { place: { id: staged.id, generation }, staging: staged });
      if (shard === undefined) throw new RequestError('internal', 'an adopted shard is open');
      access.offer(uuid, shard, generation);
      const set = new ShardSet([{ id: staged.id, generation, shard, replica: shard }]);
      refuseOtherVectors(set.shards(), record.config);
      if (isCustomSharded(record.config)) await access.files.reconcileIndexes(set, declaredSchema(record.indexes ?? []));
      const entries = shard.position().seq - seq;
      const origin = { collectionUuid: originUuid, ...(staged.originId === staged.id ? {} : { shardId: staged.originId }), generation: originGeneration };
      return { staged, generation, shard, base: { ...origin, seq, chain, ...(entries > 1 ? { entries } : {}) } };
    } catch (error) {
      await access.withdraw(uuid, staged.id, generation);
      await deleteStream(access.client, stream()).catch(() => undefined);
      throw error;
    }
  }

  #changed(record: ClusterCollection, change: { readonly made: readonly NewGeneration[]; readonly joined: readonly number[]; readonly restoreId: string }): ClusterCollection {
    const { membership } = this.#access();
    const self = membership.self.peerId;
    const wanted = (shard: ShardRecord): number => Math.min(factorOf(record, shard), membership.nodes().length);
    let next: ClusterCollection = { ...record, restores: [...(record.restores ?? []), change.restoreId].slice(-restoresKeptMax) };
    for (const { staged: { id }, generation, base } of change.made) {
      liveShard(record, id);
      next = withShard(next, id, (shard) => {
        const { awaited, ...rest } = shard;
        const before = awaited === true ? [] : peersIn(shard).filter((peer) => peer !== self);
        const others = [...new Set([...before, ...this.#leastLoaded(next)])].filter((peer) => peer !== self).slice(0, wanted(shard) - 1);
        return { ...rest, generation, base, replicas: Object.fromEntries([[String(self), 'Active' as const], ...others.map((peer) => [String(peer), 'Partial' as const] as const)]) };
      });
    }
    for (const id of change.joined) {
      next = withShard(next, id, (shard) => (replicaOf(shard, self) !== undefined || peersIn(shard).length >= wanted(shard) ? shard : withReplica(shard, self, 'Partial')));
    }
    return next;
  }

  /** Nodes that answer, by how many replicas the record gives them. */
  #leastLoaded(record: ClusterCollection): readonly number[] {
    const held = (peer: number): number => record.shards.filter((shard) => replicaOf(shard, peer) !== undefined).length;
    return [...this.#access().load().keys()].sort((a, b) => held(a) - held(b) || a - b);
  }

  /** Points of the shards that this node holds, once they are Active here. */
  async #whenServed(uuid: string, ids: readonly number[]): Promise<number> {
    const access = this.#access();
    const until = access.clock.monotonic() + activeTimeoutMs;
    for (;;) {
      const record = access.followed().get(uuid);
      const mine = record?.shards.filter((shard) => ids.includes(shard.id) && replicaOf(shard, access.membership.self.peerId) !== undefined) ?? [];
      const open = mine.map((shard) => ({ state: replicaOf(shard, access.membership.self.peerId), shard: access.localShard(uuid, shard.id, shard.generation) }));
      if (open.every(({ state, shard }) => state === 'Active' && shard !== undefined)) return open.reduce((sum, { shard }) => sum + (shard?.info().points ?? 0), 0);
      if (access.clock.monotonic() > until) throw new RequestError('timeout', 'the restored shards are not active yet; the restore goes on');
      await pause(leasePollMs);
    }
  }

  /** Waits for whoever has it; one whose node does not answer any more loses it. */
  async #lease(uuid: string, signal?: AbortSignal): Promise<() => Promise<void>> {
    const { metastore, membership, clock } = this.#access();
    const key = leasePrefix + uuid;
    const value = { peer: membership.self.peerId, id: randomUUID() };
    const until = clock.monotonic() + leaseTimeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      const found = await metastore.get(key);
      const holder = (found?.value as { readonly peer?: number } | undefined)?.peer;
      const isFree = found === undefined || holder === undefined || (holder !== membership.self.peerId && !membership.isLive(holder));
      const revision = !isFree ? undefined : found === undefined ? await metastore.create(key, value) : await metastore.set(key, value, found.revision);
      if (revision !== undefined) return async () => void (await metastore.delete(key, revision));
      if (clock.monotonic() > until) throw new RequestError('timeout', 'another restore of this collection does not end');
      await pause(leasePollMs);
    }
  }
}

/** @throws RequestError 'not-found' where its key was dropped while the file came */
function liveShard(record: ClusterCollection, id: number): ShardRecord {
  const shard = record.shards.find((each) => each.id === id);
  if (shard === undefined) throw new RequestError('not-found', `shard ${id} was dropped meanwhile`);
  return shard;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
