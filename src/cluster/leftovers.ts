// Removes what restores, creates and deletes left whose process died: turns, streams that no record names, records that no name leads to.
//
// Invariants:
// - A stream is removed only where its collection has no record any more, or where its generation was given out, is not the current one
//   and no restore has the turn: records are made before their streams, turns taken before theirs, uuids and generations never used again.
// - A record is removed only when no name has led to it for as long as no create takes.
import { every, type Repeated } from '../base/every.ts';
import type { CatalogAccess } from './catalog-access.ts';
import type { RestoreTurns } from './restore-turns.ts';
import { deleteStream, shardStreams, type StreamIdentity } from './shard-stream.ts';

const lookMs = 1_000;
const sweepMs = 60_000;
/** A create ends, one way or the other, in well under a minute. */
const namelessMs = 600_000;

export class Leftovers {
  readonly #access: CatalogAccess;
  readonly #turns: RestoreTurns;
  readonly #repeated: Repeated;
  /** Records without a name → since when this node knows that. */
  #nameless: ReadonlyMap<string, number> = new Map();
  #sweptMs = -Infinity;

  constructor(access: CatalogAccess, turns: RestoreTurns) {
    this.#access = access;
    this.#turns = turns;
    this.#repeated = every(lookMs, () => this.#look(), (error) => access.logger.warn({ error: String(error) }, 'what dead processes left could not be removed; it is tried again'));
  }

  close(): Promise<void> {
    return this.#repeated.close();
  }

  async #look(): Promise<void> {
    const { followed, membership, metastore, clock } = this.#access;
    const isLowest = membership.isLowestLive();
    for (const uuid of followed().keys()) {
      if (this.#repeated.signal.aborted) return;
      await this.#turns.endLost(uuid, isLowest);
    }
    if (clock.monotonic() - this.#sweptMs < sweepMs) return;
    this.#sweptMs = clock.monotonic();
    await metastore.purgeDeleted();
    if (!isLowest) return;
    await this.#sweepRecords();
    await this.#sweepStreams();
  }

  async #sweepRecords(): Promise<void> {
    const { records, metastore, clock, logger } = this.#access;
    const unnamed = async (): Promise<readonly string[]> => {
      const named = new Set(Object.values((await records.directory()).names));
      return (await records.uuids()).filter((uuid) => !named.has(uuid));
    };
    const now = clock.monotonic();
    this.#nameless = new Map((await unnamed()).map((uuid) => [uuid, this.#nameless.get(uuid) ?? now]));
    const old = [...this.#nameless].filter(([, since]) => now - since >= namelessMs).map(([uuid]) => uuid);
    if (old.length === 0) return;
    await metastore.catchUp();
    for (const uuid of await unnamed()) {
      if (!old.includes(uuid) || this.#repeated.signal.aborted) continue;
      await records.remove(uuid); // its streams go with the next look at streams
      logger.info({ collection: uuid }, 'the record of a collection that was never named, or is deleted, was removed');
    }
  }

  async #sweepStreams(): Promise<void> {
    const { client, records, metastore, logger } = this.#access;
    const isLeft = async ({ collectionUuid, shardId, generation }: StreamIdentity): Promise<boolean> => {
      const record = await records.get(collectionUuid);
      const shard = record?.shards.find(({ id }) => id === shardId);
      const isGivenOut = generation <= Math.max(record?.lastGeneration ?? 0, shard?.generation ?? 0);
      return record === undefined || (record.turn === undefined && generation !== shard?.generation && isGivenOut);
    };
    const streams: StreamIdentity[] = [];
    for (const stream of await shardStreams(client)) if (await isLeft(stream)) streams.push(stream);
    if (streams.length === 0) return;
    await metastore.catchUp(); // the record of every stream above is known from here on, or gone
    for (const stream of streams) {
      if (this.#repeated.signal.aborted || !(await isLeft(stream))) continue;
      await deleteStream(client, stream);
      logger.info({ collection: stream.collectionUuid, shard: stream.shardId, generation: stream.generation }, 'a stream that no record names was removed');
    }
  }
}
