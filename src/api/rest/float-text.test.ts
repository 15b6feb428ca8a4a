import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { floatText, vectorTexts } from './float-text.ts';

const cases: readonly (readonly [number, string])[] = [
  [0, '0.0'], [-0, '-0.0'], [1, '1.0'], [-1, '-1.0'], [0.1, '0.1'], [0.25, '0.25'], [-0.5, '-0.5'], [0.3, '0.3'], [123, '123.0'],
  [100_000, '100000.0'], [0.010_000_001, '0.010000001'], [0.000_01, '0.00001'], [0.000_001, '0.000001'], [1e-7, '1e-7'], [1.5e-7, '1.5e-7'],
  [16_777_215, '16777215.0'], [16_777_216, '16777216.0'], [123_456_789, '123456790.0'], [1e12, '1000000000000.0'], [1e13, '1e13'],
  [3.402_823_5e38, '3.4028235e38'], [1.5e20, '1.5e20'], [1e-45, '1e-45'], [1.175_494_4e-38, '1.1754944e-38'],
  [2 ** -44, '5.684342e-14'], [2 ** 60, '1.1529215e18'], [Number.NaN, 'null'], [Number.POSITIVE_INFINITY, 'null'],
];

for (const [value, text] of cases) {
  test(`float: ${value} prints ${text}`, () => {
    assert.equal(floatText(value), text);
  });
}

/** All f32 values by their bits, so that every exponent is as likely as any other. */
const anyFloat = fc.integer({ min: 0, max: 0xffff_ffff }).map((bits) => new Float32Array(Uint32Array.of(bits).buffer)[0]!).filter(Number.isFinite);
const likelyFloat = fc.oneof(anyFloat, fc.float({ min: -1, max: 1, noNaN: true }), fc.integer({ min: 0, max: 254 }).map((exponent) => 2 ** (exponent - 127)));

test('float: reads back as the same f32', () => {
  fc.assert(fc.property(likelyFloat, (value) => {
    assert.ok(Object.is(Math.fround(Number(floatText(value))), Math.fround(value)), `${value} printed as ${floatText(value)}`);
  }), { numRuns: 20_000 });
});

test('float: no shorter decimal reads back', () => {
  fc.assert(fc.property(likelyFloat, checkShortest), { numRuns: 20_000 });
});

test('float: every value near powers of ten and of two', () => {
  const cell = new Float32Array(1);
  const bits = new Uint32Array(cell.buffer);
  for (let exponent = -45; exponent <= 38; exponent += 1) check(Number(`1e${exponent}`));
  for (let exponent = -149; exponent <= 127; exponent += 1) {
    check(2 ** exponent);
    checkShortest(2 ** exponent);
  }
  function check(center: number): void {
    for (let step = -50; step <= 50; step += 1) {
      cell[0] = center;
      bits[0] = Math.max(0, bits[0]! + step);
      const value = cell[0];
      if (Number.isFinite(value)) assert.equal(Math.fround(Number(floatText(value))), value);
    }
  }
});

test('vector: pieces join to a list of the same values, whatever the length', () => {
  for (const length of [0, 1, 2, 1023, 1024, 1025, 5000]) {
    const vector = Float32Array.from({ length }, (_, index) => Math.sin(index) * 10 ** ((index % 9) - 4));
    const pieces = [...vectorTexts(vector)];
    assert.deepEqual(Float32Array.from(JSON.parse(pieces.join('')) as number[]), vector);
    assert.ok(pieces.every((piece) => piece.length <= 1024 * 17));
  }
});

function checkShortest(value: number): void {
  const digits = significantDigits(floatText(value));
  if (digits > 1) assert.ok(!someDecimalFits(Math.abs(Math.fround(value)), digits - 1), `${value} printed as ${floatText(value)}`);
}

function significantDigits(text: string): number {
  const digits = text.replace(/e.*$/, '').replace('-', '').replace('.', '').replace(/^0+/, '').replace(/0+$/, '');
  return Math.max(1, digits.length);
}

/** Slow and plain: the decimals of that many digits on either side of x. */
function someDecimalFits(x: number, digits: number): boolean {
  const [mantissa = '', exponent = ''] = x.toExponential(digits - 1).split('e');
  const n = Number(mantissa.replace('.', ''));
  return [n - 1, n, n + 1].some((candidate) => Math.fround(Number(`${candidate}e${Number(exponent) - digits + 1}`)) === x);
}
