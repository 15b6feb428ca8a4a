// Whether an archive fits a collection that exists: the dense vectors and the number of shards must be equal, as in Qdrant.
import { isDeepStrictEqual } from 'node:util';
import { RequestError } from '../base/errors.ts';
import { vectorSpecs, type CollectionConfig } from '../command/collection-config.ts';
import type { Shard } from '../shard/shard.ts';

/** @param anyShardNumber the points will be spread anew. @throws RequestError 'bad-input' with both sides. */
export function refuseIncompatible(current: CollectionConfig, snapshot: CollectionConfig, { anyShardNumber = false } = {}): void {
  const refuse = (what: string): never => {
    throw new RequestError('bad-input', `Snapshot is not compatible with existing collection: ${what}`);
  };
  if (!isDeepStrictEqual(current.params.vectors, snapshot.params.vectors)) {
    refuse(`Collection vectors: ${JSON.stringify(current.params.vectors)} Snapshot Vectors: ${JSON.stringify(snapshot.params.vectors)}`);
  }
  if (!anyShardNumber && current.params.shard_number !== snapshot.params.shard_number) {
    refuse(`Collection shard number: ${current.params.shard_number} Snapshot shard number: ${snapshot.params.shard_number}`);
  }
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
