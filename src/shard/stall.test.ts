// An entry that is stored and cannot read what it changes: nothing of it shows, nothing overtakes it, and it is applied, once, before
// the next thing that needs the state.
import assert from 'node:assert/strict';
import test from 'node:test';
import { RequestError } from '../base/errors.ts';
import { noIndexing } from '../command/indexing-config.ts';
import type { WriteOperation } from '../command/write.ts';
import { must } from '../base/assert.ts';
import type { Fault } from '../fs/testing/faulty-disk.ts';
import type { MemoryDisk } from '../fs/testing/memory-disk.ts';
import type { Filter } from '../payload/filter.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { freezeShards } from './freeze.ts';
import { readManifest } from './shard-manifest.ts';
import { Shard } from './shard.ts';
import { allPoints, draft, faultyDisk, pointId, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const broken: Fault = { kind: 'error', code: 'EIO' };
const stalled = /^RequestError: entry \d+ is stored but could not be applied yet \(EIO.*\); the next write tries it again$/;

const set = (id: number, payload: string): WriteOperation => ({ kind: 'set-payload', selector: { kind: 'ids', ids: [pointId(id)] }, payload });

const where = (n: number): { readonly kind: 'filter'; readonly filter: Filter } => ({ kind: 'filter', filter: parseFilter({ must: [{ key: 'n', match: { value: n } }] }) });

async function payloads(shard: Shard): Promise<readonly (string | undefined)[]> {
  return (await allPoints(shard)).map(({ payload }) => payload);
}

/** Points 1 and 2 in files. */
async function openStored(): Promise<ReturnType<typeof faultyDisk> & { readonly shard: Shard; readonly breakReads: () => void; readonly mend: () => void }> {
  const made = faultyDisk();
  const shard = await Shard.create(shardOptions(made.disk, '/shard'));
  await upsert(shard, draft(1), draft(2));
  await shard.checkpoint();
  return {
    ...made, shard,
    breakReads: () => { made.faults.decide = ({ kind, path }) => (kind === 'read' && path.endsWith('.pay') ? broken : undefined); },
    mend: () => { made.faults.decide = () => undefined; },
  };
}

async function closeSound(shard: Shard, disk: MemoryDisk): Promise<void> {
  await shard.settle();
  await shard.close();
  const { findings, leftovers } = await verifyShard({ disk, directory: '/shard', deep: true });
  assert.deepEqual({ findings, leftovers }, { findings: [], leftovers: [] });
}

test('an entry that cannot be applied shows red and changes no answer; the next write has it applied first', async () => {
  const { shard, inner, breakReads, mend } = await openStored();
  breakReads();
  await assert.rejects(shard.write(set(1, '{"a":1}'), { wait: true }), stalled);
  mend();
  assert.equal(shard.info().status, 'red');
  assert.match(shard.info().optimizerError ?? '', /^entry 2 is stored/);
  assert.deepEqual(await payloads(shard), ['{"n":1}', '{"n":2}']);
  assert.equal(await upsert(shard, draft(3)), 3);
  assert.deepEqual((await allPoints(shard)).map(({ payload, version }) => [payload, version]), [['{"n":1,"a":1}', 2], ['{"n":2}', 1], ['{"n":3}', 3]]);
  assert.equal(shard.info().status, 'green');
  assert.equal(shard.info().segments, 2);
  await closeSound(shard, inner);
});

test('while the read fails, writes, checks, checkpoints and freezes are refused and store nothing; each of them mends it', async () => {
  for (const [title, use] of Object.entries<(shard: Shard) => Promise<unknown>>({
    write: (shard) => upsert(shard, draft(3)),
    check: (shard) => shard.check({ kind: 'upsert', points: [draft(3)] }),
    checkpoint: (shard) => shard.checkpoint(),
    freeze: async (shard) => { for (const frozen of await freezeShards([shard])) frozen.release(); },
    'a note of a restore': (shard) => shard.noteRestore({ collectionUuid: 'c', shardId: 0, generation: 0, seq: 1 }),
  })) {
    const { shard, inner, breakReads, mend } = await openStored();
    breakReads();
    await assert.rejects(shard.write(set(1, '{"a":1}'), { wait: true }), stalled);
    const { seq } = shard.position();
    for (let time = 0; time < 2; time += 1) await assert.rejects(use(shard), (error: unknown) => error instanceof RequestError && error.code === 'unavailable' && stalled.test(String(error)), title);
    assert.equal(shard.position().seq, seq, title);
    await assert.rejects(shard.checkpoint(), stalled); // shows until it is made, which needs nobody's call
    mend();
    await use(shard);
    assert.equal((await payloads(shard))[0], '{"n":1,"a":1}', title);
    await shard.settle();
    assert.equal(shard.info().status, 'green', title);
    await closeSound(shard, inner);
  }
});

test('what was stored behind a stalled entry waits for it and follows in order', async () => {
  const { shard, inner, breakReads, mend } = await openStored();
  const writes: readonly WriteOperation[] = [
    { kind: 'set-payload', selector: where(1), payload: '{"a":1}' },
    { kind: 'set-payload', selector: where(1), payload: '{"n":5}' },
    { kind: 'set-payload', selector: where(5), payload: '{"b":2}' },
    { kind: 'set-payload', selector: where(1), payload: '{"c":3}' },
  ];
  breakReads();
  const outcomes = await Promise.allSettled(writes.map((operation) => shard.write(operation, { wait: true })));
  mend();
  assert.deepEqual(outcomes.map((outcome) => outcome.status === 'rejected' && stalled.test(String(outcome.reason))), [true, true, true, true]);
  assert.equal(shard.position().seq, 5, 'all are stored');
  assert.deepEqual(await payloads(shard), ['{"n":1}', '{"n":2}']);
  await upsert(shard, draft(4));
  assert.deepEqual((await allPoints(shard)).map(({ version, payload }) => [version, payload]), [[4, '{"n":5,"a":1,"b":2}'], [1, '{"n":2}'], [6, '{"n":4}']]);
  await closeSound(shard, inner);
});

test('an entry that stalls half way through many rows goes on where it stopped', async () => {
  const { disk, inner, faults } = faultyDisk();
  const shard = await Shard.create(shardOptions(disk, '/shard', { limits: { ...smallLimits, headRowsMax: 10_000 } }));
  await upsert(shard, ...Array.from({ length: 2_000 }, (_, id) => draft(id, { n: id % 2 })));
  await shard.checkpoint();
  await shard.settle();
  let reads = 0;
  faults.decide = ({ kind, path }) => {
    if (kind !== 'read' || !path.endsWith('.vec')) return undefined;
    reads += 1;
    return reads === 2 ? broken : undefined; // of the second piece of rows
  };
  await assert.rejects(shard.write({ kind: 'overwrite-payload', selector: where(1), payload: '{"n":2}' }, { wait: true }), stalled);
  assert.equal(await shard.count({ filter: where(1).filter, exact: true }), 1_000, 'nothing of it shows');
  await upsert(shard, draft(5_000));
  assert.equal(await shard.count({ filter: where(1).filter, exact: true }), 0);
  assert.equal(await shard.count({ filter: where(2).filter, exact: true }), 1_000);
  assert.equal(shard.info().points, 2_001);
  await closeSound(shard, inner);
});

test('a checkpoint that waits for an entry has its failed read tried once more', async () => {
  const { disk, inner, faults } = faultyDisk();
  const shard = await Shard.create(shardOptions(disk, '/shard', { limits: { ...smallLimits, headRowsMax: 10_000 } }));
  await upsert(shard, ...Array.from({ length: 4_000 }, (_, id) => draft(id, { n: 1 })));
  await shard.checkpoint();
  let reads = 0;
  let checkpoint: Promise<void> | undefined;
  faults.decide = ({ kind, path }) => {
    if (kind !== 'read' || !path.endsWith('.vec')) return undefined;
    reads += 1;
    checkpoint ??= shard.checkpoint();
    return reads === 6 ? broken : undefined;
  };
  await assert.rejects(shard.write({ kind: 'overwrite-payload', selector: where(1), payload: '{"n":2}' }, { wait: true }), stalled);
  await checkpoint;
  assert.ok(reads > 6, 'it was read again');
  assert.equal(shard.info().status, 'green');
  assert.equal(await shard.count({ filter: where(2).filter, exact: true }), 4_000);
  await closeSound(shard, inner);
});

test('a shard that is closed over a stalled entry finds it in the log', async () => {
  const { shard, disk, breakReads, mend } = await openStored();
  breakReads();
  await assert.rejects(shard.write(set(1, '{"a":1}'), { wait: true }), stalled);
  await shard.close();
  mend();
  await using reopened = await Shard.open(shardOptions(disk, '/shard'));
  assert.deepEqual(await payloads(reopened), ['{"n":1,"a":1}', '{"n":2}']);
});

test('a merge that cannot take its place behind a stalled entry is not repeated over a manifest that names its result', async () => {
  const { shard, inner, faults } = await openStored();
  const [payloadsOfOne] = (await inner.list('/shard/files')).filter((name) => name.endsWith('.pay'));
  const crowded = [10, 11, 12, 13, 14, 15];
  await upsert(shard, ...crowded.map((id) => draft(id)));
  await shard.checkpoint();
  const named = async (): Promise<readonly string[]> => (await readManifest(inner, '/shard')).manifest.segments.map(({ uuid }) => uuid);
  const before = await named();
  faults.decide = ({ kind, path }) => (kind === 'read' && path.endsWith(must(payloadsOfOne, 'payloads of point 1')) ? broken : undefined);
  await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: crowded.slice(0, 4).map(pointId) } }, { wait: true });
  await shard.checkpoint(); // a merge starts
  await assert.rejects(shard.write(set(1, '{"a":1}'), { wait: true }), stalled);
  await shard.settle();
  const after = await named();
  assert.deepEqual([after.length, after[0], after[1] === before[1]], [2, before[0], false], 'the merge was published');
  shard.setIndexing(noIndexing); // looks for merges again
  await shard.settle();
  assert.deepEqual(await named(), after);
  assert.deepEqual((await verifyShard({ disk: inner, directory: '/shard', deep: true })).findings, []);
  faults.decide = () => undefined;
  await upsert(shard, draft(3));
  await shard.settle();
  await shard.checkpoint(); // names the inputs again
  await shard.settle();
  assert.equal(shard.info().status, 'green');
  assert.deepEqual((await allPoints(shard)).map(({ id }) => id), [1, 2, 3, 14, 15]);
  await closeSound(shard, inner);
});
