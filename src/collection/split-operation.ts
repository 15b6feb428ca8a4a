// One write → the part of it that each shard gets. Parts that would be empty are left out.
import { must } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import type { PointSelector, WriteOperation } from '../command/write.ts';
import { routePoint } from './route.ts';

/** Shard index → operation. Filters and schema changes go to every shard. */
export function splitOperation(operation: WriteOperation, shardCount: number): ReadonlyMap<number, WriteOperation> {
  if (shardCount === 1) return new Map([[0, operation]]);
  switch (operation.kind) {
    case 'upsert':
    case 'update-vectors':
      return new Map([...byShard(operation.points, shardCount)].map(([index, points]) => [index, { ...operation, points } as WriteOperation]));
    case 'delete-points':
    case 'delete-vectors':
    case 'set-payload':
    case 'overwrite-payload':
    case 'delete-payload':
    case 'clear-payload':
      return new Map([...splitSelector(operation.selector, shardCount)].map(([index, selector]) => [index, { ...operation, selector }]));
    case 'create-index':
    case 'drop-index':
    case 'create-vector':
    case 'drop-vector':
      return new Map(Array.from({ length: shardCount }, (_, index) => [index, operation]));
  }
}

function splitSelector(selector: PointSelector, shardCount: number): ReadonlyMap<number, PointSelector> {
  if (selector.kind === 'filter') return new Map(Array.from({ length: shardCount }, (_, index) => [index, selector]));
  const parts = byShard(selector.ids.map((id) => ({ id })), shardCount);
  return new Map([...parts].map(([index, items]) => [index, { kind: 'ids', ids: items.map(({ id }) => id) }]));
}

function byShard<T extends { readonly id: PointId }>(items: readonly T[], shardCount: number): ReadonlyMap<number, T[]> {
  const parts = new Map<number, T[]>();
  for (const item of items) {
    const index = routePoint(item.id, shardCount);
    if (!parts.has(index)) parts.set(index, []);
    must(parts.get(index), 'the list was made above').push(item);
  }
  return parts;
}
