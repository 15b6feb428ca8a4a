// Bodies of PUT and PATCH /collections/{c} as commands. Tuning sections are checked in full, kept and shown again; what this
// version cannot do is refused by name, so that nothing a client asks for is dropped in silence.
import { RequestError } from '../../base/errors.ts';
import type {
  CreateCollection,
  KeptJson,
  ShardingMethod,
  UpdateCollection,
  VectorParams,
  VectorsConfig,
} from '../../command/collection-config.ts';
import { vectorNameProblem } from '../../command/names.ts';
import type { Datatype, Distance } from '../../vector/distance.ts';
import {
  asObject,
  below,
  bodyPlace,
  boolean,
  choice,
  formatError,
  integerFrom,
  member,
  readObject,
  readValue,
  refuseProblems,
  wrongType,
  type JsonObject,
  type Place,
  type Rule,
  type Rules,
} from './json-rules.ts';
import { decodeQuantization, decodeQuantizationUpdate } from './decode-quantization.ts';

/** More shards than this on one node only cost files. */
const shardNumberMax = 1000;
const vectorSizeMax = 65_536;
const memory = choice('cold', 'cached', 'pinned');
const u32Max = 2 ** 32 - 1;

const hnswRules: Rules = {
  m: integerFrom(0),
  ef_construct: integerFrom(4),
  full_scan_threshold: integerFrom(10),
  max_indexing_threads: integerFrom(0),
  on_disk: boolean,
  payload_m: integerFrom(0),
  inline_storage: boolean,
  memory,
};
const optimizerRules: Rules = {
  deleted_threshold: { kind: 'number', from: 0, to: 1 },
  vacuum_min_vector_number: integerFrom(100),
  default_segment_number: integerFrom(0),
  max_segment_size: integerFrom(1),
  memmap_threshold: integerFrom(0),
  indexing_threshold: integerFrom(0),
  flush_interval_sec: integerFrom(0),
  prevent_unoptimized: boolean,
};
const walRules: Rules = {
  wal_capacity_mb: integerFrom(1),
  wal_segments_ahead: integerFrom(0),
  wal_retain_closed: integerFrom(1),
};
const payloadRules: Rules = { memory };
const paramsRules: Rules = {
  replication_factor: integerFrom(1, u32Max),
  write_consistency_factor: integerFrom(1, u32Max),
  read_fan_out_factor: integerFrom(0, u32Max),
  read_fan_out_delay_ms: integerFrom(0),
  on_disk_payload: boolean,
  payload: { kind: 'object', rules: payloadRules },
};
const strictModeRules: Rules = {
  enabled: boolean,
  max_query_limit: integerFrom(1),
  max_timeout: integerFrom(1),
  unindexed_filtering_retrieve: boolean,
  unindexed_filtering_update: boolean,
  search_max_hnsw_ef: integerFrom(0),
  search_allow_exact: boolean,
  search_max_oversampling: { kind: 'number' },
  upsert_max_batchsize: integerFrom(0),
  search_max_batchsize: integerFrom(0),
  max_collection_vector_size_bytes: integerFrom(0),
  max_collection_payload_size_bytes: integerFrom(0),
  read_rate_limit: integerFrom(1),
  write_rate_limit: integerFrom(1),
  max_points_count: integerFrom(1),
  filter_max_conditions: integerFrom(0),
  condition_max_size: integerFrom(0),
  max_payload_index_count: integerFrom(0),
  max_resident_memory_percent: integerFrom(1, 100),
};

