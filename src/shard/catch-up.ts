// A segment that was written as at one moment takes over what has happened since, before it takes its place in the state.
import { andNotInto, rowsOf } from '../payload/bitmap.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import type { SealedSegment } from '../segment/sealed-segment.ts';
import type { VectorSpec } from '../vector/distance.ts';

export interface Schema {
  readonly vectors: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: PayloadSchema;
}

/** From one schema to the next: a vector that was dropped is gone, even where one of its name was made again. Answers `to`. */
export async function catchUp(segment: SealedSegment, from: Schema, to: Schema): Promise<Schema> {
  const { vectors, payloadSchema } = to;
  for (const [name, spec] of from.vectors) {
    if (vectors.get(name) !== spec) await segment.dropVector(name);
  }
  for (const field of from.payloadSchema.keys()) {
    if (!payloadSchema.has(field)) segment.dropFieldIndex(field);
  }
  for (const [field, schema] of payloadSchema) {
    if (from.payloadSchema.get(field) === schema) continue;
    segment.dropFieldIndex(field);
    await segment.addFieldIndex(field, schema);
  }
  return { vectors, payloadSchema };
}

/** Rows that died between two moments of a source die in the segment that holds them now; `rowOf` answers -1 for rows it lacks. */
export function carryDeletes(live: { readonly from: Uint32Array; readonly to: Uint32Array }, segment: SealedSegment, rowOf: (row: number) => number): void {
  for (const row of rowsOf(andNotInto(live.from.slice(), live.to))) {
    const moved = rowOf(row);
    if (moved >= 0 && !segment.isDeleted(moved)) segment.markDeleted(moved);
  }
}
