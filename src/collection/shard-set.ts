// The local shards of a collection as one set that is replaced as a whole. Every request works on the set it started with;
// a retired set is closed when the last of its users has left, so a restore never cuts a running query short.
import { must } from '../base/assert.ts';
import { explainDiskError, RequestError } from '../base/errors.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { Shard } from '../shard/shard.ts';
import type { Replica, ReplicaInfo } from './replica.ts';

export interface ShardSlot {
  readonly id: number;
  readonly generation: number;
  /** Under custom sharding. */
  readonly key?: ShardKey;
  readonly replica: Replica;
  /** Whether anybody can answer for it now; without it always. */
  readonly isServed?: () => boolean;
  /** undefined where the shard refused to open. */
  readonly shard: Shard | undefined;
}

export class ShardSet {
  readonly slots: readonly ShardSlot[];
  #users = 0;
  #whenIdle: (() => void) | undefined;

  constructor(slots: readonly ShardSlot[]) {
    this.slots = [...slots].sort((a, b) => a.id - b.id);
  }

  async use<T>(work: (slots: readonly ShardSlot[]) => Promise<T>): Promise<T> {
    this.#users += 1;
    try {
      return await work(this.slots);
    } catch (error) {
      throw explainDiskError(error);
    } finally {
      this.#users -= 1;
      if (this.#users === 0) this.#whenIdle?.();
    }
  }

  /** Waits for the users, then closes every shard, but for those that live on in another set. No `use` may start after the call. */
  async retire(kept?: ShardSet): Promise<void> {
    if (this.#users > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    const others = new Set(kept?.slots.map(({ shard }) => shard));
    await Promise.all(this.slots.map(async ({ shard }) => {
      if (!others.has(shard)) await shard?.close();
    }));
  }

  /** @throws RequestError 'not-found', or where that shard refused to open. */
  shard(id: number): Shard {
    const slot = this.slots.find((each) => each.id === id);
    if (slot === undefined) throw shardNotFound(id);
    return openShard(slot);
  }

  /** @throws RequestError where a shard refused to open: what is on disk cannot be vouched for. */
  shards(): readonly Shard[] {
    return this.slots.map(openShard);
  }
}

export function shardNotFound(id: number): RequestError {
  return new RequestError('not-found', `shard ${id} not found`);
}

function openShard({ shard, replica }: ShardSlot): Shard {
  if (shard === undefined) replica.info();
  return must(shard, 'a slot without a shard has a replica that throws');
}

/** Stands for a shard whose files are damaged: everything fails with the reason, other shards go on. */
export class BrokenReplica implements Replica {
  readonly #error: RequestError;

  constructor(shardId: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#error = new RequestError('internal', `shard ${shardId} refused to open: ${reason}`, { cause });
  }

  get reason(): string {
    return this.#error.message;
  }

  get cause(): unknown {
    return this.#error.cause;
  }

  check(): Promise<never> { return Promise.reject(this.#error); }
  write(): Promise<never> { return Promise.reject(this.#error); }
  readable(): Promise<never> { return Promise.reject(this.#error); }
  search(): Promise<never> { return Promise.reject(this.#error); }
  retrieve(): Promise<never> { return Promise.reject(this.#error); }
  scroll(): Promise<never> { return Promise.reject(this.#error); }
  count(): Promise<never> { return Promise.reject(this.#error); }

  info(): ReplicaInfo {
    throw this.#error;
  }
}
