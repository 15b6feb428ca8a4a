// What every index refuses before it searches. Callers have validated what came from outside, so a finding here is our bug.
import { invariant } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import type { IndexQuery, VectorFile } from './vector-index.ts';

/** @throws InvariantError */
export function checkQuery(spec: VectorSpec, rowCount: number, query: IndexQuery): void {
  checkVector(spec, query.vector);
  invariant(Number.isInteger(query.k) && query.k >= 0, () => `k is a count, not ${query.k}`);
  invariant(query.allowed.length * 32 >= rowCount, () => `the bitmap covers ${rowCount} rows`);
}

/** @throws InvariantError */
export function checkVector(spec: VectorSpec, vector: Float32Array): void {
  invariant(vector.length === spec.size, () => `a query has ${spec.size} components, not ${vector.length}`);
  for (let at = 0; at < vector.length; at += 1) invariant(Number.isFinite(vector[at]), 'the components of a query are finite');
}

/** @throws InvariantError */
export function checkRows(rowCount: number, rows: Uint32Array): void {
  for (const row of rows) invariant(row < rowCount, () => `row ${row} is below ${rowCount}`);
}

/** How many whole rows `target` takes; all of them exist. @throws InvariantError */
export function checkRowRange(spec: VectorSpec, rowCount: number, range: { readonly first: number; readonly target: Uint8Array }): number {
  const count = range.target.byteLength / strideBytes(spec);
  invariant(Number.isInteger(count) && range.first + count <= rowCount, () => `${count} rows from ${range.first} on are whole and below ${rowCount}`);
  return count;
}

/** The rows lie inside the file. @throws CorruptionError */
export function checkFile(spec: VectorSpec, file: VectorFile): void {
  const needed = file.dataOffset + file.rowCount * strideBytes(spec);
  if (needed > file.sizeBytes) throw new CorruptionError({ file: file.path, problem: `${file.rowCount} rows need ${needed} bytes, it has ${file.sizeBytes}` });
}
