// Whose turn it is to put restored shards into a collection, and what becomes of a turn whose process is gone.
//
// A turn is a field of the collection's record, so that taking it, losing it and what is done in it are compare-and-sets of one key:
// a restore that lost its turn can no longer change the record, whatever it still has under way.
//
// Invariants:
// - A turn is taken before any stream or folder of a new generation is made, and given back after those that no record names are gone.
//   So a turn whose process is gone is the trace of what that process may have left.
// - The generation of a turn was never given out before: a folder that a dead restore left on a node is never taken for a later one's.
import { randomUUID } from 'node:crypto';
import { RequestError } from '../base/errors.ts';
import type { CatalogAccess } from './catalog-access.ts';
import type { ClusterCollection } from './cluster-record.ts';
import { shardStreams, deleteStream, sealStream } from './shard-stream.ts';

const pollMs = 50;
const waitTimeoutMs = 120_000;
/** A holder that is silent for so long loses its turn. */
const lostMs = 10_000;

export interface Turn {
  readonly uuid: string;
  readonly id: string;
  /** Of the shards that are made in this turn. */
  readonly generation: number;
}

export class RestoreTurns {
  readonly #access: () => CatalogAccess;
  /** Ids of the turns that restores of this process use. */
  readonly #held = new Set<string>();

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** Waits for whoever has it. @throws RequestError 'not-found' where the collection is gone, 'timeout' where another does not end */
  async take(uuid: string, signal?: AbortSignal): Promise<Turn> {
    const { records, clock } = this.#access();
    const until = clock.monotonic() + waitTimeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      const record = await records.get(uuid);
      if (record === undefined) throw new RequestError('not-found', 'the collection was deleted meanwhile');
      const holder = record.turn;
      if (holder === undefined || this.#isLost(holder)) {
        const turn = await this.#takeFrom(uuid, holder?.id);
        if (turn !== undefined) return turn;
      }
      if (clock.monotonic() > until) throw new RequestError('timeout', 'another restore of this collection does not end');
      await pause(pollMs);
    }
  }

  /** @throws RequestError where the turn is another's by now: nothing of it may be put in place any more */
  check({ turn }: ClusterCollection, { id }: Turn): void {
    if (turn?.id !== id) throw new RequestError('unavailable', 'the restore stood still for too long, and another node has taken its turn');
  }

  /**
   * The same turn under a new id: the compare-and-set of the id before has happened by now or never will.
   * Answers undefined where the turn was another's, or the collection gone, already: then that is as certain.
   */
  async renew({ uuid, id, generation }: Turn): Promise<Turn | undefined> {
    const renewed = await this.#put(uuid, id, () => generation);
    this.#held.delete(id);
    return renewed;
  }

  /** Removes the streams of the collection that its record does not name. Only in a turn: those of a restore under way are not named either. */
  async clean({ uuid }: Turn): Promise<void> {
    const access = this.#access();
    const { client, records, logger } = access;
    const record = await records.get(uuid);
    if (record === undefined) return;
    const currentOf = (shardId: number): number => record.shards.find(({ id }) => id === shardId)?.generation ?? -1;
    const unnamed = (await shardStreams(client, uuid)).filter(({ shardId, generation }) => currentOf(shardId) !== generation);
    const ended = unnamed.filter(({ shardId, generation }) => generation < currentOf(shardId));
    for (const stream of ended) await sealStream(client, stream);
    if (ended.length > 0) await access.spread();
    for (const stream of unnamed) {
      await deleteStream(client, stream);
      logger.info({ collection: uuid, shard: stream.shardId, generation: stream.generation }, 'a stream that a restore left was removed');
    }
  }

  /** Removes the streams that were made in a turn, where no record will name them any more. */
  async removeMade({ uuid, generation }: Turn): Promise<void> {
    const { client } = this.#access();
    for (const stream of await shardStreams(client, uuid)) if (stream.generation === generation) await deleteStream(client, stream);
  }

  /** The next restore may begin. Nothing happens where the turn is another's, or the collection gone. */
  async give({ uuid, id }: Turn): Promise<void> {
    try {
      await this.#access().records.change(uuid, (record) => {
        if (record.turn?.id !== id) return record;
        const { turn: _over, ...rest } = record;
        return rest;
      });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    this.#held.delete(id);
  }

  /** Ends a turn of this node that no restore of this process holds, or with `others` that of a silent node, where the record has one. */
  async endLost(uuid: string, others: boolean): Promise<void> {
    const { records, membership } = this.#access();
    const holder = (await records.get(uuid))?.turn;
    if (holder === undefined || !this.#isLost(holder) || (holder.peer !== membership.self.peerId && !others)) return;
    const turn = await this.#takeFrom(uuid, holder.id);
    if (turn !== undefined) await this.give(turn);
  }

  #isLost({ peer, id }: { readonly peer: number; readonly id: string }): boolean {
    const { membership } = this.#access();
    return peer === membership.self.peerId ? !this.#held.has(id) : membership.silenceMs(peer) >= lostMs;
  }

  /** undefined where the turn is not that one's any more. What a lost one left is removed first. */
  async #takeFrom(uuid: string, holder: string | undefined): Promise<Turn | undefined> {
    const turn = await this.#put(uuid, holder, ({ lastGeneration, shards }) => Math.max(lastGeneration ?? 0, ...shards.map(({ generation }) => generation)) + 1);
    if (turn === undefined || holder === undefined) return turn;
    try {
      await this.clean(turn);
      return turn;
    } catch (error) {
      this.#held.delete(turn.id);
      throw error;
    }
  }

  /** One whose outcome is unknown belongs to nobody of this process: the next look ends it. */
  async #put(uuid: string, holder: string | undefined, generationOf: (record: ClusterCollection) => number): Promise<Turn | undefined> {
    const { records, membership } = this.#access();
    const id = randomUUID();
    this.#held.add(id);
    try {
      await records.change(uuid, (record) => (record.turn?.id !== holder ? record : { ...record, turn: { peer: membership.self.peerId, id }, lastGeneration: generationOf(record) }));
      const record = await records.get(uuid);
      if (record?.turn?.id === id) return { uuid, id, generation: record.lastGeneration ?? 0 };
    } catch (error) {
      this.#held.delete(id);
      if (!isGone(error)) throw error;
    }
    this.#held.delete(id);
    return undefined;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof RequestError && error.code === 'not-found';
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