/** @throws RequestError 'bad-format' for types, 'validation' for ranges, 'bad-input' for what this version does not have. */
export function decodeCreateCollection(json: unknown): CreateCollection {
  const place = bodyPlace();
  const body = asObject(json, place);
  refuseForeignParts(body, place);
  const shardNumber = integer(body, 'shard_number', integerFrom(1, u32Max), place);
  const vectors = decodeVectors(member(body, 'vectors') ?? {}, below(place, 'vectors'));
  const create: CreateCollection = {
    vectors,
    ...optional('shardNumber', shardNumber),
    ...optional(
      'shardingMethod',
      present(body, 'sharding_method', (value) => readValue(value, choice('auto', 'custom'), below(place, 'sharding_method')) as ShardingMethod),
    ),
    ...optional('replicationFactor', integer(body, 'replication_factor', integerFrom(1, u32Max), place)),
    ...optional('writeConsistencyFactor', integer(body, 'write_consistency_factor', integerFrom(1, u32Max), place)),
    ...optional('onDiskPayload', flag(body, 'on_disk_payload', place)),
    ...optional('payload', section(body, 'payload', payloadRules, place)),
    ...optional('walConfig', section(body, 'wal_config', walRules, place)),
    ...optional(
      'quantizationConfig',
      present(body, 'quantization_config', (value) => decodeQuantization(value, below(place, 'quantization_config'))),
    ),
    ...tuning(body, place),
  };
  refuseProblems(place);
  if (shardNumber !== undefined && shardNumber > shardNumberMax)
    throw unsupported(`shard_number ${shardNumber} (at most ${shardNumberMax})`);
  return create;
}

/** @throws as decodeCreateCollection */
export function decodeUpdateCollection(json: unknown): UpdateCollection {
  const place = bodyPlace();
  const body = asObject(json, place);
  refuseForeignParts(body, place);
  const update: UpdateCollection = {
    ...optional(
      'vectors',
      present(body, 'vectors', (value) => decodeVectorsUpdate(value, below(place, 'vectors'))),
    ),
    ...optional('params', section(body, 'params', paramsRules, place)),
    ...optional(
      'quantizationConfig',
      present(body, 'quantization_config', (value) => decodeQuantizationUpdate(value, below(place, 'quantization_config'))),
    ),
    ...tuning(body, place),
  };
  refuseProblems(place);
  return update;
}

/** The parameters of one dense vector, as PUT …/vectors/{name} takes them too. Range mistakes go to `place.problems`. */
function decodeVectorParams(json: unknown, place: Place): VectorParams {
  const given = asObject(json, place);
  if (member(given, 'multivector_config') !== undefined) throw unsupported(`${place.path}.multivector_config`);
  const datatype = member(given, 'datatype');
  if (datatype === 'turbo4') throw unsupported(`${place.path}.datatype turbo4`);
  const common = vectorTuning(given, place);
  return {
    size: required(given, 'size', integerFrom(1, vectorSizeMax), place) as number,
    distance: required(given, 'distance', choice('Cosine', 'Euclid', 'Dot', 'Manhattan'), place) as Distance,
    ...optional(
      'datatype',
      datatype === undefined
        ? undefined
        : (readValue(datatype, choice('float32', 'uint8', 'float16'), below(place, 'datatype')) as Datatype),
    ),
    ...common,
    ...optional(
      'quantization_config',
      present(given, 'quantization_config', (value) => decodeQuantization(value, below(place, 'quantization_config'))),
    ),
  };
}

/** One params object, or a map of them; an object with `size` or `distance` that is no map is the former. */
function decodeVectors(json: unknown, place: Place): VectorsConfig {
  const given = asObject(json, place);
  const entries = Object.entries(given);
  if (
    entries.some(
      ([name, value]) => (name === 'size' && typeof value !== 'object') || (name === 'distance' && typeof value === 'string'),
    )
  )
    return decodeVectorParams(given, place);
  const named: [string, VectorParams][] = entries.map(([name, value]) => {
    const problem = vectorNameProblem(name);
    if (problem !== undefined) place.problems.push(`${place.path}.?: ${problem}`);
    return [name, decodeVectorParams(value, below(place, '?'))];
  });
  return Object.fromEntries(named);
}

function decodeVectorsUpdate(json: unknown, place: Place): NonNullable<UpdateCollection['vectors']> {
  return Object.fromEntries(
    Object.entries(asObject(json, place)).map(([name, value]) => {
      const here = below(place, '?');
      const given = asObject(value, here);
      const quantization = present(given, 'quantization_config', (inner) =>
        decodeQuantizationUpdate(inner, below(here, 'quantization_config')),
      );
      return [name, { ...vectorTuning(given, here), ...optional('quantization_config', quantization) }];
    }),
  );
}

