import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import type { AliasAction } from '../command/collection-config.ts';
import { applyAliasActions, resolveName, withCollection, withoutCollection, type NameDirectory } from './aliases.ts';

const directory: NameDirectory = { names: { papers: '1', books: '2' }, aliases: { live: 'papers' } };

const cases: readonly [string, readonly AliasAction[], Readonly<Record<string, string>>][] = [
  ['a create adds', [{ kind: 'create', alias: 'new', collection: 'books' }], { live: 'papers', new: 'books' }],
  ['a create over an existing alias points it elsewhere', [{ kind: 'create', alias: 'live', collection: 'books' }], { live: 'books' }],
  ['deleting an absent alias succeeds', [{ kind: 'delete', alias: 'no' }], { live: 'papers' }],
  ['a rename keeps the target', [{ kind: 'rename', from: 'live', to: 'old' }], { old: 'papers' }],
  ['actions see the ones before them', [{ kind: 'delete', alias: 'live' }, { kind: 'create', alias: 'live', collection: 'books' }, { kind: 'rename', from: 'live', to: 'now' }], { now: 'books' }],
];
for (const [title, actions, want] of cases) {
  test(`aliases: ${title}`, () => {
    assert.deepEqual(applyAliasActions(directory, actions).aliases, want);
  });
}

const refused: readonly [string, AliasAction, string][] = [
  ['an absent collection', { kind: 'create', alias: 'a', collection: 'no' }, 'not-found'],
  ['an alias as target', { kind: 'create', alias: 'a', collection: 'live' }, 'not-found'],
  ['the name of a collection', { kind: 'create', alias: 'books', collection: 'papers' }, 'already-exists'],
  ['renaming to the name of a collection', { kind: 'rename', from: 'live', to: 'books' }, 'already-exists'],
  ['renaming an absent alias', { kind: 'rename', from: 'no', to: 'a' }, 'not-found'],
  ['a name of the prototype', { kind: 'create', alias: 'a', collection: 'constructor' }, 'not-found'],
];
for (const [title, action, code] of refused) {
  test(`aliases refuse ${title}, and the whole batch with it`, () => {
    const batch: readonly AliasAction[] = [{ kind: 'delete', alias: 'live' }, action];
    const failing = action.kind === 'rename' && action.from === 'live' ? [action] : batch;
    assert.throws(() => applyAliasActions(directory, failing), (error) => error instanceof RequestError && error.code === code);
    assert.deepEqual(directory.aliases, { live: 'papers' });
  });
}

test('deleting a collection drops its aliases and leaves the others', () => {
  const after = withoutCollection(withCollection(directory, 'more', '3'), 'papers');
  assert.deepEqual(after, { names: { books: '2', more: '3' }, aliases: {} });
  assert.equal(resolveName(after, 'live'), undefined);
  assert.equal(resolveName(directory, 'live'), 'papers');
  assert.equal(resolveName(directory, 'toString'), undefined);
});
