// What a collection's configuration is where the client said nothing, and how a PATCH changes it. The defaults are the ones that
// clients of the API know; they are written out in full, so that a configuration shows what holds.
import { RequestError } from '../base/errors.ts';
import {
  isUnnamed,
  type CollectionConfig,
  type CollectionParams,
  type CreateCollection,
  type KeptJson,
  type UpdateCollection,
  type VectorParams,
  type VectorsConfig,
} from './collection-config.ts';

const hnswDefaults: KeptJson = { m: 16, ef_construct: 100, full_scan_threshold: 10_000, max_indexing_threads: 0, on_disk: false };
const optimizerDefaults: KeptJson = {
  deleted_threshold: 0.2,
  vacuum_min_vector_number: 1000,
  default_segment_number: 0,
  max_segment_size: null,
  memmap_threshold: null,
  indexing_threshold: 10_000,
  flush_interval_sec: 5,
  max_optimization_threads: null,
};
const walDefaults: KeptJson = { wal_capacity_mb: 32, wal_segments_ahead: 0, wal_retain_closed: 1 };

export function fillConfig(create: CreateCollection): CollectionConfig {
  return {
    params: {
      vectors: create.vectors,
      shard_number: create.shardNumber ?? 1,
      ...(create.shardingMethod === undefined ? {} : { sharding_method: create.shardingMethod }),
      replication_factor: create.replicationFactor ?? 1,
      write_consistency_factor: create.writeConsistencyFactor ?? 1,
      on_disk_payload: create.onDiskPayload ?? true,
      ...(create.payload === undefined ? {} : { payload: create.payload }),
    },
    hnsw_config: { ...hnswDefaults, ...create.hnswConfig },
    optimizer_config: { ...optimizerDefaults, ...create.optimizersConfig },
    wal_config: { ...walDefaults, ...create.walConfig },
    quantization_config: create.quantizationConfig ?? null,
    ...(create.strictModeConfig === undefined ? {} : { strict_mode_config: create.strictModeConfig }),
    ...(create.metadata === undefined ? {} : { metadata: create.metadata }),
  };
}

/** Members that the update names replace theirs, section by section. @throws RequestError 'bad-input' for an unknown vector. */
export function mergeConfig(config: CollectionConfig, update: UpdateCollection): CollectionConfig {
  const { strict_mode_config, metadata, ...rest } = config;
  const strictMode =
    update.strictModeConfig === undefined ? strict_mode_config : { ...strict_mode_config, ...update.strictModeConfig };
  const mergedMetadata = update.metadata === undefined ? metadata : mergeMetadata(metadata, update.metadata);
  return {
    ...rest,
    params: {
      ...config.params,
      ...(update.params as Partial<CollectionParams> | undefined),
      vectors: update.vectors === undefined ? config.params.vectors : mergeVectors(config.params.vectors, update.vectors),
    },
    hnsw_config: { ...config.hnsw_config, ...update.hnswConfig },
    optimizer_config: { ...config.optimizer_config, ...update.optimizersConfig },
    quantization_config:
      update.quantizationConfig === 'Disabled' ? null : (update.quantizationConfig ?? config.quantization_config),
    ...(strictMode === undefined ? {} : { strict_mode_config: strictMode }),
    ...(mergedMetadata === undefined ? {} : { metadata: mergedMetadata }),
  };
}

/** An empty update clears all; a null member removes its key. */
function mergeMetadata(current: KeptJson | undefined, update: KeptJson): KeptJson | undefined {
  if (Object.keys(update).length === 0) return undefined;
  return Object.fromEntries(Object.entries({ ...current, ...update }).filter(([, value]) => value !== null));
}

function mergeVectors(vectors: VectorsConfig, update: NonNullable<UpdateCollection['vectors']>): VectorsConfig {
  const named = isUnnamed(vectors) ? { '': vectors } : vectors;
  const merged = new Map(Object.entries(named));
  for (const [name, change] of Object.entries(update)) {
    const current = merged.get(name);
    if (current === undefined) throw new RequestError('bad-input', `Not existing vector name error: ${name}`);
    merged.set(name, mergeVector(current, change));
  }
  const unnamed = isUnnamed(vectors) ? merged.get('') : undefined;
  return unnamed ?? Object.fromEntries(merged);
}

function mergeVector(
  current: VectorParams,
  { hnsw_config, quantization_config, ...rest }: NonNullable<UpdateCollection['vectors']>[string],
): VectorParams {
  const { quantization_config: currentQuantization, ...others } = current;
  const quantization = quantization_config === 'Disabled' ? undefined : (quantization_config ?? currentQuantization);
  return {
    ...others,
    ...rest,
    ...(hnsw_config === undefined ? {} : { hnsw_config: { ...current.hnsw_config, ...hnsw_config } }),
    ...(quantization === undefined ? {} : { quantization_config: quantization }),
  };
}
