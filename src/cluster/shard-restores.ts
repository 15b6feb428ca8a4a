// A restore in a cluster: the shards of one uploaded file become current by one compare-and-set of the collection's record, each as
// a new generation of its shard on the node of the upload.
//
// Invariants:
// - Before the compare-and-set nothing that anyone reads has changed; after it the old generations' streams are sealed, before the
//   restore is answered. So a write is either of the old content, and was acknowledged before the answer, or of the new.
// - One restore at a time changes a collection (restore-turns.ts); receiving and proving need no turn.
// - Nothing that a restore made is removed before it is certain that no record will name it.
// - Among files of one origin generation the highest position wins until the first new write, in whatever order they come.
// - A shard that no file brought stays empty and `awaited`.
// - Replicas of a shard are copies of one log whatever the priority: it says whose content they all get, and who is left to hold them.
//   `replica`: a shard that another node serves keeps its content. `no_sync`: nothing is copied between nodes, so that nodes which do
//   not have the file's content themselves hold the shard no more.
import { randomUUID } from 'node:crypto';
import { RequestError } from '../base/errors.ts';
import { isCustomSharded } from '../command/collection-config.ts';
import { refuseIncompatible, refuseOtherKey, refuseOtherVectors } from '../collection/compatibility.ts';
import { declaredIndexes, declaredSchema } from '../collection/declared-indexes.ts';
import { emptyPlaces } from '../collection/shard-files.ts';
import { InDoubtError } from '../collection/metastore.ts';
import { resolveName, withCollection, withoutCollection } from '../collection/aliases.ts';
import { ShardSet } from '../collection/shard-set.ts';
import type { AdoptCollection, AdoptMoment, AdoptRequest, AdoptShardRequest, SnapshotPriority, StagedShard } from '../collection/snapshot-source.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { awaitedShards, factorOf, isServedBeside, peersIn, replicaOf, shapeOf, shardOf, withReplica, withShard, withoutTransfer, type ClusterCollection, type ShardBase, type ShardRecord } from './cluster-record.ts';
import type { ShardName } from './remote-replica.ts';
import { RestoreTurns, type Turn } from './restore-turns.ts';
import type { ShardKeys } from './shard-keys.ts';
import { createStream, deleteStream, sealStream, streamFacts, type StreamIdentity } from './shard-stream.ts';

const pollMs = 50;
const againMs = 500;
const triesPerWarning = 20;
const streamTimeoutMs = 10_000;
const activeTimeoutMs = 60_000;
const restoresKeptMax = 16;

interface NewGeneration {
  readonly staged: PlacedShard;
  readonly base: ShardBase;
}

interface Origin {
  readonly collectionUuid: string;
  readonly shards: readonly PlacedShard[];
  /** Of one shard: other replicas of it stay, beyond the number that the collection wants too. */
  readonly isOneShard: boolean;
}

/** What becomes of the shards of a file. */
interface Outcome {
  readonly made: readonly NewGeneration[];
  /** What is there stays. */
  readonly joined: readonly number[];
  /** Of those: this node's replica is copied from the others anew. */
  readonly refilled: readonly number[];
  readonly isOneShard: boolean;
  readonly generation: number;
  readonly priority: SnapshotPriority;
  readonly restoreId: string;
}

/** What a restore has made before it is in place, and what ends with it. */
interface Begun {
  readonly made: readonly NewGeneration[];
  /** Replicas of the generation that is there. */
  readonly bases: readonly ShardRecord[];
  readonly old: readonly StreamIdentity[];
}

/** With the id of the shard that it goes into. */
interface PlacedShard extends StagedShard {
  readonly originId: number;
}

export class ShardRestores {
  readonly #access: () => CatalogAccess;
  readonly #keys: ShardKeys;
  readonly #turns: RestoreTurns;
  readonly #ended = new AbortController();

