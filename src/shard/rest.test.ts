// When a shard counts as at rest, what becomes of its segments then, and what ends a merge at rest.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../base/logger.ts';
import { noIndexing } from '../command/indexing-config.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard, type ShardOptions } from './shard.ts';
import { allIds, draft, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const limits = { ...smallLimits, headRowsMax: 1_000, vacuumRowsMin: 100_000 };

interface Rig {
  readonly options: ShardOptions;
  /** How many segments each merge took. */
  readonly merges: number[];
}

function rigOf(changes: Partial<ShardOptions> & { readonly disk?: MemoryDisk } = {}): Rig {
  const merges: number[] = [];
  const info = (fields: object): void => {
    if ('merged' in fields && typeof fields.merged === 'number') merges.push(fields.merged);
  };
  return { merges, options: shardOptions(changes.disk ?? new MemoryDisk(), '/shard', { limits, logger: { ...silentLogger, info }, ...changes }) };
}

/** Each of a few points. */
async function sealHeads(shard: Shard, from: number, count: number): Promise<void> {
  for (let at = from; at < from + count; at += 1) {
    await upsert(shard, draft(2 * at), draft(2 * at + 1));
    await shard.checkpoint();
  }
}

async function checkContents(shard: Shard, { options }: Rig, points: number): Promise<void> {
  assert.deepEqual(await allIds(shard), Array.from({ length: points }, (_, at) => at));
  await shard.close();
  assert.deepEqual((await verifyShard({ disk: options.disk, directory: options.directory, deep: true })).findings, []);
  await using again = await Shard.open({ ...options, limits: { ...limits, quietMs: Infinity } });
  assert.equal(again.info().points, points);
}

test('at rest the head is sealed first, and everything becomes one segment in one merge', async () => {
  const rig = rigOf({ limits: { ...limits, quietMs: 20 }, merging: { segmentsMin: 9 } });
  const shard = await Shard.create(rig.options);
  await sealHeads(shard, 0, 3);
  await upsert(shard, draft(6));
  await shard.settle();
  assert.equal(shard.info().segments, 4, 'three files and the head');
  shard.setIndexing(noIndexing, { segmentsMin: 1 });
  await shard.settle();
  const { segments, status } = shard.info();
  assert.deepEqual([segments, status], [2, 'green']);
  assert.deepEqual(rig.merges, [4]);
  await checkContents(shard, rig, 7);
});

test('a shard that is never at rest merges nothing that its tiers do not ask for', async () => {
  const rig = rigOf();
  const shard = await Shard.create(rig.options);
  await sealHeads(shard, 0, 3);
  await shard.settle();
  assert.deepEqual([shard.info().segments, rig.merges], [4, []]);
  await checkContents(shard, rig, 6);
});

test('a trickle of writes that never pauses does not keep segments apart for ever', async () => {
  const rig = rigOf({ limits: { ...limits, headRowsMax: 1_000_000, quietMs: 40 } });
  const shard = await Shard.create(rig.options);
  await sealHeads(shard, 0, 3);
  for (let at = 0; at < 200_000 && shard.info().segments > 2; at += 1) await upsert(shard, draft(0));
  assert.equal(shard.info().segments, 2);
  await checkContents(shard, rig, 6);
});

test('the configuration says how many segments stay, and a change of it merges on', async () => {
  const rig = rigOf({ limits: { ...limits, quietMs: 20 }, merging: { segmentsMin: 3 } });
  const shard = await Shard.create(rig.options);
  await sealHeads(shard, 0, 6);
  await shard.settle();
  assert.equal(shard.info().segments, 4);
  shard.setIndexing(noIndexing, { segmentsMin: 1, bytesMax: 1 });
  await shard.settle();
  assert.equal(shard.info().segments, 4, 'one byte is too small for any merge');
  shard.setIndexing(noIndexing, { segmentsMin: 1 });
  await shard.settle();
  assert.equal(shard.info().segments, 2);
  await checkContents(shard, rig, 12);
});

test('a merge at rest is given up when writes come back and segments pile up behind it', async () => {
  const inner = new MemoryDisk();
  let isArmed = false;
  let letGo: () => void = () => undefined;
  let started: () => void = () => undefined;
  const mergeStarted = new Promise<void>((resolve) => { started = resolve; });
  const held = new Promise<void>((resolve) => { letGo = resolve; });
  const disk = Object.assign(inner, {
    // the first file that is made at rest is the merge's
    create: async (file: string) => {
      if (isArmed && path.basename(file).startsWith('.tmp-')) {
        isArmed = false;
        started();
        await held;
      }
      return await MemoryDisk.prototype.create.call(inner, file);
    },
  });
  const rig = rigOf({ disk, limits: { ...limits, quietMs: 20 }, merging: { segmentsMin: 9 } });
  const shard = await Shard.create(rig.options);
  await sealHeads(shard, 0, 2);
  await shard.settle();
  isArmed = true;
  shard.setIndexing(noIndexing, { segmentsMin: 1 });
  await mergeStarted;
  await sealHeads(shard, 2, 16);
  letGo();
  await shard.settle();
  assert.deepEqual(rig.merges, [18], 'the two were merged with the rest, and not before');
  assert.equal(shard.info().segments, 2);
  await checkContents(shard, rig, 36);
});
