// Shards of an archive with custom sharding → shards of the collection that they go into: by key, and within a key by order. Pure.
import { RequestError } from '../base/errors.ts';
import type { ShardKey } from '../command/shard-key.ts';
import { must } from '../base/assert.ts';

/** A shard of a collection with custom sharding. */
export interface KeyedShard {
  readonly id: number;
  readonly key: ShardKey;
  /** Replicas of each of the key's shards, where that is not the collection's number. */
  readonly factor?: number;
}

export interface KeyPlaces {
  /** Id in the archive → id in the collection. */
  readonly ids: ReadonlyMap<number, number>;
  /** Shards of keys that the collection lacks, under ids that it never used. */
  readonly missing: readonly KeyedShard[];
}

/** @param nextId the lowest id that the collection never used. @throws RequestError 'bad-input' where a key has another number of shards */
export function placeByKeys(archive: readonly KeyedShard[], live: readonly KeyedShard[], nextId: number): KeyPlaces {
  const ids = new Map<number, number>();
  const missing: KeyedShard[] = [];
  for (const [key, shards] of byKey(archive)) {
    const present = byKey(live).get(key);
    if (present === undefined) {
      for (const shard of shards) {
        ids.set(shard.id, nextId + missing.length);
        missing.push({ ...shard, id: nextId + missing.length });
      }
      continue;
    }
    if (present.length !== shards.length) {
      throw new RequestError('bad-input', `Snapshot is not compatible with existing collection: Collection shard number of key ${key}: ${present.length} Snapshot shard number: ${shards.length}`);
    }
    for (const [at, { id }] of shards.entries()) ids.set(id, must(present[at], 'as many as in the archive').id);
  }
  return { ids, missing };
}

/** All shards of a collection, where each has a key; undefined under automatic sharding. */
export function keyedShards(isCustom: boolean, shards: readonly { readonly id: number; readonly key?: ShardKey; readonly factor?: number }[]): readonly KeyedShard[] | undefined {
  if (!isCustom) return undefined;
  return shards.map(({ id, key, factor }) => ({ id, key: must(key, 'every shard has a key under custom sharding'), ...(factor === undefined ? {} : { factor }) }));
}

/** Each key once, with its shards by id. */
export function byKey<T extends { readonly id: number; readonly key?: ShardKey }>(shards: readonly T[]): ReadonlyMap<ShardKey, readonly T[]> {
  const groups = new Map<ShardKey, T[]>();
  for (const shard of [...shards].sort((a, b) => a.id - b.id)) {
    if (shard.key !== undefined) groups.set(shard.key, [...(groups.get(shard.key) ?? []), shard]);
  }
  return groups;
}

/** The lowest id above all of them. */
export function idAbove(shards: readonly { readonly id: number }[]): number {
  return Math.max(-1, ...shards.map(({ id }) => id)) + 1;
}
