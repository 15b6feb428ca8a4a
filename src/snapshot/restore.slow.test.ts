// Upload and recover from files: all of it or nothing.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { FaultyDisk } from '../fs/testing/faulty-disk.ts';
import { encodeManifest } from '../shard/shard-manifest.ts';
import { configOf, manifestOf, type FakeShard } from './testing/fake-source.ts';
import { allBytes, openRig, until, type Rig } from './testing/rig.ts';
import { inChunks } from './testing/archives.ts';

const options = { priority: 'snapshot' } as const;

interface Stored {
  readonly bytes: Buffer;
  readonly folder: string;
  readonly checksum: string;
}

async function storedSnapshot(rig: Rig): Promise<Stored> {
  const made = await rig.snapshots.create('c');
  const download = await rig.snapshots.openDownload('c', made.name);
  const bytes = await allBytes(download);
  download.release();
  return { bytes, folder: path.join(rig.snapshotsPath, 'c', made.name), checksum: made.checksum ?? '' };
}

/** The call fails, and afterwards everything is as before. */
async function checkRefused(rig: Rig, call: () => Promise<unknown>, wireText: RegExp, code: RequestError['code'] = 'bad-request'): Promise<void> {
  const before = [...rig.source.collections.keys()].map((name) => `${name} ${rig.source.contentOf(name)}`);
  await assert.rejects(call, (error: unknown) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.match(error.wireText, wireText);
    assert.equal(error.code, code);
    return true;
  });
  assert.deepEqual([...rig.source.collections.keys()].map((name) => `${name} ${rig.source.contentOf(name)}`), before);
  assert.deepEqual(rig.leftovers(), []);
  assert.equal(rig.snapshots.counts().recovering, 0);
}

test('an upload creates a collection, or replaces the content of one', async () => {
  await using rig = await openRig();
  const { bytes, checksum } = await storedSnapshot(rig);
  assert.equal(await rig.snapshots.upload('new', inChunks(bytes), { ...options, checksum }), true);
  assert.equal(rig.source.contentOf('new'), rig.source.contentOf('c'));
  await rig.source.add('other', { seed: 99 });
  assert.notEqual(rig.source.contentOf('other'), rig.source.contentOf('c'));
  await rig.snapshots.upload('other', inChunks(bytes, 70_000), options);
  assert.equal(rig.source.contentOf('other'), rig.source.contentOf('c'));
  assert.deepEqual(rig.leftovers(), []);
  assert.deepEqual(readdirSync(path.join(rig.snapshotsPath, 'c')).filter((name) => name.endsWith('.snapshot')).length, 1, 'an upload joins no list');
});

test('two uploads of one name at once stage apart and both succeed', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  await Promise.all([rig.snapshots.upload('twice', inChunks(bytes, 333), options), rig.snapshots.upload('twice', inChunks(bytes, 5000), options)]);
  assert.equal(rig.source.contentOf('twice'), rig.source.contentOf('c'));
  assert.deepEqual(rig.leftovers(), []);
});

test('a wrong checksum is refused with the given value as the expected one', async () => {
  await using rig = await openRig();
  const { bytes, checksum, folder } = await storedSnapshot(rig);
  const wrong = 'a'.repeat(64);
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), { ...options, checksum: wrong }), new RegExp(`^Checksum mismatch: expected ${wrong}, actual ${checksum}$`), 'bad-format');
  const text = new RegExp(`^Wrong input: Snapshot checksum mismatch: expected ${wrong}, got ${checksum}$`);
  await checkRefused(rig, () => rig.snapshots.recover('new', { ...options, checksum: wrong, location: `file://${folder}` }), text, 'bad-input');
  writeFileSync(`${folder}-2.snapshot`, bytes);
  await checkRefused(rig, () => rig.snapshots.recover('new', { ...options, checksum: wrong, location: `file://${folder}-2.snapshot` }), text, 'bad-input');
});

