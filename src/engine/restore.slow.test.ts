// Restores through the real shards: whole storage, one shard, other numbers of shards, what a restore leaves to be undone.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { yieldToLoop, type Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import { silentLogger } from '../base/logger.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { encodeHeader, layoutOf, paddedBytes } from '../snapshot/archive-layout.ts';
import { readArchiveManifest } from '../snapshot/archive-read.ts';
import type { ArchiveDownload, RecoverOptions } from '../snapshot/description.ts';
import { parseManifest } from '../snapshot/manifest-parse.ts';
import type { TargetLike } from '../snapshot/snapshots.ts';
import { Engine, type EngineOptions } from './engine.ts';
import { verifyPath } from './verify.ts';

const snapshotRules: RecoverOptions = { priority: 'snapshot' };
const storage = { kind: 'storage' } as const;

class MovableClock implements Clock {
  offsetMs = 0;
  now(): number {
    return Date.now() + this.offsetMs;
  }
  monotonic(): number {
    return performance.now() + this.offsetMs;
  }
}

interface At extends AsyncDisposable {
  readonly folder: string;
  readonly clock: MovableClock;
  engine: Engine;
  reopen(options?: Partial<EngineOptions>): Promise<Engine>;
}

/** An engine over a fresh folder, which is verified deep at the end. */
async function openAt(options: Partial<EngineOptions> = {}): Promise<At> {
  const folder = await temporaryFolder();
  const clock = new MovableClock();
  const open = (more: Partial<EngineOptions> = {}): Promise<Engine> => Engine.open({
    dataDirectory: path.join(folder.path, 'storage'), snapshotsDirectory: path.join(folder.path, 'snapshots'), logger: silentLogger, clock,
    recovery: { urlRecovery: undefined, boundToLoopback: true }, ...options, ...more,
  });
  const at: At = {
    folder: folder.path, clock, engine: await open(),
    reopen: async (more) => {
      await at.engine.close();
      at.engine = await open(more);
      return at.engine;
    },
    [Symbol.asyncDispose]: async () => {
      await at.engine.close();
      const { problems, notes } = await verifyPath(new NodeDisk(), path.join(folder.path, 'storage'), { deep: true });
      await folder[Symbol.asyncDispose]();
      assert.deepEqual([problems, notes], [[], []]);
    },
  };
  return at;
}

async function fill(engine: Engine, name: string, ids: readonly number[]): Promise<void> {
  const points = ids.map((id) => ({ id: id as PointId, vectors: new Map([['', Float32Array.of(id, 1, 2, 3)]]), payload: `{"n":${id},"city":"c${id % 3}"}` }));
  await engine.write(name, { kind: 'upsert', points }, { wait: true });
}

function range(from: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

/** A hash over ids, vectors and payload texts in order of id. */
async function digest(engine: Engine, name: string): Promise<string> {
  const hash = createHash('sha256');
  let offset: PointId | undefined;
  do {
    const page = await engine.scroll(name, { limit: 100, ...(offset === undefined ? {} : { offset }), selectors: { payload: { kind: 'all' }, vectors: { kind: 'all' } } });
    for (const { id, payload, vectors } of page.points) hash.update(`${id} ${payload ?? ''} ${JSON.stringify([...(vectors ?? [])].map(([key, value]) => [key, ...value]))}\n`);
    offset = page.nextPageOffset ?? undefined;
  } while (offset !== undefined);
  return hash.digest('hex');
}

async function bytesOf(download: ArchiveDownload): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of download.read(0, download.sizeBytes - 1)) pieces.push(piece);
  download.release();
  return Buffer.concat(pieces);
}

async function archiveOf(engine: Engine, of: Parameters<Engine['snapshots']['create']>[0]): Promise<Buffer> {
  const { name } = await engine.snapshots.create(of);
  return await bytesOf(await engine.snapshots.openDownload(of, name));
}

async function* body(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_537) yield bytes.subarray(at, at + 65_537);
}

function upload(engine: Engine, into: TargetLike, bytes: Buffer, options: Partial<RecoverOptions> = {}): Promise<boolean> {
  return engine.snapshots.upload(into, body(bytes), { ...snapshotRules, ...options });
}

