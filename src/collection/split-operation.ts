// One write → the part of it that each shard gets. Under automatic sharding parts that would be empty are left out.
import { must } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import { RequestError } from '../base/errors.ts';
import type { ShardKeySelector } from '../command/shard-key.ts';
import type { PointSelector, WriteOperation } from '../command/write.ts';
import { requiredIds } from '../shard/prepare-write.ts';
import { routePoint } from './route.ts';
import { shardsToWrite } from './shard-selection.ts';
import type { ShardSlot } from './shard-set.ts';

export interface WriteTarget {
  readonly slots: readonly ShardSlot[];
  readonly selector: ShardKeySelector | undefined;
  readonly isCustom: boolean;
}

type Part = readonly [ShardSlot, WriteOperation];

/** What each shard gets: changes of the schema go to all, others to the shards of their keys. @throws RequestError */
export async function splitOverShards(operation: WriteOperation, { slots, selector, isCustom }: WriteTarget): Promise<readonly Part[]> {
  if (isSchemaChange(operation)) return slots.map((slot) => [slot, operation]);
  const groups = shardsToWrite(slots, selector, { isCustom });
  const operations = groups.length === 1 ? [operation] : await ofEachKey(operation, groups);
  return groups.flatMap((group, at) => {
    const own = operations[at];
    const parts = own === undefined ? [] : [...splitOperation(own, group.length)];
    return parts.map(([index, part]): Part => [must(group[index], 'routing answers an index into the shards'), part]);
  });
}

/** Points that must be there need not be there under every key that is named: each key gets those that it has, undefined where it has none. */
async function ofEachKey(operation: WriteOperation, groups: readonly (readonly ShardSlot[])[]): Promise<readonly (WriteOperation | undefined)[]> {
  const needed = requiredIds(operation);
  if (needed.length === 0) return groups.map(() => operation);
  const selectors = { payload: { kind: 'none' }, vectors: { kind: 'none' } } as const;
  const held = await Promise.all(groups.map(async (group) => {
    const lists = await Promise.all(group.map((slot, index) => slot.replica.retrieve({ ids: needed.filter((id) => routePoint(id, group.length) === index), selectors })));
    return new Set(lists.flat().map(({ id }) => id));
  }));
  const absent = needed.find((id) => held.every((ids) => !ids.has(id)));
  if (absent !== undefined) throw new RequestError('not-found', `No point with id ${absent} found`);
  return held.map((ids) => (ids.size === 0 ? undefined : withOnly(operation, ids)));
}

function withOnly(operation: WriteOperation, ids: ReadonlySet<PointId>): WriteOperation {
  if (operation.kind === 'update-vectors') return { ...operation, points: operation.points.filter(({ id }) => ids.has(id)) };
  if (!('selector' in operation) || operation.selector.kind !== 'ids') return operation;
  return { ...operation, selector: { kind: 'ids', ids: operation.selector.ids.filter((id) => ids.has(id)) } };
}

export type SchemaChange = WriteOperation & { readonly kind: 'create-index' | 'drop-index' | 'create-vector' | 'drop-vector' };

export function isSchemaChange(operation: WriteOperation): operation is SchemaChange {
  return ['create-index', 'drop-index', 'create-vector', 'drop-vector'].includes(operation.kind);
}

/** Shard index → operation. Filters and schema changes go to every shard.  @internal for tests */
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
