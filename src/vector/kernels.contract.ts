// What every implementation of the kernels port must hold, against the plain one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../base/testing/random.ts';
import { DATATYPES, DISTANCES, largerIsBetter, strideBytes, type VectorSpec } from './distance.ts';
import { checkKnownAnswers, errorBound, type Kernels } from './kernels.ts';
import { plainKernels } from './testing/plain-kernels.ts';
import { randomRows, randomVector, TEXTURES } from './testing/random-rows.ts';

const sizes = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 65, 127, 768];
const rowsPerCase = 9;

export function kernelsContract(title: string, open: () => Kernels | Promise<Kernels>): void {
  for (const distance of DISTANCES) {
    for (const datatype of DATATYPES) {
      test(`${title}: ${distance} over ${datatype}: exact scores are the same bits, sums lie within the bound`, async () => {
        const kernels = await open();
        const random = seededRandom(11);
        for (const size of sizes) {
          for (const texture of TEXTURES) {
            const spec: VectorSpec = { size, distance, datatype };
            const vector = randomVector(random, size, texture);
            const rows = randomRows(random, spec, rowsPerCase, texture);
            assertKernels(kernels, spec, vector, rows, `seed 11, size ${size}, ${texture}`);
          }
        }
      });
    }
  }

  test(`${title}: rows at an odd address`, async () => {
    const kernels = await open();
    const random = seededRandom(12);
    for (const datatype of DATATYPES) {
      const spec: VectorSpec = { size: 37, distance: 'Euclid', datatype };
      const rows = randomRows(random, spec, 5, 'plain');
      const shifted = new Uint8Array(rows.length + 1).subarray(1);
      shifted.set(rows);
      assertKernels(kernels, spec, randomVector(random, 37, 'plain'), shifted, `seed 12, ${datatype}`);
    }
  });

  test(`${title}: no rows`, async () => {
    const kernels = await open();
    const spec: VectorSpec = { size: 4, distance: 'Dot', datatype: 'float32' };
    assert.equal(kernels.exact(spec, new Float32Array(4), new Uint8Array(0)).length, 0);
    assert.equal(kernels.approximate(spec, new Float32Array(4), new Uint8Array(0)).sums.length, 0);
  });

  test(`${title}: every float16 is read exactly`, async () => {
    const kernels = await open();
    const rows = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, at) => at).buffer);
    const spec: VectorSpec = { size: 1, distance: 'Dot', datatype: 'float16' };
    const one = Float32Array.of(1);
    const want = bitsOf(plainKernels.exact(spec, one, rows));
    assert.deepEqual(bitsOf(kernels.exact(spec, one, rows)), want);
    const sums = kernels.approximate(spec, one, rows).sums;
    for (const [at, score] of plainKernels.exact(spec, one, rows).entries()) {
      assert.ok(sums[at] === score || (Number.isNaN(score) && Number.isNaN(sums[at])), `half ${at} is ${score}, not ${sums[at]}`);
    }
  });

  test(`${title}: known answers`, async () => {
    const kernels = await open();
    assert.doesNotThrow(() => {
      checkKnownAnswers(kernels);
    });
    const offByOne: Kernels = { ...kernels, exact: (spec, vector, rows) => kernels.exact(spec, vector, rows).map((score) => score + 1) };
    assert.throws(() => {
      checkKnownAnswers(offByOne);
    }, /a wrong score/);
  });
}

function assertKernels(kernels: Kernels, spec: VectorSpec, vector: Float32Array, rows: Uint8Array, where: string): void {
  const want = plainKernels.exact(spec, vector, rows);
  assert.deepEqual(bitsOf(kernels.exact(spec, vector, rows)), bitsOf(want), where);
  const { sums, norms } = kernels.approximate(spec, vector, rows);
  assert.equal(sums.length, rows.length / strideBytes(spec), where);
  const bound = errorBound(spec, vector, kernels.lanes);
  for (const [at, score] of want.entries()) {
    const sum = sums[at] ?? NaN;
    const error = bound(sum, norms[at] ?? NaN);
    if (error === undefined) continue; // scored exactly, nothing is claimed
    const exact = spec.distance === 'Euclid' ? score * score : score;
    assert.ok(Math.abs(sum - exact) <= error, `${where}: sum ${sum} is not within ${error} of ${exact}`);
    if (largerIsBetter(spec.distance)) assert.ok((norms[at] ?? -1) >= 0, where);
  }
}

/** NaN has many bit patterns in JavaScript and counts as one. */
export function bitsOf(scores: Float32Array): readonly number[] {
  return Array.from(new Uint32Array(scores.slice().buffer), (bits, at) => (Number.isNaN(scores[at]) ? 0x7fc00000 : bits));
}
