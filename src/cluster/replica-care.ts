// Brings this node's replicas to be Active and keeps an eye on the others: fetches content that is not here, declares a replica
// Active when it has caught up, Dead when its node is gone while another serves, and lets streams forget what all have in files.
//
// Invariants:
// - The last Active replica of a shard is never marked otherwise.
// - A replica becomes Active only after it had everything that the stream had at a moment after it began to follow.
// - A node changes the states of its own replicas; those of a silent node are the lowest live peer's to change.
import { RequestError } from '../base/errors.ts';
import { receiveShard } from '../snapshot/shard-transfer.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn, replicaOf, shardOf, withReplica, withShard, type ReplicaState, type ShardRecord } from './cluster-record.ts';
import { goneMs } from './membership.ts';
import { purgeStream, streamFacts } from './shard-stream.ts';

const careMs = 500;
const purgeMs = 60_000;
const openAgainMs = 5_000;
const fetchesMax = 2;
/** Entries that a stream keeps beyond what every replica has in files, so that one that was away need not be sent everything. */
const entriesKept = 4096;

export interface Transfer {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
}

export class ReplicaCare {
  readonly #access: CatalogAccess;
  readonly #ended = new AbortController();
  readonly #transfers = new Map<string, Transfer>();
  readonly #fetches = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #purgedMs: number;
  #openedMs = 0;

  constructor(access: CatalogAccess) {
    this.#access = access;
    this.#purgedMs = access.clock.monotonic();
    this.#plan();
  }

  /** What this node is fetching. */
  get transfers(): readonly Transfer[] {
    return [...this.#transfers.values()];
  }

  async close(): Promise<void> {
    this.#ended.abort();
    clearTimeout(this.#timer);
    await this.#running;
    await Promise.all(this.#fetches.values());
  }

  #plan(): void {
    if (this.#ended.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#look().catch((error: unknown) => this.#access.logger.warn({ error: String(error) }, 'replicas could not be looked after')).finally(() => this.#plan());
    }, careMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { followed, clock } = this.#access;
    let failure: { readonly error: unknown } | undefined;
    const isDue = clock.monotonic() - this.#purgedMs > purgeMs;
    if (isDue) this.#purgedMs = clock.monotonic();
    for (const [uuid, record] of followed()) {
      for (const shard of record.shards) {
        if (this.#ended.signal.aborted) return;
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
    if (!membership.isLowestLive()) return;
    await this.#careForSilent(uuid, shard);
    if (isPurgeDue) await this.#purge(uuid, shard);
  }

  async #careForOwn(uuid: string, shard: ShardRecord, state: ReplicaState): Promise<void> {
    const { client, membership } = this.#access;
    const self = membership.self.peerId;
    const local = this.#access.localShard(uuid, shard.id, shard.generation);
    const isLost = this.#access.logOf(uuid, shard.id, shard.generation)?.lost !== undefined;
    if (local === undefined || isLost) {
      const isElsewhere = peersIn(shard, 'Active').some((peer) => peer !== self);
      if (!isElsewhere) await this.#openAgain();
      else if (state === 'Active') await this.#setState(uuid, shard, self, 'Recovery');
      else this.#beginFetch(uuid, shard);
      return;
    }
    if (state === 'Active' || state === 'Listener') return;
    const { lastSeq } = await streamFacts(client, { collectionUuid: uuid, shardId: shard.id, generation: shard.generation });
    if (local.applied >= lastSeq) await this.#setState(uuid, shard, self, 'Active');
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

  /** A copy may take hours; what else is to be looked after does not wait for it. */
  #beginFetch(uuid: string, shard: ShardRecord): void {
    const key = `${uuid}/${shard.id}`;
    if (this.#fetches.has(key) || this.#fetches.size >= fetchesMax) return;
    this.#fetches.set(key, this.#fetch(uuid, shard).finally(() => this.#fetches.delete(key)));
  }

  /** The content of another node's replica, as a copy that goes on with the stream where it ends. */
  async #fetch(uuid: string, shard: ShardRecord): Promise<void> {
    const { peers, membership, files, disk, dataDirectory, logger } = this.#access;
    const self = membership.self.peerId;
    const from = peersIn(shard, 'Active').filter((peer) => peer !== self && membership.isLive(peer)).map((peer) => membership.node(peer)).find((node) => node !== undefined);
    if (from === undefined) return;
    const key = `${uuid}/${shard.id}`;
    const { signal } = this.#ended;
    this.#transfers.set(key, { collectionUuid: uuid, shardId: shard.id, from: from.peerId, to: self });
    try {
      const body = await peers.stream(from.uri, 'shard-archive', { collectionUuid: uuid, shardId: shard.id, generation: shard.generation }, { signal });
      await using received = await receiveShard({ disk, stagingRoot: dataDirectory }, shard.id, body, signal);
      const config = (await this.#access.records.get(uuid))?.config;
      if (config === undefined) return;
      try {
        await this.#access.discard(uuid, shard.id, shard.generation);
        const { shard: made } = await files.adoptOne(uuid, config, { place: { id: shard.id, generation: shard.generation }, staging: received.staged, isCopy: true });
        if (made === undefined) throw new RequestError('internal', 'an adopted shard is open');
        this.#access.offer(uuid, made, shard.generation);
        await this.#access.reconcile();
      } finally {
        if (this.#access.localShard(uuid, shard.id, shard.generation) === undefined) await this.#access.withdraw(uuid, shard.id, shard.generation);
      }
      logger.info({ collection: uuid, shard: shard.id, from: from.peerId, points: received.staged.points }, 'a replica was copied from another node');
    } catch (error) {
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
      return withShard(record, id, (found) => withReplica(found, peer, state));
    });
    await this.#access.spread();
  }
}
