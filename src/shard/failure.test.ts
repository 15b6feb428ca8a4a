// What the shard does when its disk, or its own files, fail under it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { silentLogger } from '../base/logger.ts';
import { systemClock, yieldToLoop } from '../base/clock.ts';
import { FileLog } from '../log/file-log.ts';
import type { Fault } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { chainStart } from '../log/hash-chain.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { encodeEntryBody, entryBodyVersion } from './entry-body.ts';
import { freezeShards } from './freeze.ts';
import { namedFiles, readManifest } from './shard-manifest.ts';
import { Shard } from './shard.ts';
import { allIds, allPoints, collectionUuid, draft, faultyDisk, pointId, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const full: Fault = { kind: 'error', code: 'ENOSPC' };

test('a seal that finds no space leaves everything as it was, shows red, and succeeds later', async () => {
  const { disk, inner, faults } = faultyDisk();
  const options = shardOptions(disk, '/shard');
  const shard = await Shard.create(options);
  await upsert(shard, draft(1), draft(2));
  const before = await inner.readFile('/shard/manifest.json');
  faults.decide = ({ kind, path }) => (kind === 'append' && path.includes('/files/') ? full : undefined);
  await assert.rejects(shard.checkpoint(), /ENOSPC/);
  assert.equal(shard.info().status, 'red');
  assert.match(shard.info().optimizerError ?? '', /ENOSPC/);
  assert.deepEqual(await inner.readFile('/shard/manifest.json'), before);
  await upsert(shard, draft(2, { again: true }), draft(3));
  await assert.rejects(shard.checkpoint(), /ENOSPC/);
  assert.deepEqual(await allIds(shard), [1, 2, 3]);
  faults.decide = () => undefined;
  await shard.checkpoint();
  await shard.settle();
  assert.equal(shard.info().status, 'green');
  assert.equal(shard.info().segments, 3); // the two heads in files, and a new one
  assert.deepEqual((await allPoints(shard)).map(({ payload }) => payload), ['{"n":1}', '{"again":true}', '{"n":3}']);
  await shard.close();
  const verdict = await verifyShard({ disk, directory: '/shard', deep: true });
  assert.deepEqual([verdict.findings, verdict.leftovers, verdict.points], [[], [], 3]);
});

test('writers are refused, not kept in memory without end, while nothing can be sealed; then they go on', async () => {
  const { disk, faults } = faultyDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard', { limits: { ...smallLimits, headRowsMax: 1_000, unsealedBytesMax: 3 << 20 } }));
  faults.decide = ({ kind, path }) => (kind === 'create' && path.includes('/files/') ? full : undefined);
  const filler = 'x'.repeat(100_000);
  let taken = 0;
  await assert.rejects(async () => {
    for (; taken < 200; taken += 1) await upsert(shard, draft(taken, { filler }));
  }, /^RequestError: points could not be moved from memory into files: ENOSPC/);
  assert.ok(taken > 10 && taken < 60, `${taken} were taken`);
  assert.equal(shard.info().points, taken);
  faults.decide = () => undefined;
  await upsert(shard, draft(1_000));
  assert.equal(shard.info().points, taken + 1);
});

test('a full disk under the log fails the write alone', async () => {
  const { disk, faults } = faultyDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, draft(1));
  faults.decide = ({ kind, path }) => (kind === 'append' && path.includes('/logs/') ? { kind: 'short', bytes: 50 } : undefined);
  await assert.rejects(upsert(shard, draft(2)), /the write was not stored/);
  assert.deepEqual(await allIds(shard), [1]);
  faults.decide = () => undefined;
  await upsert(shard, draft(3));
  assert.deepEqual(await allIds(shard), [1, 3]);
});

test('a manifest whose publishing failed half way may be found by the next start: its files are there', async () => {
  const { disk, inner, faults } = faultyDisk();
  const options = shardOptions(disk, '/shard');
  const shard = await Shard.create(options);
  await upsert(shard, draft(1), draft(2));
  faults.decide = ({ kind, path }) => (kind === 'syncDirectory' && path === '/shard' ? { kind: 'error', code: 'EIO' } : undefined);
  await assert.rejects(shard.checkpoint(), /EIO/);
  faults.decide = () => undefined;
  for (const frozen of await freezeShards([shard])) frozen.release(); // its end looks for garbage
  await shard.settle();
  const { manifest } = await readManifest(inner, '/shard');
  assert.equal(manifest.applied, 1, 'the rename was seen');
  for (const name of namedFiles(manifest)) assert.ok((await inner.findStat(`/shard/files/${name}`)) !== undefined, name);
  await shard.close();
  await using reopened = await Shard.open(options);
  assert.deepEqual(await allIds(reopened), [1, 2]);
});

