// Shards that have left the set a collection's requests reach: closed when the last request that may use them has ended, then their
// folders go. Nothing waits for that but whoever wants the same folder, or the end: a request may itself be waiting for another node.
//
// Invariant: sets of one collection are retired in the order in which they were replaced, so a shard that two of them share is never
// closed under a user of the older one.
import type { Logger } from '../base/logger.ts';
import type { ShardFiles, ShardPlace } from '../collection/shard-files.ts';
import type { ShardSet } from '../collection/shard-set.ts';
import { shardKey } from './remote-replica.ts';

export interface Leaving {
  readonly collectionUuid: string;
  readonly set: ShardSet;
  /** What requests reach now. */
  readonly kept: ShardSet;
  /** Folders that nobody needs any more. */
  readonly places: readonly ShardPlace[];
}

export class LeavingShards {
  readonly #files: ShardFiles;
  readonly #logger: Logger;
  /** By collection. */
  readonly #retired = new Map<string, Promise<void>>();
  /** By shard. */
  readonly #gone = new Map<string, Promise<void>>();

  constructor(files: ShardFiles, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
  }

  /** Resolves when they are gone. Never throws: folders that stay are swept when the collection is opened next. */
  async retire({ collectionUuid, set, kept, places }: Leaving): Promise<void> {
    const before = this.#retired.get(collectionUuid) ?? Promise.resolve();
    const gone = before.then(async () => {
      await set.retire(kept);
      await this.#files.removeShards(collectionUuid, places);
    }).catch((error: unknown) => this.#logger.error({ collection: collectionUuid, error: String(error) }, 'shards that left this node could not be removed; they are swept at the next start'));
    const keys = places.map(({ id, generation }) => shardKey({ collectionUuid, shardId: id, generation }));
    this.#retired.set(collectionUuid, gone);
    for (const key of keys) this.#gone.set(key, gone);
    await gone;
    if (this.#retired.get(collectionUuid) === gone) this.#retired.delete(collectionUuid);
    for (const key of keys) if (this.#gone.get(key) === gone) this.#gone.delete(key);
  }

  /** Resolves when the folder of that shard may be used again. */
  async whenGone(key: string): Promise<void> {
    await this.#gone.get(key);
  }

  /** Resolves when all that has left so far is gone, of that collection or of all. */
  async settled(collectionUuid?: string): Promise<void> {
    for (const [uuid, retired] of this.#retired) if (collectionUuid === undefined || uuid === collectionUuid) await retired;
  }
}
