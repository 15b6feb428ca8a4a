// The configuration of a collection in the shape the API shows: one form for the metastore, for snapshot.json and for answers.
// Tuning sections are validated when they come in and kept as given; only what the engine acts on has a typed view here.
import { DATATYPES, type Datatype, type Distance, type VectorSpec } from '../vector/distance.ts';

/** JSON kept as the client sent it, after validation. */
export type KeptJson = Readonly<Record<string, unknown>>;

export interface VectorParams {
  readonly size: number;
  readonly distance: Distance;
  readonly datatype?: Datatype;
  readonly on_disk?: boolean;
  readonly hnsw_config?: KeptJson;
  readonly quantization_config?: KeptJson;
  readonly memory?: string;
}

/** Unnamed: one params object. Named: a map. The unnamed vector's name inside the engine is ''. */
export type VectorsConfig = VectorParams | { readonly [name: string]: VectorParams };

export type ShardingMethod = 'auto' | 'custom';

export interface CollectionParams {
  readonly vectors: VectorsConfig;
  /** Under custom sharding of each key, where its creation says nothing. */
  readonly shard_number: number;
  readonly sharding_method?: ShardingMethod;
  readonly replication_factor: number;
  readonly write_consistency_factor: number;
  readonly read_fan_out_factor?: number;
  readonly read_fan_out_delay_ms?: number;
  readonly on_disk_payload: boolean;
  readonly payload?: KeptJson;
}

export interface CollectionConfig {
  readonly params: CollectionParams;
  readonly hnsw_config: KeptJson;
  readonly optimizer_config: KeptJson;
  readonly wal_config: KeptJson;
  readonly quantization_config: KeptJson | null;
  readonly strict_mode_config?: KeptJson;
  readonly metadata?: KeptJson;
}

/** Whether shards belong to keys that requests name. */
export function isCustomSharded({ params }: CollectionConfig): boolean {
  return params.sharding_method === 'custom';
}

export function isUnnamed(vectors: VectorsConfig): vectors is VectorParams {
  return typeof (vectors as VectorParams).size === 'number';
}

/** Name → spec of every dense vector; the unnamed one is ''. */
export function vectorSpecs(vectors: VectorsConfig): ReadonlyMap<string, VectorSpec> {
  const entries: [string, VectorParams][] = isUnnamed(vectors) ? [['', vectors]] : Object.entries(vectors);
  return new Map(entries.map(([name, params]) => [name, { size: params.size, distance: params.distance, datatype: params.datatype ?? DATATYPES[0] ?? 'float32' }]));
}

/** What `PUT /collections/{c}` asks for, validated; defaults are filled in by the collection layer. */
export interface CreateCollection {
  readonly vectors: VectorsConfig;
  readonly shardNumber?: number;
  readonly shardingMethod?: ShardingMethod;
  readonly replicationFactor?: number;
  readonly writeConsistencyFactor?: number;
  readonly onDiskPayload?: boolean;
  readonly payload?: KeptJson;
  readonly hnswConfig?: KeptJson;
  readonly optimizersConfig?: KeptJson;
  readonly walConfig?: KeptJson;
  readonly quantizationConfig?: KeptJson;
  readonly strictModeConfig?: KeptJson;
  readonly metadata?: KeptJson;
}

/** What `PATCH /collections/{c}` asks for, validated. Present members are merged into the config; `quantization: 'Disabled'` clears it. */
export interface UpdateCollection {
  readonly vectors?: { readonly [name: string]: { readonly hnsw_config?: KeptJson; readonly quantization_config?: KeptJson | 'Disabled'; readonly on_disk?: boolean; readonly memory?: string } };
  readonly optimizersConfig?: KeptJson;
  readonly params?: KeptJson;
  readonly hnswConfig?: KeptJson;
  readonly quantizationConfig?: KeptJson | 'Disabled';
  readonly strictModeConfig?: KeptJson;
  readonly metadata?: KeptJson;
}

export type AliasAction =
  | { readonly kind: 'create'; readonly alias: string; readonly collection: string }
  | { readonly kind: 'delete'; readonly alias: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string };
