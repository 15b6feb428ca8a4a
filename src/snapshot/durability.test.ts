// The order of disk operations, and what a power cut at any of them leaves: a snapshot is absent or whole, an answered one stays,
// and what a restore hands on for adopting is on the platter.
import assert from 'node:assert/strict';
import test from 'node:test';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { Disk } from '../fs/disk.ts';
import { FaultyDisk, stopAfter, type OperationKind } from '../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { tracedDisk } from '../fs/testing/traced-disk.ts';
import { readArchive, type ArchiveTarget } from './archive-read.ts';
import type { SnapshotDescription } from './description.ts';
import { Snapshots } from './snapshots.ts';
import { FakeSource } from './testing/fake-source.ts';
import { PlainHasher } from './testing/plain-hasher.ts';
import { allBytes, TestClock } from './testing/rig.ts';
import { inChunks } from './testing/archives.ts';

const root = '/data';

async function memory(): Promise<{ disk: MemoryDisk; source: FakeSource }> {
  const disk = new MemoryDisk();
  await disk.makeDirectory(root);
  await disk.syncDirectory('/');
  const source = new FakeSource(`${root}/live`, disk);
  await source.add('c', { shards: 1, fileBytes: [700] });
  return { disk, source };
}

function open(disk: Disk, source: FakeSource, clock = new TestClock()): Promise<Snapshots> {
  return Snapshots.open({
    disk, source, clock, logger: silentLogger, peerId: 42, hashes: new PlainHasher(disk), snapshotsPath: `${root}/snapshots`, stagingRoot: root,
    productVersion: '0.1.0', recovery: { urlRecovery: false, boundToLoopback: true }, wait: clock.wait,
  });
}

const discard: ArchiveTarget = {
  begin: () => Promise.resolve(),
  open: () => Promise.resolve({ write: () => Promise.resolve(), commit: () => Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() }),
};

/** What the client was told, in the order it was told. */
interface Told {
  readonly created: SnapshotDescription[];
  readonly deleted: string[];
}

/** Two creates and a delete of the first. */
async function script(disk: Disk, source: FakeSource, told: Told): Promise<void> {
  const snapshots = await open(disk, source);
  try {
    for (let count = 0; count < 2; count += 1) told.created.push(await snapshots.create('c'));
    const [first] = told.created;
    await snapshots.delete('c', first?.name ?? '');
    told.deleted.push(first?.name ?? '');
  } finally {
    await snapshots.close();
  }
}

/** Every listed snapshot is whole, and everything that was answered is true. Answers the first thing that is not. */
async function findLie(disk: Disk, source: FakeSource, told: Told): Promise<string | undefined> {
  await using snapshots = await open(disk, source);
  const listed = await snapshots.list('c');
  for (const { name, checksum } of listed) {
    const download = await snapshots.openDownload('c', name);
    try {
      const bytes = await allBytes(download);
      const read = await readArchive(inChunks(bytes), discard, { checksum: true });
      if (checksum !== undefined && read.checksum !== checksum) return `${name} has another checksum`;
    } catch (error) {
      return `${name} is listed and broken: ${String(error)}`;
    } finally {
      download.release();
    }
  }
  const names = new Set(listed.map(({ name }) => name));
  for (const { name } of told.created) {
    const mayBeGone = told.created[0]?.name === name && told.created.length === 2; // its delete had begun
    if (!names.has(name) && !mayBeGone) return `${name} was created and is gone`;
  }
  for (const name of told.deleted) if (names.has(name)) return `${name} was deleted and is back`;
  const left = await disk.list(`${root}/snapshots`);
  if (left.some((name) => name !== 'c')) return `left over: ${left.join()}`;
  return undefined;
}

async function countChanges(): Promise<number> {
  const { disk, source } = await memory();
  const { decide, seen } = stopAfter(Infinity);
  await script(new FaultyDisk(disk, decide), source, { created: [], deleted: [] });
  return seen();
}

