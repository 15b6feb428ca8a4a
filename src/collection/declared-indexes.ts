// The payload indexes of a collection as its record says, under custom sharding: a shard of a new key begins with them, and a
// collection without shards has nowhere else to keep them. Under automatic sharding the shards alone know.
import type { WriteOperation } from '../command/write.ts';
import type { FieldSchema } from '../payload/field-schema.ts';

/** In order of creation. */
export type DeclaredIndexes = readonly { readonly field: string; readonly schema: FieldSchema }[];

export type IndexChange = WriteOperation & { readonly kind: 'create-index' | 'drop-index' };

export function withIndexChange(indexes: DeclaredIndexes, change: IndexChange): DeclaredIndexes {
  const others = indexes.filter(({ field }) => field !== change.field);
  return change.kind === 'drop-index' ? others : [...others, { field: change.field, schema: change.schema }];
}

export function declaredIndexes(schema: ReadonlyMap<string, FieldSchema>): DeclaredIndexes {
  return [...schema].map(([field, one]) => ({ field, schema: one }));
}

export function declaredSchema(indexes: DeclaredIndexes): ReadonlyMap<string, FieldSchema> {
  return new Map(indexes.map(({ field, schema }) => [field, schema]));
}
