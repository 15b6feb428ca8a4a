// Random writes over reads that fail now and then: what is seen is always the state after some whole entry, and in the end all of them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { yieldToLoop } from '../base/clock.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { DecideFault } from '../fs/testing/faulty-disk.ts';
import { Shard } from './shard.ts';
import { faultyDisk, shardOptions } from './testing/shard-fixtures.ts';
import { assertEqualsModel, randomWrite, ShardModel } from './testing/shard-model.ts';
import { verifyShard } from './verify-shard.ts';

const stalled = /^RequestError: entry \d+ is stored but could not be applied yet \(EIO/;
const firstSeed = Date.now() % 1_000_000;

test(`with reads that fail now and then the shard holds what a map holds (seeds from ${firstSeed})`, async () => {
  let stalls = 0;
  for (let seed = firstSeed; seed < firstSeed + 5; seed += 1) stalls += await runWithFailingReads(seed);
  assert.ok(stalls > 40, `${stalls} stalls`);
});

/** Answers how often a caller heard of a stalled entry. */
async function runWithFailingReads(seed: number): Promise<number> {
  const random = seededRandom(seed);
  const { disk, inner, faults } = faultyDisk();
  const failing: DecideFault = ({ kind, path }) => (kind === 'read' && /\.(pay|vec)$/.test(path) && random.below(3) === 0 ? { kind: 'error', code: 'EIO' } : undefined);
  const shard = await Shard.create(shardOptions(disk, '/shard'));
  const states = [new ShardModel()]; // by seq
  let stalls = 0;
  for (let at = 0; at < 120; at += 1) {
    const model = must(states[shard.position().seq], 'a state for each seq');
    const { operation, apply } = randomWrite(model, random);
    const next = model.copy();
    apply(next, states.length);
    if (random.below(4) === 0) await shard.checkpoint(); // so that old rows lie in files
    faults.decide = failing;
    await shard.write(operation, { wait: random.below(3) > 0 }).catch((error: unknown) => {
      assert.match(String(error), stalled);
      stalls += 1;
    });
    if (shard.position().seq === states.length) states.push(next);
    while (shard.info().unappliedEntries > 0 && !/ yet /.test(shard.info().optimizerError ?? '')) await yieldToLoop();
    await shard.settle(); // else a checkpoint could have the entry tried again in the middle of the comparison
    faults.decide = () => undefined;
    const { unappliedEntries } = shard.info();
    const seen = must(states[shard.position().seq - unappliedEntries], 'a state for each seq');
    await assertEqualsModel(shard, seen, `seed ${seed} after write ${at}, ${operation.kind}`);
  }
  await shard.checkpoint();
  await shard.settle();
  assert.equal(shard.info().status, 'green');
  await assertEqualsModel(shard, must(states.at(-1), 'states'), `seed ${seed} at the end`);
  await shard.close();
  const { findings, leftovers } = await verifyShard({ disk: inner, directory: '/shard', deep: true });
  assert.deepEqual({ findings, leftovers }, { findings: [], leftovers: [] }, `seed ${seed}`);
  return stalls;
}
