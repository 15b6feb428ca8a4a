// What a field index knows about the values of its field: which rows hold which value. Two families, terms (keyword, uuid,
// bool) and numbers (integer, float, datetime), each in a mutable and a sealed form.
import type { MatchValue, RangeBounds } from './filter.ts';
import type { OrderedRow } from './field-index.ts';
import { turnsPerStep, type Steps } from './steps.ts';

/** Rows in pieces, a row possibly in several of them. `count` is the sum of their lengths. */
export interface RowPieces {
  readonly count: number;
  readonly pieces: Iterable<ArrayLike<number>>;
}

/** What an index knows of rows beside their values. */
export interface RowFacts {
  /** Rows 0 … rowCount-1 were indexed. */
  readonly rowCount: number;
  /** Rows with at least one value of the index's type. */
  readonly rowsWithValue: number;
  /** Whether the path names one value at most (it has no `[]`). */
  readonly isSingleValued: boolean;
  /** Rows with a value that is neither null nor []. Bitmaps, here and below, may be shorter or longer than rowCount. */
  readonly filled: Uint32Array;
  /** Rows with an element, not null, that the store does not keep. */
  readonly foreign: Uint32Array;
}

/** One block of a sealed index; encode-field-index.ts lists the ids. */
export interface IndexSection {
  readonly id: number;
  readonly bytes: Uint8Array;
}

export interface ValueStore {
  readonly memoryBytes: number;
  /** Rows with one of these values; undefined where the store does not keep values of such a kind. */
  equalTo(values: readonly MatchValue[]): RowPieces | undefined;
  /** Rows with a kept value that is none of these; undefined as above. */
  except(values: readonly MatchValue[]): RowPieces | undefined;
  /** undefined where values have no order. */
  within(bounds: RangeBounds): RowPieces | undefined;
  ordered(direction: 'asc' | 'desc', startFrom: number | bigint | undefined): Iterable<OrderedRow> | undefined;
}

export interface SealedStore extends ValueStore {
  /** The rows, ascending, of each value of the index's type that at least `rowsMin` rows have. Now and then undefined, to let others run. */
  largeValues(rowsMin: number): Iterable<Uint32Array | undefined>;
  sections(): readonly IndexSection[];
}

export interface MutableStore extends ValueStore {
  /** `element` is no null. `value`: kept, of the index's type; `other`: kept for ranges only; undefined: not kept. */
  add(row: number, element: unknown): 'value' | 'other' | undefined;
  /** Nothing may be added until it ends. */
  seal(): Steps<SealedStore>;
}

/** Rows of value i: rows[starts[i]] … rows[starts[i + 1] - 1], ascending. `starts` has one more than there are values. */
export interface Postings {
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly rows: Uint32Array<ArrayBuffer>;
}

/** Rows of the values from `first` to before `end`. */
export function rowsBetween(postings: Postings, first: number, end: number): Uint32Array {
  return postings.rows.subarray(postings.starts[first] ?? 0, postings.starts[end] ?? 0);
}

/** Values between two pauses. */
const valuesPerPause = 65_536;

export function* largeLists(postings: Postings, rowsMin: number): Generator<Uint32Array | undefined> {
  const { starts } = postings;
  for (let at = 0; at + 1 < starts.length; at += 1) {
    if ((starts[at + 1] ?? 0) - (starts[at] ?? 0) >= rowsMin) yield rowsBetween(postings, at, at + 1);
    if (at % valuesPerPause === valuesPerPause - 1) yield undefined;
  }
}

/** All rows but those of the values at these places; `skipped` in any order, -1 is ignored. */
export function piecesWithout(postings: Postings, skipped: readonly number[]): readonly Uint32Array[] {
  const pieces: Uint32Array[] = [];
  let next = 0;
  for (const at of skipped.filter((place) => place >= 0).toSorted((a, b) => a - b)) {
    pieces.push(rowsBetween(postings, next, at));
    next = at + 1;
  }
  pieces.push(rowsBetween(postings, next, postings.starts.length - 1));
  return pieces;
}

export function toRowPieces(pieces: readonly ArrayLike<number>[]): RowPieces {
  return { count: pieces.reduce((sum, piece) => sum + piece.length, 0), pieces };
}

export function* packPostings(lists: readonly ArrayLike<number>[]): Steps<Postings> {
  const starts = new Uint32Array(lists.length + 1);
  for (const [at, list] of lists.entries()) {
    starts[at + 1] = (starts[at] ?? 0) + list.length;
    if (at % turnsPerStep === 0) yield;
  }
  const rows = new Uint32Array(starts.at(-1) ?? 0);
  for (const [at, list] of lists.entries()) {
    rows.set(list, starts[at] ?? 0);
    if (at % turnsPerStep === 0) yield;
  }
  return { starts, rows };
}

/** Adds a row to the list of a value, once. Rows come in ascending order. */
export function addRow(list: number[], row: number): boolean {
  if (list.at(-1) === row) return false;
  list.push(row);
  return true;
}

/** The first place in 0 … length-1 where `isReached` holds, else length; it must hold from some place on. */
export function firstPlace(length: number, isReached: (at: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isReached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function bytesOf(array: {
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;
}): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
