import assert from 'node:assert/strict';
import test from 'node:test';
import { fuzz, fuzzers, fuzzSeconds, fuzzSeed, inputsUntilCaught } from './all.ts';

const seed = fuzzSeed();

for (const fuzzer of fuzzers.filter(({ name }) => name === 'tar-archives')) {
  for (const [broken, once] of fuzzer.canaries) {
    test(`the fuzzer of archives catches ${broken}`, async () => {
      assert.notEqual(await inputsUntilCaught(once, seed, 200), undefined, `seed ${seed}`);
    });
  }

  test(`archives that are nearly right, seed ${seed}`, async (t) => {
    const inputs = await fuzz(fuzzer, seed, fuzzSeconds());
    t.diagnostic(`${inputs} archives, NEARKEEP_FUZZ_SEED=${seed}`);
    assert.ok(inputs > 0);
  });
}
