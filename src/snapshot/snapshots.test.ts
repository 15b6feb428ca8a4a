// Create, list, download, delete.
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { SnapshotDescription } from './description.ts';
import { collectionLabel, isSnapshotName, snapshotName } from './snapshot-name.ts';
import { allBytes, openRig, until, type Rig } from './testing/rig.ts';

const options = { priority: 'snapshot' } as const;

function hasCode(code: RequestError['code'], message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

test('a created snapshot is listed, downloads as its checksum says, and is deleted', async () => {
  await using rig = await openRig();
  const made = await rig.snapshots.create('c');
  assert.equal(made.name, 'c-42-2026-02-03-04-05-06.snapshot');
  assert.equal(made.creationTime, '2026-02-03T04:05:06');
  assert.deepEqual(await rig.snapshots.list('c'), [made]);
  const download = await rig.snapshots.openDownload('c', made.name);
  const bytes = await allBytes(download);
  download.release();
  assert.equal(bytes.length, made.sizeBytes);
  assert.equal(sha256Hex(bytes), made.checksum);
  assert.equal(download.etag, sha256Hex(readFileSync(path.join(rig.snapshotsPath, 'c', made.name, 'snapshot.json'))));
  assert.equal(readFileSync(path.join(rig.snapshotsPath, 'c', `${made.name}.checksum`), 'latin1'), made.checksum);
  assert.equal(rig.source.borrowed, 0);
  assert.deepEqual(rig.snapshots.counts(), { creating: 0, recovering: 0, created: 1 });
  await rig.snapshots.delete('c', made.name);
  assert.deepEqual(await rig.snapshots.list('c'), []);
  assert.deepEqual(readdirSync(path.join(rig.snapshotsPath, 'c')), []);
  await assert.rejects(rig.snapshots.delete('c', made.name), hasCode('not-found', new RegExp(`^Snapshot ${made.name} not found$`)));
});

test('files are shared with the live shards, not copied', async () => {
  await using rig = await openRig();
  const made = await rig.snapshots.create('c');
  const live = rig.source.collections.get('c')!.shards[0]!.files.find(({ sizeBytes }) => sizeBytes === 2000)!;
  assert.equal(statSync(path.join(rig.snapshotsPath, 'c', made.name, '0', live.name)).ino, statSync(live.path).ino);
});

test('an alias means its collection; an absent collection is a 404', async () => {
  await using rig = await openRig();
  rig.source.aliases.set('prod', 'c');
  assert.match((await rig.snapshots.create('prod')).name, /^c-42-/);
  assert.equal((await rig.snapshots.list('prod')).length, 1);
  for (const call of [rig.snapshots.create('no'), rig.snapshots.list('no'), rig.snapshots.delete('no', 'x.snapshot'), rig.snapshots.openDownload('no', 'x.snapshot')]) {
    await assert.rejects(call, hasCode('not-found', /^Collection `no` doesn't exist!$/));
  }
});

test('creates in one second, also at once, get names of seconds of their own', async () => {
  await using rig = await openRig();
  const made = await Promise.all([1, 2, 3].map(() => rig.snapshots.create('c')));
  made.push(await rig.snapshots.create('c'));
  assert.deepEqual(made.map(({ name }) => name).sort(), [6, 7, 8, 9].map((second) => `c-42-2026-02-03-04-05-0${second}.snapshot`));
  assert.equal((await rig.snapshots.list('c')).length, 4);
});

test('a name that somebody put there by hand is not taken either', async () => {
  await using rig = await openRig();
  mkdirSync(path.join(rig.snapshotsPath, 'c'));
  writeFileSync(path.join(rig.snapshotsPath, 'c', 'c-42-2026-02-03-04-05-06.snapshot'), 'mine');
  assert.equal((await rig.snapshots.create('c')).name, 'c-42-2026-02-03-04-05-07.snapshot');
  assert.equal(readFileSync(path.join(rig.snapshotsPath, 'c', 'c-42-2026-02-03-04-05-06.snapshot'), 'utf8'), 'mine');
});

test('archive files put there by hand are listed and downloaded as they are', async () => {
  await using rig = await openRig();
  const folder = path.join(rig.snapshotsPath, 'c');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'old.snapshot'), 'x'.repeat(700_000));
  writeFileSync(path.join(folder, 'proved.snapshot'), 'abc');
  writeFileSync(path.join(folder, 'proved.snapshot.checksum'), `${sha256Hex('abc')}\n`);
  writeFileSync(path.join(folder, 'broken.snapshot.checksum'), 'no hash');
  writeFileSync(path.join(folder, 'notes.txt'), '');
  mkdirSync(path.join(folder, 'rubbish.snapshot'));
  symlinkSync('/etc/passwd', path.join(folder, 'link.snapshot'));
  const listed = await rig.snapshots.list('c');
  assert.deepEqual(listed.map(({ name, sizeBytes, checksum }) => [name, sizeBytes, checksum]), [['old.snapshot', 700_000, undefined], ['proved.snapshot', 3, sha256Hex('abc')]]);
  const download = await rig.snapshots.openDownload('c', 'old.snapshot');
  await rig.snapshots.delete('c', 'old.snapshot');
  assert.equal((await allBytes(download)).toString(), 'x'.repeat(700_000));
  const part: Buffer[] = [];
  for await (const piece of download.read(699_999, 800_000)) part.push(piece);
  assert.equal(Buffer.concat(part).toString(), 'x');
  download.release();
  download.release();
  await assert.rejects(rig.snapshots.openDownload('c', 'link.snapshot'), hasCode('not-found', /not found/));
});

for (const name of ['../c/x.snapshot', '..', '.', '', 'a/b.snapshot', '/etc/passwd', '..\\x.snapshot', 'x\0.snapshot', '.tmp-1.snapshot', 'x.snapshot.checksum', `${'x'.repeat(300)}.snapshot`]) {
  test(`advisory 01/02/07/24: the snapshot name ${JSON.stringify(name.slice(0, 30))} is not found`, async () => {
    await using rig = await openRig();
    writeFileSync(path.join(rig.snapshotsPath, 'x.snapshot'), 'outside of the collection');
    await assert.rejects(rig.snapshots.openDownload('c', name), hasCode('not-found', /^Snapshot .* not found$/s));
    await assert.rejects(rig.snapshots.delete('c', name), hasCode('not-found', /^Snapshot .* not found$/s));
    assert.ok(existsSync(path.join(rig.snapshotsPath, 'x.snapshot')));
  });
}

test('advisory 10/14: a collection name never becomes a path, and equal labels mean equal names', async () => {
  const hostile = ['..', '.', '../x', '/etc', '.hidden', 'a\\b', 'a\0b', 'x'.repeat(255), 'é'.repeat(120), 'a\nb', '\ud800', '\ud801', `sha256-${'a'.repeat(64)}`, 'x.snapshot', ''];
  const labels = hostile.map(collectionLabel);
  for (const label of labels) assert.match(label, /^sha256-[0-9a-f]{64}$/);
  assert.equal(new Set(labels).size, hostile.length);
  for (const plain of ['c', 'My collection', 'ünïcode', 'a..b', 'x'.repeat(180)]) assert.equal(collectionLabel(plain), plain);
  for (const name of [...hostile, 'c']) assert.ok(isSnapshotName(snapshotName({ kind: 'collection', collection: name }, 42, 0)));
  await using rig = await openRig();
  for (const name of ['..\\..\\x', '.hidden', '...']) {
    await rig.source.add(name);
    const made = await rig.snapshots.create(name);
    assert.deepEqual(await rig.snapshots.list(name), [made]);
  }
  await rig.source.add('..'); // no request can name it, so no restore brings it back: the create says so
  await assert.rejects(rig.snapshots.create('..'), hasCode('bad-request', /name must be a collection name/));
  assert.deepEqual(readdirSync(rig.folder), ['data']);
});

test('a deleted snapshot stays readable for the download that has begun, and goes with it', async () => {
  await using rig = await openRig();
  const made = await rig.snapshots.create('c');
  const [first, second] = [await rig.snapshots.openDownload('c', made.name), await rig.snapshots.openDownload('c', made.name)];
  const chunks = first.read(0, first.sizeBytes - 1)[Symbol.asyncIterator]();
  const head = (await chunks.next()).value as Buffer;
  await rig.snapshots.delete('c', made.name);
  await assert.rejects(rig.snapshots.openDownload('c', made.name), hasCode('not-found', /not found/));
  const pieces = [head];
  for (let step = await chunks.next(); step.done !== true; step = await chunks.next()) pieces.push(step.value);
  assert.equal(sha256Hex(Buffer.concat(pieces)), made.checksum);
  first.release();
  assert.equal(sha256Hex(await allBytes(second)), made.checksum);
  second.release();
  await until(() => readdirSync(path.join(rig.snapshotsPath, 'c')).length === 0);
});

test('a snapshot that is deleted while its checksum is computed leaves nothing behind', async () => {
  await using rig = await openRig();
  let deleted = false;
  rig.hasher.before = async () => {
    if (!deleted) await rig.snapshots.delete('c', 'c-42-2026-02-03-04-05-06.snapshot');
    deleted = true;
  };
  const made = await rig.snapshots.create('c');
  assert.match(made.checksum ?? '', /^[0-9a-f]{64}$/);
  await until(() => readdirSync(path.join(rig.snapshotsPath, 'c')).length === 0);
});

test('a create that is cancelled while its checksum is computed leaves no snapshot', async () => {
  await using rig = await openRig();
  const started = rig.snapshots.startCreate('c');
  let cancelled: Promise<boolean> | undefined;
  rig.hasher.before = async () => {
    assert.equal((await rig.snapshots.list('c')).length, 1, 'it is published');
    cancelled = rig.snapshots.jobs.cancel(started.id);
  };
  await assert.rejects(started.done, hasCode('unavailable', /cancelled/));
  assert.equal(await cancelled, true);
  assert.deepEqual(await rig.snapshots.list('c'), []);
  await until(() => readdirSync(path.join(rig.snapshotsPath, 'c')).length === 0);
});

test('a list during a create shows the snapshot without its checksum, and does not compute it a second time', async () => {
  await using rig = await openRig();
  const seen: (readonly SnapshotDescription[])[] = [];
  rig.hasher.before = async () => {
    if (seen.length < 5) seen.push(await rig.snapshots.list('c'));
  };
  const made = await rig.snapshots.create('c');
  assert.deepEqual(seen.map((listed) => listed.map(({ name, checksum }) => [name, checksum])), [[[made.name, undefined]]]);
});

test('a live file that changed on disk fails the create, and no snapshot is left', async () => {
  await using rig = await openRig();
  const live = rig.source.collections.get('c')!.shards[1]!.files.find(({ sizeBytes }) => sizeBytes === 2000)!;
  const bytes = readFileSync(live.path);
  bytes[1000] = (bytes[1000] ?? 0) ^ 1;
  writeFileSync(live.path, bytes);
  await assert.rejects(rig.snapshots.create('c'), (error: unknown) => error instanceof CorruptionError && error.file.endsWith(live.name));
  assert.deepEqual(readdirSync(path.join(rig.snapshotsPath, 'c')), []);
  assert.equal(rig.source.borrowed, 0);
});

test('a create that fails before publishing leaves nothing and gives its borrow back', async () => {
  await using rig = await openRig();
  rmSync(rig.source.collections.get('c')!.shards[1]!.files[0]!.path);
  await assert.rejects(rig.snapshots.create('c'), /ENOENT/);
  assert.deepEqual(readdirSync(path.join(rig.snapshotsPath, 'c')), []);
  assert.equal(rig.source.borrowed, 0);
  assert.deepEqual(rig.snapshots.counts(), { creating: 0, recovering: 0, created: 0 });
});

test('a snapshot that its own reader would refuse does not come to be', async () => {
  await using rig = await openRig();
  const deep = JSON.parse('['.repeat(40) + ']'.repeat(40)) as unknown;
  const c = rig.source.collections.get('c')!;
  rig.source.collections.set('c', { ...c, config: { ...c.config, metadata: { deep } } });
  await assert.rejects(rig.snapshots.create('c'), hasCode('bad-request', /nested too deeply/));
  assert.deepEqual(readdirSync(path.join(rig.snapshotsPath, 'c')), []);
});

test('files of a stored snapshot that are cut or missing end a download with an error before its first byte', async () => {
  await using rig = await openRig();
  const made = await rig.snapshots.create('c');
  const file = path.join(rig.snapshotsPath, 'c', made.name, '1', 'manifest.json');
  truncateSync(file, 3);
  const download = await rig.snapshots.openDownload('c', made.name);
  await assert.rejects(allBytes(download), (error: unknown) => error instanceof CorruptionError && /3 bytes instead of/.test(error.message));
  rmSync(file);
  await assert.rejects(allBytes(download), /ENOENT/);
  download.release();
});

test('a folder whose snapshot.json is damaged is logged and in no list', async () => {
  await using rig = await openRig();
  const [first, second] = [await rig.snapshots.create('c'), await rig.snapshots.create('c')];
  appendFileSync(path.join(rig.snapshotsPath, 'c', first.name, 'snapshot.json'), ' ');
  assert.deepEqual(await rig.snapshots.list('c'), [second]);
  assert.match(rig.logged.join(), /damaged and not listed/);
});

test('a start sweeps what a crash left, and a missing checksum is made up for', async () => {
  await using rig = await openRig();
  const made = await rig.snapshots.create('c');
  const folder = path.join(rig.snapshotsPath, 'c');
  mkdirSync(path.join(folder, '.tmp-1234', '0'), { recursive: true });
  mkdirSync(path.join(rig.snapshotsPath, '.tmp-5678'));
  writeFileSync(path.join(folder, `${made.name}.checksum.tmp`), 'half');
  rmSync(path.join(folder, `${made.name}.checksum`));
  await using again = await rig.reopen();
  assert.deepEqual(readdirSync(folder), [made.name]);
  assert.deepEqual(readdirSync(rig.snapshotsPath), ['c']);
  const [listed] = await again.list('c');
  assert.equal(listed?.checksum, undefined);
  await until(() => existsSync(path.join(folder, `${made.name}.checksum`)));
  assert.deepEqual(await again.list('c'), [made]);
});

test('close waits for jobs, refuses new ones and logs what failed', async () => {
  await using rig = await openRig();
  let ended = false;
  const { promise, resolve } = withResolvers();
  rig.hasher.before = () => promise;
  rig.snapshots.detach(rig.snapshots.create('c').finally(() => {
    ended = true;
  }), 'create of c');
  rig.snapshots.detach(Promise.reject(new RequestError('internal', 'broken')), 'restore of c');
  await until(() => rig.snapshots.counts().creating === 1);
  const closed = rig.snapshots.close();
  await assert.rejects(rig.snapshots.create('c'), hasCode('unavailable', /shutting down/));
  await assert.rejects(rig.snapshots.upload('c', rubbish(), options), hasCode('unavailable', /shutting down/));
  assert.equal(ended, false);
  resolve();
  await closed;
  assert.equal(ended, true);
  assert.match(rig.logged.join('\n'), /job failed .*restore of c.*broken/);
});

test('where the snapshots folder cannot share files with the data, they are copied, and equal files of earlier snapshots shared', { skip: !existsSync('/dev/shm') }, async () => {
  const other = mkdtempSync('/dev/shm/nearkeep-');
  try {
    await using rig = await openRig({ snapshotsPath: other });
    const first = await rig.snapshots.create('c');
    const second = await rig.snapshots.create('c');
    const download = await rig.snapshots.openDownload('c', second.name);
    assert.equal(sha256Hex(await allBytes(download)), second.checksum);
    download.release();
    const live = rig.source.collections.get('c')!.shards[0]!.files.find(({ sizeBytes }) => sizeBytes === 2000)!;
    const [a, b] = [first, second].map(({ name }) => statSync(path.join(other, 'c', name, '0', live.name)));
    assert.notEqual(a?.dev, statSync(live.path).dev);
    assert.equal(a?.ino, b?.ino);
    await checkDamageDoesNotSpread(rig, path.join(other, 'c', second.name, '0', live.name));
    await rig.snapshots.recover('copy', { ...options, location: `file://${path.join(other, 'c', (await rig.snapshots.list('c')).at(-1)!.name)}` });
    assert.equal(rig.source.contentOf('copy'), rig.source.contentOf('c'));
  } finally {
    rmSync(other, { recursive: true });
  }
});

async function checkDamageDoesNotSpread(rig: Rig, file: string): Promise<void> {
  const bytes = readFileSync(file);
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  const made = await rig.snapshots.create('c');
  const download = await rig.snapshots.openDownload('c', made.name);
  assert.equal(sha256Hex(await allBytes(download)), made.checksum);
  download.release();
}

async function* rubbish(): AsyncGenerator<Buffer> {
  yield Buffer.from('rubbish');
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
