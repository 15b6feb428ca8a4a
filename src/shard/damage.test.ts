// Damaged files: found by verify wherever the bit is, and never served.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from './shard.ts';
import { allPoints, draft, everything, pointId, shardOptions, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const seed = Date.now() % 1_000_000;
const flipsPerFile = 12;

/** A shard with files of every kind and a log behind them. */
async function filledDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const shard = await Shard.create(shardOptions(disk, '/shard'));
  await shard.write({ kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
  await upsert(shard, ...[1, 2, 3, 4, 5].map((id) => draft(id)));
  await shard.checkpoint();
  await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: [pointId(3)] } }, { wait: true });
  await shard.checkpoint();
  await upsert(shard, draft(6), draft(7));
  await upsert(shard, draft(8));
  await shard.close();
  return disk;
}

async function filesOf(disk: MemoryDisk): Promise<readonly string[]> {
  const named = await Promise.all(['files', 'logs'].map(async (folder) => (await disk.list(`/shard/${folder}`)).map((name) => `/shard/${folder}/${name}`)));
  return ['/shard/manifest.json', ...named.flat()];
}

test(`a flipped bit anywhere is found by verify, and no wrong point is ever answered (seed ${seed})`, async () => {
  const random = seededRandom(seed);
  const whole = await readAll(await filledDisk());
  const kinds = new Set<string>();
  for (const name of (await filesOf(await filledDisk())).map((file) => path.extname(file) || path.basename(path.dirname(file)))) kinds.add(name);
  assert.deepEqual([...kinds].sort(), ['.del', '.has', '.idx', '.ids', '.json', '.pay', '.pidx', '.vec', 'logs'].sort());
  for (const at of (await filesOf(await filledDisk())).keys()) {
    for (let flip = 0; flip < flipsPerFile; flip += 1) {
      const disk = await filledDisk();
      const file = (await filesOf(disk))[at] ?? '';
      const offset = random.below((await disk.stat(file)).sizeBytes);
      disk.corrupt(file, (bytes) => { bytes[offset] = (bytes[offset] ?? 0) ^ (1 << random.below(8)); return bytes; });
      const place = `seed ${seed}: ${file} at byte ${offset}`;
      const { findings } = await verifyShard({ disk, directory: '/shard', deep: false });
      assert.ok(findings.some((finding) => finding.file === file), place);
      await assertNothingWrong(disk, whole, place);
    }
  }
});

test('a cut or a missing file refuses the shard and is named', async () => {
  for (const change of ['cut', 'missing'] as const) {
    for (const at of (await filesOf(await filledDisk())).keys()) {
      const disk = await filledDisk();
      const file = (await filesOf(disk))[at] ?? '';
      if (change === 'missing') await disk.remove(file);
      else disk.corrupt(file, (bytes) => bytes.subarray(0, bytes.length - 5));
      const isOnlyLog = file.startsWith('/shard/logs/');
      const { findings } = await verifyShard({ disk, directory: '/shard', deep: true });
      assert.ok(findings.some((finding) => isOnlyLog || finding.file === file), `${change} ${file}: ${JSON.stringify(findings)}`);
      await assert.rejects(Shard.open(shardOptions(disk, '/shard')), CorruptionError, `${change} ${file}`);
    }
  }
});

test('a shard of another collection, number or generation is refused', async () => {
  const disk = await filledDisk();
  for (const change of [{ shardId: 1 }, { generation: 1 }, { collectionUuid: '00000000-0000-4000-8000-000000000000' }]) {
    await assert.rejects(Shard.open(shardOptions(disk, '/shard', change)), /manifest\.json: belongs to collection .* shard 0 generation 0/);
  }
});

test('verify changes nothing and names what the next start removes', async () => {
  const disk = await filledDisk();
  for (const name of ['files/.tmp-0123', `files/${'ab'.repeat(32)}.vec`, 'logs/00000000000000000009.tmp']) await (await disk.create(`/shard/${name}`)).sync();
  const before = await filesOf(disk);
  const verdict = await verifyShard({ disk, directory: '/shard', deep: true });
  assert.deepEqual(verdict.findings, []);
  assert.deepEqual([...verdict.leftovers].sort(), ['files/.tmp-0123', `files/${'ab'.repeat(32)}.vec`, 'logs/00000000000000000009.tmp']);
  assert.equal(verdict.points, 7);
  assert.deepEqual(await filesOf(disk), before);
  const shard = await Shard.open(shardOptions(disk, '/shard'));
  await shard.close();
  assert.deepEqual((await verifyShard({ disk, directory: '/shard', deep: true })).leftovers, []);
});

/** Opening, reading and searching either fail with the damage named or give what was written. */
async function assertNothingWrong(disk: MemoryDisk, whole: unknown, place: string): Promise<void> {
  try {
    assert.deepEqual(await readAll(disk), whole, place);
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
  }
}

async function readAll(disk: MemoryDisk): Promise<unknown> {
  const shard = await Shard.open(shardOptions(disk, '/shard'));
  try {
    const search = { vector: Float32Array.of(1, 1, 1, 1), using: '', limit: 10, offset: 0, selectors: everything };
    return { points: await allPoints(shard), hits: await shard.search([search]), count: await shard.count({ exact: true }) };
  } finally {
    await shard.close();
  }
}
