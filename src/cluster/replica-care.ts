// Brings this node's replicas to be Active and keeps an eye on the others: fetches content that is not here, declares a replica
// Active when it has caught up, Dead when its node is gone while another serves, and lets streams forget what all have in files.
// A transfer that an operator asked for is done by its target, as any other replica that lacks something.
//
// Invariants:
// - The last Active replica of a shard is never marked otherwise.
// - A replica becomes Active only after it had everything that the stream had at a moment after it began to follow.
// - It is read only after it has what was acknowledged by those that did not wait for it, because they took it for no Active one.
// - A node changes the states of its own replicas; those of a silent node are the lowest live peer's to change.
import { must } from '../base/assert.ts';
import { every, type Repeated } from '../base/every.ts';
import { NewerEntryError } from '../shard/entry-body.ts';
import { receiveShard } from '../snapshot/shard-transfer.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { NotServedError } from './peer-wire.ts';
import { peersIn, replicaOf, shardOf, withActive, withReplica, withShard, withoutPeer, type ReplicaState, type ShardRecord } from './cluster-record.ts';
import { goneMs, type NodeRecord } from './membership.ts';
import { shardKey, type ShardName } from './remote-replica.ts';
import type { ReplicaMarks } from './replica-marks.ts';
import { purgeStream, streamFacts } from './shard-stream.ts';

const careMs = 500;
const purgeMs = 60_000;
const openAgainMs = 5_000;
/** Where a copy has entries that this program does not know, only a newer program helps. */
const outdatedMs = 60_000;
/** A transfer whose target is silent for so long has failed. */
const transferLostMs = 60_000;
/** A replica may be that far behind when it becomes Active. */
const lagMsMax = 2_000;
/** A node that gives out as many copies as it may is asked again after that. */
const busyMs = 1_000;
/** Entries that a stream keeps beyond what every replica has in files, so that one that was away need not be sent everything. */
const entriesKept = 4096;

/** Copies that a node takes in at a time, and gives out: each is bound by both disks. */
export interface TransfersMax {
  readonly incoming: number;
  readonly outgoing: number;
}

export interface ReplicaCareOptions {
  readonly marks: ReplicaMarks;
  /** Copies that are taken in at a time. */
  readonly fetchesMax: number;
  /** Told of a replica whose log met a gap, before its copy takes its place: afterwards nothing here shows the gap any more. */
  readonly onLost: (name: ShardName) => Promise<void>;
}

export interface Transfer {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
}

export class ReplicaCare {
  readonly #access: CatalogAccess;
  readonly #marks: ReplicaMarks;
  readonly #fetchesMax: number;
  readonly #onLost: (name: ShardName) => Promise<void>;
  readonly #repeated: Repeated;
  readonly #transfers = new Map<string, Transfer>();
  /** Where the stream of a replica that catches up ended at the last look: while writes go on it is never at the very end. */
  readonly #seen = new Map<string, { readonly lastSeq: number; readonly atMs: number }>();
  /** Work on own replicas that goes on from one look to the next; by name. */
  readonly #work = new Map<string, { readonly done: Promise<void>; readonly end: AbortController }>();
  #purgedMs: number;
  #openedMs = 0;
  /** Shard → when it may be fetched again. */
  readonly #notBefore = new Map<string, number>();

  constructor(access: CatalogAccess, { marks, fetchesMax, onLost }: ReplicaCareOptions) {
    this.#access = access;
    this.#marks = marks;
    this.#fetchesMax = fetchesMax;
    this.#onLost = onLost;
    this.#purgedMs = access.clock.monotonic();
    this.#repeated = every(careMs, () => this.#look(), (error) => access.logger.warn({ error: String(error) }, 'replicas could not be looked after'));
  }

