// The shards that this node holds: opened, put in place and taken away with their folders; the logs behind them, and shards that wait
// for the record that takes them in.
//
// Invariants:
// - One folder, one shard: what left goes with its folder before the same shard is opened again.
// - Whoever opens, installs, discards or withdraws does it under the lock that follows the records, so nothing else opens the folder.
import type { Clock } from '../base/clock.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Collection } from '../collection/collection.ts';
import { ShardFiles, type ShardFilesOptions, type ShardPlace } from '../collection/shard-files.ts';
import { BrokenReplica, ShardSet, type ShardSlot } from '../collection/shard-set.ts';
import type { Shard } from '../shard/shard.ts';
import type { CatchingUp } from './catching-up.ts';
import type { ClusterCollection, ShardRecord } from './cluster-record.ts';
import { LeavingShards } from './leaving-shards.ts';
import type { NatsClient } from './nats-client.ts';
import { shardKey, type ShardName } from './remote-replica.ts';
import { ReplicatedLog } from './replicated-log.ts';
import { streamFacts } from './shard-stream.ts';

export interface LocalShardsOptions extends Omit<ShardFilesOptions, 'shareLog'> {
  readonly client: NatsClient;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class LocalShards {
  readonly files: ShardFiles;
  readonly #options: LocalShardsOptions;
  readonly #leaving: LeavingShards;
  readonly #catchingUp: CatchingUp;
  /** By name; those that are open. */
  readonly #logs = new Map<string, ReplicatedLog>();
  readonly #offered = new Map<string, Shard>();
  /** Opened last in vain, for a reason that does not pass. */
  readonly #damaged = new Set<string>();

  /** @param catchingUp is told of what was opened from files: those may lack what the stream has */
  constructor(options: LocalShardsOptions, catchingUp: CatchingUp) {
    this.#options = options;
    this.#catchingUp = catchingUp;
    this.files = new ShardFiles({ ...options, shareLog: (name) => (local) => {
      const key = shardKey(name);
      const onClosed = (): void => {
        if (this.#logs.get(key) === log) this.#logs.delete(key);
      };
      const log: ReplicatedLog = new ReplicatedLog({ local, client: options.client, of: name, clock: options.clock, logger: options.logger, onClosed });
      this.#logs.set(key, log);
      return log;
    } });
    this.#leaving = new LeavingShards(this.files, options.logger);
  }

  logOf(name: ShardName): ReplicatedLog | undefined {
    return this.#logs.get(shardKey(name));
  }

  isDamaged(name: ShardName): boolean {
    return this.#damaged.has(shardKey(name));
  }

  /** Opened for a record to come; `open` hands it out. */
  offer(name: ShardName, shard: Shard): void {
    this.#offered.set(shardKey(name), shard);
  }

  /** undefined where this node has not got its content yet. */
  async open(uuid: string, { config, indexes }: ClusterCollection, shard: ShardRecord): Promise<Shard | undefined> {
    const { client, logger } = this.#options;
    const name = { collectionUuid: uuid, shardId: shard.id, generation: shard.generation };
    const place = { id: shard.id, generation: shard.generation };
    const key = shardKey(name);
    const offered = this.#offered.get(key);
    this.#offered.delete(key);
    if (offered !== undefined) return offered;
    await this.#leaving.whenGone(key);
    this.#damaged.delete(key);
    try {
      let slot: ShardSlot | undefined;
      if (await this.files.hasShard(uuid, place)) [slot] = await this.files.openSome(uuid, config, [place]);
      else if (shard.base === null && (await streamFacts(client, name)).firstSeq <= 1) slot = await this.files.createOne(uuid, config, place, indexes);
      if (slot?.replica instanceof BrokenReplica && slot.replica.cause instanceof CorruptionError) this.#damaged.add(key);
      const opened = slot?.shard;
      opened?.follow();
      if (opened !== undefined) this.#catchingUp.begin(name, opened, 'at its start');
      return opened;
    } catch (error) {
      logger.error({ collection: uuid, shard: shard.id, error: String(error) }, 'a shard could not be opened here');
      return undefined;
    }
  }

  /** From here on requests reach the new set; the folders of what is gone from it are removed in the background. */
  replaceSlots(collection: Collection, slots: readonly ShardSlot[], places: readonly ShardPlace[]): Promise<void> {
    const kept = new ShardSet(slots);
    return this.#leaving.retire({ collectionUuid: collection.uuid, set: collection.replaceSet(kept), kept, places });
  }

  /** Takes a shard with its folder out of a collection, where that is followed here. */
  async discard(uuid: string, collection: Collection | undefined, place: ShardPlace): Promise<void> {
    const slots = collection?.set.slots ?? [];
    const known = slots.find(({ id, generation }) => id === place.id && generation === place.generation);
    if (collection === undefined || known?.shard === undefined) {
      await this.#leaving.whenGone(shardKey({ collectionUuid: uuid, shardId: place.id, generation: place.generation }));
      await this.files.removeShards(uuid, [place]);
    } else await this.replaceSlots(collection, slots.map((slot) => (slot === known ? { ...slot, shard: undefined } : slot)), [place]);
  }

  /** Of what was offered and no record has taken in. */
  async withdraw(name: ShardName): Promise<void> {
    const key = shardKey(name);
    const shard = this.#offered.get(key);
    this.#offered.delete(key);
    await shard?.close();
    await this.files.removeShards(name.collectionUuid, [{ id: name.shardId, generation: name.generation }]);
  }

  /** Resolves when all that has left so far is gone, of that collection or of all. */
  settled(collectionUuid?: string): Promise<void> {
    return this.#leaving.settled(collectionUuid);
  }

  /** Those that no record has taken in. */
  async closeOffered(): Promise<void> {
    for (const shard of this.#offered.values()) await shard.close();
    this.#offered.clear();
  }
}
