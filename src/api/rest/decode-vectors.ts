// Vectors as bodies carry them: a Float32Array where the body parser lifted the numbers, an ordinary array of numbers elsewhere.
// Dimensions and finite values are the shard's to check, which knows the collection; sparse vectors, multi-vectors and objects
// for an inference service are refused by name.
import type { NamedVectors } from '../../command/write.ts';
import { RequestError } from '../../base/errors.ts';
import {
  child, isObject, mapList, notSupported, readNumber, required, violation, wrongType, wrongVectorKind, type WireValue,
} from './wire-value.ts';

/** The largest dimension a collection can have. Checked here only to bound the work on arrays that were not lifted. */
const dimensionMax = 65_536;

export function readDense(at: WireValue): Float32Array {
  const { value } = at;
  if (value instanceof Float32Array) return value;
  refuseOtherVectors(at);
  if (!Array.isArray(value)) return wrongType(at, 'a vector');
  if (value.length > dimensionMax) {
    throw new RequestError('bad-input', `Vector dimension error: at most ${dimensionMax} dimensions are possible, got ${value.length}`);
  }
  const vector = new Float32Array(value.length);
  for (const [index, number] of (value as unknown[]).entries()) {
    vector[index] = typeof number === 'number' ? number : readNumber(child(at, index, number), 'f32');
  }
  return vector;
}

/** One point's vectors: a list for the unnamed one, a map by name. */
export function readNamedVectors(at: WireValue): NamedVectors {
  if (!isObject(at.value) || isInference(at.value)) return new Map([['', readDense(at)]]);
  return new Map(Object.entries(at.value).map(([name, vector]) => [name, readDense(child(at, name, vector))]));
}

/** The vectors of a batch: one list for each name, with one vector for each of the batch's ids. */
export async function readVectorColumns(batch: WireValue, idCount: number): Promise<ReadonlyMap<string, readonly Float32Array[]>> {
  const at = required(batch, 'vectors');
  const named = isObject(at.value) ? Object.entries(at.value).map(([name, list]) => [name, child(at, name, list)] as const) : undefined;
  const columns = new Map<string, readonly Float32Array[]>();
  for (const [name, list] of named ?? [['', at] as const]) {
    const column = await mapList(list, readDense);
    if (column.length !== idCount) violation(batch, `number of ids and vectors must be equal (${idCount} != ${column.length})`);
    columns.set(name, column);
  }
  return columns;
}

/** @throws RequestError where it is a vector of a kind that is not dense. */
export function refuseOtherVectors(at: WireValue): void {
  const { value } = at;
  if (Array.isArray(value) && (Array.isArray(value[0]) || value[0] instanceof Float32Array)) throw wrongVectorKind(at, 'multi');
  if (!isObject(value)) return;
  if ('indices' in value && 'values' in value) throw wrongVectorKind(at, 'sparse');
  if (isInference(value)) throw notSupported(at, 'inference objects are');
}

function isInference(value: Readonly<Record<string, unknown>>): boolean {
  return typeof value['model'] === 'string' && ['text', 'image', 'object'].some((key) => key in value);
}