/** The archive with another description, consistent in itself. */
async function lie(archive: Buffer, change: (text: string) => string): Promise<Buffer> {
  const sealed = await readArchiveManifest(body(archive));
  const changed = await parseManifest(Buffer.from(change(sealed.text.toString())));
  const [old, layout] = [layoutOf(sealed), layoutOf(changed)];
  const pieces: Buffer[] = [];
  for (const [member, content] of [[layout.members[0], changed.text], [layout.members[1], Buffer.from(changed.sha256)]] as const) {
    pieces.push(encodeHeader(must(member, 'two members'), layout.modifiedSeconds), content, Buffer.alloc(paddedBytes(content.length) - content.length));
  }
  return Buffer.concat([...pieces, archive.subarray(must(old.members[2], 'shards follow').offsetBytes)]);
}

function refused(code: RequestError['code'], text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.match(error.wireText, text);
    assert.equal(error.code, code);
    return true;
  };
}

test('the whole storage comes back at one instant: names, configurations, indexes, aliases and points', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('one', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2, metadata: { owner: 'a' } });
  await engine.createCollection('two', { vectors: { size: 4, distance: 'Cosine' } });
  await fill(engine, 'one', range(1, 60));
  await fill(engine, 'two', range(1, 40));
  await engine.write('one', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
  await engine.changeAliases([{ kind: 'create', alias: 'prod', collection: 'one' }]);
  const before = [await digest(engine, 'one'), await digest(engine, 'two')];
  const made = await engine.snapshots.create(storage);
  assert.match(made.name, /^full-snapshot-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.snapshot$/);
  assert.deepEqual(await engine.snapshots.list(storage), [made]);
  assert.deepEqual(await engine.snapshots.list('one'), [], 'a snapshot of everything is in no list of a collection');
  const archive = await bytesOf(await engine.snapshots.openDownload(storage, made.name));
  assert.equal(archive.length, made.sizeBytes);
  assert.equal(createHash('sha256').update(archive).digest('hex'), made.checksum);
  await fill(engine, 'one', range(1000, 10));
  await engine.deleteCollection('two');
  await engine.createCollection('three', { vectors: { size: 2, distance: 'Dot' } });
  await engine.changeAliases([{ kind: 'delete', alias: 'prod' }, { kind: 'create', alias: 'prod', collection: 'three' }]);
  await upload(engine, storage, archive);
  const check = async (): Promise<void> => {
    assert.deepEqual([await digest(at.engine, 'one'), await digest(at.engine, 'two')], before);
    assert.deepEqual([...at.engine.listCollections()].sort((a, b) => (a < b ? -1 : 1)), ['one', 'three', 'two']);
    assert.deepEqual(at.engine.aliases(), [{ alias: 'prod', collection: 'one' }]);
    assert.deepEqual([...at.engine.collectionInfo('one').payloadSchema.keys()], ['n']);
    assert.deepEqual(at.engine.collectionInfo('one').config.metadata, { owner: 'a' });
  };
  await check();
  await at.reopen();
  await check();
  await using other = await openAt();
  await upload(other.engine, storage, archive);
  assert.deepEqual([await digest(other.engine, 'one'), await digest(other.engine, 'two')], before);
  assert.deepEqual(other.engine.aliases(), [{ alias: 'prod', collection: 'one' }]);
  const report = await verifyPath(new NodeDisk(), path.join(at.folder, 'snapshots', made.name), { deep: true });
  assert.deepEqual([report.problems, report.counts.points, report.counts.shards], [[], 100, 3]);
});

test('writers that never stop see one instant over all collections in a snapshot of the storage', async () => {
  await using at = await openAt();
  const { engine } = at;
  for (const name of ['a', 'b']) await engine.createCollection(name, { vectors: { size: 4, distance: 'Dot' } });
  let [isOver, id] = [false, 0];
  const writer = (async () => {
    while (!isOver) {
      id += 1;
      await fill(engine, 'a', [id]); // a is always written before b
      await fill(engine, 'b', [id]);
    }
  })();
  while (id < 20) await new Promise(setImmediate);
  const archives = [await archiveOf(engine, storage), await archiveOf(engine, storage)];
  isOver = true;
  await writer;
  for (const archive of archives) {
    await using other = await openAt();
    await upload(other.engine, storage, archive);
    const [a, b] = ['a', 'b'].map((name) => other.engine.collectionInfo(name).points);
    assert.ok(a === b || a === must(b, 'restored') + 1, `a has ${a}, b has ${b}`);
  }
});

