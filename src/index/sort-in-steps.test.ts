import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../base/testing/random.ts';
import { sortInSteps } from './sort-in-steps.ts';

test('sorts like Array.sort, stable, any length', () => {
  fc.assert(fc.property(fc.nat(9_000), fc.nat(), (length, seed) => {
    const random = seededRandom(seed);
    const keys = Array.from({ length }, () => random.below(50));
    const byKey = (a: number, b: number): number => (keys[a] ?? 0) - (keys[b] ?? 0);
    const items = Uint32Array.from(keys.keys());
    for (const _ of sortInSteps(items, byKey)); // runs to its end
    assert.deepEqual(Array.from(items), Array.from(keys.keys()).sort(byKey));
  }), { numRuns: 30 });
});

test('a long list takes many steps', () => {
  const steps = Array.from(sortInSteps(new Uint32Array(100_000), (a, b) => a - b)).length;
  assert.ok(steps > 150, `${steps} steps`);
});