  constructor(access: () => CatalogAccess, keys: ShardKeys) {
    this.#access = access;
    this.#keys = keys;
    this.#turns = new RestoreTurns(access);
  }

  get turns(): RestoreTurns {
    return this.#turns;
  }

  /** What is still to be done for restores that were answered is left to the next start. */
  close(): void {
    this.#ended.abort();
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
    return await this.#takeShards(uuid, { collectionUuid: request.originUuid, shards: [{ ...request.shard, originId: request.shard.id }], isOneShard: true }, request);
  }

  /**
   * The shard goes on with what this node has of it, in a new generation with a stream of its own; other replicas copy it.
   * @param stage all of it, when nobody can write any more
   */
  async renew(name: ShardName, stage: () => Promise<StagedShard>, signal: AbortSignal): Promise<void> {
    const access = this.#access();
    const { collectionUuid: uuid, shardId, generation } = name;
    const turn = await this.#turns.take(uuid, signal);
    const made: NewGeneration[] = [];
    const isCurrent = (record: ClusterCollection): ClusterCollection => {
      if (shardOf(record, shardId).generation !== generation) throw new RequestError('unavailable', `generation ${generation} of shard ${shardId} has ended`);
      return record;
    };
    try {
      const record = await access.records.get(uuid);
      if (record === undefined) throw new RequestError('not-found', 'the collection was deleted meanwhile');
      const next = await this.#make(turn, isCurrent(record), { staged: { ...(await stage()), originId: shardId }, originUuid: uuid });
      made.push(next);
      await access.records.change(uuid, (current) => {
        this.#turns.check(current, turn);
        return withShard(isCurrent(current), shardId, (shard) => renewed(shard, { generation: turn.generation, base: next.base }, access.membership.self.peerId));
      });
    } catch (error) {
      if (!(await this.#settle(turn, { made, bases: [], old: [name] }))) throw error;
      return;
    }
    await this.#inTime(this.#persist('a new stream is in place, and the one before is not gone yet', () => this.#finish(turn, [name])));
  }

  async #adoptOne(each: AdoptCollection, request: AdoptRequest): Promise<number> {
    const { uuid, isNew } = await this.#ensureCollection(each);
    let made: readonly ShardRecord[] = [];
    try {
      const keys = await this.#keys.ensure(uuid, each.shardKeys ?? []);
      ({ made } = keys);
      const shards = each.shards.map((shard) => ({ ...shard, id: keys.ids.get(shard.id) ?? shard.id, originId: shard.id }));
      return await this.#takeShards(uuid, { collectionUuid: each.originUuid, shards, isOneShard: false }, request);
    } catch (error) {
      if (isNew && !(error instanceof InDoubtError)) await this.#removeUntouched(each.name, uuid);
      else if (!isNew) await this.#keys.removeUntouched(uuid, made);
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
        if (!(error instanceof InDoubtError) && (await this.#uuidOf(name)) !== uuid) await this.#dropNew(uuid, shards);
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
    if (record === undefined || record.turn !== undefined || record.shards.some(({ awaited }) => awaited !== true)) return;
    for (const { id, generation } of record.shards) {
      if ((await streamFacts(access.client, { collectionUuid: uuid, shardId: id, generation })).lastSeq > 0) return;
    }
    await access.records.changeDirectory((directory) => (directory.names[name] === uuid ? withoutCollection(directory, name) : directory));
    await access.spread();
    await this.#dropNew(uuid, record.shards);
  }

  async #takeShards(uuid: string, origin: Origin, moment: AdoptMoment): Promise<number> {
    const access = this.#access();
    const turn = await this.#turns.take(uuid, moment.signal);
    const { priority = 'snapshot', restoreId } = moment;
    const made: NewGeneration[] = [];
    const bases: ShardRecord[] = [];
    const refilled: number[] = [];
    const old: StreamIdentity[] = [];
    let after: ClusterCollection;
    try {
      const record = await access.records.get(uuid);
      if (record === undefined) throw new RequestError('not-found', 'the collection was deleted meanwhile');
      const joined: number[] = [];
      for (const staged of origin.shards) {
        const shard = liveShard(record, staged.id);
        if (priority === 'replica' && isServedBeside(shard, access.membership.self.peerId)) {
          joined.push(staged.id);
          if (origin.isOneShard && this.#isActiveHere(uuid, shard)) refilled.push(staged.id);
        } else if (await this.#isSuperseded(uuid, shard, { staged, origin })) {
          joined.push(staged.id);
          if (this.#isBaseHere(record, shard, staged)) bases.push(await this.#takeAsBase(uuid, record, { shard, staged }));
        } else {
          made.push(await this.#make(turn, record, { staged, originUuid: origin.collectionUuid }));
          old.push({ collectionUuid: uuid, shardId: staged.id, generation: shard.generation });
        }
      }
      moment.onCommit();
      after = await access.records.change(uuid, (current) => {
        this.#turns.check(current, turn);
        return this.#changed(current, { made, joined, refilled, isOneShard: origin.isOneShard, generation: turn.generation, priority, restoreId });
      });
    } catch (error) {
      const reason = await this.#reasonOf(error, turn);
      if (!(await this.#settle(turn, { made, bases, old }))) throw reason;
      return await this.#whenServed(uuid, origin.shards.map(({ id }) => id));
    }
    await this.#withdrawUnused(uuid, bases, after);
    await this.#inTime(this.#persist('a restore is in place and not finished yet', () => this.#finish(turn, old)));
    for (const id of refilled) {
      const shard = shardOf(after, id);
      if (replicaOf(shard, access.membership.self.peerId) !== 'Active') await access.discard(uuid, id, shard.generation); // else no other has content any more
    }
    return await this.#whenServed(uuid, origin.shards.map(({ id }) => id));
  }

  /** After a failure: makes certain whether the restore happened all the same, and ends it either way; answers whether it did. Where
   *  that is not to be had just now it goes on in the background, and the answer is that it did not. */
  async #settle(turn: Turn, { made, bases, old }: Begun): Promise<boolean> {
    const access = this.#access();
    let mine: Turn | undefined = turn;
    const end = async (): Promise<boolean> => {
      mine = mine === undefined ? undefined : await this.#turns.renew(mine);
      const record = await access.records.get(turn.uuid);
      await this.#withdrawUnused(turn.uuid, bases, record);
      if (made.some(({ staged: { id } }) => record?.shards.some((shard) => shard.id === id && shard.generation === turn.generation))) {
        await this.#finish(mine ?? turn, old);
        return true;
      }
      for (const { staged: { id } } of made) await access.withdraw(turn.uuid, id, turn.generation);
      await this.#turns.removeMade(turn); // whoever took the turn may have looked before they were made
      if (mine !== undefined) await this.#turns.give(mine);
      return false;
    };
    try {
      return await end();
    } catch (error) {
      access.logger.warn({ collection: turn.uuid, error: String(error) }, 'what becomes of a restore that failed is not certain yet');
      void this.#persist('what becomes of a restore that failed is not certain yet', end).catch(() => undefined); // closed: the next start ends it
    }
    return false;
  }

  /** Whoever took the turn away removes streams under the restore, which then fails in many ways for that one reason. */
  async #reasonOf(error: unknown, turn: Turn): Promise<unknown> {
    const record = await this.#access().records.get(turn.uuid).catch(() => undefined);
    try {
      if (record !== undefined) this.#turns.check(record, turn);
    } catch (taken) {
      return taken;
    }
    return error;
  }

  /** After the compare-and-set, as often as it takes. */
  async #finish(turn: Turn, old: readonly StreamIdentity[]): Promise<void> {
    const access = this.#access();
    const { client, logger } = access;
    for (const stream of old) await sealStream(client, stream);
    await this.#turns.give(turn);
    await access.spread();
    for (const stream of old) await deleteStream(client, stream).catch((error: unknown) => logger.warn({ collection: turn.uuid, error: String(error) }, 'the stream of an ended generation stays for the sweep'));
  }

  async #persist<T>(problem: string, work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await work();
      } catch (error) {
        if (this.#ended.signal.aborted) throw error;
        if (tries % triesPerWarning === 0) this.#access().logger.warn({ error: String(error) }, `${problem}; it is tried again`);
        await pause(againMs);
      }
    }
  }

  async #inTime(work: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new RequestError('timeout', 'the restore is in place, and its last step goes on')), activeTimeoutMs);
    });
    work.catch(() => undefined);
    await Promise.race([work, late]).finally(() => clearTimeout(timer));
  }