test('a damaged or cut snapshot of the storage changes nothing', async () => {
  await using at = await openAt();
  const { engine } = at;
  for (const name of ['one', 'two']) {
    await engine.createCollection(name, { vectors: { size: 4, distance: 'Dot' } });
    await fill(engine, name, range(1, 10));
  }
  const archive = await archiveOf(engine, storage);
  await fill(engine, 'two', range(100, 5));
  const before = await digest(engine, 'two');
  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9, 0.999]) {
    const flipped = Buffer.from(archive);
    const place = Math.floor(archive.length * share);
    flipped[place] = (flipped[place] ?? 0) ^ 1;
    await assert.rejects(upload(engine, storage, flipped), refused('bad-request', /^Bad request: Invalid snapshot/));
    await assert.rejects(upload(engine, storage, archive.subarray(0, place)), refused('bad-request', /ends early/));
  }
  assert.equal(await digest(engine, 'two'), before);
  assert.deepEqual(readdirSync(path.join(at.folder, 'storage')).filter((name) => name.startsWith('.')), []);
  assert.equal(readdirSync(path.join(at.folder, 'storage', 'collections')).length, 2);
});

test('a snapshot goes only into what it is of', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await fill(engine, 'c', range(1, 10));
  const shard = { kind: 'shard', collection: 'c', shardId: 1 } as const;
  const [ofCollection, ofShard, ofStorage] = [await archiveOf(engine, 'c'), await archiveOf(engine, shard), await archiveOf(engine, storage)];
  const into = (shardId: number): TargetLike => ({ kind: 'shard', name: 'c', shardId, isPartial: false });
  await assert.rejects(upload(engine, 'c', ofShard), refused('bad-request', /^Bad request: Invalid snapshot: it is of one shard, not of a collection$/));
  await assert.rejects(upload(engine, 'c', ofStorage), refused('bad-request', /it is of the whole storage, not of a collection/));
  await assert.rejects(upload(engine, storage, ofCollection), refused('bad-request', /it is of a collection, not of the whole storage/));
  await assert.rejects(upload(engine, into(1), ofCollection), refused('bad-request', /it is of a collection, not of one shard/));
  await assert.rejects(upload(engine, into(0), ofShard), refused('bad-request', /it is of shard 1, and points of another shard do not belong into shard 0/));
  assert.throws(() => engine.snapshots.startUpload(into(2), body(ofShard), snapshotRules), refused('not-found', /^Not found: shard 2 not found$/));
  assert.throws(() => engine.snapshots.startCreate({ ...shard, shardId: 9 }), refused('not-found', /^Not found: shard 9 not found$/));
});

test('a shard comes back alone, also after a restart, and can be undone', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await fill(engine, 'c', range(1, 50));
  const whole = await digest(engine, 'c');
  const shard = { kind: 'shard', collection: 'c', shardId: 1 } as const;
  const made = await engine.snapshots.create(shard);
  assert.match(made.name, /^c-shard-1-.*\.snapshot$/);
  const archive = await bytesOf(await engine.snapshots.openDownload(shard, made.name));
  await engine.write('c', { kind: 'delete-points', selector: { kind: 'ids', ids: range(1, 50).map((id) => id as PointId) } }, { wait: true });
  await upload(engine, { kind: 'shard', name: 'c', shardId: 1, isPartial: false }, archive);
  const [first, second] = engine.collectionInfo('c').shards;
  assert.equal(first?.points, 0);
  assert.ok((second?.points ?? 0) > 0);
  await at.reopen();
  assert.equal(at.engine.collectionInfo('c').points, second?.points);
  await at.engine.snapshots.undo('c');
  assert.equal(at.engine.collectionInfo('c').points, 0);
  await at.reopen();
  assert.equal(at.engine.collectionInfo('c').points, 0);
  await at.engine.snapshots.undo('c');
  assert.equal(at.engine.collectionInfo('c').points, second?.points);
  await fill(at.engine, 'c', range(1, 50));
  assert.equal(await digest(at.engine, 'c'), whole);
});

