// Names and aliases of one node, as one record: so a batch of alias actions is all or nothing, and an alias and a collection
// can never share a name.
import { RequestError } from '../base/errors.ts';
import type { AliasAction } from '../command/collection-config.ts';
import { refuseNewName } from '../command/names.ts';

/** A collection's state before its last restore (or before its last undo: the two change places). */
export interface ReplacedState {
  readonly uuid: string;
  readonly atMs: number;
  /** Until when it can be brought back. */
  readonly untilMs: number;
  /** Aliases that the restore made or moved, with what they pointed to before; null where they were free. */
  readonly aliases: Readonly<Record<string, string | null>>;
}

export interface NameDirectory {
  /** Collection name → uuid. */
  readonly names: Readonly<Record<string, string>>;
  /** Alias → collection name. */
  readonly aliases: Readonly<Record<string, string>>;
  /** Collection name → the state that its last restore replaced, while that can be undone. */
  readonly replaced?: Readonly<Record<string, ReplacedState>>;
}

export const emptyDirectory: NameDirectory = { names: {}, aliases: {} };

/** The collection behind a name or alias; undefined where there is none. */
export function resolveName(directory: NameDirectory, name: string): string | undefined {
  if (Object.hasOwn(directory.names, name)) return name;
  return Object.hasOwn(directory.aliases, name) ? directory.aliases[name] : undefined;
}

export function withCollection(directory: NameDirectory, name: string, uuid: string): NameDirectory {
  return { ...directory, names: { ...directory.names, [name]: uuid } };
}

/** Without the collection, all aliases that point to it, and its replaced state. */
export function withoutCollection(directory: NameDirectory, name: string): NameDirectory {
  const names = Object.fromEntries(Object.entries(directory.names).filter(([key]) => key !== name));
  const aliases = Object.fromEntries(Object.entries(directory.aliases).filter(([, target]) => target !== name));
  if (directory.replaced === undefined) return { names, aliases };
  return { names, aliases, replaced: Object.fromEntries(Object.entries(directory.replaced).filter(([key]) => key !== name)) };
}

/** @throws RequestError for an action that cannot be done; then none is. */
export function applyAliasActions(directory: NameDirectory, actions: readonly AliasAction[]): NameDirectory {
  const aliases = new Map(Object.entries(directory.aliases));
  for (const action of actions) {
    switch (action.kind) {
      case 'create':
        if (!Object.hasOwn(directory.names, action.collection)) throw collectionNotFound(action.collection);
        refuseAlias(directory, action.alias);
        aliases.set(action.alias, action.collection);
        break;
      case 'delete':
        aliases.delete(action.alias);
        break;
      case 'rename': {
        const target = aliases.get(action.from);
        if (target === undefined) throw new RequestError('not-found', `Alias ${action.from} does not exists!`);
        refuseAlias(directory, action.to);
        aliases.delete(action.from);
        aliases.set(action.to, target);
        break;
      }
    }
  }
  return { ...directory, aliases: Object.fromEntries(aliases) };
}

/** An alias stands wherever a collection name does, so it obeys the same rules. */
function refuseAlias(directory: NameDirectory, alias: string): void {
  refuseNewName('alias_name', alias);
  if (Object.hasOwn(directory.names, alias)) throw new RequestError('already-exists', `Collection \`${alias}\` already exists!`);
}

export function collectionNotFound(name: string): RequestError {
  return new RequestError('not-found', `Collection \`${name}\` doesn't exist!`);
}
