// Several files of one collection, each with the shards that one node of a cluster held, as one: together they have every shard. Where
// two files bring the same shard the one that is further in its log is taken.
import { isDeepStrictEqual } from 'node:util';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { StagedShard } from '../collection/snapshot-source.ts';
import type { SnapshotCollection } from './manifest.ts';
import { checkComplete } from './verify.ts';

export interface StagedCollection {
  readonly collection: SnapshotCollection;
  /** What it becomes. */
  readonly name: string;
  readonly shards: readonly StagedShard[];
  readonly createdAtMs: number;
}

/** One for each name, in the order of the first. Configuration and payload schema are those of the youngest file.
 *  @throws RequestError for files that do not belong together, or lack a shard */
export function joinParts(parts: readonly StagedCollection[]): readonly StagedCollection[] {
  return [...new Set(parts.map(({ name }) => name))].map((name) => {
    const same = parts.filter((part) => part.name === name);
    return same.length === 1 ? must(same[0], 'a name of one') : joined(name, same);
  });
}

function joined(name: string, parts: readonly StagedCollection[]): StagedCollection {
  const youngest = parts.reduce((best, part) => (part.createdAtMs > best.createdAtMs ? part : best));
  const { params } = youngest.collection.config;
  for (const { collection: { uuid, config } } of parts) {
    const fits = uuid === youngest.collection.uuid && config.params.shard_number === params.shard_number && isDeepStrictEqual(config.params.vectors, params.vectors);
    if (!fits) throw new RequestError('bad-request', `the snapshots for collection ${name} are not of one collection`);
  }
  const furthest = new Map<number, { readonly staged: StagedShard; readonly shard: SnapshotCollection['shards'][number] }>();
  for (const { collection, shards } of parts) {
    for (const [at, staged] of shards.entries()) {
      const known = furthest.get(staged.id)?.staged.position;
      const { generation, seq } = staged.position;
      const isFurther = known === undefined || generation > known.generation || (generation === known.generation && seq > known.seq);
      if (isFurther) furthest.set(staged.id, { staged, shard: must(collection.shards[at], 'staged in the order of the manifest') });
    }
  }
  const all = [...furthest.values()].sort((a, b) => a.staged.id - b.staged.id);
  const collection = { ...youngest.collection, shards: all.map(({ shard }) => shard) };
  checkComplete(collection);
  return { ...youngest, collection, shards: all.map(({ staged }) => staged) };
}