test('an archive that does not fit the collection is refused as soon as its manifest is read', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  await rig.source.add('wide', { shards: 2 });
  rig.source.collections.set('wide', { ...rig.source.collections.get('wide')!, config: configOf(2, 8) });
  await rig.source.add('one', { shards: 1 });
  let sent = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of inChunks(bytes, 512)) {
      sent += chunk.length;
      yield chunk;
    }
  }
  await checkRefused(rig, () => rig.snapshots.upload('wide', counted(), options), /^Wrong input: Snapshot is not compatible with existing collection: Collection vectors: /, 'bad-input');
  assert.ok(sent < bytes.length / 2, `${sent} of ${bytes.length} bytes were read`);
  await checkRefused(rig, () => rig.snapshots.upload('one', inChunks(bytes), options), /Collection shard number: 1 Snapshot shard number: 2/, 'bad-input');
});

test('every 97th byte flipped and every block cut: refused, nothing staged, nothing changed', async () => {
  await using rig = await openRig();
  await rig.source.add('c', { shards: 1, fileBytes: [1000] });
  const { bytes } = await storedSnapshot(rig);
  for (let at = 0; at < bytes.length; at += 97) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(damaged, 4096), options), /./);
  }
  for (let length = 0; length < bytes.length; length += 512) {
    await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes.subarray(0, length), 4096), options), /ends early/);
  }
});

test('a client that goes away, before or in the middle, leaves nothing', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  const gone = new RequestError('internal', 'client went away');
  async function* failing(): AsyncGenerator<Buffer> {
    yield bytes.subarray(0, bytes.length - 3000);
    throw gone;
  }
  await checkRefused(rig, () => rig.snapshots.upload('new', failing(), options), /client went away/, 'internal');
  const controller = new AbortController();
  async function* hanging(): AsyncGenerator<Buffer> {
    yield bytes.subarray(0, bytes.length - 3000);
    setImmediate(() => {
      controller.abort(gone);
    });
    await new Promise(() => undefined);
  }
  await checkRefused(rig, () => rig.snapshots.upload('new', hanging(), options, controller.signal), /client went away/, 'internal');
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options, controller.signal), /client went away/, 'internal');
});

test('a client that leaves in the last moment before the commit leaves nothing', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  const controller = new AbortController();
  const disk = new FaultyDisk(new NodeDisk(), ({ kind, path: at }) => {
    if (kind === 'syncDirectory' && at === rig.dataDirectory) controller.abort(new RequestError('internal', 'client went away'));
    return undefined;
  });
  await using snapshots = await rig.reopen({ disk });
  await checkRefused(rig, () => snapshots.upload('new', inChunks(bytes), options, controller.signal), /client went away/, 'internal');
  assert.ok(controller.signal.aborted);
});

test('close undoes a restore that has not committed, and waits for one that is committing', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  async function* hanging(): AsyncGenerator<Buffer> {
    yield bytes.subarray(0, 5000);
    await new Promise(() => undefined);
  }
  let committing = false;
  let finish = (): void => undefined;
  rig.source.beforeAdopt = () => {
    committing = true;
    return new Promise((resolve) => {
      finish = resolve;
    });
  };
  const second = rig.snapshots.upload('second', inChunks(bytes), options);
  const first = assert.rejects(rig.snapshots.upload('first', hanging(), options), /shutting down/);
  await until(() => committing);
  const closed = rig.snapshots.close();
  await first;
  finish();
  await closed;
  assert.equal(await second, true);
  assert.equal(rig.source.contentOf('second'), rig.source.contentOf('c'));
  assert.equal(rig.source.resolve('first'), undefined);
  assert.deepEqual(rig.leftovers(), []);
});

test('an adopt that fails leaves nothing staged', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  rig.source.beforeAdopt = () => Promise.reject(new RequestError('internal', 'cannot adopt'));
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options), /cannot adopt/, 'internal');
});

