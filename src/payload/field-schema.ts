// The schema of one payload index, in the form the API shows it.

export type FieldType = 'keyword' | 'integer' | 'float' | 'bool' | 'uuid' | 'datetime';

export const FIELD_TYPES: readonly FieldType[] = ['keyword', 'integer', 'float', 'bool', 'uuid', 'datetime'];

export interface FieldSchema {
  readonly type: FieldType;
  /** The wire's params object (`{type, lookup, range, is_tenant, on_disk, …}`) where the client gave one; returned as given. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** Fields by path text, in order of creation. */
export type PayloadSchema = ReadonlyMap<string, FieldSchema>;
