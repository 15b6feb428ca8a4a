// Whether an archive fits a collection that exists: the dense vectors and the number of shards must be equal, as in Qdrant; so must
// the sharding method and, under custom sharding, the number of shards of each key that both have.
import { isDeepStrictEqual } from 'node:util';
import { RequestError } from '../base/errors.ts';
import { vectorSpecs, type CollectionConfig } from '../command/collection-config.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { Shard } from '../shard/shard.ts';
import { byKey, placeByKeys, type KeyedShard } from './key-places.ts';

/** What is compared of a collection, and of an archive of one. */
export interface CollectionShape {
  readonly config: CollectionConfig;
  /** All shards of the collection, under custom sharding. */
  readonly shardKeys?: readonly KeyedShard[];
}

/** @param anyShardNumber the points will be spread anew. @throws RequestError 'bad-input' with both sides. */
export function refuseIncompatible(current: CollectionShape, snapshot: CollectionShape, { anyShardNumber = false } = {}): void {
  const refuse = (what: string): never => {
    throw new RequestError('bad-input', `Snapshot is not compatible with existing collection: ${what}`);
  };
  const [params, wanted] = [current.config.params, snapshot.config.params];
  if (!isDeepStrictEqual(params.vectors, wanted.vectors)) {
    refuse(`Collection vectors: ${JSON.stringify(params.vectors)} Snapshot Vectors: ${JSON.stringify(wanted.vectors)}`);
  }
  const [method, wantedMethod] = [params.sharding_method ?? 'auto', wanted.sharding_method ?? 'auto'];
  if (method !== wantedMethod) refuse(`Collection sharding method: ${method} Snapshot sharding method: ${wantedMethod}`);
  if (!anyShardNumber && params.shard_number !== wanted.shard_number) {
    refuse(`Collection shard number: ${params.shard_number} Snapshot shard number: ${wanted.shard_number}`);
  }
  placeByKeys(snapshot.shardKeys ?? [], current.shardKeys ?? [], 0);
}

/** An archive with the payload indexes that it brings. */
export interface ArchiveShape extends CollectionShape {
  readonly payloadSchema: ReadonlyMap<string, FieldSchema>;
}

/** Whether two collections have the same payload indexes, in whatever order. */
export function haveSameIndexes(one: ReadonlyMap<string, FieldSchema>, other: ReadonlyMap<string, FieldSchema>): boolean {
  return one.size === other.size && [...one].every(([field, schema]) => isDeepStrictEqual(other.get(field), schema));
}

/** One node replaces a collection as a whole, so a key that the archive lacks would go with it. @throws RequestError 'bad-input' */
export function refuseLostKeys(current: CollectionShape, snapshot: CollectionShape): void {
  const brought = new Set(snapshot.shardKeys?.map(({ key }) => key));
  const lost = [...byKey(current.shardKeys ?? []).keys()].filter((key) => !brought.has(key));
  if (lost.length === 0) return;
  throw new RequestError('bad-input', `Snapshot is not compatible with existing collection: it lacks the shard key${lost.length === 1 ? '' : 's'} ${lost.join(', ')} of the collection, which a restore on one node would drop; restore it under another name, or delete the collection first`);
}

/** A shard's archive goes into a shard of the same key. @throws RequestError 'bad-request' */
export function refuseOtherKey(current: CollectionShape, snapshot: CollectionShape, shardId: number): void {
  const keyIn = ({ shardKeys }: CollectionShape): string => shardKeys?.find(({ id }) => id === shardId)?.key ?? 'none';
  const [key, wanted] = [keyIn(current), keyIn(snapshot)];
  if (key !== wanted) throw new RequestError('bad-request', `Invalid snapshot: shard ${shardId} has the key ${wanted} in it, and ${key} here`);
}

/** The vectors that a restored shard holds are those of the configuration it comes under. @throws RequestError 'bad-request' */
export function refuseOtherVectors(shards: readonly Shard[], config: CollectionConfig): void {
  const wanted = vectorSpecs(config.params.vectors);
  for (const shard of shards) {
    const found = shard.vectorSpecs();
    const isEqual = found.size === wanted.size && [...wanted].every(([name, spec]) => isDeepStrictEqual({ ...found.get(name) }, { ...spec }));
    if (!isEqual) throw new RequestError('bad-request', `Invalid snapshot: shard ${shard.shardId} does not hold the vectors that snapshot.json describes`);
  }
}