test('a partial snapshot brings what has changed, and nothing when nothing has', async () => {
  await using at = await openAt();
  await using copy = await openAt();
  const shard = { kind: 'shard', collection: 'c', shardId: 0 } as const;
  const target = { kind: 'shard', name: 'c', shardId: 0, isPartial: true } as const;
  for (const { engine } of [at, copy]) await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  await fill(at.engine, 'c', range(1, 200));
  const signal = new AbortController().signal;
  const follow = async (): Promise<number | undefined> => {
    const changes = await at.engine.snapshots.partial.openChanges(shard, await copy.engine.snapshots.partial.held(shard), signal);
    if (changes === undefined) return undefined;
    const bytes = await bytesOf(changes);
    await copy.engine.snapshots.partial.startUpload(target, body(bytes), snapshotRules).done;
    assert.equal(await digest(copy.engine, 'c'), await digest(at.engine, 'c'));
    return bytes.length;
  };
  const first = await follow();
  assert.equal(await follow(), undefined, 'nothing has changed');
  await at.engine.write('c', { kind: 'delete-points', selector: { kind: 'ids', ids: [7 as PointId] } }, { wait: true });
  await fill(at.engine, 'c', [1000]);
  const second = await follow();
  assert.ok(must(second, 'changed') < must(first, 'changed'), `${second} of ${first} bytes`);
  const changes = await at.engine.snapshots.partial.openChanges(shard, [], signal);
  const partial = await bytesOf(must(changes, 'somebody who has nothing lacks everything'));
  await assert.rejects(upload(copy.engine, { ...target, isPartial: false }, partial), refused('bad-input', /^Wrong input: Validation failed: invalid shard snapshot: segment [0-9a-f-]{36} contains segment manifest; /));
  const whole = await archiveOf(at.engine, shard);
  await assert.rejects(copy.engine.snapshots.partial.startUpload(target, body(whole), snapshotRules).done, refused('bad-input', /^Wrong input: Validation failed: invalid partial snapshot: segment [0-9a-f-]{36} does not contain segment manifest; /));
  const held = await at.engine.snapshots.partial.held(shard);
  await fill(at.engine, 'c', [2000]);
  const lacking = await bytesOf(must(await at.engine.snapshots.partial.openChanges(shard, held, signal), 'changed'));
  await using empty = await openAt();
  await empty.engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  await assert.rejects(empty.engine.snapshots.partial.startUpload(target, body(lacking), snapshotRules).done, refused('bad-request', /is left out of the partial snapshot, and the shard does not have it/));
  assert.deepEqual(readdirSync(path.join(at.folder, 'snapshots', 'c', 'shards', '0')).filter((name) => name.startsWith('.')), []);
});

