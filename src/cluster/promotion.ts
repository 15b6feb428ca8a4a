// Makes a cluster of one out of what a node has kept by itself: each shard goes on where it is, in the generation it is in, with a
// stream that begins behind its last entry; names, aliases and configurations become records of the cluster's metastore.
//
// Invariants:
// - Nothing that one node by itself needs is changed before `commit`, and nothing that the cluster needs after it is missing: a crash
//   before it leaves one node by itself, one after it a member of a cluster, with every acknowledged write either way.
// - Files stay where they are. What the node's own records said of them goes after `commit`, again and again until it is gone.
import { RequestError } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import type { Clock } from '../base/clock.ts';
import { replacedUuids } from '../collection/replaced.ts';
import { Catalog, type CatalogOptions } from '../collection/catalog.ts';
import type { NameDirectory } from '../collection/aliases.ts';
import type { Metastore } from '../collection/metastore.ts';
import { ShardFiles, type CollectionRecord } from '../collection/shard-files.ts';
import type { ClusterCollection, ShardRecord } from './cluster-record.ts';
import { ClusterRecords, directoryKey, recordPrefix } from './cluster-records.ts';
import type { NatsClient } from './nats-client.ts';
import { createStream } from './shard-stream.ts';

const streamsMakingMax = 8;
const streamTimeoutMs = 30_000;

interface OwnCollection {
  readonly name: string;
  readonly uuid: string;
  readonly record: CollectionRecord;
  /** Shard → its last entry. */
  readonly ends: ReadonlyMap<number, number>;
}

export interface PromotionOptions extends CatalogOptions {
  readonly peerId: number;
  readonly clock: Clock;
}

/** The cluster's side, with nothing in it yet. */
export interface EmptyCluster {
  readonly client: NatsClient;
  readonly metastore: Metastore;
}

/** @param commit makes the directory a cluster's, at once and durably @throws RequestError where a shard cannot be vouched for; then nothing has changed */
export async function promote(options: PromotionOptions, cluster: EmptyCluster, commit: () => Promise<void>): Promise<void> {
  const { directory, collections } = await readOwn(options);
  const records = new ClusterRecords(cluster.metastore);
  for (const { uuid, record, ends } of collections) {
    const shards = record.shards.map(({ id, generation }): ShardRecord => ({ id, generation, base: null, replicas: { [String(options.peerId)]: 'Active' } }));
    await mapLimit(shards, streamsMakingMax, ({ id, generation }) => createStream(cluster.client, { collectionUuid: uuid, shardId: id, generation }, {
      firstSeq: (ends.get(id) ?? 0) + 1, replicas: 1, deadlineMs: options.clock.monotonic() + streamTimeoutMs,
    }));
    const { config, restores } = record;
    await records.create(uuid, { config, shards, ...(restores === undefined ? {} : { restores }) } satisfies ClusterCollection);
  }
  await records.open();
  await records.changeDirectory(() => ({ names: directory.names, aliases: directory.aliases }));
  await commit();
  if (collections.length > 0) options.logger.info({ collections: collections.length }, 'the collections of this directory are those of the cluster now');
}

/** Every shard opened, so that its log is sound and whole, and closed again. */
async function readOwn(options: PromotionOptions): Promise<{ readonly directory: NameDirectory; readonly collections: readonly OwnCollection[] }> {
  const catalog = await Catalog.open(options);
  const collections: OwnCollection[] = [];
  try {
    for (const name of catalog.names()) {
      const { uuid, set } = catalog.get(name);
      const record = (await options.metastore.get(recordPrefix + uuid))?.value as CollectionRecord;
      const broken = set.slots.find(({ shard }) => shard === undefined);
      if (broken !== undefined) throw new RequestError('bad-request', `shard ${broken.id} of collection \`${name}\` does not open; start this node by itself and restore or delete the collection before it becomes a cluster's`);
      collections.push({ name, uuid, record, ends: new Map(set.slots.map(({ id, shard }) => [id, shard?.position().seq ?? 0])) });
    }
  } finally {
    await catalog.close();
  }
  const directory = (await options.metastore.get(directoryKey))?.value as NameDirectory;
  return { directory, collections };
}

/** What one node by itself said of its collections, and states kept for an undo, which a cluster does not have. Idempotent; only for a member. */
export async function forgetOwnRecords(options: Pick<PromotionOptions, 'metastore' | 'logger'> & ConstructorParameters<typeof ShardFiles>[0]): Promise<void> {
  const { metastore, logger } = options;
  const files = new ShardFiles(options);
  const directory = await metastore.get(directoryKey);
  let undone = directory === undefined ? [] : [...replacedUuids(directory.value as NameDirectory)];
  for (const key of await metastore.keys(recordPrefix)) {
    const found = await metastore.get(key);
    if (found === undefined) continue;
    const uuid = key.slice(recordPrefix.length);
    const { replaced = [] } = found.value as CollectionRecord;
    if (replaced.length > 0) undone = [...undone, uuid];
    await files.removeShards(uuid, replaced);
    await metastore.delete(key, found.revision);
  }
  if (undone.length > 0) logger.warn({ collections: undone.length }, 'what restores had replaced cannot be brought back in a cluster, and is removed');
  if (directory !== undefined) await metastore.delete(directoryKey, directory.revision);
}
