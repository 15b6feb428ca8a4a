// The port to one payload index over the rows of one segment. evaluate.ts is the truth: an index answers exactly as it does,
// or says that it cannot answer.
import type { Condition } from './filter.ts';
import type { FieldSchema } from './field-schema.ts';

export interface OrderedRow {
  readonly row: number;
  readonly value: number | bigint;
}

export interface FieldIndex {
  readonly schema: FieldSchema;
  /** Rows with at least one indexed value, dead rows included. */
  readonly rowsWithValue: number;
  readonly memoryBytes: number;
  /** How many rows the condition selects, at most; undefined where this index cannot answer it. Cheap. */
  estimate(condition: Condition): number | undefined;
  /** Sets the bit of every row that satisfies the condition. false, and nothing set, where this index cannot answer it. */
  select(condition: Condition, into: Uint32Array): boolean;
  /** Rows by value, then by row; a row once per value. undefined where the type has no order (keyword, bool, uuid). */
  ordered(direction: 'asc' | 'desc', startFrom?: number | bigint): Iterable<OrderedRow> | undefined;
  /** Of a sealed index whose type is asked for equal values: the rows, ascending, of each value that at least `rowsMin` rows have; now and
   *  then undefined, to let others run. */
  largeValues?(rowsMin: number): Iterable<Uint32Array | undefined>;
  /** Bytes of the sealed form, at once (about 1 ms per 1000 distinct values): for tests. */
  encode(): Uint8Array;
  /** The same bytes for an index of any size: the loop is never held. Nothing may be added until it ends. */
  encodeInSlices(): Promise<Uint8Array>;
}

/** The head's index: rows are added in ascending order. */
export interface MutableFieldIndex extends FieldIndex {
  /** `payload` is the parsed payload of the row. */
  add(row: number, payload: Readonly<Record<string, unknown>>): void;
}
