// What snapshot/ sees of a node's collections: a frozen instant to read from, and a target that takes verified files.
import type { CollectionConfig } from '../command/collection-config.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { FrozenShard } from '../shard/freeze.ts';

/** All local shards of a collection at one instant. A borrow: release it. */
export interface FrozenCollection {
  readonly name: string;
  readonly uuid: string;
  readonly config: CollectionConfig;
  readonly payloadSchema: ReadonlyMap<string, FieldSchema>;
  readonly aliases: readonly string[];
  readonly shards: readonly FrozenShard[];
  release(): void;
}

export interface StagedShard {
  readonly id: number;
  /** Folder with `manifest.json`, `logs/` and `files/`, every byte verified, on the file system of the data directory. */
  readonly directory: string;
  /** The frozen position the logs lead to. */
  readonly position: { readonly generation: number; readonly seq: number; readonly chain: string };
  readonly points: number;
}

export interface AdoptRequest {
  /** As addressed by the client; an alias means its collection. */
  readonly name: string;
  readonly config: CollectionConfig;
  readonly originUuid: string;
  readonly shards: readonly StagedShard[];
  /** Names the restore in what it commits, so that a start after a crash can tell whether it did. */
  readonly restoreId: string;
  /** Called right before the compare-and-set; what it throws stops the restore. */
  readonly onCommit: () => void;
}

/** Implemented by collection/catalog.ts. */
export interface SnapshotSource {
  /** The real name behind a collection name or alias. */
  resolve(name: string): string | undefined;
  config(name: string): CollectionConfig | undefined;
  /** @throws RequestError 'not-found' */
  freeze(name: string): Promise<FrozenCollection>;
  /** Throws the 400 of an archive that does not fit the collection of that name; nothing where it is absent. */
  checkCompatible(name: string, config: CollectionConfig): void;
  /** Creates the collection or replaces its shards, by one compare-and-set; on any failure everything is as before.
   *  Takes the staged files (the folders are empty or gone afterwards). Answers the number of points now served. */
  adopt(request: AdoptRequest): Promise<number>;
  /** Whether a restore of that id was committed. */
  hasCommitted(restoreId: string): Promise<boolean>;
}
