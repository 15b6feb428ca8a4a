import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { adoptShard } from './adopt.ts';
import { freezeShards, type FrozenShard } from './freeze.ts';
import { Shard } from './shard.ts';
import { allIds, allPoints, draft, shardOptions, upsert } from './testing/shard-fixtures.ts';
import { GatedDisk } from './testing/gated-disk.ts';
import { assertEqualsModel, assertReadsEqualModel, randomWrite, ShardModel } from './testing/shard-model.ts';
import { stageCopy } from './testing/staged-copy.ts';
import { verifyShard } from './verify-shard.ts';

const restored = '11111111-2222-4333-8444-555555555555';

interface Acknowledged {
  readonly seq: number;
  readonly model: ShardModel;
}

/** Writes until told to stop; the model after each acknowledged write. */
async function writeAlong(shard: Shard, seed: number, isOver: () => boolean): Promise<readonly Acknowledged[]> {
  const random = seededRandom(seed);
  const model = new ShardModel();
  const acknowledged: Acknowledged[] = [{ seq: 0, model: model.copy() }];
  while (!isOver()) {
    const { operation, apply } = randomWrite(model, random);
    const { seq } = await shard.write(operation, { wait: random.below(2) === 0 });
    apply(model, seq);
    acknowledged.push({ seq, model: model.copy() });
  }
  return acknowledged;
}

for (const seed of Array.from({ length: 6 }, (_, at) => (Date.now() % 1_000_000) + at)) {
  test(`what a freeze under writers holds is adopted exactly (seed ${seed})`, async () => {
    const random = seededRandom(seed);
    const disk = new MemoryDisk();
    const shards = await Promise.all([0, 1].map((shardId) => Shard.create(shardOptions(disk, `/shard-${shardId}`, { shardId }))));
    let isOver = false;
    const writers = shards.map((shard, at) => writeAlong(shard, seed + at, () => isOver));
    const staged = [];
    const before: number[][] = [];
    for (let round = 0; round < 4; round += 1) {
      await waitForSeq(must(shards[0], 'two shards'), 25 * (round + 1));
      const known = shards.map((shard) => shard.info().unappliedEntries >= 0 ? shard.position().seq : 0);
      const frozen = await freezeShards(shards);
      before.push(known);
      if (random.below(2) === 0) await shards[0]?.checkpoint(); // its files must outlive the checkpoints after it
      try {
        staged.push(await Promise.all(frozen.map((each) => checkedCopy(disk, each, `/staging-${round}-${each.shardId}`))));
      } finally {
        for (const each of frozen) each.release();
        isOver ||= staged.length <= round;
      }
    }
    isOver = true;
    const acknowledged = await Promise.all(writers);
    for (const [round, stagings] of staged.entries()) {
      for (const [at, staging] of stagings.entries()) {
        const { seq } = staging.position;
        assert.ok(seq >= must(before[round]?.[at], 'noted'), 'everything stored before the freeze is in it');
        const options = shardOptions(disk, `/restored-${round}-${at}`, { collectionUuid: restored, shardId: staging.id, generation: 5 });
        const verdict = await verifyShard({ disk, directory: staging.directory, deep: true });
        assert.deepEqual([verdict.findings, verdict.leftovers, verdict.points, verdict.position], [[], [], staging.points, staging.position]);
        const shard = await adoptShard({ ...options, staging });
        const model = must(acknowledged[at]?.findLast((each) => each.seq <= seq), 'the empty model is first').model;
        await assertEqualsModel(shard, model, `seed ${seed}, round ${round}, shard ${at}`);
        await assertReadsEqualModel(shard, model, random);
        assert.equal(shard.position().seq, seq + 1, 'the restore entry follows');
        assert.equal(await disk.findStat(staging.directory), undefined);
        await upsert(shard, draft(777));
        await shard.close();
        disk.cutPower();
        await using reopened = await Shard.open(options);
        assert.equal(reopened.info().points, model.points.size + 1);
      }
    }
  });
}