for (const [from, to] of [[3, 1], [1, 4], [2, 3]] as const) {
  test(`an archive of ${from} shards goes into ${to} where that is asked for`, async () => {
    await using at = await openAt();
    const { engine } = at;
    await engine.createCollection('a', { vectors: { size: 4, distance: 'Cosine' }, shardNumber: from });
    await fill(engine, 'a', range(1, 300));
    await engine.write('a', { kind: 'delete-points', selector: { kind: 'ids', ids: [3 as PointId, 4 as PointId] } }, { wait: true });
    await engine.write('a', { kind: 'create-index', field: 'city', schema: { type: 'keyword' } }, { wait: true });
    const archive = await archiveOf(engine, 'a');
    await engine.createCollection('b', { vectors: { size: 4, distance: 'Cosine' }, shardNumber: to });
    await fill(engine, 'b', [77_777]);
    await engine.write('b', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
    await assert.rejects(upload(engine, 'b', archive), refused('bad-input', new RegExp(`^Wrong input: Snapshot is not compatible with existing collection: Collection shard number: ${to} Snapshot shard number: ${from}$`)));
    const job = engine.snapshots.startUpload('b', body(archive), { ...snapshotRules, reshard: true });
    assert.deepEqual(await job.done, { points: 298, notApplied: ['payload_schema'] });
    assert.equal(await digest(engine, 'b'), await digest(engine, 'a'));
    assert.deepEqual([engine.collectionInfo('b').shards.length, ...engine.collectionInfo('b').payloadSchema.keys()], [to, 'n']);
    assert.equal(engine.snapshots.jobs.get(job.id).pointsDone, 298);
    await upload(engine, 'b', archive, { reshard: true, schema: 'snapshot' });
    assert.deepEqual([...engine.collectionInfo('b').payloadSchema.keys()], ['city']);
    await at.reopen();
    assert.equal(await digest(at.engine, 'b'), await digest(at.engine, 'a'));
    assert.deepEqual(readdirSync(path.join(at.folder, 'storage')).filter((name) => name.startsWith('.')), []);
  });
}

test('a reshard that is cancelled leaves the old collection', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('a', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await fill(engine, 'a', range(1, 2000));
  const archive = await archiveOf(engine, 'a');
  await engine.createCollection('b', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 3 });
  await fill(engine, 'b', [5]);
  const before = await digest(engine, 'b');
  const job = engine.snapshots.startUpload('b', body(archive), { ...snapshotRules, reshard: true });
  while (engine.snapshots.jobs.get(job.id).pointsDone === 0) await new Promise(setImmediate);
  assert.equal(await engine.snapshots.jobs.cancel(job.id), true);
  await assert.rejects(job.done, /cancelled/);
  assert.equal(engine.snapshots.jobs.get(job.id).state, 'cancelled');
  assert.equal(await digest(engine, 'b'), before);
  assert.equal(readdirSync(path.join(at.folder, 'storage', 'collections')).length, 2);
});

test('what a restore replaces comes back by undo, and an undo by another; a restart keeps it, time ends it', async () => {
  await using at = await openAt({ tidyMs: 1 });
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  await fill(engine, 'c', range(1, 20));
  const archive = await archiveOf(engine, 'c');
  await fill(engine, 'c', range(100, 30));
  const [old, later] = [range(1, 20).length, await digest(engine, 'c')];
  await assert.rejects(engine.snapshots.undo('c'), refused('not-found', /has no replaced state to bring back/));
  await upload(engine, 'c', archive, { priority: 'replica' });
  assert.equal(engine.collectionInfo('c').points, old);
  assert.deepEqual((await engine.snapshots.list('c')).length, 1, 'what is kept is in no list');
  await at.reopen();
  await at.engine.snapshots.undo('c');
  assert.equal(await digest(at.engine, 'c'), later);
  await at.engine.snapshots.undo('c');
  assert.equal(at.engine.collectionInfo('c').points, old);
  await at.engine.snapshots.undo('c');
  await at.reopen();
  assert.equal(await digest(at.engine, 'c'), later);
  at.clock.offsetMs = 25 * 3_600_000;
  await assert.rejects(at.engine.snapshots.undo('c'), refused('not-found', /has no replaced state/));
  while (readdirSync(path.join(at.folder, 'storage', 'collections')).length > 1) await yieldToLoop(); // its files go
  assert.equal(await digest(at.engine, 'c'), later);
});

test('with undo switched off, and after the collection is deleted, nothing is kept', async () => {
  await using at = await openAt({ undoHours: 0 });
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  await fill(engine, 'c', range(1, 20));
  const archive = await archiveOf(engine, 'c');
  await upload(engine, 'c', archive);
  const folder = path.join(at.folder, 'storage', 'collections');
  assert.equal(readdirSync(folder).length, 1);
  await assert.rejects(engine.snapshots.undo('c'), refused('not-found', /no replaced state/));
  await at.reopen({ undoHours: 24 });
  await upload(at.engine, 'c', archive);
  assert.equal(readdirSync(folder).length, 2);
  await at.engine.deleteCollection('c');
  assert.equal(readdirSync(folder).length, 0);
});

