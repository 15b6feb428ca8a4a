// Which rows an entry is about, at the state right before it.
import { invariant } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import type { PointSelector } from '../command/write.ts';
import { emptyBits, rowsOf, setBit } from '../payload/bitmap.ts';
import type { Filter } from '../payload/filter.ts';
import { selectRows } from '../payload/select-rows.ts';
import { slices } from '../segment/slices.ts';
import type { HeldSegment } from './held-segment.ts';
import type { ShardState } from './shard-state.ts';
import { rowSourceOf, viewSegment } from './view.ts';

export interface SegmentRows {
  readonly held: HeldSegment;
  readonly rows: ArrayLike<number>;
}

/** Live rows by segment; ids that are not there are left out. */
export async function selectPoints(state: ShardState, selector: PointSelector): Promise<readonly SegmentRows[]> {
  return await (selector.kind === 'ids' ? locate(state, selector.ids) : selectByFilter(state, selector.filter));
}

/** Those of `ids` whose points satisfy the filter. */
export async function matchingIds(state: ShardState, ids: readonly PointId[], filter: Filter): Promise<ReadonlySet<PointId>> {
  const matching = new Set<PointId>();
  for (const { held, rows } of await locate(state, ids)) {
    const live = emptyBits(held.segment.rowCount);
    for (let at = 0; at < rows.length; at += 1) setBit(live, rows[at] ?? 0);
    const selected = await selectRows(rowSourceOf(viewSegment(held), live), filter);
    for (const row of rowsOf(selected)) matching.add(held.segment.idAt(row));
  }
  return matching;
}

async function locate(state: ShardState, ids: readonly PointId[]): Promise<readonly SegmentRows[]> {
  const found = new Map<HeldSegment, number[]>();
  const pause = slices();
  for (const id of new Set(ids)) {
    const place = state.find(id);
    const rows = place === undefined ? undefined : found.get(place.held);
    if (rows !== undefined && place !== undefined) rows.push(place.row);
    else if (place !== undefined) found.set(place.held, [place.row]);
    const due = pause();
    if (due !== undefined) await due;
  }
  return [...found].map(([held, rows]) => ({ held, rows }));
}

async function selectByFilter(state: ShardState, filter: Filter): Promise<readonly SegmentRows[]> {
  const selected: SegmentRows[] = [];
  for (const held of state.segments) {
    const rows = rowsOf(await selectRows(rowSourceOf(viewSegment(held)), filter));
    invariant(!held.isClosed, 'segments stay while an entry is applied');
    if (rows.length > 0) selected.push({ held, rows });
  }
  return selected;
}
