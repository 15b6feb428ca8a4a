// This node's shards of a collection at one instant, for a snapshot.
import type { Collection } from '../collection/collection.ts';
import type { CollectionShape } from '../collection/compatibility.ts';
import type { FrozenCollection } from '../collection/snapshot-source.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { freezeShards } from '../shard/freeze.ts';
import type { Shard } from '../shard/shard.ts';

/** A borrow: release it. */
export async function freezeLocal(collection: Collection, { shards, aliases, shape }: { readonly shards: readonly Shard[]; readonly aliases: readonly string[]; readonly shape: CollectionShape }): Promise<FrozenCollection> {
  const frozen = await freezeShards(shards);
  return {
    name: collection.name, uuid: collection.uuid, ...shape, payloadSchema: schemaOf(collection), aliases, shards: frozen,
    release: () => {
      for (const shard of frozen) shard.release();
    },
  };
}

export function schemaOf(collection: Collection): ReadonlyMap<string, FieldSchema> {
  return new Map([...collection.info([]).payloadSchema].map(([field, { schema }]) => [field, schema]));
}
