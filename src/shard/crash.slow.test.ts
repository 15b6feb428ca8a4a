// The power is cut at every change of the disk that a script makes: what was acknowledged is there after the next start, and
// nothing but it, except for the one write that was on its way.
import assert from 'node:assert/strict';
import test from 'node:test';
import { seededRandom } from '../base/testing/random.ts';
import { FaultyDisk, stopAfter } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from './shard.ts';
import { shardOptions } from './testing/shard-fixtures.ts';
import { assertEqualsModel, randomWrite, ShardModel } from './testing/shard-model.ts';
import { verifyShard } from './verify-shard.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const writesOfTheScript = 22;

interface Outcome {
  /** After each acknowledged write, the empty one first. */
  readonly acknowledged: ShardModel;
  /** With the write that was under way, should it have been stored: its seq is the next one. */
  readonly possible: ShardModel | undefined;
  readonly isCreated: boolean;
}

/** Runs the script until the disk fails. */
async function run(disk: FaultyDisk): Promise<Outcome> {
  const random = seededRandom(seed);
  const model = new ShardModel();
  const options = shardOptions(disk, '/shards/0');
  let shard: Shard;
  try {
    shard = await Shard.create(options);
    await disk.syncDirectory('/shards');
  } catch {
    return { acknowledged: model, possible: undefined, isCreated: false };
  }
  let possible: ShardModel | undefined;
  try {
    for (let at = 0; at < writesOfTheScript; at += 1) {
      const { operation, apply } = randomWrite(model, random);
      possible = model.copy();
      apply(possible, shard.position().seq + 1);
      const { seq } = await shard.write(operation, { wait: true });
      apply(model, seq);
      possible = undefined;
      if (at % 4 === 3) await shard.checkpoint();
      if (at % 8 === 7) await shard.settle();
      if (at === 13) {
        await shard.close();
        shard = await Shard.open(options);
      }
    }
    await shard.settle();
  } catch {
    // the disk has failed: what stands on it now is the question
  }
  await shard.close().catch(() => undefined); // so that nothing of it runs on
  return { acknowledged: model, possible, isCreated: true };
}

async function newDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('/shards');
  await disk.syncDirectory('/');
  return disk;
}

test(`a power cut at every change of the disk loses nothing that was acknowledged (seed ${seed})`, async () => {
  const whole = stopAfter(Infinity);
  await run(new FaultyDisk(await newDisk(), whole.decide));
  assert.ok(whole.seen() > 100, `the script is long enough: ${whole.seen()} changes, seed ${seed}`);
  for (let at = 0; at <= whole.seen(); at += 1) {
    for (const random of at % 4 === 0 ? [undefined, seededRandom(seed + at)] : [undefined]) {
      const disk = await newDisk();
      const outcome = await run(new FaultyDisk(disk, stopAfter(at).decide));
      disk.cutPower(random);
      if (outcome.isCreated) await assertOutcome(disk, outcome, `seed ${seed}, cut after change ${at}${random === undefined ? '' : ' with remains'}`);
    }
  }
});

async function assertOutcome(disk: MemoryDisk, { acknowledged, possible }: Outcome, place: string): Promise<void> {
  const verdict = await verifyShard({ disk, directory: '/shards/0', deep: true });
  assert.deepEqual(verdict.findings, [], place);
  const options = shardOptions(disk, '/shards/0');
  const shard = await Shard.open(options).catch((error: unknown) => assert.fail(`${place}: ${String(error)}`));
  try {
    await assertEqualsModel(shard, acknowledged, place);
  } catch (error) {
    if (possible === undefined) throw error;
    await assertEqualsModel(shard, possible, `${place}, with the write under way`);
  }
  await shard.settle();
  assert.equal(shard.info().optimizerError, undefined, place);
  await shard.close();
  assert.deepEqual((await verifyShard({ disk, directory: '/shards/0', deep: false })).leftovers.filter((name) => name.startsWith('files/')), [], place);
}