test('what work that failed has written is removed at once', async () => {
  const { disk, inner, faults } = faultyDisk();
  await using shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, draft(1), draft(2));
  faults.decide = ({ kind, path }) => (kind === 'syncDirectory' && path === '/shard/files' ? { kind: 'error', code: 'EIO' } : undefined);
  await assert.rejects(shard.checkpoint(), /EIO/);
  await shard.settle();
  assert.deepEqual(await inner.list('/shard/files'), []);
});

test('an operation that is in the log twice applies once', async () => {
  const disk = new MemoryDisk();
  const options = shardOptions(disk, '/shard');
  await (await Shard.create(options)).close();
  const log = FileLog.create({ disk, directory: '/shard/logs', clock: systemClock, logger: silentLogger, collectionUuid, shardId: 0, generation: 0 }, { seq: 0, chain: chainStart.toString('hex') });
  const append = async (operation: Parameters<typeof encodeEntryBody>[0], opUuid: Buffer) =>
    await log.append({ kind: operation.kind, version: entryBodyVersion, body: encodeEntryBody(operation), opUuid });
  const put = (payload: string) => ({ kind: 'upsert', points: [{ id: pointId(1), vectors: new Map(), payload }] }) as const;
  const first = randomBytes(16);
  const second = randomBytes(16);
  await append(put('{"n":1}'), first);
  await append(put('{"n":2}'), second);
  await append(put('{"n":1}'), first);
  await log.close();
  const shard = await Shard.open(options);
  assert.deepEqual((await allPoints(shard)).map(({ payload, version }) => [payload, version]), [['{"n":2}', 2]]);
  await shard.checkpoint();
  await shard.close();
  assert.deepEqual((await readManifest(disk, '/shard')).manifest.opUuids, [first, second].map((uuid) => uuid.toString('hex')));
});

test('an update of more points than memory should hold seals while it runs, and reads see none or all of it', async () => {
  const disk = new MemoryDisk();
  const options = shardOptions(disk, '/shard', { limits: { ...smallLimits, headBytesMax: 1 << 20, headRowsMax: 100_000, unsealedBytesMax: 6 << 20 } });
  const shard = await Shard.create(options);
  const filler = 'x'.repeat(5_000);
  const ids = Array.from({ length: 3_000 }, (_, id) => id);
  await upsert(shard, ...ids.map((id) => draft(id, { n: id, filler })));
  await shard.checkpoint();
  await shard.settle();
  const isMarked = parseFilter({ must: [{ key: 'm', match: { value: 1 } }] });
  const update = shard.write({ kind: 'set-payload', selector: { kind: 'filter', filter: {} }, payload: '{"m":1}' }, { wait: true });
  let isOver = false;
  void update.then(() => { isOver = true; });
  let unnamedMax = 0;
  const watchFiles = async (): Promise<void> => {
    while (!isOver) {
      const files = (await disk.list('/shard/files')).filter((name) => !name.startsWith('.tmp-'));
      const named = namedFiles((await readManifest(disk, '/shard')).manifest).size; // after the list: a manifest in between makes the difference smaller
      unnamedMax = Math.max(unnamedMax, files.length - named);
      await yieldToLoop();
    }
  };
  const watching = watchFiles();
  while (!isOver) {
    const seen = await shard.count({ filter: isMarked, exact: true });
    assert.ok(seen === 0 || seen === ids.length, `${seen} were seen`);
  }
  await watching;
  assert.ok(unnamedMax > 0, 'files were written before the next manifest');
  await shard.close();
  assert.deepEqual((await verifyShard({ disk, directory: '/shard', deep: true })).points, ids.length);
  await using reopened = await Shard.open(options);
  assert.equal(await reopened.count({ filter: isMarked, exact: true }), ids.length);
  await reopened.checkpoint();
  await reopened.settle();
  assert.equal(await reopened.count({ filter: isMarked, exact: true }), ids.length);
});