test('damage that only adopting finds is a 400 about the archive', async () => {
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  rig.source.beforeAdopt = ([first]) => Promise.reject(new CorruptionError({ file: path.join(first!.directory, 'logs'), problem: 'ends at seq 3' }));
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options), /^Bad request: Invalid snapshot: 0\/logs: ends at seq 3$/);
});

const otherFile = { name: 'files/x', path: '', sizeBytes: 5, sha256: 'b'.repeat(64) };
const manifests: readonly (readonly [string, (uuid: string, shard: FakeShard) => Buffer, RegExp])[] = [
  ['names a file that is not there', (uuid, shard) => encodeManifest(manifestOf(uuid, shard.id, [...shard.files, otherFile])), /0\/manifest.json: names b{64}.vec, which the snapshot does not hold/],
  ['is of another shard', (uuid, shard) => encodeManifest(manifestOf(uuid, 1 - shard.id, shard.files)), /is of another shard than snapshot.json says/],
  ['is of another collection', (_, shard) => encodeManifest(manifestOf('11111111-1111-4111-8111-111111111111', shard.id, shard.files)), /is of another shard/],
  ['is no manifest', () => Buffer.from('{"secret":"words"}'), /^Bad request: Invalid snapshot: 0\/manifest.json: does not end with its sha256$/],
];
for (const [title, make, message] of manifests) {
  test(`an archive whose shard manifest ${title} is refused`, async () => {
    await using rig = await openRig();
    const whole = rig.source.collections.get('c')!;
    rig.source.collections.set('c', { ...whole, shards: whole.shards.map((shard) => ({ ...shard, manifestText: make(whole.uuid, shard) })) });
    const { bytes } = await storedSnapshot(rig);
    await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options), message);
  });
}

test('a disk without room is a 507 with numbers, before anything is written', async () => {
  const full = new (class extends NodeDisk {
    override space(): Promise<{ freeBytes: number; totalBytes: number }> {
      return Promise.resolve({ freeBytes: 1000, totalBytes: 2000 });
    }
  })();
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  await using snapshots = await rig.reopen({ disk: full });
  await checkRefused(rig, () => snapshots.upload('new', inChunks(bytes), options), /^Insufficient storage: needs \d+ bytes, 1000 are free/, 'no-space');
});

test('a disk that fills up half way is a 507, and what was staged is gone', async () => {
  const filling = new (class extends NodeDisk {
    override async create(file: string): ReturnType<NodeDisk['create']> {
      const handle = await super.create(file);
      if (file.includes('/files/')) handle.append = () => Promise.reject(Object.assign(new RangeError('full'), { code: 'ENOSPC' }));
      return handle;
    }
  })();
  await using rig = await openRig();
  const { bytes } = await storedSnapshot(rig);
  await using snapshots = await rig.reopen({ disk: filling });
  await checkRefused(rig, () => snapshots.upload('new', inChunks(bytes), options), /^Insufficient storage: the disk filled up during the restore; \d+ bytes are free/, 'no-space');
});

test('recover takes a snapshot folder or an archive file below the snapshots folder', async () => {
  await using rig = await openRig();
  const { bytes, folder, checksum } = await storedSnapshot(rig);
  await rig.snapshots.recover('from-folder', { ...options, checksum, location: `file://${folder}` });
  writeFileSync(path.join(rig.snapshotsPath, 'moved here.snapshot'), bytes);
  await rig.snapshots.recover('from-file', { ...options, checksum, location: `file://localhost${rig.snapshotsPath}/moved%20here.snapshot` });
  for (const name of ['from-folder', 'from-file']) assert.equal(rig.source.contentOf(name), rig.source.contentOf('c'));
  assert.equal((await rig.snapshots.list('c')).length, 1);
  assert.deepEqual(rig.leftovers(), []);
  const restored = rig.source.collections.get('from-folder')!.shards[0]!.files.find(({ sizeBytes }) => sizeBytes === 2000)!;
  assert.equal(statSync(restored.path).ino, statSync(path.join(folder, '0', restored.name)).ino, 'a folder is shared, not copied');
});