test('aliases of an archive: kept out, restored where free, or taken; an undo gives them back', async () => {
  await using at = await openAt();
  const { engine } = at;
  for (const name of ['c', 'other']) await engine.createCollection(name, { vectors: { size: 4, distance: 'Dot' } });
  await fill(engine, 'c', range(1, 20));
  await engine.changeAliases(['free', 'taken', 'mine'].map((alias) => ({ kind: 'create', alias, collection: 'c' })));
  const archive = await archiveOf(engine, 'c');
  await engine.changeAliases([{ kind: 'delete', alias: 'free' }, { kind: 'delete', alias: 'taken' }, { kind: 'create', alias: 'taken', collection: 'other' }]);
  const aliases = (): unknown => Object.fromEntries(engine.aliases().map(({ alias, collection }) => [alias, collection]));
  const before = { mine: 'c', taken: 'other' };
  await upload(engine, 'c', archive);
  assert.deepEqual(aliases(), before);
  await upload(engine, 'c', archive, { aliases: 'restore' });
  assert.deepEqual(aliases(), { ...before, free: 'c' });
  await engine.snapshots.undo('c');
  assert.deepEqual(aliases(), before);
  await upload(engine, 'c', archive, { aliases: 'take' });
  assert.deepEqual(aliases(), { mine: 'c', free: 'c', taken: 'c' });
  await engine.snapshots.undo('c');
  assert.deepEqual(aliases(), before);
  await upload(engine, 'new', archive, { aliases: 'take' });
  assert.deepEqual(aliases(), { mine: 'new', free: 'new', taken: 'new' });
});

test('a dry run says what would happen, refuses what would be refused, and changes nothing', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await fill(engine, 'c', range(1, 20));
  await engine.changeAliases([{ kind: 'create', alias: 'prod', collection: 'c' }]);
  const archive = await archiveOf(engine, 'c');
  await engine.createCollection('d', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 3, metadata: { is: 'other' } });
  await fill(engine, 'd', [1, 2, 3]);
  const { signal } = new AbortController();
  const before = readFileSync(path.join(at.folder, 'storage', 'metastore.json'), 'utf8');
  const create = await engine.snapshots.planUpload('new', body(archive), { ...snapshotRules, aliases: 'take' }, signal);
  assert.deepEqual(create.collections, [{
    name: 'new', action: 'create', points: 20, pointsReplaced: 0, shards: { archive: 2, target: 2 }, aliases: [{ alias: 'prod', action: 'move' }], notApplied: [],
  }]);
  assert.equal(create.archiveBytes, archive.length);
  const spread = await engine.snapshots.planUpload('d', body(archive), { ...snapshotRules, reshard: true }, signal);
  assert.deepEqual(spread.collections, [{
    name: 'd', action: 'replace', points: 20, pointsReplaced: 3, shards: { archive: 2, target: 3 }, aliases: [{ alias: 'prod', action: 'keep' }], notApplied: ['config', 'aliases'],
  }]);
  assert.ok(spread.neededBytes > create.neededBytes);
  await assert.rejects(engine.snapshots.planUpload('d', body(archive), snapshotRules, signal), refused('bad-input', /Collection shard number: 3 Snapshot shard number: 2/));
  assert.equal(readFileSync(path.join(at.folder, 'storage', 'metastore.json'), 'utf8'), before);
});

