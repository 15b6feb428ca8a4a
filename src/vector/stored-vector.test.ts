import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Datatype, Distance, VectorSpec } from './distance.ts';
import { checkVector, fromStored, prepareQuery, toStored } from './stored-vector.ts';

const float = fc.float({ noNaN: true, noDefaultInfinity: true });
const vectorOf = (size: number): fc.Arbitrary<Float32Array> => fc.float32Array({ minLength: size, maxLength: size, noNaN: true, noDefaultInfinity: true });

function spec(size: number, distance: Distance, datatype: Datatype = 'float32'): VectorSpec {
  return { size, distance, datatype };
}

function halfBits(value: number): number {
  const bytes = toStored(spec(1, 'Dot', 'float16'), Float32Array.of(value));
  return Buffer.from(bytes).readUInt16LE(0);
}

/** binary16 by definition: the nearest of all 65536 values, the even one of two equally near. Slow, independent of the code. */
function nearestHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  let best = 0;
  let bestDistance = Infinity;
  for (let bits = 0; bits <= 0x7bff; bits += 1) {
    const distance = Math.abs(halfValue(bits) - Math.abs(value));
    if (distance < bestDistance || (distance === bestDistance && bits % 2 === 0)) [best, bestDistance] = [bits, distance];
  }
  return sign | (Math.abs(value) >= 65520 ? 0x7c00 : best);
}

function halfValue(bits: number): number {
  const exponent = bits >>> 10;
  return exponent === 0 ? (bits & 0x3ff) * 2 ** -24 : (1024 + (bits & 0x3ff)) * 2 ** (exponent - 25);
}

test('float32 without Cosine keeps every bit, little-endian', () => {
  const bytes = toStored(spec(3, 'Dot'), Float32Array.of(1, -0, 2 ** -149));
  assert.equal(Buffer.from(bytes).toString('hex'), '0000803f0000008001000000');
  fc.assert(fc.property(vectorOf(5), (vector) => {
    assert.deepEqual(fromStored(spec(5, 'Euclid'), toStored(spec(5, 'Euclid'), vector)), vector);
  }));
});

test('stored bytes need no alignment', () => {
  const stored = toStored(spec(2, 'Dot'), Float32Array.of(1.5, -2.25));
  const shifted = Buffer.concat([Buffer.alloc(1), stored]).subarray(1);
  assert.deepEqual([...fromStored(spec(2, 'Dot'), shifted)], [1.5, -2.25]);
});

test('Cosine: length 1, direction kept, and writing back what was read changes nothing', () => {
  const cosine = spec(7, 'Cosine');
  fc.assert(fc.property(vectorOf(7), (vector) => {
    fc.pre(vector.some((value) => value !== 0));
    const stored = toStored(cosine, vector);
    const unit = fromStored(cosine, stored);
    const lengthSquared = unit.reduce((sum, value) => sum + value * value, 0);
    assert.ok(Math.abs(lengthSquared - 1) < 1e-6, `length² ${lengthSquared}`);
    assert.ok(unit.every((value, at) => value * (vector[at] ?? 0) >= 0));
    assert.deepEqual(toStored(cosine, unit), stored);
  }));
});

test('Cosine: pinned bits of one normalised vector, so that every machine agrees', () => {
  const stored = toStored(spec(4, 'Cosine'), Float32Array.of(0.1, 0.2, 0.3, -0.4));
  assert.equal(Buffer.from(stored).toString('hex'), 'baf43a3ebaf4ba3e8c370c3fbaf43abf');
});

test('Cosine: zero stays zero, unit within the tolerance stays untouched, tiny vectors are normalised', () => {
  const cosine = spec(2, 'Cosine');
  assert.deepEqual([...fromStored(cosine, toStored(cosine, Float32Array.of(0, -0)))], [0, -0]);
  const nearly = Float32Array.of(0.6, 0.80000025);
  assert.deepEqual(fromStored(cosine, toStored(cosine, nearly)), nearly);
  const off = Float32Array.of(0.6, 0.800002);
  assert.notDeepEqual(fromStored(cosine, toStored(cosine, off)), off);
  assert.deepEqual([...fromStored(cosine, toStored(cosine, Float32Array.of(0, -(2 ** -149))))], [0, -1]);
  assert.deepEqual([...fromStored(cosine, toStored(cosine, Float32Array.of(3e38, 0)))], [1, 0]);
});