test('a freeze waits for no seal', async () => {
  const disk = new GatedDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, draft(1));
  await shard.checkpoint();
  await upsert(shard, draft(2));
  const open = disk.holdCreations();
  const sealing = shard.checkpoint();
  while (disk.held === 0) await new Promise(setImmediate);
  await upsert(shard, draft(3));
  const [frozen] = await freezeShards([shard]);
  assert.equal(frozen?.points, 3);
  assert.equal(frozen.position.seq, 3);
  open();
  await sealing;
  const staging = await stageCopy(disk, frozen, '/staging');
  frozen.release();
  await using copy = await adoptShard({ ...shardOptions(disk, '/copy', { generation: 1 }), staging });
  assert.deepEqual(await allIds(copy), [1, 2, 3]);
});

test('files of a frozen manifest stay until it is released, and go then', async () => {
  const disk = new MemoryDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, ...Array.from({ length: 6 }, (_, id) => draft(id)));
  await shard.checkpoint();
  const frozen = must((await freezeShards([shard]))[0], 'one');
  await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: await allIds(shard) } }, { wait: true });
  await shard.checkpoint();
  await shard.settle();
  const found = await Promise.all(frozen.files.map((file) => disk.findStat(file.path)));
  frozen.release();
  frozen.release();
  assert.ok(found.length > 4 && found.every((stat) => stat !== undefined));
  await shard.settle();
  assert.deepEqual(await disk.list('/shard/files'), []);
});

test('adopt refuses a staging that leads elsewhere, and leaves no folder', async () => {
  const disk = new MemoryDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, draft(1), draft(2));
  const [frozen] = await freezeShards([shard]);
  assert.ok(frozen !== undefined);
  const changes = [
    { points: 3 },
    { position: { ...frozen.position, chain: '00'.repeat(16) } },
    { position: { ...frozen.position, seq: 9 } },
  ];
  for (const [at, change] of changes.entries()) {
    const staging = { ...(await stageCopy(disk, frozen, `/staging-${at}`)), ...change };
    await assert.rejects(adoptShard({ ...shardOptions(disk, '/copy'), staging }), CorruptionError);
    assert.equal(await disk.findStat('/copy'), undefined);
  }
  frozen.release();
});

test('a frozen shard tells its time and the hash of every file', async () => {
  const disk = new MemoryDisk();
  let now = 1_700_000_000_000;
  await using shard = await Shard.create(shardOptions(disk, '/shard', { clock: { now: () => now, monotonic: () => 0 } }));
  await upsert(shard, draft(1));
  now += 5_000;
  await upsert(shard, draft(2));
  const [frozen] = await freezeShards([shard]);
  assert.equal(Number(must(frozen, 'one').time >> 16n), now);
  await shard.checkpoint();
  const [later] = await freezeShards([shard]);
  assert.equal(later?.time, frozen?.time, 'the time of the entry at the position, with its log gone too');
  assert.deepEqual(later?.segments.map(({ points, minSeq, maxSeq }) => ({ points, minSeq, maxSeq })), [{ points: 2, minSeq: 1, maxSeq: 2 }]);
  await checkedCopy(disk, must(later, 'one'), '/staging');
  assert.equal((await allPoints(shard)).length, 2);
  for (const each of [frozen, later]) each?.release();
});

/** Every file has the size and the hash that the freeze tells. */
async function checkedCopy(disk: MemoryDisk, frozen: FrozenShard, directory: string): ReturnType<typeof stageCopy> {
  for (const file of frozen.files) {
    const bytes = await disk.readFile(file.path);
    assert.deepEqual([bytes.length, sha256Hex(bytes)], [file.sizeBytes, file.sha256], path.basename(file.path));
  }
  assert.equal(sha256Hex(frozen.manifest.text), frozen.manifest.sha256);
  return await stageCopy(disk, frozen, directory);
}

async function waitForSeq(shard: Shard, seq: number): Promise<void> {
  while (shard.position().seq < seq) await new Promise(setImmediate);
}
