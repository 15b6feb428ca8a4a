// A filter → the bitmap of rows it selects in one segment: indexed conditions by their indexes, the rest on parsed payloads of
// the rows that survive, in slices that never hold the event loop.
//
// Each condition gets two bitmaps: rows that surely satisfy it (`sure`) and rows that may (`maybe`, a superset). What an index,
// an id, a vector or a hash answers has both equal; what only a payload can tell has none and all. Clauses combine them, and
// payloads are read for the rows between the two alone. Semantics are evaluate.ts's, down to empty lists.
//
// Where the source keeps what is known of conditions (condition-cache.ts), it narrows the bounds of those that only payloads answer,
// and what the payloads say is added to it.
import type { PointId } from '../base/ids.ts';
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';
import { invariant } from '../base/assert.ts';
import { parseExact } from '../base/exact-json.ts';
import { andInto, andNotInto, emptyBits, hasBit, isEmptyBits, orInto, rowsOf, setBit } from './bitmap.ts';
import type { KnownConditions, RowKnowledge } from './condition-cache.ts';
import { matches } from './evaluate.ts';
import type { FieldIndex } from './field-index.ts';
import type { Condition, Filter } from './filter.ts';
import { isJsonObject } from './json-path.ts';
import { sliceOf } from './slice-hash.ts';

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
  readonly conditions?: KnownConditions;
}

/** Conditions of one filter that are learned: each takes a look at every payload that is read, and two bitmaps. */
const learnedMax = 16;
/** Payloads read at once. */
const blockRows = 256;
/** Rows or ids between two looks at the clock. */
const stepRows = 64;

/** Neither bitmap is changed once it is part of Bounds; `sure` is `maybe` itself where nothing is open. */
interface Bounds {
  readonly sure: Uint32Array;
  readonly maybe: Uint32Array;
}

interface Selection {
  readonly source: RowSource;
  readonly none: Bounds;
  readonly unknown: Bounds;
  /** Of the conditions that payloads are to be read for. */
  readonly learned: Map<Condition, RowKnowledge>;
  readonly pause: () => Promise<void>;
}

/** Rows of `source.live` that satisfy the filter. @throws the signal's reason once it is aborted */
export async function selectRows(source: RowSource, filter: Filter, signal?: AbortSignal): Promise<Uint32Array> {
  const none = emptyBits(source.rowCount);
  const live = orInto(emptyBits(source.rowCount), source.live);
  const selection: Selection = {
    source,
    none: { sure: none, maybe: none },
    unknown: { sure: none, maybe: live },
    learned: new Map(),
    pause: createPause(signal),
  };
  await selection.pause();
  const { sure, maybe } = await boundsOfFilter(selection, filter, live);
  const selected = andInto(orInto(emptyBits(source.rowCount), sure), live);
  const open = andNotInto(andInto(orInto(emptyBits(source.rowCount), maybe), live), sure);
  await addMatching(selection, filter, rowsOf(open), selected);
  return selected;
}

/** Awaited between steps of work: lets the loop run when the slice is used up, and ends aborted selections. */
function createPause(signal: AbortSignal | undefined): () => Promise<void> {
  let sliceStart = performance.now();
  return async () => {
    signal?.throwIfAborted();
    if (performance.now() - sliceStart < sliceMsMax) return;
    await yieldToLoop();
    signal?.throwIfAborted();
    sliceStart = performance.now();
  };
}

async function addMatching(selection: Selection, filter: Filter, open: Uint32Array, into: Uint32Array): Promise<void> {
  const { source, pause } = selection;
  const learned = [...selection.learned.values()];
  const vectors = new Map<string, Uint32Array>();
  const vectorBits = (name: string): Uint32Array => {
    const bits = vectors.get(name) ?? source.vectorBits(name);
    vectors.set(name, bits);
    return bits;
  };
  for (let start = 0; start < open.length; start += blockRows) {
    const rows = open.subarray(start, start + blockRows);
    const texts = await source.payloads(rows);
    for (const [at, row] of rows.entries()) {
      await pause();
      const payload = parseExact(texts[at] ?? '');
      invariant(isJsonObject(payload), 'a payload is an object');
      const hasVector = (name: string): boolean => hasBit(vectorBits(name), row);
      const point = { id: source.idAt(row), payload, hasVector };
      if (matches(filter, point)) setBit(into, row);
      for (const knowledge of learned) knowledge.learn(row, point);
    }
  }
}

/** `within`: rows whose bits matter; others may come out either way. */
async function boundsOfFilter(selection: Selection, filter: Filter, within: Uint32Array): Promise<Bounds> {
  let bounds: Bounds = { sure: within, maybe: within };
  const narrow = (next: Bounds): void => {
    bounds = intersection(bounds, next);
  };
  for (const condition of cheapestFirst(selection, filter.must ?? [])) {
    if (isEmptyBits(bounds.maybe)) return selection.none;
    narrow(await boundsOf(selection, condition, bounds.maybe));
  }
  for (const condition of cheapestFirst(selection, filter.mustNot ?? [])) {
    if (isEmptyBits(bounds.maybe)) return selection.none;
    narrow(complement(await boundsOf(selection, condition, bounds.maybe), within));
  }
  const { should, minShould } = filter;
  if (should !== undefined && should.length > 0) narrow(await boundsOfAny(selection, should, bounds.maybe));
  if (minShould !== undefined && minShould.conditions.length > 0) {
    narrow(await boundsOfSome(selection, minShould.conditions, minShould.minCount, bounds.maybe));
  }
  return bounds;
}

