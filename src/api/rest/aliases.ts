// Aliases: list, and changes as one batch that happens whole or not at all.
import type { AliasAction } from '../../command/collection-config.ts';
import { newNameProblem } from '../../command/names.ts';
import { result } from './collections.ts';
import {
  asObject,
  below,
  bodyPlace,
  formatError,
  member,
  refuseProblems,
  requiredText,
  wrongType,
  type JsonObject,
  type Place,
} from './json-rules.ts';
import type { RestContext } from './rest-context.ts';
import type { RestRoute } from './route.ts';

export function aliasRoutes({ engine }: RestContext): readonly RestRoute[] {
  const list = (collection?: string): unknown => ({
    aliases: engine.aliases(collection).map((entry) => ({ alias_name: entry.alias, collection_name: entry.collection })),
  });
  return [
    { method: 'GET', path: '/aliases', access: 'read', handle: result(() => list()) },
    {
      method: 'GET',
      path: '/collections/:collection/aliases',
      access: 'read',
      handle: result(({ params }) => list(params['collection'])),
    },
    {
      method: 'POST',
      path: '/collections/aliases',
      access: 'manage',
      timeout: 'change',
      handle: result(({ body }) => engine.changeAliases(decodeAliasActions(body))),
    },
  ];
}

/** @throws RequestError 'bad-format' or 'validation' */
function decodeAliasActions(json: unknown): readonly AliasAction[] {
  const place = bodyPlace();
  const actions = member(asObject(json, place), 'actions');
  if (actions === undefined) throw formatError(place, 'missing field `actions`');
  if (!Array.isArray(actions)) throw wrongType(actions, 'a sequence', below(place, 'actions'));
  const decoded = actions.map((action, at) => decodeAction(action, below(place, `actions[${at}]`)));
  refuseProblems(place);
  return decoded;
}

function decodeAction(json: unknown, place: Place): AliasAction {
  const action = asObject(json, place);
  const part = (name: string): { readonly fields: JsonObject; readonly at: Place } | undefined => {
    const value = member(action, name);
    return value === undefined ? undefined : { fields: asObject(value, below(place, name)), at: below(place, name) };
  };
  const create = part('create_alias');
  if (create !== undefined) {
    return {
      kind: 'create',
      collection: requiredText(create.fields, 'collection_name', create.at),
      alias: newAlias(create.fields, 'alias_name', create.at),
    };
  }
  const remove = part('delete_alias');
  if (remove !== undefined) return { kind: 'delete', alias: requiredText(remove.fields, 'alias_name', remove.at) };
  const rename = part('rename_alias');
  if (rename !== undefined) {
    return {
      kind: 'rename',
      from: requiredText(rename.fields, 'old_alias_name', rename.at),
      to: newAlias(rename.fields, 'new_alias_name', rename.at),
    };
  }
  throw formatError(place, 'expected one of `create_alias`, `delete_alias`, `rename_alias`');
}

/** An alias stands wherever a collection name does, so it obeys the same rules. */
function newAlias(fields: JsonObject, name: string, place: Place): string {
  const alias = requiredText(fields, name, place);
  const problem = newNameProblem(alias);
  if (problem !== undefined) place.problems.push(`${below(place, name).path}: ${problem}`);
  return alias;
}