test('flags at the start: all files by one commit, existing names only by force', async () => {
  await using at = await openAt();
  const { engine } = at;
  for (const name of ['a', 'b']) {
    await engine.createCollection(name, { vectors: { size: 4, distance: 'Dot' } });
    await fill(engine, name, name === 'a' ? range(1, 10) : range(50, 20));
  }
  await engine.changeAliases([{ kind: 'create', alias: 'nick', collection: 'a' }]);
  const files: Record<string, string> = {};
  for (const [name, of] of [['a', 'a'], ['b', 'b'], ['all', storage]] as const) {
    files[name] = path.join(at.folder, `${name}.snapshot`);
    writeFileSync(files[name], await archiveOf(engine, of));
  }
  const [a = '', b = '', all = ''] = [files['a'], files['b'], files['all']];
  await using other = await openAt();
  const { snapshots } = other.engine;
  await assert.rejects(snapshots.restoreAtStart({ collections: [{ path: a, name: 'x' }, { path: `${b}.no`, name: 'y' }], force: false }), /does not exist/);
  await assert.rejects(snapshots.restoreAtStart({ collections: [{ path: a, name: 'x' }, { path: b, name: 'x' }], force: false }), refused('bad-request', /^Bad request: the snapshots for collection x are not of one collection$/));
  await snapshots.restoreAtStart({ collections: [{ path: a, name: 'x' }, { path: a, name: 'x' }], force: false }); // the same shard twice
  assert.equal(other.engine.collectionInfo('x').points, 10);
  await other.engine.deleteCollection('x');
  assert.deepEqual(other.engine.listCollections(), []);
  await snapshots.restoreAtStart({ collections: [{ path: a, name: 'x' }, { path: b, name: 'y' }], force: false });
  assert.deepEqual([other.engine.collectionInfo('x').points, other.engine.collectionInfo('y').points], [10, 20]);
  const again = { collections: [{ path: b, name: 'x' }], force: false };
  await assert.rejects(snapshots.restoreAtStart(again), (error: Error) => error.message === 'Collection x already exists. Use --force-snapshot to overwrite it.');
  await snapshots.restoreAtStart({ ...again, force: true });
  assert.equal(other.engine.collectionInfo('x').points, 20);
  await other.engine.changeAliases([{ kind: 'create', alias: 'nick', collection: 'x' }]);
  await assert.rejects(snapshots.restoreAtStart({ collections: [], storage: all, force: false }), (error: Error) => error.message === 'Alias nick already exists. Use --force-snapshot to overwrite it.');
  await snapshots.restoreAtStart({ collections: [{ path: 'ignored', name: 'z' }], storage: all, force: true });
  assert.deepEqual([...other.engine.listCollections()].sort((p, q) => (p < q ? -1 : 1)), ['a', 'b', 'x', 'y']);
  assert.deepEqual(other.engine.aliases(), [{ alias: 'nick', collection: 'a' }]);
});

test('an archive whose shards hold other vectors than it says is refused before anything changes', async () => {
  await using at = await openAt();
  const { engine } = at;
  await engine.createCollection('c', { vectors: { image: { size: 4, distance: 'Dot' }, text: { size: 3, distance: 'Dot' } } });
  const points = [{ id: 1 as PointId, vectors: new Map([['image', Float32Array.of(1, 2, 3, 4)]]), payload: '{}' }];
  await engine.write('c', { kind: 'upsert', points }, { wait: true });
  const archive = await archiveOf(engine, 'c');
  const changed = await lie(archive, (text) => text.replace('"text":{"size":3', '"text":{"size":5'));
  await assert.rejects(upload(engine, 'new', changed), refused('bad-request', /shard 0 does not hold the vectors that snapshot\.json describes/));
  await engine.createCollection('spread', { vectors: { image: { size: 4, distance: 'Dot' }, text: { size: 5, distance: 'Dot' } }, shardNumber: 2 });
  await assert.rejects(upload(engine, 'spread', changed, { reshard: true }), refused('bad-request', /shard 0 does not hold the vectors that snapshot\.json describes/));
  assert.equal(engine.collectionInfo('spread').points, 0);
  assert.deepEqual(engine.listCollections(), ['c', 'spread']);
  assert.equal(readdirSync(path.join(at.folder, 'storage', 'collections')).length, 2);
});

