import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseExact } from '../base/exact-json.ts';
import { isJsonObject, parseJsonPath, type JsonObject, type PathStep } from './json-path.ts';
import { deletePayloadKeys, mergePayload, selectPayload } from './payload-edits.ts';
import { arbitraryPaths, arbitraryPayload, payloadToJson } from './testing/arbitrary-filter.ts';

const text =
  ' { "f" : 1.0, "big":1152921504606846976 ,"s":"a \\"},]\\\\" , "o": { "x" : 1e2 , "y":[1.50, {"z":null}]}, "t":true,"e":{},"l":[ ] } ';

const merges: readonly (readonly [string, string, string, string | undefined, string])[] = [
  ['a new member goes to the end', '{"a":1.0}', '{"b":2.50}', undefined, '{"a":1.0,"b":2.50}'],
  ['a member is replaced in its place', '{"a":1.0,"b":2}', '{"a":[ 1 ]}', undefined, '{"a":[ 1 ],"b":2}'],
  ['a null removes', '{"a":1.0,"b":2}', '{"a": null ,"c":null}', undefined, '{"b":2}'],
  ['nested objects are replaced, not merged', '{"a":{"x":1}}', '{"a":{"y":2}}', undefined, '{"a":{"y":2}}'],
  [
    'untouched members keep their text',
    text,
    '{"n":1}',
    undefined,
    '{"f":1.0,"big":1152921504606846976,"s":"a \\"},]\\\\","o":{ "x" : 1e2 , "y":[1.50, {"z":null}]},"t":true,"e":{},"l":[ ],"n":1}',
  ],
  ['of equal names the last counts', '{"a":1,"b":2,"\\u0061":3}', '{}', undefined, '{"\\u0061":3,"b":2}'],
  ['inside an object', '{"a":{"b":{"x":1.0}},"c":2}', '{"y":2,"x":null}', 'a.b', '{"a":{"b":{"y":2}},"c":2}'],
  ['missing objects are made', '{}', '{"c":1}', 'a."k.d"', '{"a":{"k.d":{"c":1}}}'],
  ['a scalar in the way is replaced', '{"a":10}', '{"x":1}', 'a.b', '{"a":{"b":{"x":1}}}'],
  ['in every element', '{"a":[{"x":1},5]}', '{"y":2}', 'a[]', '{"a":[{"x":1,"y":2},{"y":2}]}'],
  ['in one element', '{"a":[{"x":1.0},{"x":1.0}]}', '{"y":2}', 'a[1]', '{"a":[{"x":1.0},{"x":1.0,"y":2}]}'],
  ['behind the end of an array', '{"a":[1.0]}', '{"y":2}', 'a[3].b', '{"a":[1.0]}'],
  ['a missing array is made empty', '{}', '{"y":2}', 'a[].b', '{"a":[]}'],
];

for (const [title, before, patch, key, after] of merges) {
  test(`merge: ${title}`, () => {
    assert.equal(mergePayload(before, patch, key === undefined ? undefined : parseJsonPath(key)), after);
  });
}

const deletes: readonly (readonly [string, string, readonly string[], string])[] = [
  ['a member', '{"a":1.0,"b":2.0}', ['a'], '{"b":2.0}'],
  ['what is not there', '{"a": 1.0 }', ['b', 'a.b', 'a[]'], '{"a":1.0}'],
  ['below objects', '{"a":{"b":1,"c":2.0}}', ['a.b'], '{"a":{"c":2.0}}'],
  ['in every element', '{"a":[{"b":1,"c":2.0},3,{"b":4}]}', ['a[].b'], '{"a":[{"c":2.0},3,{}]}'],
  ['in one element', '{"a":[{"b":1},{"b":2}]}', ['a[1].b'], '{"a":[{"b":1},{}]}'],
  ['no element by index', '{"a":[1,2]}', ['a[0]'], '{"a":[1,2]}'],
  ['all elements', '{"a":[1,2],"b":3}', ['a[]'], '{"a":[],"b":3}'],
  ['several', '{"a":1,"b":2,"c":3.0}', ['a', 'b'], '{"c":3.0}'],
];

for (const [title, before, paths, after] of deletes) {
  test(`delete: ${title}`, () => {
    assert.equal(deletePayloadKeys(before, paths.map(parseJsonPath)), after);
  });
}