async function boundsOf(selection: Selection, condition: Condition, within: Uint32Array): Promise<Bounds> {
  await selection.pause();
  const { source } = selection;
  if (condition.kind === 'filter') return boundsOfFilter(selection, condition.filter, within);
  if (condition.kind === 'any-of') return boundsOfAny(selection, condition.conditions, within);
  if (condition.kind === 'has-id') return known(await rowsWithIds(selection, condition.ids));
  if (condition.kind === 'has-vector') return known(source.vectorBits(condition.name));
  if (condition.kind === 'slice') return known(await rowsOfSlice(selection, condition, within));
  if (condition.kind === 'nested') return boundsFromBefore(selection, condition);
  const bits = emptyBits(source.rowCount);
  return source.fieldIndex(condition.key.text)?.select(condition, bits) === true ? known(bits) : boundsFromBefore(selection, condition);
}

/** Of a condition that only payloads answer: what earlier selections have read of them. */
function boundsFromBefore({ source, unknown, learned }: Selection, condition: Condition): Bounds {
  const knowledge = learned.get(condition) ?? (learned.size < learnedMax ? source.conditions?.find(condition, source.rowCount) : undefined);
  if (knowledge === undefined) return unknown;
  learned.set(condition, knowledge);
  return knowledge.bounds(unknown.maybe);
}

function known(bits: Uint32Array): Bounds {
  return { sure: bits, maybe: bits };
}

async function boundsOfAny(selection: Selection, conditions: readonly Condition[], within: Uint32Array): Promise<Bounds> {
  const sure = emptyBits(selection.source.rowCount);
  const maybe = emptyBits(selection.source.rowCount);
  for (const condition of conditions) {
    const bounds = await boundsOf(selection, condition, within);
    orInto(sure, bounds.sure);
    orInto(maybe, bounds.maybe);
  }
  return { sure, maybe };
}

async function boundsOfSome(
  selection: Selection,
  conditions: readonly Condition[],
  minCount: number,
  within: Uint32Array,
): Promise<Bounds> {
  const all: Bounds[] = [];
  for (const condition of conditions) all.push(await boundsOf(selection, condition, within));
  return {
    sure: await rowsInSome(
      selection,
      all.map(({ sure }) => sure),
      minCount,
      within,
    ),
    maybe: await rowsInSome(
      selection,
      all.map(({ maybe }) => maybe),
      minCount,
      within,
    ),
  };
}

async function rowsInSome(
  selection: Selection,
  bitmaps: readonly Uint32Array[],
  minCount: number,
  within: Uint32Array,
): Promise<Uint32Array> {
  const bits = emptyBits(selection.source.rowCount);
  for (const [at, row] of rowsOf(within).entries()) {
    if (at % stepRows === 0) await selection.pause();
    let count = 0;
    for (const bitmap of bitmaps) if (hasBit(bitmap, row)) count += 1;
    if (count >= minCount) setBit(bits, row);
  }
  return bits;
}

async function rowsWithIds(selection: Selection, ids: readonly PointId[]): Promise<Uint32Array> {
  const bits = emptyBits(selection.source.rowCount);
  for (const [at, id] of ids.entries()) {
    if (at % stepRows === 0) await selection.pause();
    const row = selection.source.findRow(id);
    if (row !== undefined) setBit(bits, row);
  }
  return bits;
}

async function rowsOfSlice(
  selection: Selection,
  slice: { readonly total: number; readonly index: number },
  within: Uint32Array,
): Promise<Uint32Array> {
  const bits = emptyBits(selection.source.rowCount);
  for (const [at, row] of rowsOf(within).entries()) {
    if (at % stepRows === 0) await selection.pause();
    if (sliceOf(selection.source.idAt(row), slice.total) === slice.index) setBit(bits, row);
  }
  return bits;
}

function intersection(a: Bounds, b: Bounds): Bounds {
  return { sure: andInto(a.sure.slice(), b.sure), maybe: andInto(a.maybe.slice(), b.maybe) };
}

function complement(bounds: Bounds, within: Uint32Array): Bounds {
  return { sure: andNotInto(within.slice(), bounds.maybe), maybe: andNotInto(within.slice(), bounds.sure) };
}

/** What selects few rows comes first, so that the rest has fewer rows to look at or nothing at all. */
function cheapestFirst(selection: Selection, conditions: readonly Condition[]): readonly Condition[] {
  if (conditions.length < 2) return conditions;
  return conditions
    .map((condition) => ({ condition, cost: costOf(selection, condition) }))
    .toSorted((a, b) => a.cost - b.cost)
    .map(({ condition }) => condition);
}

/** Rows selected at most; beyond all of them for what takes a hash of each, joins others, or cannot be told in advance. */
function costOf({ source }: Selection, condition: Condition): number {
  if (condition.kind === 'has-id') return condition.ids.length;
  if (condition.kind === 'has-vector') return source.rowCount;
  if (condition.kind === 'slice') return source.rowCount + 1;
  if (condition.kind === 'filter' || condition.kind === 'any-of' || condition.kind === 'nested') return source.rowCount + 2;
  return source.fieldIndex(condition.key.text)?.estimate(condition) ?? source.rowCount + 3;
}