test('float16 rounds to the nearest value, ties to even', () => {
  const corpus = [0, -0, 1, 65504, 65519.996, 65520, -65520, 2 ** -24, 2 ** -25, 2 ** -25 * 1.0001, 3 * 2 ** -25, 2 ** -14, 2 ** -14 - 2 ** -25,
    1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 2049, 2051, 0.1, -0.3];
  for (const value of corpus) assert.equal(halfBits(value), nearestHalf(Math.fround(value)), `${value}`);
  fc.assert(fc.property(fc.float({ min: -70_000, max: 70_000, noNaN: true }), (value) => {
    assert.equal(halfBits(value), nearestHalf(value));
  }), { numRuns: 50 });
});

test('float16: every finite half is read back exactly and stored as the same bits', () => {
  const dot = spec(1, 'Dot', 'float16');
  for (let bits = 0; bits <= 0x7bff; bits += 1) {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(bits);
    const [value] = fromStored(dot, bytes);
    assert.equal(value, halfValue(bits));
    assert.equal(halfBits(value ?? NaN), bits);
  }
});

test('uint8 is cut toward zero and saturates; Cosine does not normalise it', () => {
  const values = Float32Array.of(-3, -0.9, 0.99, 1, 254.99, 255, 256, 1e30);
  for (const distance of ['Dot', 'Cosine'] as const) {
    assert.deepEqual([...toStored(spec(8, distance, 'uint8'), values)], [0, 0, 0, 1, 254, 255, 255, 255]);
  }
});

test('a query goes through the stored datatype; for Cosine it has unit length', () => {
  assert.deepEqual([...prepareQuery(spec(2, 'Euclid', 'uint8'), Float32Array.of(3.7, 300))], [3, 255]);
  assert.deepEqual([...prepareQuery(spec(1, 'Dot', 'float16'), Float32Array.of(2049))], [2048]);
  assert.deepEqual([...prepareQuery(spec(2, 'Cosine', 'uint8'), Float32Array.of(3.9, 4.1))], [Math.fround(3 / 5), Math.fround(4 / 5)]);
  assert.deepEqual([...prepareQuery(spec(2, 'Cosine'), Float32Array.of(0, 7))], [0, 1]);
});

test('a wrong dimension and values that cannot be stored are refused by name and index', () => {
  const four = spec(4, 'Dot');
  const refuse = (s: VectorSpec, name: string, values: number[], text: string): void => {
    assert.throws(() => checkVector(s, name, Float32Array.from(values)), { name: 'RequestError', code: 'bad-input', message: text });
  };
  refuse(four, '', [1, 2, 3], 'Vector dimension error: expected dim: 4, got 3');
  refuse(four, 'img', [1, 2, 3, 4, 5], "Vector dimension error: expected dim: 4, got 5 for vector 'img'");
  refuse(four, '', [1, NaN, 3, 4], 'Vector value error: value at index 1 is not a finite 32-bit float');
  refuse(four, 'img', [1, 2, 3, -1e39], "Vector value error: value at index 3 is not a finite 32-bit float for vector 'img'");
  refuse(spec(1, 'Dot', 'float16'), '', [65520], 'Vector value error: value at index 0 is too large for float16');
  checkVector(four, '', Float32Array.of(1, -2, 3e38, 0));
  checkVector(spec(1, 'Dot', 'float16'), '', Float32Array.of(-65519));
  checkVector(spec(1, 'Cosine', 'float16'), '', Float32Array.of(1e30));
});

test('property: whatever passes the check is stored as finite values', () => {
  const specs = fc.constantFrom(...(['Cosine', 'Dot', 'Euclid', 'Manhattan'] as const).flatMap((distance) =>
    (['float32', 'float16', 'uint8'] as const).map((datatype) => spec(3, distance, datatype))));
  fc.assert(fc.property(specs, fc.array(float, { minLength: 3, maxLength: 3 }), (s, values) => {
    const vector = Float32Array.from(values);
    try {
      checkVector(s, '', vector);
    } catch {
      return; // refused: nothing is stored
    }
    assert.ok(fromStored(s, toStored(s, vector)).every(Number.isFinite));
    assert.ok(prepareQuery(s, vector).every(Number.isFinite));
  }));
});
