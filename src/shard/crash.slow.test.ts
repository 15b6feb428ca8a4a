// The power is cut at every change of the disk that a script makes: what was acknowledged is there after the next start, and
// nothing but it, except for the one write that was on its way. A replica whose log syncs behind gets from its stream what the cut took.
import assert from 'node:assert/strict';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import { FaultyDisk, stopAfter } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import type { FileLog } from '../log/file-log.ts';
import type { Entry } from '../log/shard-log.ts';
import { Shard, type ShardOptions } from './shard.ts';
import { FedLog } from './testing/fed-log.ts';
import { shardOptions } from './testing/shard-fixtures.ts';
import { assertEqualsModel, randomWrite, ShardModel } from './testing/shard-model.ts';
import { verifyShard } from './verify-shard.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const writesOfTheScript = 22;

interface Outcome {
  /** After each acknowledged write, the empty one first. */
  readonly acknowledged: ShardModel;
  /** Of the last of them. */
  readonly seq: number;
  /** With the write that was under way, should it have been stored: its seq is the next one. */
  readonly possible: ShardModel | undefined;
  readonly isCreated: boolean;
}

/** Runs the script until the disk fails. */
async function run(disk: FaultyDisk, changes: Partial<ShardOptions> = {}): Promise<Outcome> {
  const random = seededRandom(seed);
  const model = new ShardModel();
  const options = shardOptions(disk, '/shards/0', changes);
  let shard: Shard;
  try {
    shard = await Shard.create(options);
    await disk.syncDirectory('/shards');
  } catch {
    return { acknowledged: model, seq: 0, possible: undefined, isCreated: false };
  }
  let possible: ShardModel | undefined;
  let acknowledgedSeq = 0;
  try {
    for (let at = 0; at < writesOfTheScript; at += 1) {
      const { operation, apply } = randomWrite(model, random);
      possible = model.copy();
      apply(possible, shard.position().seq + 1);
      const { seq } = await shard.write(operation, { wait: true });
      apply(model, seq);
      acknowledgedSeq = seq;
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
  return { acknowledged: model, seq: acknowledgedSeq, possible, isCreated: true };
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

test(`what a process that was killed left in memory only is on disk before anything is built on it (seed ${seed})`, async () => {
  const whole = stopAfter(Infinity);
  await run(new FaultyDisk(await newDisk(), whole.decide));
  for (let at = seed % 5; at <= whole.seen(); at += 5) {
    const disk = await newDisk();
    const killed = await run(new FaultyDisk(disk, stopAfter(at).decide));
    if (!killed.isCreated) continue;
    const place = `seed ${seed}, killed after change ${at}`;
    const random = seededRandom(seed + at);
    const shard = await Shard.open(shardOptions(disk, '/shards/0'));
    const model = shard.position().seq === killed.seq ? killed.acknowledged : must(killed.possible, place);
    await assertEqualsModel(shard, model, place);
    for (let more = 0; more < 3; more += 1) {
      const { operation, apply } = randomWrite(model, random);
      apply(model, (await shard.write(operation, { wait: true })).seq);
      if (more === at % 4) await shard.checkpoint();
    }
    const platter = disk.fork();
    await shard.close();
    platter.cutPower(at % 3 === 0 ? undefined : random, at % 3 === 1 ? 'prefix' : 'scattered');
    await assertOutcome(platter, { acknowledged: model, possible: undefined }, `${place}, then three writes and a power cut`);
  }
});

/** What stands in for a stream: it has every entry that a replica took in, whatever becomes of that replica's disk. */
class Stream {
  readonly #logs: FedLog[] = [];

  readonly share = (local: FileLog): FedLog => {
    local.syncBehind(true);
    const log = new FedLog(local);
    this.#logs.push(log);
    return log;
  };

  get entries(): readonly Entry[] {
    return this.#logs.flatMap(({ appended }) => appended);
  }

  /** To the shard that was opened last. @returns how many it lacked */
  async catchUp(shard: Shard): Promise<number> {
    const log = this.#logs.at(-1);
    const lacked = this.entries.filter(({ seq }) => seq > (log?.lastSeq ?? 0));
    shard.follow();
    for (const entry of lacked) await log?.feed(entry);
    await shard.readable({ after: { generation: 0, seq: lacked.at(-1)?.seq ?? 0 } });
    return lacked.length;
  }
}

test(`a power cut takes nothing for good from a replica whose log syncs behind (seed ${seed})`, async () => {
  const whole = stopAfter(Infinity);
  await run(new FaultyDisk(await newDisk(), whole.decide), { shareLog: new Stream().share });
  let lacked = 0;
  for (let at = seed % 2; at <= whole.seen(); at += 2) {
    for (const random of at % 4 < 2 ? [undefined, seededRandom(seed + at)] : [seededRandom(seed + at)]) {
      const disk = await newDisk();
      const stream = new Stream();
      const outcome = await run(new FaultyDisk(disk, stopAfter(at).decide), { shareLog: stream.share });
      disk.cutPower(random, 'scattered');
      const place = `seed ${seed}, cut after change ${at}${random === undefined ? '' : ' with remains'}`;
      if (outcome.isCreated) await assertOutcome(disk, outcome, place, { changes: { shareLog: stream.share }, afterOpen: async (shard) => { lacked += await stream.catchUp(shard); } });
    }
  }
  assert.ok(lacked > 100, `cuts took entries: ${lacked}`);
});

async function assertOutcome(disk: MemoryDisk, { acknowledged, possible }: Pick<Outcome, 'acknowledged' | 'possible'>, place: string, { changes = {}, afterOpen }: { readonly changes?: Partial<ShardOptions>; readonly afterOpen?: (shard: Shard) => Promise<void> } = {}): Promise<void> {
  const verdict = await verifyShard({ disk, directory: '/shards/0', deep: true });
  assert.deepEqual(verdict.findings, [], place);
  const options = shardOptions(disk, '/shards/0', changes);
  const shard = await Shard.open(options).catch((error: unknown) => assert.fail(`${place}: ${String(error)}`));
  await afterOpen?.(shard);
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
