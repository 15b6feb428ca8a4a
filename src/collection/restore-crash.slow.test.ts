// The power is cut at every change of the disk that a restore, a shard's restore, a reshard or an undo makes: the next start finds
// exactly the state before or exactly the state after, the restore's own mark says which, and nothing else remains.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { PointId } from '../base/ids.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import type { Disk } from '../fs/disk.ts';
import { FaultyDisk, stopAfter, type DecideFault } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import { smallLimits } from '../shard/testing/shard-fixtures.ts';
import { stageCopy } from '../shard/testing/staged-copy.ts';
import { Catalog } from './catalog.ts';
import { FileMetastore } from './file-metastore.ts';
import type { AdoptCollection, FrozenCollection, StagedShard } from './snapshot-source.ts';

const data = '/data';
const restoreId = 'restore-1';
const rules = { config: 'content', schema: 'live', aliases: 'take', reshard: true } as const;
const moment = { restoreId, onCommit: () => undefined };

async function open(disk: Disk): Promise<Catalog> {
  const metastore = await FileMetastore.open(disk, data);
  return await Catalog.open({ disk, dataDirectory: data, metastore, indexes: plainIndexes(), clock: systemClock, logger: silentLogger, shardLimits: smallLimits, undoMs: 1_000_000 });
}

async function fill(catalog: Catalog, name: string, ids: readonly number[]): Promise<void> {
  const points = ids.map((id) => ({ id: id as PointId, vectors: new Map([['', Float32Array.of(id, 1)]]), payload: `{"n":${id}}` }));
  await catalog.get(name).write({ kind: 'upsert', points }, { wait: true });
}

/** Names, aliases and points, as one text. */
async function stateOf(catalog: Catalog): Promise<string> {
  const found: string[] = [];
  for (const name of [...catalog.names()].sort((a, b) => (a < b ? -1 : 1))) {
    const { points } = await catalog.get(name).scroll({ limit: 1000, selectors: { payload: { kind: 'all' }, vectors: { kind: 'all' } } });
    found.push(`${name}: ${points.map(({ id, payload }) => `${id} ${payload ?? ''}`).join(' ')}`);
  }
  return `${found.join('; ')} | ${catalog.aliases().map(({ alias, collection }) => `${alias} ${collection}`).join(' ')}`;
}

async function stage(disk: Disk, frozen: FrozenCollection, folder: string): Promise<readonly StagedShard[]> {
  const staged: StagedShard[] = [];
  for (const shard of frozen.shards) staged.push(await stageCopy(disk, shard, `${folder}/${shard.shardId}`));
  await disk.syncDirectory(folder);
  await disk.syncDirectory(data);
  return staged;
}

interface Prepared {
  readonly disk: MemoryDisk;
  readonly source: AdoptCollection;
}

/** Collections `c` (2 shards, later changed) and `d` (3 shards), and an archive of `c` before the change, staged. */
async function prepare({ restored = false } = {}): Promise<Prepared> {
  const disk = new MemoryDisk();
  await disk.makeDirectory(data);
  await disk.syncDirectory('/');
  const catalog = await open(disk);
  await catalog.create('c', { vectors: { size: 2, distance: 'Dot' }, shardNumber: 2 });
  await catalog.create('d', { vectors: { size: 2, distance: 'Dot' }, shardNumber: 3 });
  await fill(catalog, 'c', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  await fill(catalog, 'd', [500]);
  const frozen = await catalog.freeze('c');
  const shards = await stage(disk, frozen, `${data}/.staging-1`);
  const source = { name: 'c', config: frozen.config, payloadSchema: frozen.payloadSchema, aliases: ['nick'], originUuid: frozen.uuid, shards };
  frozen.release();
  if (restored) await catalog.adopt({ ...moment, restoreId: 'restore-0', ...rules, collections: [source] });
  await fill(catalog, 'c', [100, 101, 102, 103, 104, 105, 106, 107]);
  await catalog.close();
  return { disk, source };
}

const scripts: readonly (readonly [string, boolean, (catalog: Catalog, source: AdoptCollection) => Promise<unknown>])[] = [
  ['a restore over a collection', true, (catalog, source) => catalog.adopt({ ...moment, ...rules, collections: [source] })],
  ['a restore under a new name', true, (catalog, source) => catalog.adopt({ ...moment, ...rules, collections: [{ ...source, name: 'new' }] })],
  ['a restore into another number of shards', true, (catalog, source) => catalog.adopt({ ...moment, ...rules, collections: [{ ...source, name: 'd' }] })],
  ['a restore of one shard', true, (catalog, source) => catalog.adoptShard({ ...moment, name: 'c', config: source.config, originUuid: source.originUuid, shard: source.shards[1] ?? { id: -1, directory: '', position: { generation: 0, seq: 0, chain: '' }, points: 0 } })],
  ['an undo', false, (catalog) => catalog.undo('c')],
];
for (const [title, isRestore, script] of scripts) {
  test(`power cut at every change of the disk: ${title}`, async () => {
    const run = async (decide: DecideFault): Promise<{ readonly disk: MemoryDisk; readonly before: string; readonly answered: boolean }> => {
      const { disk, source } = await prepare({ restored: !isRestore });
      let armed = false;
      const faulty = new FaultyDisk(disk, (operation) => (armed ? decide(operation) : undefined));
      const catalog = await open(faulty);
      const before = await stateOf(catalog);
      armed = true;
      const answered = await script(catalog, source).then(() => true, () => false);
      await catalog.close().catch(() => undefined);
      disk.cutPower();
      return { disk, before, answered };
    };
    const whole = await run(() => undefined);
    const end = await open(whole.disk);
    const after = await stateOf(end);
    await end.close();
    assert.notEqual(after, whole.before);
    const seen = { before: 0, after: 0 };
    for (let count = 0; ; count += 1) {
      const { disk, before, answered } = await run(stopAfter(count).decide);
      const catalog = await open(disk);
      const state = await stateOf(catalog);
      assert.ok(state === before || state === after, `after ${count} operations: ${state}`);
      if (answered) assert.equal(state, after, `answered after ${count} operations`);
      if (isRestore) assert.equal(await catalog.hasCommitted(restoreId), state === after, `the mark after ${count} operations`);
      seen[state === after ? 'after' : 'before'] += 1;
      const uuids = new Set(catalog.names().map((name) => catalog.get(name).uuid));
      const folders = (await disk.list(`${data}/collections`)).length;
      while (await catalog.dropOldestReplaced());
      assert.deepEqual(new Set(await disk.list(`${data}/collections`)), uuids, `${folders} folders after ${count} operations`);
      assert.equal(await stateOf(catalog), state);
      await catalog.close();
      if (answered) break;
    }
    assert.ok(seen.before > 0 && seen.after > 0, JSON.stringify(seen));
  });
}