function vectorTuning(
  given: JsonObject,
  place: Place,
): { readonly on_disk?: boolean; readonly hnsw_config?: KeptJson; readonly memory?: string } {
  return {
    ...optional('hnsw_config', section(given, 'hnsw_config', hnswRules, place)),
    ...optional('on_disk', flag(given, 'on_disk', place)),
    ...optional(
      'memory',
      present(given, 'memory', (value) => readValue(value, memory, below(place, 'memory')) as string),
    ),
  };
}

/** The sections that creates and updates share. */
function tuning(
  body: JsonObject,
  place: Place,
): Pick<CreateCollection, 'hnswConfig' | 'optimizersConfig' | 'strictModeConfig' | 'metadata'> {
  return {
    ...optional('hnswConfig', section(body, 'hnsw_config', hnswRules, place)),
    ...optional(
      'optimizersConfig',
      present(body, 'optimizers_config', (value) => decodeOptimizers(value, below(place, 'optimizers_config'))),
    ),
    ...optional(
      'strictModeConfig',
      present(body, 'strict_mode_config', (value) => decodeStrictMode(value, below(place, 'strict_mode_config'))),
    ),
    ...optional(
      'metadata',
      present(body, 'metadata', (value) => decodeMetadata(value, below(place, 'metadata'))),
    ),
  };
}

/** `max_optimization_threads` is a number or "auto"; the latter is kept as null, its stored form. */
function decodeOptimizers(json: unknown, place: Place): KeptJson {
  const threads = member(asObject(json, place), 'max_optimization_threads');
  const rest = readObject(json, optimizerRules, place);
  if (threads === undefined) return rest;
  const isAuto = threads === 'auto';
  return {
    ...rest,
    max_optimization_threads: isAuto ? null : readValue(threads, integerFrom(0), below(place, 'max_optimization_threads')),
  };
}

function decodeStrictMode(json: unknown, place: Place): KeptJson {
  const given = asObject(json, place);
  for (const name of ['multivector_config', 'sparse_config']) {
    if (member(given, name) !== undefined) throw unsupported(`${place.path}.${name}`);
  }
  const kept = readObject(given, strictModeRules, place);
  // Limits that are set and not kept would be worse than none.
  if (kept['enabled'] === true)
    throw new RequestError(
      'bad-input',
      'strict_mode_config.enabled is not supported by this version: its limits would not be enforced',
    );
  return kept;
}

/** Free JSON, kept exactly or not at all. */
function decodeMetadata(json: unknown, place: Place): KeptJson {
  const metadata = asObject(json, place);
  const check = (value: unknown): void => {
    if (typeof value === 'bigint')
      throw formatError(place, `integer ${value} lies beyond 2^53-1 and would lose digits; send it as text`);
    if (typeof value === 'object' && value !== null) Object.values(value).forEach(check);
  };
  check(metadata);
  return metadata;
}

/** Parts of a collection that this version does not have. */
function refuseForeignParts(body: JsonObject, place: Place): void {
  const sparse = member(body, 'sparse_vectors');
  if (sparse !== undefined && Object.keys(asObject(sparse, below(place, 'sparse_vectors'))).length > 0)
    throw unsupported('sparse_vectors');
  if (member(body, 'init_from') !== undefined) throw unsupported('init_from');
}

function unsupported(what: string): RequestError {
  return new RequestError('bad-input', `${what} is not supported by this version`);
}

function required(given: JsonObject, name: string, rule: Rule, place: Place): unknown {
  const value = given[name];
  if (value === undefined) throw formatError(place, `missing field \`${name}\``);
  if (value === null) throw wrongType(value, name, below(place, name));
  return readValue(value, rule, below(place, name));
}

function present<T>(given: JsonObject, name: string, read: (value: unknown) => T): T | undefined {
  const value = member(given, name);
  return value === undefined ? undefined : read(value);
}

function section(given: JsonObject, name: string, rules: Rules, place: Place): KeptJson | undefined {
  return present(given, name, (value) => readObject(value, rules, below(place, name)));
}

function integer(given: JsonObject, name: string, rule: Rule, place: Place): number | undefined {
  return present(given, name, (value) => readValue(value, rule, below(place, name)) as number);
}

function flag(given: JsonObject, name: string, place: Place): boolean | undefined {
  return present(given, name, (value) => readValue(value, boolean, below(place, name)) as boolean);
}

function optional<K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [P in K]?: V });
}
