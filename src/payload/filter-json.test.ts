import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFilter, encodeFilter } from './filter-json.ts';
import { arbitraryFilter } from './testing/arbitrary-filter.ts';

test('decode(encode(filter)) is the filter', () => {
  fc.assert(
    fc.property(arbitraryFilter, (filter) => {
      assert.deepEqual(decodeFilter(encodeFilter(filter), 'f'), filter);
    }),
    { numRuns: 1000 },
  );
});

test('one form of every kind of number', () => {
  assert.equal(
    encodeFilter({
      must: [
        { kind: 'has-id', ids: [] },
        { kind: 'match-value', key: { text: 'a', steps: [{ kind: 'key', name: 'a' }] }, value: 2n ** 60n },
      ],
    }),
    '{"must":[{"kind":"has-id","ids":[]},{"kind":"match-value","key":"a","value":{"big":"1152921504606846976"}}]}',
  );
});

const garbage = [
  '',
  '[]',
  'null',
  '{',
  '{"musst":[]}',
  '{"must":{}}',
  '{"must":[5]}',
  '{"must":[{"kind":"constructor"}]}',
  '{"must":[{"kind":"match-value","key":"a"}]}',
  '{"must":[{"kind":"match-value","key":"[","value":1}]}',
  '{"must":[{"kind":"match-value","key":"a","value":{"big":"x"}}]}',
  '{"must":[{"kind":"has-id","ids":[-1]}]}',
  '{"must":[{"kind":"is-null","key":"a","form":"both","wanted":true}]}',
  '{"must":[{"kind":"range","key":"a","bounds":{"lt":"1"}}]}',
  '{"must":[{"kind":"slice","total":1.5,"index":0}]}',
  '{"minShould":{"conditions":[]}}',
  '{"must":[{"kind":"filter"}]}',
  `${'{"must":[{"kind":"filter","filter":'.repeat(2000)}{}${'}]}'.repeat(2000)}`,
];

for (const text of garbage) {
  test(`no filter: ${text.slice(0, 80)}`, () => {
    assert.throws(() => decodeFilter(text, '7.log'), { name: 'CorruptionError', file: '7.log' });
  });
}

test('a changed character is refused or another filter, never another error', () => {
  fc.assert(
    fc.property(arbitraryFilter, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (filter, seed, char) => {
      const text = encodeFilter(filter);
      const at = seed % text.length;
      try {
        encodeFilter(decodeFilter(text.slice(0, at) + char + text.slice(at + 1), 'f'));
      } catch (error) {
        assert.equal(error instanceof Error && error.name, 'CorruptionError');
      }
    }),
    { numRuns: 1000 },
  );
});
