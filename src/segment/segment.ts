// What a shard sees of a segment: rows with an id, a version, vectors and a payload, of which some are dead. Two forms: the
// mutable head in memory (mutable-segment.ts) and sealed files (sealed-segment.ts). A row's content never changes; an update
// marks the old row dead and appends a new one to the head.
//
// Contract (segment.contract.ts runs it on both):
// - Row numbers are 0 … rowCount-1. `idAt`, `versionAt`, `vectors`, `payloads` answer for dead rows too.
// - `liveBits` answers an array that never changes afterwards: a query holds one state from start to end.
// - Bytes read back are bytes written: payload text exactly, vectors in the stored datatype.
import type { PointId, Seq } from '../base/ids.ts';
import type { IndexHits, IndexQuery } from '../index/vector-index.ts';
import type { RowSource } from '../payload/select-rows.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { FieldIndex } from '../payload/field-index.ts';

/** A point as it is stored: vectors as packed bytes of the stored datatype, by name. */
export interface StoredPoint {
  readonly id: PointId;
  readonly version: Seq;
  readonly vectors: ReadonlyMap<string, Uint8Array>;
  /** JSON text of an object. */
  readonly payload: string;
}

export interface Segment {
  readonly uuid: string;
  readonly rowCount: number;
  readonly deletedCount: number;
  /** Seqs of the first and the last entry with a row here; 0 and 0 while empty. */
  readonly minSeq: Seq;
  readonly maxSeq: Seq;
  /** In memory at once; durable with the next checkpoint, until then by the log. Marking twice is a bug. */
  markDeleted(row: number): void;
  isDeleted(row: number): boolean;
  liveBits(): Uint32Array;
  idAt(row: number): PointId;
  versionAt(row: number): Seq;
  /** Bitmap of rows that carry this named vector. */
  vectorBits(name: string): Uint32Array;
  /** In the order of `rows`; undefined where the row lacks the vector. Stored bytes. */
  vectors(name: string, rows: ArrayLike<number>): Promise<(Uint8Array | undefined)[]>;
  /** In the order of `rows`. Reads are coalesced. */
  payloads(rows: ArrayLike<number>): Promise<string[]>;
  /** `allowed` of each query is already ANDed with live rows and rows that carry the vector. */
  search(name: string, queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]>;
  fieldIndex(field: string): FieldIndex | undefined;
  /** Builds and keeps the index of a field over all rows, dead ones included, in slices. Resolves when queries may use it. */
  addFieldIndex(field: string, schema: FieldSchema): Promise<void>;
  dropFieldIndex(field: string): void;
  /** The live row of an id; undefined where the segment has none. O(log n) on sealed segments, no I/O. */
  findLiveRow(id: PointId): number | undefined;
  /** Rows in ascending order of id from `from` on (inclusive), dead ones included; a row appended meanwhile may be missed. */
  rowsById(from?: PointId): Iterable<number>;
  /** For payload/select-rows.ts, with the live rows of this moment. */
  rowSource(): RowSource;
  readonly memoryBytes: number;
  close(): Promise<void>;
}

/** A sealed segment as the shard manifest lists it. */
export interface SegmentDescription {
  readonly uuid: string;
  readonly rows: number;
  readonly min_seq: Seq;
  readonly max_seq: Seq;
  readonly files: readonly SegmentFile[];
  /** The delete bitmap, under a new name at every change; absent while no row is dead. */
  readonly del?: { readonly sha256: string; readonly size: number; readonly count: number };
}

export interface SegmentFile {
  readonly kind: string;
  /** Name of the vector (`vec`, `has`) or path of the field (`pidx`). */
  readonly of?: string;
  readonly chunk: number;
  readonly sha256: string;
  readonly size: number;
}
