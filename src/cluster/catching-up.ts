// Replicas of this node that are not read yet. Those that were opened from files may lack what they or others had acknowledged: a power
// cut took it, or a time away. Those that have just become Active may lack what others acknowledged without waiting for them.
//
// Invariant: an Active replica is read when it has everything that its stream had at a moment after it was opened, and after the nodes
// that answer had followed that it is Active. The one exception is
// a log that does not go on (`lost`) where nobody else is Active: what is here is all there is, until log-care.ts has replaced the stream.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Shard } from '../shard/shard.ts';
import type { BehindSince, CatalogAccess } from './catalog-access.ts';
import { peersIn } from './cluster-record.ts';
import type { ShardName } from './remote-replica.ts';
import { streamFacts } from './shard-stream.ts';

const pollMs = 5;
/** Where the stream has no leader just now. */
const askAgainMs = 100;

export class CatchingUp {
  readonly #access: () => CatalogAccess;
  /** How often it was begun and has not ended. */
  readonly #behind = new Map<Shard, number>();
  readonly #ended = new AbortController();

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** Of a shard that has just been opened, or has become Active, and follows its stream. */
  begin(name: ShardName, shard: Shard, since: BehindSince): void {
    this.#behind.set(shard, (this.#behind.get(shard) ?? 0) + 1);
    void this.#watch(name, shard, since).finally(() => {
      const left = (this.#behind.get(shard) ?? 1) - 1;
      if (left === 0) this.#behind.delete(shard);
      else this.#behind.set(shard, left);
    });
  }

  has(shard: Shard): boolean {
    return this.#behind.has(shard);
  }

  /** Nothing is waited for: what still asks a stream changes nothing any more. */
  close(): void {
    this.#ended.abort();
  }

  async #watch(name: ShardName, shard: Shard, since: BehindSince): Promise<void> {
    const { client, logger } = this.#access();
    const opened = shard.applied;
    let lastSeq: number | undefined;
    while (!this.#ended.signal.aborted && !shard.isClosing && !this.#isAllThereIs(name)) {
      lastSeq ??= await streamFacts(client, name).then((facts) => facts.lastSeq, () => undefined);
      if (lastSeq !== undefined && shard.applied >= lastSeq) {
        if (lastSeq > opened) logger.info({ collection: name.collectionUuid, shard: name.shardId, from: opened, to: shard.applied }, `a replica has what it lacked ${since}, and is read`);
        return;
      }
      await sleep(lastSeq === undefined ? askAgainMs : pollMs);
    }
  }

  #isAllThereIs({ collectionUuid, shardId, generation }: ShardName): boolean {
    const access = this.#access();
    if (access.logOf(collectionUuid, shardId, generation)?.lost === undefined) return false;
    const shard = access.record(collectionUuid)?.shards.find((each) => each.id === shardId && each.generation === generation);
    return shard !== undefined && peersIn(shard, 'Active').every((peer) => peer === access.membership.self.peerId);
  }
}
