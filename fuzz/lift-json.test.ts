import assert from 'node:assert/strict';
import test from 'node:test';
import { seededRandom } from '../src/base/testing/random.ts';
import { nativeExtractor } from '../src/vector/native-extractor.ts';
import { wasmExtractor } from '../src/vector/wasm-extractor.ts';
import { fuzz, fuzzers, fuzzSeconds, fuzzSeed, inputsUntilCaught } from './all.ts';
import { randomDocument } from './json-documents.ts';

const seed = fuzzSeed();
const noPace = { between: () => undefined };

for (const fuzzer of fuzzers.filter(({ name }) => name === 'lift-json')) {
  for (const [broken, once] of fuzzer.canaries) {
    test(`the fuzzer catches a decoder with a wrong answer: ${broken}`, async () => {
      assert.notEqual(await inputsUntilCaught(once, seed, 20_000), undefined, `seed ${seed}`);
    });
  }

  test(`random bodies, seed ${seed}`, async (t) => {
    const inputs = await fuzz(fuzzer, seed, fuzzSeconds());
    t.diagnostic(`${inputs} bodies, NEARKEEP_FUZZ_SEED=${seed}`);
    assert.ok(inputs > 0);
  });
}

test('the extractors do lift: most random documents are not given up on', async () => {
  for (const extractor of [nativeExtractor(), wasmExtractor]) {
    if (extractor === undefined) continue;
    let lifted = 0;
    let rows = 0;
    let texts = 0;
    for (let at = 0; at < 500; at += 1) {
      const result = await extractor(Buffer.from(randomDocument(seededRandom(at))), noPace);
      if (result === undefined) continue;
      lifted += 1;
      rows += result.rows.length / 2;
      texts += result.texts.length / 2;
    }
    assert.ok(lifted > 300 && rows > 20 && texts > 50, `${lifted} documents, ${rows} rows, ${texts} texts`);
  }
});
