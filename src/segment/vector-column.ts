// One named vector of a segment: its index over packed vectors, and which rows they belong to.
import type { IndexHits, IndexQuery, VectorIndex } from '../index/vector-index.ts';
import type { RowSlots } from './row-slots.ts';

export interface VectorColumn<Index extends VectorIndex = VectorIndex> {
  readonly index: Index;
  readonly slots: RowSlots;
}

const noHits: IndexHits = { rows: new Uint32Array(0), scores: new Float32Array(0) };

/** Queries and hits in rows of the segment. A segment without the vector has no hits. */
export async function searchColumn(column: VectorColumn | undefined, queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
  if (column === undefined || column.slots.length === 0) return queries.map(() => noHits);
  const { index, slots } = column;
  const allowed: Uint32Array[] = [];
  for (const query of queries) allowed.push(slots.areRows ? query.allowed : await slots.allowedSlots(query.allowed));
  const bySlot = queries.map((query, at) => {
    const padded = slots.padded(allowed[at] ?? query.allowed);
    return padded === query.allowed ? query : { ...query, allowed: padded };
  });
  const hits = await index.search(bySlot, signal);
  return slots.areRows ? hits : hits.map((hit) => ({ rows: slots.toRows(hit.rows), scores: hit.scores }));
}
