// What is on the platter when a seal, a merge or a save has resolved, and what a failure in between leaves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { systemCode } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { Disk } from '../fs/disk.ts';
import { FaultyDisk, type OperationKind } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { tracedDisk } from '../fs/testing/traced-disk.ts';
import { mergeSegments } from './merge.ts';
import { saveSealedState } from './sealed-segment.ts';
import type { SegmentDescription } from './segment.ts';
import { open, randomRows, schema, seal, specs } from './testing/segment-fixtures.ts';
import { verifySegmentFiles } from './verify-segment.ts';

const filesDirectory = '/files';

async function memoryDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.makeDirectory(filesDirectory);
  await disk.syncDirectory('/');
  return disk;
}

/** Seals two segments, changes and saves one, merges both; answers the descriptions that were reported as durable. */
async function script(disk: Disk, done: SegmentDescription[]): Promise<void> {
  const place = { disk, filesDirectory };
  const rows = randomRows(50, 60);
  const inputs = [];
  for (const part of [rows.slice(0, 25), rows.slice(25)]) {
    done.push(await seal(place, part));
    inputs.push(await open(place, must(done.at(-1), 'a description')));
  }
  const changed = must(inputs[1], 'the second');
  await changed.addFieldIndex('f', { type: 'float' });
  done.push(await saveSealedState({ ...place, segment: changed, state: changed.capture() }));
  changed.markDeleted(must([...changed.rowsById()].find((row) => !changed.isDeleted(row)), 'a live row'));
  done.push(await saveSealedState({ ...place, segment: changed, state: changed.capture() }));
  const merged = await mergeSegments({ ...place, inputs: inputs.map((segment) => ({ segment, live: segment.liveBits() })), specs, payloadSchema: schema });
  done.push(must(merged.description, 'rows are live'));
  for (const segment of inputs) await segment.close();
}

async function countFindings(disk: Disk, descriptions: readonly SegmentDescription[]): Promise<number> {
  let count = 0;
  for (const description of descriptions) count += (await verifySegmentFiles({ disk, filesDirectory, description, deep: true })).length;
  return count;
}

for (const seed of [0, 1, 2, 3]) {
  test(`what was reported as written survives a power cut${seed === 0 ? '' : `, seed ${seed}`}`, async () => {
    const disk = await memoryDisk();
    const done: SegmentDescription[] = [];
    await script(disk, done);
    disk.cutPower(seed === 0 ? undefined : seededRandom(seed));
    assert.equal(done.length, 5);
    assert.equal(await countFindings(disk, done), 0);
  });
}

test('a payload index that was saved alone survives a power cut', async () => {
  const disk = await memoryDisk();
  const place = { disk, filesDirectory };
  const segment = await open(place, await seal(place, randomRows(52, 20)));
  await segment.addFieldIndex('f', { type: 'float' });
  const description = await saveSealedState({ ...place, segment, state: segment.capture() });
  disk.cutPower();
  assert.equal(await countFindings(disk, [description]), 0);
});

for (const skipped of ['sync', 'syncDirectory'] satisfies OperationKind[]) {
  test(`the test above would notice a lost ${skipped}`, async () => {
    const disk = await memoryDisk();
    const done: SegmentDescription[] = [];
    await script(new FaultyDisk(disk, ({ kind }) => (kind === skipped ? { kind: 'ignore' } : undefined)), done);
    disk.cutPower();
    assert.ok((await countFindings(disk, done)) > 0);
  });
}

test('a failing operation rejects, harms no file that was reported, and leaves nothing temporary', async () => {
  const failing: OperationKind[] = ['create', 'append', 'sync', 'rename', 'syncDirectory'];
  let operations = 0;
  await script(new FaultyDisk(await memoryDisk(), ({ kind }) => { if (failing.includes(kind)) operations += 1; return undefined; }), []);
  for (let at = 0; at < operations; at += 1) {
    const disk = await memoryDisk();
    const done: SegmentDescription[] = [];
    let count = 0;
    const faulty = new FaultyDisk(disk, ({ kind }) => (failing.includes(kind) && count++ === at ? { kind: 'error', code: 'EIO' } : undefined));
    await assert.rejects(script(faulty, done), (error) => systemCode(error) === 'EIO');
    assert.deepEqual((await disk.list(filesDirectory)).filter((name) => name.startsWith('.')), []);
    for (const description of done) assert.deepEqual(await verifySegmentFiles({ disk, filesDirectory, description, deep: false }), []);
  }
});

test('golden: disk operations of a seal', async () => {
  const stable = (name: string): string => name.replace(/\.tmp-[0-9a-f]+/, '<temporary>').replace(/[0-9a-f]{64}/, '<sha256>');
  const traced = tracedDisk(await memoryDisk(), filesDirectory, stable);
  await seal({ disk: traced.disk, filesDirectory }, randomRows(51, 10).map((row) => ({ ...row, vectors: new Map() })), new Map());
  const file = (kind: string): string[] => ['create <temporary>', 'append', 'sync <temporary>', `rename <temporary> <sha256>.${kind}`];
  const lines = traced.trace().map((line) => (line.startsWith('append') ? 'append' : line)).filter((line, at, all) => line !== all[at - 1]);
  // the bitmaps of three absent vectors are equal: each takes the place of the one before
  assert.deepEqual(lines, [
    ...file('ids'), ...file('idx'), ...file('pay'), ...file('vec'), ...file('has'), ...file('vec'), ...file('has'), ...file('vec'), ...file('has'),
    ...file('del'), 'syncDirectory',
  ]);
});
