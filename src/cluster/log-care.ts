// Watches the streams behind this node's replicas, and gives a shard a new one where its own has lost entries.
//
// JetStream does not say so: a server whose files are damaged leads like any other, the servers that copy from it stay behind for good,
// and all are called current. What tells is a reader that meets a gap, entries that the stream counts as missing, or a stream that ends
// before what a replica has applied.
//
// Invariants:
// - That a stream is damaged is a mark in the shard's record, of that generation; whoever may repair it sees the mark, and it goes with
//   the generation.
// - No replica goes back: the new generation begins with all of the replica that has most, after the old stream was sealed and that
//   replica has everything the stream gave out. Where it cannot have that, the shard takes no writes and the log says why.
import { RequestError } from '../base/errors.ts';
import { every, type Repeated } from '../base/every.ts';
import { receiveShard, type ReceivedShard } from '../snapshot/shard-transfer.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn, replicaOf, shardOf, withShard, type ShardRecord } from './cluster-record.ts';
import { shardKey, type ShardName } from './remote-replica.ts';
import type { ShardRestores } from './shard-restores.ts';
import { sealStream, streamFacts } from './shard-stream.ts';

const careMs = 1_000;
const pollMs = 60_000;
/** A leader that has just been elected takes in what it has not applied yet: shorter for so long it stays. */
const shortMs = 20_000;
const sealedTimeoutMs = 10_000;
/** A reader that brings nothing for so long, although there is more, is made anew. */
const stalledMs = 5_000;

export class LogCare {
  readonly #access: CatalogAccess;
  readonly #restores: ShardRestores;
  readonly #repeated: Repeated;
  readonly #shortSince = new Map<string, number>();
  /** What the stream of each shard counted as missing at the last look. */
  readonly #missing = new Map<string, number>();
  /** How far the log of a replica was when it last went on, and when. */
  readonly #progress = new Map<string, { readonly seq: number; readonly sinceMs: number }>();
  #polledMs = -Infinity;

  constructor(access: CatalogAccess, restores: ShardRestores) {
    this.#access = access;
    this.#restores = restores;
    this.#repeated = every(careMs, () => this.#look(), (error) => access.logger.warn({ error: String(error) }, 'the logs of shards could not be looked after'));
  }