test('a snapshot that is deleted while it is being restored is restored all the same', async () => {
  await using rig = await openRig();
  const { folder } = await storedSnapshot(rig);
  let deleted = false;
  rig.hasher.before = async () => {
    if (!deleted) await rig.snapshots.delete('c', path.basename(folder));
    deleted = true;
  };
  await rig.snapshots.recover('new', { ...options, location: `file://${folder}` });
  assert.equal(rig.source.contentOf('new'), rig.source.contentOf('c'));
  assert.ok(deleted && !existsSync(folder));
});

const damages: readonly (readonly [string, (folder: string, file: string) => void, RegExp])[] = [
  ['a flipped bit', (_, file) => {
    const bytes = readFileSync(file);
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    rmSync(file);
    writeFileSync(file, bytes);
  }, /Invalid snapshot: .*does not match its sha256/],
  ['a missing file', (_, file) => {
    rmSync(file);
  }, /Invalid snapshot: .*is missing/],
  ['a file that grew', (_, file) => {
    const bytes = readFileSync(file);
    rmSync(file);
    writeFileSync(file, Buffer.concat([bytes, bytes]));
  }, /bytes instead of/],
  ['advisory 04: a link in the place of a file', (folder, file) => {
    const bytes = readFileSync(file);
    rmSync(file);
    writeFileSync(path.join(path.dirname(folder), 'elsewhere'), bytes);
    symlinkSync(path.join(path.dirname(folder), 'elsewhere'), file);
  }, /is not a plain file/],
  ['a changed manifest', (folder) => {
    writeFileSync(path.join(folder, 'snapshot.json'), readFileSync(path.join(folder, 'snapshot.json'), 'utf8').replace('"points":10', '"points":11'));
  }, /snapshot.json: does not match its sha256/],
];
for (const [title, damage, message] of damages) {
  test(`recover of a folder with ${title} is refused`, async () => {
    await using rig = await openRig();
    const { folder } = await storedSnapshot(rig);
    const copy = path.join(rig.snapshotsPath, 'copy.snapshot');
    cpSync(folder, copy, { recursive: true });
    const live = rig.source.collections.get('c')!.shards[0]!.files.find(({ sizeBytes }) => sizeBytes === 2000)!;
    damage(copy, path.join(copy, '0', live.name));
    await checkRefused(rig, () => rig.snapshots.recover('new', { ...options, location: `file://${copy}` }), message);
  });
}

test('advisory 09/24: file locations: texts and confinement', async () => {
  await using rig = await openRig();
  await storedSnapshot(rig);
  const recover = (location: string) => (): Promise<unknown> => rig.snapshots.recover('new', { ...options, location });
  const secret = path.join(rig.folder, 'secret');
  writeFileSync(secret, 'secret words');
  symlinkSync(secret, path.join(rig.snapshotsPath, 'link.snapshot'));
  mkdirSync(path.join(rig.snapshotsPath, '.tmp-9'));
  writeFileSync(path.join(rig.snapshotsPath, '.tmp-9', 'x.snapshot'), '');
  writeFileSync(path.join(rig.snapshotsPath, 'text.snapshot'), 'secret words');
  const inside = new RegExp(`^Forbidden: Snapshot file path must be inside the snapshots directory "${rig.snapshotsPath}"$`);
  for (const outside of [secret, `${rig.snapshotsPath}/../../secret`, `${rig.snapshotsPath}/link.snapshot`, '/etc/passwd', rig.snapshotsPath, rig.folder, '/']) {
    await checkRefused(rig, recover(`file://${outside}`), inside, 'forbidden');
  }
  await checkRefused(rig, recover(`file://${rig.snapshotsPath}/no.snapshot`), /^Bad request: Snapshot file ".*\/no.snapshot" does not exist$/);
  await checkRefused(rig, recover('file:///no/such/file'), /^Bad request: Snapshot file "\/no\/such\/file" does not exist$/);
  await checkRefused(rig, recover(`file://${rig.snapshotsPath}/.tmp-9/x.snapshot`), /does not exist$/);
  await checkRefused(rig, recover(`file://${rig.snapshotsPath}/${'x'.repeat(300)}`), /does not exist$/);
  await checkRefused(rig, recover(`file://${rig.snapshotsPath}/c`), /is not a snapshot$/);
  await checkRefused(rig, recover(`file://${rig.snapshotsPath}/text.snapshot`), /^Bad request: Invalid snapshot: archive at byte \d+: ends early$/);
  for (const bad of ['file://elsewhere/x.snapshot', `file://${rig.snapshotsPath}/..%2Fx.snapshot`, `file://${rig.snapshotsPath}/%00x`]) {
    await checkRefused(rig, recover(bad), /^Bad request: Invalid snapshot URI, file path must be absolute or on localhost$/);
  }
  await checkRefused(rig, recover('s3://bucket/x'), /^Bad request: URL s3:\/\/bucket\/x with scheme s3 is not supported$/);
  await checkRefused(rig, recover('x.snapshot'), /^Bad request: Invalid snapshot location: not a URL$/);
});