const selects: readonly (readonly [string, 'include' | 'exclude', readonly string[], string])[] = [
  ['a member', 'include', ['f'], '{"f":1.0}'],
  ['nothing', 'include', [], '{}'],
  ['below an object', 'include', ['o.x', 'big'], '{"big":1152921504606846976,"o":{"x":1e2}}'],
  ['in elements: what is no object stays', 'include', ['o.y[].z'], '{"o":{"y":[1.50,{"z":null}]}}'],
  ['elements without []', 'include', ['o.y.z'], '{"o":{"y":[]}}'],
  ['an element by index', 'include', ['o.y[0]'], '{"o":{"y":[]}}'],
  ['a scalar on the way', 'include', ['f.x'], '{"f":1.0}'],
  ['all but members', 'exclude', ['o', 's', 'big', 't', 'e', 'l'], '{"f":1.0}'],
  ['all but what is below', 'exclude', ['o.y[].z', 's', 'big', 't', 'e', 'l'], '{"f":1.0,"o":{"x":1e2,"y":[1.50,{}]}}'],
  ['all but elements', 'exclude', ['o.y[]', 's', 'big', 't', 'e', 'l'], '{"f":1.0,"o":{"x":1e2,"y":[]}}'],
];

for (const [title, kind, paths, after] of selects) {
  test(`select: ${kind} ${title}`, () => {
    assert.equal(selectPayload(text, { kind, paths: paths.map(parseJsonPath) }), after);
  });
}

const paths = fc.array(fc.constantFrom(...arbitraryPaths), { maxLength: 3 });
const value = (json: string): unknown => parseExact(json);

test('a merge is that of parsed objects', () => {
  fc.assert(
    fc.property(arbitraryPayload, arbitraryPayload, (payload, patch) => {
      const want: Record<string, unknown> = { ...payload };
      for (const [name, one] of Object.entries(patch)) {
        if (one === null) delete want[name];
        else want[name] = one;
      }
      assert.deepEqual(value(mergePayload(payloadToJson(payload), payloadToJson(patch))), want);
    }),
    { numRuns: 500 },
  );
});

test('a selection is that of parsed objects, path by path', () => {
  const same = (one: PathStep, other: PathStep): boolean => JSON.stringify(one) === JSON.stringify(other);
  const startsWith = (steps: readonly PathStep[], start: readonly PathStep[]): boolean =>
    start.length <= steps.length && start.every((step, at) => same(step, steps[at] ?? { kind: 'all' }));
  const keep = (one: unknown, here: readonly PathStep[], isKept: (path: readonly PathStep[]) => boolean): unknown => {
    if (Array.isArray(one)) {
      const path = [...here, { kind: 'all' } as const];
      return one.filter(() => isKept(path)).map((element) => keep(element, path, isKept));
    }
    if (!isJsonObject(one)) return one;
    const kept: [string, unknown][] = [];
    for (const [name, member] of Object.entries(one)) {
      const path = [...here, { kind: 'key', name } as const];
      if (isKept(path)) kept.push([name, keep(member, path, isKept)]);
    }
    return Object.fromEntries(kept);
  };
  fc.assert(
    fc.property(arbitraryPayload, paths, (payload, list) => {
      const included = keep(payload, [], (path) => list.some(({ steps }) => startsWith(path, steps) || startsWith(steps, path)));
      assert.deepEqual(value(selectPayload(payloadToJson(payload), { kind: 'include', paths: list })), included);
      const excluded = keep(payload, [], (path) => !list.some(({ steps }) => startsWith(path, steps)));
      assert.deepEqual(value(selectPayload(payloadToJson(payload), { kind: 'exclude', paths: list })), excluded);
    }),
    { numRuns: 500 },
  );
});

test('a deletion is that of parsed objects', () => {
  const remove = (one: unknown, [step, ...rest]: readonly PathStep[]): unknown => {
    if (Array.isArray(one)) {
      if (step?.kind === 'all' && rest.length === 0) return [];
      if (rest.length === 0) return one;
      return one.map((element, at) =>
        step?.kind === 'all' || (step?.kind === 'at' && step.index === at) ? remove(element, rest) : element,
      );
    }
    if (!isJsonObject(one) || step?.kind !== 'key') return one;
    return Object.fromEntries(
      Object.entries(one)
        .filter(([name]) => rest.length > 0 || name !== step.name)
        .map(([name, member]) => [name, name === step.name ? remove(member, rest) : member]),
    );
  };
  fc.assert(
    fc.property(arbitraryPayload, paths, (payload, list) => {
      const want = list.reduce<unknown>((one, path) => remove(one, path.steps), payload);
      assert.deepEqual(value(deletePayloadKeys(payloadToJson(payload), list)), want);
    }),
    { numRuns: 500 },
  );
});

test('what a merge by key wrote is found at the key', () => {
  fc.assert(
    fc.property(arbitraryPayload, fc.constantFrom('a', 'a.b', 'c.x.y').map(parseJsonPath), (payload, key) => {
      const merged = value(mergePayload(payloadToJson(payload), '{"new":1}', key));
      const found = key.steps.reduce<unknown>(
        (one, step) => (isJsonObject(one) && step.kind === 'key' ? one[step.name] : undefined),
        merged,
      );
      assert.equal((found as JsonObject)['new'], 1);
    }),
    { numRuns: 300 },
  );
});
