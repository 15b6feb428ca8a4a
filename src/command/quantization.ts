// What `quantization_config` means here: the codes that graphs are built and walked by, where these lie, and how queries are encoded.
// Returned scores never come from codes, so every form changes speed, memory and recall only.
import { quantileSteps, type BinaryQueryEncoding, type CodesConfig } from '../vector/codes-config.ts';
import { isUnnamed, type CollectionConfig, type KeptJson, type VectorParams } from './collection-config.ts';

export interface Quantization {
  readonly codes: CodesConfig;
  readonly codesInMemory: boolean;
  readonly binaryQuery: BinaryQueryEncoding;
}

const compressions = { x4: 4, x8: 8, x16: 16, x32: 32, x64: 64 } as const;
const encodings = { one_bit: 'one-bit', one_and_half_bits: 'one-and-half-bits', two_bits: 'two-bits' } as const;
const queryEncodings: readonly BinaryQueryEncoding[] = ['default', 'binary', 'scalar4bits', 'scalar8bits'];

/** `own`: of the vector, whose quantization goes before the collection's. Codes of a vector without any, and those that stand in for
 *  turbo's, are internal; the former are always in memory. */
export function quantizationOf(own: VectorParams | undefined, common: KeptJson | null): Quantization {
  const config = own?.quantization_config ?? common ?? {};
  const [form, section] = Object.entries(config)[0] ?? [];
  const settings = isSection(section) ? section : {};
  const binaryQuery = queryEncodings.find((encoding) => form === 'binary' && encoding === settings['query_encoding']) ?? 'default';
  return { codes: codesOf(form, settings), codesInMemory: form === undefined || isInMemory(settings, own), binaryQuery };
}

/** Vectors whose quantization is of a form that the internal codes stand in for; '' is the unnamed one. */
export function turboVectors({ params: { vectors }, quantization_config: common }: CollectionConfig): readonly string[] {
  const named: readonly [string, VectorParams][] = isUnnamed(vectors) ? [['', vectors]] : Object.entries(vectors);
  return named.flatMap(([name, own]) => (Object.hasOwn(own.quantization_config ?? common ?? {}, 'turbo') ? [name] : []));
}

function codesOf(form: string | undefined, settings: KeptJson): CodesConfig {
  if (form === 'scalar') {
    const quantile = settings['quantile'];
    return { kind: 'scalar', quantile: typeof quantile === 'number' ? Math.round(quantile * quantileSteps) / quantileSteps : 1 };
  }
  if (form === 'product') {
    const compression = chosen(compressions, settings['compression']);
    return compression === undefined ? { kind: 'internal' } : { kind: 'product', compression };
  }
  if (form === 'binary') return { kind: 'binary', encoding: chosen(encodings, settings['encoding']) ?? 'one-bit' };
  return { kind: 'internal' };
}

/** `memory` is the newer word for `always_ram`. Without either, codes lie as the vectors are wanted. */
function isInMemory({ memory, always_ram: alwaysRam }: KeptJson, own: VectorParams | undefined): boolean {
  if (typeof memory === 'string') return memory === 'pinned';
  if (typeof alwaysRam === 'boolean') return alwaysRam;
  return own?.memory === undefined ? own?.on_disk !== true : own.memory !== 'cold';
}

function chosen<T>(table: Readonly<Record<string, T>>, name: unknown): T | undefined {
  return typeof name === 'string' && Object.hasOwn(table, name) ? table[name] : undefined;
}

function isSection(value: unknown): value is KeptJson {
  return typeof value === 'object' && value !== null;
}