  /** Entries that the streams of this node's shards count as missing. */
  get missing(): number {
    return [...this.#missing.values()].reduce((sum, count) => sum + count, 0);
  }

  close(): Promise<void> {
    return this.#repeated.close();
  }

  async #look(): Promise<void> {
    const { followed, membership, clock, logger } = this.#access;
    const isDue = clock.monotonic() - this.#polledMs > pollMs;
    if (isDue) this.#polledMs = clock.monotonic();
    this.#forgetEnded();
    for (const [uuid, record] of followed()) {
      for (const shard of record.shards) {
        if (this.#repeated.signal.aborted) return;
        if (replicaOf(shard, membership.self.peerId) === undefined) continue;
        const name = { collectionUuid: uuid, shardId: shard.id, generation: shard.generation };
        this.#watchReader(name, shard);
        try {
          if (shard.isLogDamaged !== true) await this.check(name, isDue);
          else if (this.#canMakeStreams() && this.#hasMost(name, shard)) await this.#repair(name);
        } catch (error) {
          if (!this.#repeated.signal.aborted) logger.warn({ collection: uuid, shard: shard.id, error: String(error) }, 'the log of a shard could not be looked after; it is tried again');
        }
      }
    }
  }

  /** A generation that has ended took its stream along. */
  #forgetEnded(): void {
    if (this.#missing.size === 0) return;
    const current = new Set([...this.#access.followed()].flatMap(([collectionUuid, { shards }]) => shards.map(({ id, generation }) => shardKey({ collectionUuid, shardId: id, generation }))));
    for (const key of this.#missing.keys()) if (!current.has(key)) this.#missing.delete(key);
  }

  /**
   * A server that cannot catch up, because the one that leads is damaged or a link was cut, is called current and gives its readers
   * nothing. That there is more is known from other replicas and from what was published here: without it a shard that lies on one node
   * would leave its writes unanswered.
   */
  #watchReader(name: ShardName, shard: ShardRecord): void {
    const { membership, clock, logger } = this.#access;
    const { collectionUuid, shardId, generation } = name;
    const key = shardKey(name);
    const log = this.#access.logOf(collectionUuid, shardId, generation);
    const there = Math.max(log?.storedSeq ?? 0, ...peersIn(shard).map((peer) => membership.shardOf(peer, name)?.applied ?? 0));
    const known = this.#progress.get(key);
    if (log === undefined || log.lost !== undefined || log.lastSeq >= there) {
      this.#progress.delete(key);
    } else if (known?.seq !== log.lastSeq) {
      this.#progress.set(key, { seq: log.lastSeq, sinceMs: clock.monotonic() });
    } else if (clock.monotonic() - known.sinceMs > stalledMs) {
      this.#progress.set(key, { seq: log.lastSeq, sinceMs: clock.monotonic() });
      logger.warn({ collection: collectionUuid, shard: shardId, seq: log.lastSeq, there }, 'a replica gets no entries although there are more; it reads anew');
      log.readAnew();
    }
  }

  /** Marks the shard where its stream has lost entries. `isDue`: also where nothing here tells so. */
  async check(name: ShardName, isDue = false): Promise<void> {
    const { client, logger, records } = this.#access;
    const problem = await this.#problemOf(name, isDue);
    if (problem === undefined) return;
    logger.error({ collection: name.collectionUuid, shard: name.shardId, generation: name.generation, problem, ...(await streamFacts(client, name)) }, 'the stream of a shard has lost entries; it is replaced');
    await records.change(name.collectionUuid, (record) => {
      const shard = shardOf(record, name.shardId);
      return shard.generation !== name.generation || shard.isLogDamaged === true ? record : withShard(record, name.shardId, (found) => ({ ...found, isLogDamaged: true }));
    });
    await this.#access.spread();
  }

  async #problemOf(name: ShardName, isDue: boolean): Promise<string | undefined> {
    const { client, clock } = this.#access;
    const { collectionUuid, shardId, generation } = name;
    const key = shardKey(name);
    const log = this.#access.logOf(collectionUuid, shardId, generation);
    const applied = this.#access.localShard(collectionUuid, shardId, generation)?.applied ?? 0; // before the stream is asked, which only grows
    if (log?.isAhead === true) return 'a new entry got the place of one that is applied';
    if (log?.lost === undefined && !isDue && !this.#shortSince.has(key)) return undefined;
    const { firstSeq, lastSeq, missing, servers } = await streamFacts(client, name);
    log?.keptOn(servers); // it may have grown
    if (missing > 0) this.#missing.set(key, missing);
    if (log?.lost !== undefined && firstSeq <= log.lastSeq + 1) return log.lost.message; // else it was purged, as it may be
    if (missing > 0) return `${missing} entries are missing`;
    const since = this.#shortSince.get(key) ?? clock.monotonic();
    if (lastSeq >= applied) this.#shortSince.delete(key);
    else this.#shortSince.set(key, since);
    return lastSeq < applied && clock.monotonic() - since > shortMs ? `it ends at ${lastSeq}, ${applied} is applied` : undefined;
  }

  /** A new stream needs all its servers at once; until they are there the old one is better than none. */
  #canMakeStreams(): boolean {
    return this.#access.membership.quorum().up >= this.#access.streamReplicas();
  }

  /** Of the Active replicas whose nodes answer; the lowest peer among equals. */
  #hasMost(name: ShardName, shard: ShardRecord): boolean {
    const { membership } = this.#access;
    const { collectionUuid, shardId, generation } = name;
    const self = membership.self.peerId;
    const local = this.#access.localShard(collectionUuid, shardId, generation);
    if (replicaOf(shard, self) !== 'Active' || local === undefined) return false;
    return peersIn(shard, 'Active').every((peer) => {
      const applied = peer === self || !membership.isLive(peer) ? -1 : membership.shardOf(peer, name)?.applied ?? -1;
      return applied < local.applied || (applied === local.applied && self < peer);
    });
  }

  async #repair(name: ShardName): Promise<void> {
    const { logger } = this.#access;
    const { signal } = this.#repeated;
    let received: ReceivedShard | undefined;
    try {
      await this.#restores.renew(name, async () => {
        await this.#seal(name);
        received = await this.#archive(name);
        return received.staged;
      }, signal);
      logger.info({ collection: name.collectionUuid, shard: name.shardId, seq: received?.staged.position.seq }, 'the log of a shard goes on with a new stream');
    } finally {
      await received?.[Symbol.asyncDispose]();
    }
  }

  /** Nobody can write any more, and the replica here has what was written. */
  async #seal(name: ShardName): Promise<void> {
    const { client, clock } = this.#access;
    await sealStream(client, name);
    const { lastSeq } = await streamFacts(client, name);
    const until = clock.monotonic() + sealedTimeoutMs;
    for (;;) {
      const applied = this.#access.localShard(name.collectionUuid, name.shardId, name.generation)?.applied ?? 0;
      if (applied >= lastSeq) return;
      if (clock.monotonic() > until) throw new RequestError('unavailable', `the stream ends at ${lastSeq}, and no replica has more than ${applied}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }

  async #archive(name: ShardName): Promise<ReceivedShard> {
    const { peers, membership, disk, dataDirectory } = this.#access;
    const { signal } = this.#repeated;
    const body = await peers.stream(membership.self.uri, 'shard-archive', name, { signal });
    return await receiveShard({ disk, stagingRoot: dataDirectory }, name.shardId, body, signal);
  }
}
