// Answers of several shards → one answer in the order of one shard.
import { comparePointIds } from '../base/ids.ts';
import type { OrderBy, PointRecord, ScoredRecord } from '../command/read.ts';
import { largerIsBetter, type Distance } from '../vector/distance.ts';

/** Best first; equal scores by id. A point that lies under several keys is there once, with its best score. */
export function mergeScored(lists: readonly (readonly ScoredRecord[])[], distance: Distance, limit: number): readonly ScoredRecord[] {
  if (lists.length === 1) return (lists[0] ?? []).slice(0, limit);
  const sign = largerIsBetter(distance) ? -1 : 1;
  const all = lists.flat().sort((a, b) => sign * (a.score - b.score) || comparePointIds(a.id, b.id));
  return firstOfEach(all, ({ id }) => id).slice(0, limit);
}

/** By id, or by value and then id; an id that lies under several keys once, or once for each value. */
export function mergeScrolled(lists: readonly (readonly PointRecord[])[], orderBy: OrderBy | undefined, limit: number): readonly PointRecord[] {
  if (lists.length === 1) return (lists[0] ?? []).slice(0, limit);
  const all = lists.flat();
  if (orderBy === undefined) return firstOfEach(all.sort((a, b) => comparePointIds(a.id, b.id)), ({ id }) => id).slice(0, limit);
  const sign = orderBy.direction === 'asc' ? 1 : -1;
  const sorted = all.sort((a, b) => sign * compareValues(a.orderValue, b.orderValue) || comparePointIds(a.id, b.id));
  return sorted.filter((point, at) => point.id !== sorted[at - 1]?.id || point.orderValue !== sorted[at - 1]?.orderValue).slice(0, limit);
}

/** Shards of one key never share an id: only then is there anything to drop. */
function firstOfEach<T, K>(items: readonly T[], keyOf: (item: T) => K): readonly T[] {
  const seen = new Set<K>();
  return items.filter((item) => seen.size < seen.add(keyOf(item)).size);
}

function compareValues(a: number | bigint | undefined, b: number | bigint | undefined): number {
  if (a === undefined || b === undefined || a === b) return 0;
  return a < b ? -1 : 1;
}
