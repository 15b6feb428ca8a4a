import assert from 'node:assert/strict';
import { test } from 'node:test';
import { elementsOf, isSingleValued, parseJsonPath, valuesAt } from './json-path.ts';

const payload = {
  a: { b: { c: 1 }, list: [{ x: 1 }, { x: [2, 3] }, { y: 4 }, 5] },
  'key.with dot': { z: true },
  größe: 7,
  nested: [[1, 2], [3]],
};

const cases: readonly (readonly [string, readonly unknown[]])[] = [
  ['a.b.c', [1]],
  ['a.b.c.d', []],
  ['a.list[].x', [1, [2, 3]]],
  ['a.list[].x[]', [2, 3]],
  ['a.list[1].x', [[2, 3]]],
  ['a.list[9]', []],
  ['a.list.x', []],
  ['"key.with dot".z', [true]],
  ['größe', [7]],
  ['nested[][]', [1, 2, 3]],
  ['nested[0][1]', [2]],
  ['constructor', []],
  ['a.__proto__', []],
];

for (const [path, want] of cases) {
  test(`path ${path}`, () => {
    assert.deepEqual(valuesAt(payload, parseJsonPath(path)), want);
  });
}

for (const text of [
  '',
  '.',
  'a.',
  '.a',
  'a..b',
  'a[',
  'a[x]',
  'a[-1]',
  'a b',
  '"a',
  '[]',
  '[0].a',
  'a[]b',
  '"a\\"b"',
  'a[99999999999999999999]',
]) {
  test(`no path: ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseJsonPath(text), {
      name: 'RequestError',
      code: 'bad-format',
      message: `Format error in JSON body: Invalid json path: '${text}'`,
    });
  });
}

test('the text stays as given, the steps are what it means', () => {
  assert.deepEqual(parseJsonPath('foo[1].bar-baz[]."qux[.]"'), {
    text: 'foo[1].bar-baz[]."qux[.]"',
    steps: [
      { kind: 'key', name: 'foo' },
      { kind: 'at', index: 1 },
      { kind: 'key', name: 'bar-baz' },
      { kind: 'all' },
      { kind: 'key', name: 'qux[.]' },
    ],
  });
});

test('elements open one level of arrays', () => {
  assert.deepEqual(elementsOf([1, [2, [3]], null]), [1, 2, [3], null]);
});

test('only [] makes a path many-valued', () => {
  assert.equal(isSingleValued(parseJsonPath('a[0].b')), true);
  assert.equal(isSingleValued(parseJsonPath('a[].b')), false);
});
