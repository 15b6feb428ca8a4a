import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Access, type AccessKeys, type Right } from './access.ts';

const none: AccessKeys = { apiKey: undefined, altApiKey: undefined, readOnlyApiKey: undefined };
const keys: AccessKeys = { apiKey: 'full', altApiKey: 'next', readOnlyApiKey: 'reader' };
const rights: readonly Right[] = ['none', 'read', 'write', 'manage'];

const verdicts = (access: Access, credential: string | undefined): readonly string[] =>
  rights.map((right) => access.decide(credential === undefined ? undefined : Buffer.from(credential), right).kind);

test('without keys, or with empty ones, everything is open', () => {
  for (const open of [none, { apiKey: '', altApiKey: '', readOnlyApiKey: '' }]) {
    const access = new Access(open);
    assert.equal(access.isOpen, true);
    assert.deepEqual(verdicts(access, undefined), ['allowed', 'allowed', 'allowed', 'allowed']);
  }
});

const table: readonly [string, string | undefined, readonly string[]][] = [
  ['the full key may do everything', 'full', ['allowed', 'allowed', 'allowed', 'allowed']],
  ['the alternative key may do everything', 'next', ['allowed', 'allowed', 'allowed', 'allowed']],
  ['the read-only key may only read', 'reader', ['allowed', 'allowed', 'forbidden', 'forbidden']],
  ['no credential opens only what needs none', undefined, ['allowed', 'unauthenticated', 'unauthenticated', 'unauthenticated']],
  ['an unknown key opens only what needs none', 'fulL', ['allowed', 'unauthenticated', 'unauthenticated', 'unauthenticated']],
  ['an empty credential matches no unset key', '', ['allowed', 'unauthenticated', 'unauthenticated', 'unauthenticated']],
];
for (const [title, credential, want] of table) {
  test(title, () => {
    assert.deepEqual(verdicts(new Access(keys), credential), want);
  });
}

test('the texts tell a missing credential from a wrong one', () => {
  const access = new Access({ ...none, apiKey: 'full' });
  assert.deepEqual(access.decide(undefined, 'read'), {
    kind: 'unauthenticated',
    text: 'Must provide an API key or an Authorization bearer token',
  });
  assert.deepEqual(access.decide(Buffer.from('x'), 'read'), { kind: 'unauthenticated', text: 'Invalid API key or JWT' });
});

test('a read-only key alone still locks the server', () => {
  const access = new Access({ ...none, readOnlyApiKey: 'reader' });
  assert.deepEqual(verdicts(access, 'reader'), ['allowed', 'allowed', 'forbidden', 'forbidden']);
  assert.deepEqual(verdicts(access, undefined), ['allowed', 'unauthenticated', 'unauthenticated', 'unauthenticated']);
});

test('one key may be both full and read-only: the larger right counts', () => {
  assert.deepEqual(verdicts(new Access({ apiKey: 'same', altApiKey: undefined, readOnlyApiKey: 'same' }), 'same'), [
    'allowed',
    'allowed',
    'allowed',
    'allowed',
  ]);
});