  /** What this node is fetching. */
  get transfers(): readonly Transfer[] {
    return [...this.#transfers.values()];
  }

  async close(): Promise<void> {
    await this.#repeated.close();
    for (const { end } of this.#work.values()) end.abort();
    await Promise.all([...this.#work.values()].map(({ done }) => done));
  }

  async #look(): Promise<void> {
    const { followed, clock } = this.#access;
    let failure: { readonly error: unknown } | undefined;
    const isDue = clock.monotonic() - this.#purgedMs > purgeMs;
    if (isDue) this.#purgedMs = clock.monotonic();
    this.#endStale();
    for (const [uuid, record] of followed()) {
      for (const shard of record.shards) {
        if (this.#repeated.signal.aborted) return;
        try {
          await this.#lookAt(uuid, shard, isDue);
        } catch (error) {
          failure ??= { error }; // of a shard whose stream has no leader just now: the others are looked after all the same
        }
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  async #lookAt(uuid: string, shard: ShardRecord, isPurgeDue: boolean): Promise<void> {
    const { membership } = this.#access;
    const state = replicaOf(shard, membership.self.peerId);
    if (state !== undefined) await this.#careForOwn(uuid, shard, state);
    this.#marks.tell(this.#access.logger, uuid, shard);
    if (!membership.isLowestLive()) return;
    await this.#careForSilent(uuid, shard);
    await this.#careForTransfer(uuid, shard);
    if (isPurgeDue) await this.#purge(uuid, shard);
  }

  async #careForOwn(uuid: string, shard: ShardRecord, state: ReplicaState): Promise<void> {
    const { client, membership } = this.#access;
    const self = membership.self.peerId;
    const name = { collectionUuid: uuid, shardId: shard.id, generation: shard.generation };
    if (this.#work.has(shardKey(name))) return;
    const local = this.#access.localShard(uuid, shard.id, shard.generation);
    const isLost = this.#access.logOf(uuid, shard.id, shard.generation)?.lost !== undefined;
    if (isLost && shard.isLogDamaged !== true) await this.#onLost(name);
    if (local === undefined || isLost || this.#marks.isOwnOdd(uuid, shard, state)) {
      const isElsewhere = peersIn(shard, 'Active').some((peer) => peer !== self);
      if (!isElsewhere) await this.#openAgain();
      else if (state === 'Active') await this.#setState(uuid, shard, self, 'Recovery');
      else if (this.#transfers.size < this.#fetchesMax) this.#begin(name, (signal) => this.#fetch(uuid, shard, signal));
      return;
    }
    if (local.isOutdated) {
      if (state === 'Active') await this.#setState(uuid, shard, self, 'Recovery');
      return;
    }
    if (state === 'Active' || state === 'Listener') return;
    if (this.#marks.disagreementOf(uuid, shard) !== undefined) return; // nobody knows who is right
    const { lastSeq } = await streamFacts(client, name);
    if (local.applied >= this.#wanted(name, lastSeq)) this.#begin(name, () => this.#join(name, shard));
    else if (state === 'PartialSnapshot') await this.#setState(uuid, shard, self, 'Partial');
  }

  /** What a replica must have to count as caught up, where its stream ends at `lastSeq` now. */
  #wanted(name: ShardName, lastSeq: number): number {
    const key = shardKey(name);
    const now = this.#access.clock.monotonic();
    const seen = this.#seen.get(key);
    this.#seen.set(key, { lastSeq, atMs: now });
    return seen === undefined || now - seen.atMs > lagMsMax ? lastSeq : seen.lastSeq;
  }

  #begin(name: ShardName, work: (signal: AbortSignal) => Promise<void>): void {
    const key = shardKey(name);
    const end = new AbortController();
    const done = work(end.signal).catch((error: unknown) => {
      if (!end.signal.aborted) this.#access.logger.warn({ collection: name.collectionUuid, shard: name.shardId, error: String(error) }, 'a replica is not Active yet; it is tried again');
    }).finally(() => this.#work.delete(key));
    this.#work.set(key, { done, end });
  }

  /** Nobody needs the work on a replica that no record places here any more. */
  #endStale(): void {
    const { followed, membership } = this.#access;
    const records = followed();
    const wanted = new Set([...records].flatMap(([collectionUuid, { shards }]) => shards
      .filter((shard) => replicaOf(shard, membership.self.peerId) !== undefined)
      .map(({ id, generation }) => shardKey({ collectionUuid, shardId: id, generation }))));
    for (const [key, { end }] of this.#work) if (!wanted.has(key)) end.abort();
    for (const key of this.#seen.keys()) if (!wanted.has(key)) this.#seen.delete(key);
  }

  /**
   * Active, by one compare-and-set, which also ends the transfer that it came by. What others acknowledged before they had followed
   * that did not wait for this replica, so it is read when it has everything that the stream had at a moment after it, however long
   * that takes: the stream may have no leader just now.
   */
  async #join(name: ShardName, shard: ShardRecord): Promise<void> {
    const { joining, catchingUp, membership } = this.#access;
    const key = shardKey(name);
    const { collectionUuid: uuid, shardId, generation } = name;
    this.#seen.delete(key);
    joining.add(key);
    try {
      await this.#setState(uuid, shard, membership.self.peerId, 'Active');
    } finally {
      const local = this.#access.localShard(uuid, shardId, generation);
      if (local !== undefined) catchingUp.begin(name, local, 'when it became Active'); // after a failure, too: the change may have been made
      joining.delete(key);
    }
  }

  /** The only content there is may have refused for a reason that passes: the stream had no leader just then. */
  async #openAgain(): Promise<void> {
    const { clock } = this.#access;
    if (clock.monotonic() - this.#openedMs < openAgainMs) return;
    this.#openedMs = clock.monotonic();
    await this.#access.reconcile();
  }

  async #careForSilent(uuid: string, shard: ShardRecord): Promise<void> {
    const { membership } = this.#access;
    for (const peer of peersIn(shard, 'Active')) {
      if (peer === membership.self.peerId || membership.silenceMs(peer) < goneMs) continue;
      const others = peersIn(shard, 'Active').filter((other) => other !== peer && membership.isLive(other));
      if (others.length > 0) await this.#setState(uuid, shard, peer, 'Dead');
    }
  }

  async #careForTransfer(uuid: string, { id, transfer }: ShardRecord): Promise<void> {
    const { membership, records, logger } = this.#access;
    if (transfer === undefined || membership.silenceMs(transfer.to) < transferLostMs || transfer.to === membership.self.peerId) return;
    logger.warn({ collection: uuid, shard: id, ...transfer }, 'the target of a transfer is gone; the transfer is given up');
    await records.change(uuid, (record) => {
      const now = shardOf(record, id).transfer;
      return now === undefined || now.to !== transfer.to || now.from !== transfer.from ? record : withShard(record, id, (shard) => withoutPeer(shard, transfer.to));
    });
    await this.#access.spread();
  }

  /** A live node with an Active replica that is not known to differ from most; of a transfer the one that was named, as long as it has one. */
  #sourceOf(uuid: string, shard: ShardRecord): NodeRecord | undefined {
    const { membership } = this.#access;
    const odd = this.#marks.disagreementOf(uuid, shard)?.odd ?? [];
    const live = peersIn(shard, 'Active').filter((peer) => peer !== membership.self.peerId && !odd.includes(peer) && membership.isLive(peer));
    const named = live.find((peer) => peer === shard.transfer?.from);
    return membership.node(named ?? live[0] ?? -1);
  }

  /** The content of another node's replica, as a copy that goes on with the stream where it ends. */
  async #fetch(uuid: string, shard: ShardRecord, signal: AbortSignal): Promise<void> {
    const { peers, membership, files, disk, dataDirectory, clock, logger } = this.#access;
    const self = membership.self.peerId;
    const from = this.#sourceOf(uuid, shard);
    if (from === undefined) return;
    const key = `${uuid}/${shard.id}`;
    if (clock.monotonic() < (this.#notBefore.get(key) ?? 0)) return;
    this.#transfers.set(key, { collectionUuid: uuid, shardId: shard.id, from: from.peerId, to: self });
    try {
      const body = await peers.stream(from.uri, 'shard-archive', { collectionUuid: uuid, shardId: shard.id, generation: shard.generation }, { signal });
      await using received = await receiveShard({ disk, stagingRoot: dataDirectory }, shard.id, body, signal);
      const place = { id: shard.id, generation: shard.generation };
      const isTaken = await this.#access.install(uuid, place, async (config) => {
        const { shard: made } = await files.adoptOne(uuid, config, { place, staging: received.staged, isCopy: true });
        return must(made, 'an adopted shard is open');
      });
      if (isTaken) logger.info({ collection: uuid, shard: shard.id, from: from.peerId, points: received.staged.points }, 'a replica was copied from another node');
    } catch (error) {
      if (error instanceof NotServedError) {
        this.#notBefore.set(key, clock.monotonic() + busyMs);
        return;
      }
      if (error instanceof NewerEntryError) this.#notBefore.set(key, clock.monotonic() + outdatedMs);
      if (!signal.aborted) logger.warn({ collection: uuid, shard: shard.id, from: from.peerId, error: String(error) }, 'a replica could not be copied; it is tried again');
    } finally {
      this.#transfers.delete(key);
    }
  }

  async #purge(uuid: string, shard: ShardRecord): Promise<void> {
    const { membership } = this.#access;
    const name = { collectionUuid: uuid, shardId: shard.id, generation: shard.generation };
    const seqs = peersIn(shard).filter((peer) => replicaOf(shard, peer) !== 'Dead').map((peer) => (peer === membership.self.peerId
      ? this.#access.localShard(uuid, shard.id, shard.generation)?.checkpointed
      : membership.shardOf(peer, name)?.checkpoint));
    if (seqs.length === 0 || seqs.includes(undefined)) return; // one that has not told may need everything
    await purgeStream(this.#access.client, name, Math.min(...seqs.map((seq) => seq ?? 0)) - entriesKept);
  }

  async #setState(uuid: string, { id, generation }: ShardRecord, peer: number, state: ReplicaState): Promise<void> {
    await this.#access.records.change(uuid, (record) => {
      const shard = shardOf(record, id);
      const before = replicaOf(shard, peer);
      const isLastActive = state !== 'Active' && peersIn(shard, 'Active').every((other) => other === peer);
      if (shard.generation !== generation || before === undefined || before === state || isLastActive) return record;
      return withShard(record, id, (found) => (state === 'Active' ? withActive(found, peer) : withReplica(found, peer, state)));
    });
    await this.#access.spread();
  }
}
