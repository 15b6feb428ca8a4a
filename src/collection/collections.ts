// What the engine asks of the collections there are: on one node catalog.ts answers, in a cluster cluster/cluster-catalog.ts.
import type { AliasAction, CreateCollection, UpdateCollection } from '../command/collection-config.ts';
import type { WriteOptions, WriteResult } from '../command/write.ts';
import type { Collection } from './collection.ts';
import type { CollectionInfo } from './collection-info.ts';
import type { SnapshotSource } from './snapshot-source.ts';
import type { SchemaChange } from './split-operation.ts';

export interface Collections extends SnapshotSource {
  names(): readonly string[];
  /** By name or alias. @throws RequestError 'not-found' */
  get(name: string): Collection;
  info(name: string): CollectionInfo;
  aliases(): readonly { readonly alias: string; readonly collection: string }[];
  create(name: string, create: CreateCollection): Promise<void>;
  /** false where there is none of that name; an alias is not a name here. */
  delete(name: string): Promise<boolean>;
  update(name: string, update: UpdateCollection): Promise<void>;
  /** All actions or none. */
  changeAliases(actions: readonly AliasAction[]): Promise<void>;
  /** Adds or drops a named vector or a payload index. */
  changeSchema(name: string, operation: SchemaChange, options: WriteOptions): Promise<WriteResult>;
  /** Idempotent; requests in flight are waited for. */
  close(): Promise<void>;
}
