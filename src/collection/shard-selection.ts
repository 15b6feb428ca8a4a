// Which shards a request is for, by its shard keys. Under automatic sharding no shard has a key, and every request is for all of them.
// The texts are those of the API: a write names a key that is not there as wrong input, a read as a bad request.
import { RequestError } from '../base/errors.ts';
import type { ShardKey, ShardKeySelector } from '../command/shard-key.ts';
import type { ShardSlot } from './shard-set.ts';

type Slots = readonly ShardSlot[];

/** In the order of `slots`. Shards of custom sharding that nobody serves yet are left out where no key is asked for.
 *  @throws RequestError for a key that is not there */
export function shardsToRead(slots: Slots, selector: ShardKeySelector | undefined): Slots {
  if (selector === undefined) return slots.filter((slot) => slot.key === undefined || isServed(slot));
  if (selector.kind === 'fallback') return routeWithFallback(slots, selector);
  for (const key of selector.keys) if (shardsOf(slots, key).length === 0) throw new RequestError('bad-request', `Shard key ${key} not found`);
  return slots.filter(({ key }) => key !== undefined && selector.keys.includes(key));
}

/** Shards in groups: a point of the write belongs to one shard of each group. @throws RequestError */
export function shardsToWrite(slots: Slots, selector: ShardKeySelector | undefined, { isCustom }: { readonly isCustom: boolean }): readonly Slots[] {
  if (selector === undefined) {
    if (isCustom) throw new RequestError('bad-input', 'Shard key not specified');
    return [slots];
  }
  if (selector.kind === 'fallback') return [routeWithFallback(slots, selector)];
  if (selector.keys.length === 0) throw new RequestError('bad-input', 'Empty shard keys selection');
  return [...new Set(selector.keys)].map((key) => {
    const found = shardsOf(slots, key);
    if (found.length === 0) throw new RequestError('bad-input', `Shard key ${key} not found`);
    return found;
  });
}

/** The shards by key, those of one key by id: the order in which points are spread over them. */
export function shardsByKey(slots: Slots): ReadonlyMap<ShardKey | undefined, Slots> {
  const groups = new Map<ShardKey | undefined, ShardSlot[]>();
  for (const slot of slots) {
    const group = groups.get(slot.key);
    if (group === undefined) groups.set(slot.key, [slot]);
    else group.push(slot);
  }
  return groups;
}

function routeWithFallback(slots: Slots, { target, fallback }: ShardKeySelector & { readonly kind: 'fallback' }): Slots {
  const ofTarget = shardsOf(slots, target);
  if (ofTarget.length > 0 && ofTarget.every(isServed)) return ofTarget;
  const ofFallback = shardsOf(slots, fallback);
  if (ofFallback.length > 0) return ofFallback;
  if (ofTarget.length === 0) throw new RequestError('not-found', `Neither target shard key ${target} nor fallback shard key ${fallback} exist`);
  throw new RequestError('unavailable', `Neither target shard key ${target} nor fallback shard key ${fallback} have active replicas`);
}

function shardsOf(slots: Slots, key: ShardKey): Slots {
  return slots.filter((slot) => slot.key === key);
}

function isServed({ isServed: tells }: ShardSlot): boolean {
  return tells === undefined || tells();
}
