// Replicas that were opened from files of this node and are not read yet: a power cut, or a time away, took from them what they or others
// had acknowledged.
//
// Invariant: an Active replica is read when it has everything that its stream had at a moment after it was opened. The one exception is
// a log that does not go on (`lost`) where nobody else is Active: what is here is all there is, until log-care.ts has replaced the stream.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Shard } from '../shard/shard.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn } from './cluster-record.ts';
import type { ShardName } from './remote-replica.ts';
import { streamFacts } from './shard-stream.ts';

const pollMs = 5;
/** Where the stream has no leader just now. */
const askAgainMs = 100;

export class CatchingUp {
  readonly #access: () => CatalogAccess;
  readonly #behind = new Set<Shard>();
  readonly #ended = new AbortController();

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** Of a shard that has just been opened and follows its stream. */
  begin(name: ShardName, shard: Shard): void {
    this.#behind.add(shard);
    void this.#watch(name, shard).finally(() => this.#behind.delete(shard));
  }

  has(shard: Shard): boolean {
    return this.#behind.has(shard);
  }

  /** Nothing is waited for: what still asks a stream changes nothing any more. */
  close(): void {
    this.#ended.abort();
  }

  async #watch(name: ShardName, shard: Shard): Promise<void> {
    const { client, logger } = this.#access();
    const opened = shard.applied;
    let lastSeq: number | undefined;
    while (!this.#ended.signal.aborted && !shard.isClosing && !this.#isAllThereIs(name)) {
      lastSeq ??= await streamFacts(client, name).then((facts) => facts.lastSeq, () => undefined);
      if (lastSeq !== undefined && shard.applied >= lastSeq) {
        if (lastSeq > opened) logger.info({ collection: name.collectionUuid, shard: name.shardId, opened, applied: shard.applied }, 'a replica has what it lacked at its start, and is read');
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
