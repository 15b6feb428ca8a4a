// What a restore put another state in the place of: the old state stays on disk for a while, closed and unchanged, and one
// compare-and-set brings it back. Pure: which names and states there are before and after; files are the catalog's to move.
import type { NameDirectory, ReplacedState } from './aliases.ts';

/** A shard's state before its last restore, in the record of its collection. */
export interface ReplacedShard {
  readonly id: number;
  readonly generation: number;
  readonly atMs: number;
  readonly untilMs: number;
}

export type AliasPolicy = 'keep' | 'restore' | 'take';

export interface RestoredName {
  readonly name: string;
  readonly uuid: string;
  /** Of the archive. */
  readonly aliases: readonly string[];
}

export interface RestoreMoment {
  readonly aliases: AliasPolicy;
  readonly atMs: number;
  /** 0: replaced states are not kept. */
  readonly undoMs: number;
}

/** The directory with the restored collections in place, those they replace kept where undo is on. */
export function withRestored(before: NameDirectory, restored: readonly RestoredName[], moment: RestoreMoment): NameDirectory {
  const names = new Map(Object.entries(before.names));
  const replaced = new Map(Object.entries(before.replaced ?? {}));
  for (const { name, uuid } of restored) {
    const old = names.get(name);
    if (old !== undefined && moment.undoMs > 0) replaced.set(name, { uuid: old, atMs: moment.atMs, untilMs: moment.atMs + moment.undoMs, aliases: {} });
    else replaced.delete(name);
    names.set(name, uuid);
  }
  const aliases = new Map(Object.entries(before.aliases));
  for (const each of restored) {
    const changed = new Map<string, string | null>();
    for (const alias of aliasesToSet({ names: Object.fromEntries(names), aliases: Object.fromEntries(aliases) }, each, moment.aliases)) {
      changed.set(alias, aliases.get(alias) ?? null);
      aliases.set(alias, each.name);
    }
    const kept = replaced.get(each.name);
    if (kept !== undefined) replaced.set(each.name, { ...kept, aliases: Object.fromEntries(changed) });
  }
  return { names: Object.fromEntries(names), aliases: Object.fromEntries(aliases), replaced: Object.fromEntries(replaced) };
}

/** Aliases of the archive that the policy makes or moves. One that is a collection's name stays that. */
function aliasesToSet(directory: NameDirectory, restored: { readonly name: string; readonly aliases: readonly string[] }, policy: AliasPolicy): readonly string[] {
  if (policy === 'keep') return [];
  return restored.aliases.filter((alias) => {
    if (Object.hasOwn(directory.names, alias)) return false;
    if (!Object.hasOwn(directory.aliases, alias)) return true;
    return policy === 'take' && directory.aliases[alias] !== restored.name;
  });
}

/** The replaced state in place again, and what stood there kept in its stead; undefined where there is nothing to bring back. */
export function withUndone(before: NameDirectory, name: string, moment: Omit<RestoreMoment, 'aliases'>): NameDirectory | undefined {
  const replaced = new Map(Object.entries(before.replaced ?? {}));
  const names = new Map(Object.entries(before.names));
  const [state, current] = [replaced.get(name), names.get(name)];
  if (state === undefined || current === undefined) return undefined;
  const aliases = new Map(Object.entries(before.aliases));
  const changed = new Map<string, string | null>();
  for (const [alias, target] of Object.entries(state.aliases)) {
    if (target !== null && !names.has(target)) continue;
    changed.set(alias, aliases.get(alias) ?? null);
    if (target === null) aliases.delete(alias);
    else aliases.set(alias, target);
  }
  names.set(name, state.uuid);
  replaced.set(name, { uuid: current, atMs: moment.atMs, untilMs: moment.atMs + moment.undoMs, aliases: Object.fromEntries(changed) });
  return { names: Object.fromEntries(names), aliases: Object.fromEntries(aliases), replaced: Object.fromEntries(replaced) };
}

/** Without the kept states that `isGone` tells; the same directory where it tells none. */
export function withoutReplaced(before: NameDirectory, isGone: (state: ReplacedState, name: string) => boolean): NameDirectory {
  const all = Object.entries(before.replaced ?? {});
  const left = all.filter(([name, state]) => !isGone(state, name));
  return left.length === all.length ? before : { ...before, replaced: Object.fromEntries(left) };
}

/** The moment of a change after these states: later than each of them, also where the clock has gone back, for an undo takes the latest. */
export function momentAfter(nowMs: number, states: readonly { readonly atMs: number }[]): number {
  return Math.max(nowMs, ...states.map(({ atMs }) => atMs + 1));
}

/** One state that an undo can bring back, of a collection or of a shard. */
export interface KeptState {
  readonly key: string;
  readonly atMs: number;
  readonly untilMs: number;
}

export function keptCollection({ uuid, atMs, untilMs }: ReplacedState): KeptState {
  return { key: uuid, atMs, untilMs };
}

export function keptShard(uuid: string, { id, generation, atMs, untilMs }: ReplacedShard): KeptState {
  return { key: `${uuid}/${id}.g${generation}`, atMs, untilMs };
}

export function replacedUuids(directory: NameDirectory): readonly string[] {
  return Object.values(directory.replaced ?? {}).map(({ uuid }) => uuid);
}
