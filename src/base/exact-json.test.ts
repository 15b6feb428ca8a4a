import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { exactDigitsMax, exactText, parseExact } from './exact-json.ts';

test('integers beyond 2^53-1 become bigints, all others stay what JSON.parse makes of them', () => {
  assert.deepEqual(parseExact('[9007199254740991,9007199254740992,-9007199254740991,-9007199254740993,18446744073709551615,12]'), [
    9007199254740991, 9007199254740992n, -9007199254740991, -9007199254740993n, 18446744073709551615n, 12,
  ]);
});

test('floats with many digits are no integers', () => {
  const text = '[0.12345678901234567,12345678901234567.0,12345678901234567e0,1.2345678901234567E+20]';
  assert.deepEqual(parseExact(text), JSON.parse(text));
});

test('digits in strings and keys stay text', () => {
  assert.deepEqual(parseExact('{"12345678901234567890":"98765432109876543210","a\\"1234567890123456789":1}'), {
    '12345678901234567890': '98765432109876543210', 'a"1234567890123456789': 1,
  });
});

test('strings that start like the mark survive, as values and as keys', () => {
  const text = '{"\\b12":"\\b34","x":["\\u00085","\\b\\b6",12345678901234567890]}';
  assert.deepEqual(parseExact(text), { '\b12': '\b34', x: ['\b5', '\b\b6', 12345678901234567890n] });
});

test('a key __proto__ stays an own property', () => {
  const value = parseExact('{"__proto__":{"a":12345678901234567890}}') as Record<string, unknown>;
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(Object.keys(value), ['__proto__']);
  assert.deepEqual(Object.entries(value['__proto__'] as object), [['a', 12345678901234567890n]]);
});

test('a root integer, deep nesting and absurd lengths', () => {
  assert.equal(parseExact(' 12345678901234567890 '), 12345678901234567890n);
  const depth = 100_000;
  let value = parseExact(`${'['.repeat(depth)}12345678901234567890${']'.repeat(depth)}`);
  for (let level = 0; level < depth; level += 1) value = (value as unknown[])[0];
  assert.equal(value, 12345678901234567890n);
  assert.equal(parseExact('9'.repeat(exactDigitsMax)), BigInt('9'.repeat(exactDigitsMax)));
  assert.equal(parseExact('9'.repeat(exactDigitsMax + 1)), Infinity);
});

test('what JSON.parse refuses is refused', () => {
  for (const text of ['', '[12345678901234567890', '012345678901234567', '1234567890123456789.', '"1234567890123456789']) {
    assert.throws(() => parseExact(text), SyntaxError, text);
  }
});

test('property: printing a tree with bigints and parsing it gives the tree', () => {
  const leaf = fc.oneof(
    fc.string({ unit: 'binary' }), fc.boolean(), fc.constant(null), fc.maxSafeInteger(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n }), fc.bigInt({ min: -(2n ** 80n), max: -(2n ** 53n) }),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('tree'), { maxLength: 5 }), fc.dictionary(fc.string(), tie('tree'), { maxKeys: 5 })),
  }));
  fc.assert(fc.property(tree, (value) => {
    assert.deepEqual(parseExact(print(value)), normal(value));
  }));
});

function print(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(print).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value).map(([key, member]) => `${JSON.stringify(key)} : ${print(member)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/** fast-check's dictionaries have no prototype, parsed objects have one; -0 prints as 0. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value === 'object' && value !== null) {
    const members: Record<string, unknown> = {};
    for (const [key, member] of Object.entries(value)) Object.defineProperty(members, key, { value: normal(member), enumerable: true, writable: true, configurable: true });
    return members;
  }
  return Object.is(value, -0) ? 0 : value;
}

test('a value and its text are one another\'s, whatever the size of its integers', () => {
  const integer = fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).filter((value) => !Number.isSafeInteger(Number(value)));
  const value = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, fc.string(), fc.boolean(), fc.constant(null), fc.integer(), integer, fc.array(tie('value')), fc.dictionary(fc.string(), tie('value'), { noNullPrototype: true })),
  })).value;
  fc.assert(fc.property(value, (wanted) => {
    assert.deepEqual(parseExact(exactText(wanted)), wanted);
  }));
  assert.equal(exactText({ a: undefined, b: [undefined] }), '{"b":[null]}');
});