test('custom sharding on one node: archives bring shard keys, which stay over restarts, restores and an undo', async () => {
  await using at = await openAt();
  await at.engine.createCollection('auto', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await at.engine.write('auto', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
  await fill(at.engine, 'auto', range(0, 60));
  const archive = await archiveOf(at.engine, 'auto');
  const keyed = (...keys: readonly string[]): Promise<Buffer> => lie(archive, (text) => {
    const document = JSON.parse(text) as { collections: { config: { params: object }; shard_map: { shards: { id: number; key: string }[] } }[] };
    const collection = must(document.collections[0], 'one');
    Object.assign(collection.config.params, { sharding_method: 'custom' });
    collection.shard_map.shards = keys.map((key, id) => ({ id, key }));
    return JSON.stringify(document);
  });
  const counts = async (name: string): Promise<readonly number[]> => await Promise.all([{}, ...(at.engine.shardKeys(name) ?? []).map((key) => ({ shardKey: { kind: 'keys', keys: [key] } as const }))].map((of) => at.engine.count(name, { exact: true, ...of })));
  const indexesOf = (name: string): readonly string[] => [...at.engine.collectionInfo(name).payloadSchema.keys()];
  const [points = 0] = await counts('auto');

  await upload(at.engine, 'c', await keyed('"a"', '7'));
  assert.deepEqual([at.engine.shardKeys('c'), at.engine.shardKeys('auto')], [['"a"', '7'], undefined]);
  const [all, a = 0, b = 0] = await counts('c');
  assert.deepEqual([all, a + b, a > 0 && b > 0], [points, points, true]);
  await at.reopen();
  assert.deepEqual([at.engine.shardKeys('c'), await counts('c'), indexesOf('c')], [['"a"', '7'], [all, a, b], ['n']]);
  await assert.rejects(fill(at.engine, 'c', [1000]), refused('bad-input', /^Wrong input: Shard key not specified$/));
  const draft = { id: 1000 as PointId, vectors: new Map([['', Float32Array.of(1, 1, 2, 3)]]), payload: '{}' };
  const [key] = at.engine.shardKeys('c') ?? [];
  await at.engine.write('c', { kind: 'upsert', points: [draft] }, { wait: true, shardKey: { kind: 'keys', keys: [must(key, 'two')] } });
  assert.deepEqual(await counts('c'), [points + 1, a + 1, b]);

  await assert.rejects(upload(at.engine, 'c', await keyed('"a"', '"b"')), refused('bad-input', /it lacks the shard key 7 of the collection/));
  await assert.rejects(upload(at.engine, 'c', await keyed('"a"', '"a"')), refused('bad-input', /Collection shard number of key "a": 1 Snapshot shard number: 2$/));
  await assert.rejects(upload(at.engine, 'c', archive), refused('bad-input', /Collection sharding method: custom Snapshot sharding method: auto$/));
  await assert.rejects(upload(at.engine, 'auto', await keyed('"a"', '7')), refused('bad-input', /Collection sharding method: auto Snapshot sharding method: custom$/));
  await assert.rejects(upload(at.engine, 'd', await keyed('"a"', '"b"', '"c"')), refused('internal', /missing data at shard: 2$/));
  assert.deepEqual([at.engine.shardKeys('c'), (await counts('c'))[0]], [['"a"', '7'], points + 1]);
  await upload(at.engine, 'c', await keyed('7', '"a"'));
  assert.deepEqual([at.engine.shardKeys('c'), await counts('c')], [['7', '"a"'], [points, a, b]]);
  await at.engine.snapshots.undo('c');
  assert.deepEqual([at.engine.shardKeys('c'), await counts('c')], [['"a"', '7'], [points + 1, a + 1, b]]);
  const whole = await archiveOf(at.engine, 'c');
  await at.engine.deleteCollection('c');
  await upload(at.engine, 'c', whole);
  await at.reopen();
  assert.deepEqual([at.engine.shardKeys('c'), await counts('c')], [['"a"', '7'], [points + 1, a + 1, b]]);
});

test('custom sharding on one node: a collection without keys keeps its indexes, and its snapshot brings it back', async () => {
  await using at = await openAt();
  await at.engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' }, shardingMethod: 'custom', shardNumber: 3 });
  await at.engine.write('c', { kind: 'create-index', field: 'gone', schema: { type: 'keyword' } }, { wait: true });
  await at.engine.write('c', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
  await at.engine.write('c', { kind: 'drop-index', field: 'gone' }, { wait: true });
  const archive = await archiveOf(at.engine, 'c');
  await at.reopen();
  await upload(at.engine, 'd', archive);
  await at.reopen();
  for (const name of ['c', 'd']) {
    assert.deepEqual([at.engine.shardKeys(name), at.engine.collectionInfo(name).config.params.sharding_method], [[], 'custom']);
    assert.deepEqual([...at.engine.collectionInfo(name).payloadSchema], [['n', { schema: { type: 'integer' }, points: 0 }]]);
    assert.equal(await at.engine.count(name, { exact: true }), 0);
  }
  await upload(at.engine, 'd', archive);
});
