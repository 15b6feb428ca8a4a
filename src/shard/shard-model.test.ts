// Random writes against a plain map, with seals, merges and reopens in between.
import assert from 'node:assert/strict';
import test from 'node:test';
import { seededRandom } from '../base/testing/random.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { verifyShard } from './verify-shard.ts';
import { Shard } from './shard.ts';
import { shardOptions } from './testing/shard-fixtures.ts';
import { assertEqualsModel, assertReadsEqualModel, randomWrite, ShardModel } from './testing/shard-model.ts';

const seeds = Array.from({ length: 12 }, (_, at) => (Date.now() % 1_000_000) + at);
const writesOfARun = 150;

for (const seed of seeds) {
  test(`the shard holds what a map holds (seed ${seed})`, async () => {
    const random = seededRandom(seed);
    const options = shardOptions(new MemoryDisk(), '/shard');
    const model = new ShardModel();
    let shard = await Shard.create(options);
    for (let at = 0; at < writesOfARun; at += 1) {
      const { operation, apply } = randomWrite(model, random);
      const { seq } = await shard.write(operation, { wait: true });
      apply(model, seq);
      if (random.below(6) === 0) await shard.checkpoint();
      if (random.below(8) === 0) await assertReadsEqualModel(shard, model, random);
      if (random.below(20) === 0) await shard.settle();
      if (random.below(15) === 0) {
        await shard.close();
        shard = await Shard.open(options);
      }
      if (at % 10 === 0) await assertEqualsModel(shard, model, `seed ${seed} after write ${at}, ${operation.kind}`);
    }
    await shard.settle();
    await assertEqualsModel(shard, model, `seed ${seed} at the end`);
    assert.equal(shard.info().optimizerError, undefined);
    await shard.close();
    const verdict = await verifyShard({ disk: options.disk, directory: options.directory, deep: true });
    assert.deepEqual(verdict.findings, []);
    assert.equal(verdict.points, model.points.size);
  });
}
