// Pages of points in the order of their ids, or of a payload value.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { comparePointIds } from '../base/ids.ts';
import type { OrderBy, PointRecord, ScrollRequest } from '../command/read.ts';
import { countBits, emptyBits, hasBit, setBit } from '../payload/bitmap.ts';
import type { OrderedRow } from '../payload/field-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { Filter } from '../payload/filter.ts';
import { selectRows } from '../payload/select-rows.ts';
import { slices } from '../segment/slices.ts';
import { MergedById, type Placed } from './merged-by-id.ts';
import { readRecords, readStored } from './read-records.ts';
import type { StoredDraft } from './shard-operation.ts';
import { rowSourceOf, type SegmentView, type View } from './view.ts';

/** Rows a filter is tried on at first; four times as many with each round that did not fill the page. */
const triedAtFirst = 256;
const triedGrowth = 4;

interface Valued extends Placed {
  readonly value: number | bigint;
}

export async function scrollView(view: View, request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]> {
  if (request.orderBy !== undefined) return await scrollByValue(view, { ...request, orderBy: request.orderBy }, signal);
  const page = await pageById(view, request, signal);
  return await readRecords(view, page, request.selectors, signal);
}

/** A page by id of the points as they are stored. */
export async function scrollStored(view: View, request: Pick<ScrollRequest, 'offset' | 'limit'>, signal?: AbortSignal): Promise<readonly StoredDraft[]> {
  return await readStored(view, await pageById(view, request, signal), signal);
}

/** Number of points that satisfy the filter; of all without one. */
export async function countView(view: View, filter: Filter | undefined, signal?: AbortSignal): Promise<number> {
  if (filter === undefined) return view.points;
  let count = 0;
  for (const segment of view.segments) count += countBits(await selectRows(rowSourceOf(segment), filter, signal));
  return count;
}

async function pageById(view: View, request: Pick<ScrollRequest, 'offset' | 'limit' | 'filter'>, signal?: AbortSignal): Promise<readonly Placed[]> {
  const page: Placed[] = [];
  const ordered = new MergedById(view.segments, request.offset);
  for (let tried = triedAtFirst; page.length < request.limit; tried *= triedGrowth) {
    signal?.throwIfAborted();
    const wanted = request.filter === undefined ? request.limit - page.length : tried;
    const next = await ordered.take(wanted);
    page.push(...(request.filter === undefined ? next : await passing(next, request.filter, signal)));
    if (next.length < wanted) break;
  }
  return page.slice(0, request.limit);
}

async function passing(places: readonly Placed[], filter: Filter, signal?: AbortSignal): Promise<readonly Placed[]> {
  const candidates = new Map<SegmentView, Uint32Array>();
  for (const { segment, row } of places) {
    const rows = candidates.get(segment) ?? emptyBits(segment.rowCount);
    setBit(rows, row);
    candidates.set(segment, rows);
  }
  const selected = new Map<SegmentView, Uint32Array>();
  for (const [segment, rows] of candidates) selected.set(segment, await selectRows(rowSourceOf(segment, rows), filter, signal));
  return places.filter(({ segment, row }) => hasBit(must(selected.get(segment), 'every segment was asked'), row));
}

async function scrollByValue(view: View, request: ScrollRequest & { readonly orderBy: OrderBy }, signal?: AbortSignal): Promise<readonly PointRecord[]> {
  const { orderBy, filter, limit } = request;
  refuseUnordered(view, orderBy);
  const found: Valued[] = [];
  for (const segment of view.segments) {
    if (segment.rowCount === segment.deletedCount) continue;
    const allowed = filter === undefined ? segment.live : await selectRows(rowSourceOf(segment), filter, signal);
    found.push(...(await firstByValue(segment, { allowed, orderBy, limit })));
  }
  const page = found.sort(inOrder(orderBy)).slice(0, limit);
  const records = await readRecords(view, page, request.selectors, signal);
  return records.map((record, at) => ({ ...record, orderValue: must(page[at], 'one record for each row').value }));
}

/** At least the first `limit` rows of the segment in order of (value, id): a tie at the end is taken whole, for its ids decide. */
async function firstByValue(segment: SegmentView, wanted: { readonly allowed: Uint32Array; readonly orderBy: OrderBy; readonly limit: number }): Promise<readonly Valued[]> {
  const { orderBy, allowed, limit } = wanted;
  const ordered = segment.held.segment.fieldIndex(orderBy.key.text)?.ordered(orderBy.direction, orderBy.startFrom);
  if (ordered === undefined) throw noRangeIndex(orderBy);
  const found: Valued[] = [];
  const pause = slices();
  for (const { row, value } of ordered as Iterable<OrderedRow>) {
    const last = found.at(-1);
    if (found.length >= limit && last !== undefined && last.value !== value) break;
    if (row < segment.rowCount && hasBit(allowed, row)) found.push({ segment, row, value, id: segment.held.segment.idAt(row) });
    const due = pause();
    if (due !== undefined) await due;
  }
  return found;
}

function inOrder({ direction }: OrderBy): (a: Valued, b: Valued) => number {
  const sign = direction === 'asc' ? 1 : -1;
  return (a, b) => (a.value === b.value ? comparePointIds(a.id, b.id) : a.value < b.value ? -sign : sign);
}

function refuseUnordered(view: View, orderBy: OrderBy): void {
  const schema = view.payloadSchema.get(orderBy.key.text);
  if (schema === undefined || !hasRange(schema)) throw noRangeIndex(orderBy);
}

function hasRange({ type, params }: FieldSchema): boolean {
  return type === 'float' || type === 'datetime' || (type === 'integer' && params?.['range'] !== false);
}

function noRangeIndex({ key }: OrderBy): RequestError {
  const advice = 'Please create one to use `order_by`. Integer, float and datetime payloads can have one';
  return new RequestError('bad-input', `No range index for \`order_by\` key: \`${key.text}\`. ${advice}`);
}
