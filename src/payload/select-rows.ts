// A filter → the bitmap of rows it selects in one segment: indexed conditions by their indexes, the rest on parsed payloads of
// the rows that survive, in slices that never hold the event loop.
import type { PointId } from '../base/ids.ts';
import type { FieldIndex } from './field-index.ts';

/** What the selection needs of a segment. */
export interface RowSource {
  readonly rowCount: number;
  /** Rows worth looking at; the answer is a subset of it. */
  readonly live: Uint32Array;
  fieldIndex(field: string): FieldIndex | undefined;
  findRow(id: PointId): number | undefined;
  idAt(row: number): PointId;
  vectorBits(name: string): Uint32Array;
  /** JSON texts in the order of `rows`; reads are coalesced by the segment. */
  payloads(rows: ArrayLike<number>): Promise<string[]>;
}
