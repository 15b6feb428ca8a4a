// One shard of a collection as this node reaches it: by its own replica where that is Active, else by another node's.
//
// Reads try one Active replica after another, nodes that answer first. While a shard moves, nodes do not learn at one moment where it is:
// a node that does not serve it says so, and it is looked for again. A write goes through one of them, and is refused before it is
// published where fewer replicas live than must have it; after that it is never sent twice, for it may be stored.
import { setTimeout as sleep } from 'node:timers/promises';
import { RequestError } from '../base/errors.ts';
import { NotServedError } from './peer-wire.ts';
import { FencedError } from './replicated-log.ts';
import type { CountRequest, PointRecord, ReplicaWish, RetrieveRequest, ScoredRecord, ScrollRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions } from '../command/write.ts';
import type { Replica, ReplicaInfo, ReplicaSearch, ReplicaWriteResult } from '../collection/replica.ts';
import { furthest, replicasAsked, type Candidate } from './read-consistency.ts';
import type { RemoteReplica } from './remote-replica.ts';
import type { Shard } from '../shard/shard.ts';

export interface RouteSource {
  /** This node's replica; undefined where it has none or none that is Active and open. */
  local(): Shard | undefined;
  /** This node's replica while it is Active and is not read yet: it may lack what was written just before. */
  joining(): Shard | undefined;
  /** This node's replica is Active and will be read before long: it is joining, or could not be opened for a reason that may pass. */
  isComing(): boolean;
  /** Active ones on other nodes, those that answer first. */
  remotes(): readonly { readonly replica: RemoteReplica; readonly isLive: boolean }[];
  /** How many replicas there are, whatever their states. */
  replicas(): number;
  /** How many replicas must have a write before it is answered. */
  writesNeeded(): number;
  /** @throws RequestError where no write may be taken now */
  refuseWrites(): void;
  /** Resolves with how many other replicas have applied the seq: when all that live have, when `wanted` have and the others are slow, or
   *  when the time is over. */
  appliedElsewhere(seq: number, wanted: number, timeoutMs: number): Promise<number>;
  /** The same shard in the generation that came after this one, as soon as this node has followed it; undefined where none comes. */
  successor(): Promise<Replica | undefined>;
  readonly generation: number;
  /** For messages. */
  readonly shardId: number;
}

const waitMs = 60_000;
/** A shard that has moved is looked for this long. */
const movedMs = 10_000;
const lookAgainMs = 10;

export class RoutedReplica implements Replica {
  readonly #source: RouteSource;

  constructor(source: RouteSource) {
    this.#source = source;
  }

  check(operation: WriteOperation): Promise<void> {
    return this.#read((replica) => replica.check(operation));
  }

  write(operation: WriteOperation, options: WriteOptions): Promise<ReplicaWriteResult> {
    return whereServed(async () => {
      const local = this.#source.local();
      if (local !== undefined) return await this.#writeHere(local, operation, options);
      const remote = this.#source.remotes()[0];
      if (remote === undefined) throw this.#noReplica();
      return await remote.replica.write(operation, options);
    });
  }

  /** One of those behind it, where it matters which. The caller finds a generation that came after this one by itself. */
  async readable({ consistency = 1, after }: ReplicaWish, signal?: AbortSignal): Promise<Replica> {
    const { shardId, generation } = this.#source;
    if (after !== undefined && after.generation > generation) {
      if ((await this.#source.successor()) === undefined) throw new RequestError('timeout', `shard ${shardId} is in generation ${generation} here, and not yet in ${after.generation}`);
      return this;
    }
    const asked = replicasAsked(consistency, this.#source.replicas());
    if (asked <= 1 && after === undefined) return this;
    return await whereServed(async () => {
      const candidates = this.#candidates();
      const chosen = asked > 1 ? await furthest(candidates, { shardId, asked, signal }) : candidates[0]?.replica;
      if (chosen === undefined) throw this.#noReplica();
      return await chosen.readable(after === undefined ? {} : { after }, signal);
    });
  }

  search(requests: readonly ReplicaSearch[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]> {
    return this.#read((replica) => replica.search(requests, signal));
  }

  retrieve(request: RetrieveRequest): Promise<readonly PointRecord[]> {
    return this.#read((replica) => replica.retrieve(request));
  }

  scroll(request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]> {
    return this.#read((replica) => replica.scroll(request, signal));
  }

  count(request: CountRequest, signal?: AbortSignal): Promise<number> {
    return this.#read((replica) => replica.count(request, signal));
  }

  info(): ReplicaInfo {
    const replica = this.#source.local() ?? this.#source.joining() ?? this.#source.remotes()[0]?.replica;
    if (replica === undefined) throw this.#noReplica();
    return replica.info();
  }

  async #writeHere(local: Replica, operation: WriteOperation, options: WriteOptions): Promise<ReplicaWriteResult> {
    const startMs = performance.now();
    const needed = this.#source.writesNeeded();
    const live = 1 + this.#source.remotes().filter(({ isLive }) => isLive).length;
    if (live < needed) {
      throw new RequestError('unavailable', `shard ${this.#source.shardId} has ${live} live replicas of the ${needed} that a write needs (no quorum)`);
    }
    this.#source.refuseWrites();
    let result: ReplicaWriteResult;
    try {
      result = await local.write(operation, options);
    } catch (error) {
      // A restore has ended this generation, and the write is not in it: it belongs into the next.
      const next = error instanceof FencedError ? await this.#source.successor() : undefined;
      if (next === undefined) throw error;
      return await next.write(operation, options);
    }
    if (!options.wait || result.status !== 'completed') return result;
    const leftMs = (options.timeoutMs ?? waitMs) - (performance.now() - startMs);
    const others = await this.#source.appliedElsewhere(result.seq, needed - 1, Math.max(0, leftMs));
    return others >= needed - 1 ? result : { ...result, status: 'wait_timeout' };
  }

  /** Active ones, this node's first, then those that answer. */
  #candidates(): readonly Candidate[] {
    const local = this.#source.local();
    const own = local === undefined ? [] : [{ replica: local, applied: () => Promise.resolve(local.applied) }];
    return [...own, ...this.#source.remotes().map(({ replica }) => ({ replica, applied: (signal?: AbortSignal) => replica.applied(signal) }))];
  }

  #read<T>(work: (replica: Replica) => Promise<T>): Promise<T> {
    return whereServed(() => this.#readOnce(work));
  }

  async #readOnce<T>(work: (replica: Replica) => Promise<T>): Promise<T> {
    const local = this.#source.local();
    if (local !== undefined) return await work(local);
    let failure: unknown = this.#noReplica();
    for (const { replica } of this.#source.remotes()) {
      try {
        return await work(replica);
      } catch (error) {
        if (!(error instanceof RequestError) || error.code !== 'unavailable') throw error;
        if (!(failure instanceof NotServedError)) failure = error;
      }
    }
    throw failure;
  }

  #noReplica(): RequestError {
    const message = `shard ${this.#source.shardId} has no active replica that can be reached`;
    return this.#source.isComing() ? new NotServedError(message) : new RequestError('unavailable', message);
  }
}

/** Again as long as a node says that the shard is not there. */
async function whereServed<T>(work: () => Promise<T>): Promise<T> {
  for (const until = performance.now() + movedMs;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NotServedError) || performance.now() > until) throw error;
      await sleep(lookAgainMs);
    }
  }
}