test('power cut after every operation of create, create and delete', async () => {
  const total = await countChanges();
  assert.ok(total > 60, `${total} operations`);
  for (let count = 0; count <= total; count += 1) {
    for (const random of [undefined, seededRandom(count + 1)]) {
      const { disk, source } = await memory();
      const told: Told = { created: [], deleted: [] };
      const outcome = await script(new FaultyDisk(disk, stopAfter(count).decide), source, told).then(() => 'done', () => 'stopped');
      assert.equal(outcome, count === total ? 'done' : outcome);
      disk.cutPower(random);
      assert.equal(await findLie(disk, source, told), undefined, `after ${count} of ${total} operations, seed ${random === undefined ? 'none' : count + 1}`);
    }
  }
});

for (const kind of ['sync', 'syncDirectory'] as const satisfies readonly OperationKind[]) {
  test(`canary: without ${kind} a power cut shows`, async () => {
    const { disk, source } = await memory();
    const told: Told = { created: [], deleted: [] };
    await script(new FaultyDisk(disk, (operation) => (operation.kind === kind ? { kind: 'ignore' } : undefined)), source, told);
    disk.cutPower();
    assert.notEqual(await findLie(disk, source, told), undefined);
  });
}

test('what a restore hands on for adopting survives a power cut at that moment', async () => {
  for (const ignored of [undefined, 'sync', 'syncDirectory'] as const) {
    const { disk, source } = await memory();
    const snapshots = await open(disk, source);
    const made = await snapshots.create('c');
    const download = await snapshots.openDownload('c', made.name);
    const bytes = await allBytes(download);
    download.release();
    const faulty = new FaultyDisk(disk, (operation) => (operation.kind === ignored ? { kind: 'ignore' } : undefined));
    const again = await open(faulty, source);
    source.beforeAdopt = () => {
      disk.cutPower();
      return Promise.resolve();
    };
    const outcome = await again.upload('new', inChunks(bytes), { priority: 'snapshot' }).then(() => source.contentOf('new') === source.contentOf('c'), () => false);
    assert.equal(outcome, ignored === undefined, `without ${ignored ?? 'nothing'}`);
  }
});

test('the order of a create', async () => {
  const { disk, source } = await memory();
  const traced = tracedDisk(disk, root, (name) => name.replace(/\.tmp-[0-9a-f]+/, '.tmp-*').replace(/[0-9a-f]{64}/g, 'SHA').replace(/live\/[0-9a-f-]{36}/, 'live').replaceAll(/[0-9a-f]{12}-[0-9a-f]{12}/g, 'JOB'));
  const snapshots = await open(traced.disk, source);
  const before = traced.trace().length;
  const { name } = await snapshots.create('c');
  const job = ['create jobs/JOB.json.tmp', 'sync jobs/JOB.json.tmp', 'rename jobs/JOB.json.tmp jobs/JOB.json', 'syncDirectory jobs'];
  const lines = traced.trace().slice(before).filter((line) => !line.startsWith('append'));
  const temporary = 'snapshots/c/.tmp-*';
  assert.deepEqual(lines, [
    ...job, 'makeDirectory snapshots/c', 'syncDirectory snapshots', ...job,
    `makeDirectory ${temporary}`, `makeDirectory ${temporary}/0`, `makeDirectory ${temporary}/0/logs`, `makeDirectory ${temporary}/0/files`,
    `create ${temporary}/0/manifest.json`, `sync ${temporary}/0/manifest.json`,
    `link live/00000000000000000001 ${temporary}/0/logs/00000000000000000001`,
    `link live/00000000000000000011 ${temporary}/0/logs/00000000000000000011`,
    `link live/SHA.vec ${temporary}/0/files/SHA.vec`,
    `syncDirectory ${temporary}/0/files`, `syncDirectory ${temporary}/0/logs`, `syncDirectory ${temporary}/0`,
    `create ${temporary}/snapshot.json.sha256`, `sync ${temporary}/snapshot.json.sha256`,
    `create ${temporary}/snapshot.json`, `sync ${temporary}/snapshot.json`,
    `syncDirectory ${temporary}`, `rename ${temporary} snapshots/c/${name}`, 'syncDirectory snapshots/c',
    `create snapshots/c/${name}.checksum.tmp`, `sync snapshots/c/${name}.checksum.tmp`,
    `rename snapshots/c/${name}.checksum.tmp snapshots/c/${name}.checksum`, 'syncDirectory snapshots/c', ...job,
  ]);
});
