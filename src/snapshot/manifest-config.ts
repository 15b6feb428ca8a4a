// A collection's configuration out of a manifest: every number that something is allocated by is bounded here.
import type { CollectionConfig, CollectionParams, KeptJson, VectorParams, VectorsConfig } from '../command/collection-config.ts';
import { DATATYPES, DISTANCES } from '../vector/distance.ts';
import type { JsonField } from './json-field.ts';
import { MEMBERS_MAX } from './manifest.ts';

const vectorSizeMax = 65_536;
/** Of a shard. */
export const copiesMax = 1000;

/** @throws RequestError 'bad-request' naming the first member that is out of form or range. */
export function parseConfig(field: JsonField): CollectionConfig {
  const quantization = field.get('quantization_config');
  return {
    params: parseParams(field.get('params')),
    hnsw_config: field.get('hnsw_config').object(),
    optimizer_config: field.get('optimizer_config').object(),
    wal_config: field.get('wal_config').object(),
    quantization_config: quantization.value === null ? null : quantization.object(),
    ...keptMembers(field, ['strict_mode_config', 'metadata']),
  };
}

function parseParams(field: JsonField): CollectionParams {
  return {
    vectors: parseVectors(field.get('vectors')),
    shard_number: field.get('shard_number').integer(1, MEMBERS_MAX),
    ...(field.find('sharding_method') === undefined ? {} : { sharding_method: field.get('sharding_method').oneOf(['auto', 'custom'] as const) }),
    replication_factor: field.get('replication_factor').integer(1, copiesMax),
    write_consistency_factor: field.get('write_consistency_factor').integer(1, copiesMax),
    ...integerMembers(field, ['read_fan_out_factor', 'read_fan_out_delay_ms']),
    on_disk_payload: field.get('on_disk_payload').boolean(),
    ...keptMembers(field, ['payload']),
  };
}

function parseVectors(field: JsonField): VectorsConfig {
  if (typeof field.object()['size'] === 'number') return parseVector(field);
  return Object.fromEntries(field.members().map(([name, params]) => [name, parseVector(params)]));
}

function parseVector(field: JsonField): VectorParams {
  return {
    size: field.get('size').integer(1, vectorSizeMax),
    distance: field.get('distance').oneOf(DISTANCES),
    ...(field.find('datatype') === undefined ? {} : { datatype: field.get('datatype').oneOf(DATATYPES) }),
    ...(field.find('on_disk') === undefined ? {} : { on_disk: field.get('on_disk').boolean() }),
    ...keptMembers(field, ['hnsw_config', 'quantization_config']),
    ...(field.find('memory') === undefined ? {} : { memory: field.get('memory').text(/^[\w-]{1,64}$/, 'a word') }),
  };
}

function keptMembers<K extends string>(field: JsonField, names: readonly K[]): Partial<Record<K, KeptJson>> {
  return Object.fromEntries(names.flatMap((name) => {
    const member = field.find(name);
    return member === undefined ? [] : [[name, member.object()]];
  })) as Partial<Record<K, KeptJson>>;
}

function integerMembers<K extends string>(field: JsonField, names: readonly K[]): Partial<Record<K, number>> {
  return Object.fromEntries(names.flatMap((name) => {
    const member = field.find(name);
    return member === undefined ? [] : [[name, member.integer()]];
  })) as Partial<Record<K, number>>;
}
