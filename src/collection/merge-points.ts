// Answers of several shards → one answer in the order of one shard.
import { comparePointIds } from '../base/ids.ts';
import type { OrderBy, PointRecord, ScoredRecord } from '../command/read.ts';
import { largerIsBetter, type Distance } from '../vector/distance.ts';

/** Best first; equal scores by id. */
export function mergeScored(lists: readonly (readonly ScoredRecord[])[], distance: Distance, limit: number): readonly ScoredRecord[] {
  if (lists.length === 1) return (lists[0] ?? []).slice(0, limit);
  const sign = largerIsBetter(distance) ? -1 : 1;
  return lists.flat().sort((a, b) => sign * (a.score - b.score) || comparePointIds(a.id, b.id)).slice(0, limit);
}

/** By id, or by value and then id. */
export function mergeScrolled(lists: readonly (readonly PointRecord[])[], orderBy: OrderBy | undefined, limit: number): readonly PointRecord[] {
  if (lists.length === 1) return (lists[0] ?? []).slice(0, limit);
  const all = lists.flat();
  if (orderBy === undefined) return all.sort((a, b) => comparePointIds(a.id, b.id)).slice(0, limit);
  const sign = orderBy.direction === 'asc' ? 1 : -1;
  return all.sort((a, b) => sign * compareValues(a.orderValue, b.orderValue) || comparePointIds(a.id, b.id)).slice(0, limit);
}

function compareValues(a: number | bigint | undefined, b: number | bigint | undefined): number {
  if (a === undefined || b === undefined || a === b) return 0;
  return a < b ? -1 : 1;
}