  /** Whether what is there is the same content or a later one of the same origin, and nobody has written since. */
  async #isSuperseded(uuid: string, shard: ShardRecord, { staged, origin }: { readonly staged: PlacedShard; readonly origin: Origin }): Promise<boolean> {
    const { base } = shard;
    if (base === null || base.isRenewed === true || base.collectionUuid !== origin.collectionUuid || (base.shardId ?? shard.id) !== staged.originId || base.generation !== staged.position.generation || base.seq < staged.position.seq) return false;
    if (base.seq === staged.position.seq && base.chain !== staged.position.chain) return false;
    const { lastSeq } = await streamFacts(this.#access().client, { collectionUuid: uuid, shardId: shard.id, generation: shard.generation });
    return lastSeq <= base.seq + (base.entries ?? 1);
  }

  #isActiveHere(uuid: string, shard: ShardRecord): boolean {
    const access = this.#access();
    return replicaOf(shard, access.membership.self.peerId) === 'Active' && access.localShard(uuid, shard.id, shard.generation) !== undefined;
  }

  /** Whether the staged files are the very state that the generation began with, and this node can hold one more replica of it. */
  #isBaseHere(record: ClusterCollection, shard: ShardRecord, { position: { seq, chain } }: StagedShard): boolean {
    const isRoom = replicaOf(shard, this.#access().membership.self.peerId) === undefined && peersIn(shard).length < this.#wanted(record, shard);
    return isRoom && shard.base?.seq === seq && shard.base.chain === chain;
  }

  /** A replica from the staged files that goes on with the stream; no record says so yet. */
  async #takeAsBase(uuid: string, record: ClusterCollection, { shard, staged }: { readonly shard: ShardRecord; readonly staged: PlacedShard }): Promise<ShardRecord> {
    const access = this.#access();
    const { shard: opened } = await access.files.adoptOne(uuid, record.config, { place: { id: shard.id, generation: shard.generation }, staging: staged, isCopy: true });
    if (opened === undefined) throw new RequestError('internal', 'an adopted shard is open');
    access.offer(uuid, opened, shard.generation);
    return shard;
  }

  async #withdrawUnused(uuid: string, bases: readonly ShardRecord[], record: ClusterCollection | undefined): Promise<void> {
    const access = this.#access();
    for (const { id, generation } of bases) {
      const shard = record?.shards.find((each) => each.id === id && each.generation === generation);
      if (shard === undefined || replicaOf(shard, access.membership.self.peerId) === undefined) await access.withdraw(uuid, id, generation);
    }
  }

  #wanted(record: ClusterCollection, shard: ShardRecord): number {
    return Math.min(factorOf(record, shard), this.#access().membership.nodes().length);
  }

  /** The next generation of a shard from its staged files, on this node; no record says so yet. */
  async #make({ uuid, generation }: Turn, record: ClusterCollection, { staged, originUuid }: { readonly staged: PlacedShard; readonly originUuid: string }): Promise<NewGeneration> {
    const access = this.#access();
    const { seq, chain, generation: originGeneration } = staged.position;
    await createStream(access.client, { collectionUuid: uuid, shardId: staged.id, generation }, { firstSeq: seq + 1, replicas: access.streamReplicas(), deadlineMs: access.clock.monotonic() + streamTimeoutMs });
    try {
      const { shard } = await access.files.adoptOne(uuid, record.config, { place: { id: staged.id, generation }, staging: staged });
      if (shard === undefined) throw new RequestError('internal', 'an adopted shard is open');
      access.offer(uuid, shard, generation);
      const set = new ShardSet([{ id: staged.id, generation, shard, replica: shard }]);
      refuseOtherVectors(set.shards(), record.config);
      if (isCustomSharded(record.config)) await access.files.reconcileIndexes(set, declaredSchema(record.indexes ?? []));
      const entries = shard.position().seq - seq;
      const origin = { collectionUuid: originUuid, ...(staged.originId === staged.id ? {} : { shardId: staged.originId }), generation: originGeneration };
      return { staged, base: { ...origin, seq, chain, ...(entries > 1 ? { entries } : {}) } };
    } catch (error) {
      await access.withdraw(uuid, staged.id, generation);
      throw error;
    }
  }

  #changed(record: ClusterCollection, { made, joined, refilled, isOneShard, generation, priority, restoreId }: Outcome): ClusterCollection {
    const self = this.#access().membership.self.peerId;
    const wanted = (shard: ShardRecord): number => this.#wanted(record, shard);
    let next: ClusterCollection = { ...record, restores: [...(record.restores ?? []), restoreId].slice(-restoresKeptMax) };
    for (const { staged: { id }, base } of made) {
      liveShard(record, id);
      next = withShard(next, id, (shard) => {
        const { awaited, isLogDamaged: _gone, ...rest } = withoutTransfer(shard);
        const before = awaited === true ? [] : peersIn(rest).filter((peer) => peer !== self);
        const all = [...new Set([...before, ...this.#leastLoaded(next)])].filter((peer) => peer !== self);
        const others = priority === 'no_sync' ? [] : all.slice(0, Math.max(wanted(shard) - 1, isOneShard ? before.length : 0));
        return { ...rest, generation, base, replicas: Object.fromEntries([[String(self), 'Active' as const], ...others.map((peer) => [String(peer), 'Partial' as const] as const)]) };
      });
    }
    for (const id of joined) {
      next = withShard(next, id, (shard) => {
        if (replicaOf(shard, self) === undefined) return peersIn(shard).length >= wanted(shard) ? shard : withReplica(shard, self, 'Partial');
        return refilled.includes(id) && isServedBeside(shard, self) ? withReplica(shard, self, 'Recovery') : shard;
      });
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
      if (open.every(({ state, shard }) => state === 'Active' && shard !== undefined)) {
        access.membership.beat(); // so that the other nodes tell of what is here
        return open.reduce((sum, { shard }) => sum + (shard?.info().points ?? 0), 0);
      }
      if (access.clock.monotonic() > until) throw new RequestError('timeout', 'the restored shards are not active yet; the restore goes on');
      await pause(pollMs);
    }
  }
}

/** @throws RequestError 'not-found' where its key was dropped while the file came */
function liveShard(record: ClusterCollection, id: number): ShardRecord {
  const shard = record.shards.find((each) => each.id === id);
  if (shard === undefined) throw new RequestError('not-found', `shard ${id} was dropped meanwhile`);
  return shard;
}

/** Of a node that is gone the record says so still; every other copies. */
function renewed({ isLogDamaged: _gone, ...shard }: ShardRecord, { generation, base }: { readonly generation: number; readonly base: ShardBase }, self: number): ShardRecord {
  const others = peersIn(shard).filter((peer) => peer !== self).map((peer) => [String(peer), replicaOf(shard, peer) === 'Dead' ? 'Dead' : 'Partial'] as const);
  return { ...shard, generation, base: { ...base, isRenewed: true }, replicas: Object.fromEntries([[String(self), 'Active' as const], ...others]) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
