// What snapshot/ sees of a node's collections: a frozen instant to read from, and a target that takes verified files.
import type { CollectionConfig } from '../command/collection-config.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { ShardStaging } from '../shard/adopt.ts';
import type { FrozenShard } from '../shard/freeze.ts';
import type { ArchiveShape, CollectionShape } from './compatibility.ts';
import type { AliasPolicy } from './replaced.ts';

/** Local shards of a collection at one instant. A borrow: release it. */
export interface FrozenCollection extends CollectionShape {
  readonly name: string;
  readonly uuid: string;
  readonly payloadSchema: ReadonlyMap<string, FieldSchema>;
  readonly aliases: readonly string[];
  readonly shards: readonly FrozenShard[];
  release(): void;
}

export type { ShardStaging as StagedShard } from '../shard/adopt.ts';

/** What of an archive beside its points goes into a collection that exists. */
export interface RestoreRules {
  /** `content`: it keeps its configuration, and the archive must fit it. `whole`: the archive's takes its place. */
  readonly config: 'content' | 'whole';
  /** Payload indexes: those of the collection, or the archive's. */
  readonly schema: 'live' | 'snapshot';
  readonly aliases: AliasPolicy;
  /** Another number of shards is no obstacle: points are spread anew. */
  readonly reshard: boolean;
}

export interface AdoptCollection extends ArchiveShape {
  /** As addressed by the client; an alias means its collection. */
  readonly name: string;
  readonly aliases: readonly string[];
  readonly originUuid: string;
  readonly shards: readonly ShardStaging[];
}

/** Whose content a shard gets that other nodes of a cluster hold as well: the archive's, theirs, or the archive's here alone. */
export type SnapshotPriority = 'snapshot' | 'replica' | 'no_sync';

export interface AdoptMoment {
  /** Default `snapshot`. On one node nobody else holds anything, and all do the same. */
  readonly priority?: SnapshotPriority;
  /** Names the restore in what it commits, so that a start after a crash can tell whether it did. */
  readonly restoreId: string;
  /** Called right before the compare-and-set; what it throws stops the restore. */
  readonly onCommit: () => void;
  readonly onPoints?: (pointsDone: number) => void;
  /** Of building, which ends before the commit. */
  readonly signal?: AbortSignal;
}

export interface AdoptRequest extends AdoptMoment, RestoreRules {
  readonly collections: readonly AdoptCollection[];
}

/** With the shape of the archive, which must fit. */
export interface AdoptShardRequest extends AdoptMoment, CollectionShape {
  readonly name: string;
  readonly originUuid: string;
  readonly shard: ShardStaging;
}

/** Implemented by collection/catalog.ts. */
export interface SnapshotSource {
  /** In a cluster a file brings the shards of one node; others bring the rest. */
  readonly takesSomeShards?: boolean;
  /** The real name behind a collection name or alias. */
  resolve(name: string): string | undefined;
  config(name: string): CollectionConfig | undefined;
  /** Points that a restore over the collection would replace; 0 where it is absent. */
  points(name: string): number;
  /** Payload indexes of the collection; undefined where it is absent. */
  schema(name: string): ReadonlyMap<string, FieldSchema> | undefined;
  /** One shard, or all of them. @throws RequestError 'not-found' */
  freeze(name: string, shardId?: number): Promise<FrozenCollection>;
  /** All collections at one instant. Release each. */
  freezeAll(): Promise<readonly FrozenCollection[]>;
  /** Puts all of a shard's points into files, so that a freeze has no log to speak of. @throws RequestError 'not-found' */
  checkpoint(name: string, shardId: number): Promise<void>;
  /** @throws RequestError 'not-found' for the collection or the shard */
  checkShard(name: string, shardId: number): void;
  /** Throws the 400 of an archive that does not fit the collection of that name; nothing where it is absent. */
  checkCompatible(name: string, archive: ArchiveShape, rules?: Partial<RestoreRules>): void;
  /** Creates the collections or replaces them, all by one compare-and-set; on any failure everything is as before.
   *  Takes the staged files (the folders are empty or gone afterwards). Answers the number of points now served. */
  adopt(request: AdoptRequest): Promise<number>;
  /** The same for one shard of a collection that exists. */
  adoptShard(request: AdoptShardRequest): Promise<number>;
  /** Brings back what the last restore of the collection replaced. @throws RequestError 'not-found' where nothing is kept */
  undo(name: string): Promise<void>;
  /** Whether a restore of that id was committed. */
  hasCommitted(restoreId: string): Promise<boolean>;
  /** Removes the oldest of the states that are kept for an undo, to make room; false where there is none. */
  dropOldestReplaced(): Promise<boolean>;
}
