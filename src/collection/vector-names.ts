// Adding and dropping named vectors of a live collection.
import { RequestError } from '../base/errors.ts';
import { refuseVectorName } from '../command/names.ts';
import { isUnnamed, type VectorParams, type VectorsConfig } from '../command/collection-config.ts';

/** @throws RequestError where the name is taken or the collection has the unnamed vector. */
export function withVector(vectors: VectorsConfig, name: string, params: VectorParams): VectorsConfig {
  if (isUnnamed(vectors)) throw new RequestError('bad-input', `Cannot add vector '${name}' to a collection with an unnamed vector`);
  refuseVectorName(name);
  if (Object.hasOwn(vectors, name)) throw new RequestError('already-exists', `Vector '${name}' already exists!`);
  return { ...vectors, [name]: params };
}

export function withoutVector(vectors: VectorsConfig, name: string): VectorsConfig {
  if (isUnnamed(vectors) || !Object.hasOwn(vectors, name)) throw new RequestError('bad-input', `Not existing vector name error: ${name}`);
  return Object.fromEntries(Object.entries(vectors).filter(([key]) => key !== name));
}
