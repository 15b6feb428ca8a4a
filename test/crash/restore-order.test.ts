// The order of disk operations of a restore, syncs included, as golden lists: a sync that is gone or comes too late is a red line in
// the diff, also where no power cut of the other tests meets it. Through the whole engine, with every file of two shards.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine } from '../../src/engine/engine.ts';
import { FaultyDisk, type DecideFault } from '../../src/fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../../src/fs/testing/memory-disk.ts';
import { tracedDisk } from '../../src/fs/testing/traced-disk.ts';
import { diffLines, matchGolden } from '../support/golden-lines.ts';
import { dataDirectory, openMemoryEngine, points, settle, snapshotUrl, uploadSnapshot, verifyMemory } from './memory-engine.ts';

const dot = { size: 4, distance: 'Dot' } as const;

/** What chance and time have given, the same in every run: uuids by the order in which they appear. */
function stableNames(): (name: string) => string {
  const uuids: string[] = [];
  return (name) => name
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (uuid) => {
      if (!uuids.includes(uuid)) uuids.push(uuid);
      return `UUID${uuids.indexOf(uuid) + 1}`;
    })
    .replaceAll(/[0-9a-f]{12}-[0-9a-f]{12}/g, 'JOB')
    .replaceAll(/\.(staging|tmp)-[0-9a-f]+/g, '.$1-*')
    .replaceAll(/[0-9a-f]{64}\.[a-z]+/g, 'SHA') // the kind too: files go in the order of their hashes
    .replaceAll(/a-\d+-\d{4}(?:-\d\d){5}\.snapshot/g, 'SNAPSHOT');
}

interface Traced {
  readonly engine: Engine;
  readonly disk: MemoryDisk;
  /** Of the only snapshot there is, of `a`. */
  readonly snapshot: string;
  /** The changes of this work alone; pieces of one write are one line. */
  readonly during: (work: () => Promise<unknown>) => Promise<readonly string[]>;
}

/** @param decide faults above the trace: what they swallow is not in it */
async function openTraced(decide: DecideFault = () => undefined): Promise<Traced> {
  const disk = new MemoryDisk();
  const traced = tracedDisk(disk, dataDirectory, stableNames());
  const engine = await openMemoryEngine(new FaultyDisk(traced.disk, decide));
  await engine.createCollection('a', { vectors: dot, shardNumber: 2 });
  await engine.write('a', { kind: 'upsert', points: points({ from: 0, to: 24 }, 1) }, { wait: true });
  await settle(engine);
  await engine.write('a', { kind: 'upsert', points: points({ from: 24, to: 27 }, 2) }, { wait: true });
  const { name } = await engine.snapshots.create('a');
  await settle(engine);
  const during: Traced['during'] = async (work) => {
    const before = traced.trace().length;
    await work();
    await settle(engine);
    const lines = traced.trace().slice(before).map((line) => line.replace(/^(append .*) \d+$/, '$1'));
    return lines.filter((line, at) => !line.startsWith('append ') || line !== lines[at - 1]);
  };
  return { engine, disk, snapshot: name, during };
}

const restores: readonly { readonly title: string; readonly golden: string; readonly run: (traced: Traced) => Promise<unknown> }[] = [
  { title: 'the order of an upload into a new name', golden: 'restore-upload-new.txt', run: ({ engine, snapshot }) => uploadSnapshot(engine, { collection: 'a', name: snapshot }, 'n') },
  { title: 'the order of an upload over a collection', golden: 'restore-upload-over.txt', run: ({ engine, snapshot }) => uploadSnapshot(engine, { collection: 'a', name: snapshot }, 'a') },
  { title: 'the order of a recover from a stored snapshot into a new name', golden: 'restore-recover-new.txt', run: ({ engine, snapshot }) => engine.snapshots.recover('n', { priority: 'snapshot', location: snapshotUrl('a', snapshot) }) },
  { title: 'the order of an undo', golden: 'restore-undo.txt', run: ({ engine }) => engine.snapshots.undo('a') },
];

for (const { title, golden, run } of restores) {
  test(title, async () => {
    const traced = await openTraced();
    if (golden === 'restore-undo.txt') await uploadSnapshot(traced.engine, { collection: 'a', name: traced.snapshot }, 'a');
    const lines = await traced.during(() => run(traced));
    await traced.engine.close();
    assert.deepEqual((await verifyMemory(traced.disk)).problems, []);
    matchGolden(`crash/golden/${golden}`, lines);
    assert.deepEqual(findUnsynced(lines), [], 'every file that was written is synced, and so is the folder of every new name');
  });
}

/** Of the golden lists themselves: files with bytes after their last sync, and names that no sync of their folder follows.
 *  Folders that are gone at the end owe nothing. */
function findUnsynced(lines: readonly string[]): readonly string[] {
  const owed = new Set<string>();
  const parent = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('/')));
  for (const line of lines) {
    const [kind = '', first = '', second = ''] = line.split(' ');
    if (kind === 'append') owed.add(`bytes of ${first}`);
    if (kind === 'sync') owed.delete(`bytes of ${first}`);
    if (kind === 'create' || kind === 'makeDirectory') owed.add(`name ${first}`);
    if (kind === 'link') owed.add(`name ${second}`);
    if (kind === 'rename') {
      for (const each of owed) if (each === `name ${first}` || each.startsWith(`name ${first}/`)) owed.delete(each);
      owed.add(`name ${second}`);
    }
    if (kind === 'syncDirectory') for (const each of owed) if (each.startsWith('name ') && parent(each.slice(5)) === first) owed.delete(each);
    if (kind === 'remove' || kind === 'removeTree') for (const each of owed) if (each.endsWith(` ${first}`) || each.includes(` ${first}/`)) owed.delete(each);
  }
  return [...owed];
}

async function uploadLines(decide?: DecideFault): Promise<readonly string[]> {
  const traced = await openTraced(decide);
  const lines = await traced.during(() => uploadSnapshot(traced.engine, { collection: 'a', name: traced.snapshot }, 'n'));
  await traced.engine.close();
  return lines;
}

test('canary: a sync that is left out is a line of the diff', async () => {
  for (const [kind, path] of [['sync', /\.staging-[^/]+\/1\/files\//], ['syncDirectory', /\.staging-[^/]+\/0\/logs$/], ['syncDirectory', /^\/data$/]] as const) {
    const whole = await uploadLines();
    const less = await uploadLines((operation) => (operation.kind === kind && path.test(operation.path) ? { kind: 'ignore' } : undefined));
    const taken = diffLines(whole, less).filter((line) => !line.startsWith(' '));
    assert.ok(taken.length > 0 && taken.every((line) => line.startsWith(`- ${kind}`)), `${kind}: ${taken.join('; ')}`);
  }
});