test('an archive without shards changes nothing where the collection exists, and creates none', async () => {
  await using rig = await openRig();
  const empty = rig.source.collections.get('c')!;
  rig.source.collections.set('c', { ...empty, shards: [] });
  const { bytes } = await storedSnapshot(rig);
  rig.source.collections.set('c', empty);
  const before = rig.source.contentOf('c');
  assert.equal(await rig.snapshots.upload('c', inChunks(bytes), options), true);
  assert.equal(rig.source.contentOf('c'), before);
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options), /^Bad request: Invalid snapshot: it holds no shard/);
});

test('an archive that lacks a shard of its collection is refused by number', async () => {
  await using rig = await openRig();
  const whole = rig.source.collections.get('c')!;
  rig.source.collections.set('c', { ...whole, shards: whole.shards.slice(0, 1) });
  const { bytes } = await storedSnapshot(rig);
  rig.source.collections.set('c', whole);
  await checkRefused(rig, () => rig.snapshots.upload('new', inChunks(bytes), options), /^Service internal error: Can't restore snapshot in local mode with missing data at shard: 1$/, 'internal');
});

test('a large archive passes through without being held in memory', async () => {
  await using rig = await openRig();
  const fileBytes = 75 << 20;
  await rig.source.add('big', { shards: 1, fileBytes: [] });
  const folder = path.join(rig.folder, 'big');
  mkdirSync(folder);
  const shard = rig.source.collections.get('big')!.shards[0]!;
  const files = Array.from({ length: 4 }, (_, index) => {
    const bytes = Buffer.alloc(fileBytes, index + 1);
    const sha256 = sha256Hex(bytes);
    writeFileSync(path.join(folder, sha256), bytes);
    return { name: `files/${sha256}.vec`, path: path.join(folder, sha256), sizeBytes: fileBytes, sha256 };
  });
  rig.source.collections.set('big', { ...rig.source.collections.get('big')!, shards: [{ ...shard, files: [...shard.files, ...files] }] });
  const made = await rig.snapshots.create('big');
  assert.ok(made.sizeBytes > 300e6);
  const download = await rig.snapshots.openDownload('big', made.name);
  const baseline = process.memoryUsage().rss;
  let peak = 0;
  async function* watched(): AsyncGenerator<Buffer> {
    for await (const piece of download.read(0, download.sizeBytes - 1)) {
      peak = Math.max(peak, process.memoryUsage().rss);
      yield piece;
    }
  }
  await rig.snapshots.upload('copy', watched(), { ...options, checksum: made.checksum ?? '' });
  download.release();
  assert.ok(peak - baseline < 150e6, `grew by ${peak - baseline} bytes`);
  assert.equal(rig.source.collections.get('copy')!.shards[0]!.files.length, 6);
});
