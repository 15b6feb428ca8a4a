// Verification of what a real engine stored, whole and damaged in every place that counts; and snapshots through the real shards.
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { RequestError } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import { silentLogger } from '../base/logger.ts';
import { run as runVerify } from '../cli/verify.ts';
import { EXIT, exitCodeOf } from '../cli/exit-codes.ts';
import type { Output } from '../cli/output.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { encodeHeader, layoutOf } from '../snapshot/archive-layout.ts';
import { parseManifest } from '../snapshot/manifest-parse.ts';
import { Engine } from './engine.ts';
import { verifyPath } from './verify.ts';
import type { VerifyReport } from './verify-report.ts';

const disk = new NodeDisk();
const pointCount = 50;

function openEngine(folder: string): Promise<Engine> {
  return Engine.open({
    dataDirectory: path.join(folder, 'storage'), snapshotsDirectory: path.join(folder, 'snapshots'), logger: silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

async function fill(engine: Engine, name: string, from = 1): Promise<void> {
  const points = Array.from({ length: pointCount }, (_, index) => ({
    id: (from + index) as PointId, vectors: new Map([['', Float32Array.of(from + index, 1, 2, 3)]]), payload: `{"n":${from + index}}`,
  }));
  await engine.write(name, { kind: 'upsert', points }, { wait: true });
}

interface Stored extends AsyncDisposable {
  readonly folder: string;
  readonly data: string;
  readonly archive: string;
  readonly snapshot: string;
}

/** A closed data directory with collection c (2 shards), a snapshot folder beside it and the same as an archive file. */
async function stored(): Promise<Stored> {
  const folder = await temporaryFolder();
  const engine = await openEngine(folder.path);
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 2 });
  await fill(engine, 'c');
  const made = await engine.snapshots.create('c');
  await fill(engine, 'c', 1000);
  const download = await engine.snapshots.openDownload('c', made.name);
  const archive = path.join(folder.path, 'downloaded.snapshot');
  writeFileSync(archive, '');
  for await (const piece of download.read(0, download.sizeBytes - 1)) appendFileSync(archive, piece);
  download.release();
  await engine.close();
  return {
    folder: folder.path, data: path.join(folder.path, 'storage'), archive, snapshot: path.join(folder.path, 'snapshots', 'c', made.name),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  rmSync(file); // the name gets bytes of its own, so that a linked snapshot keeps the old ones
  writeFileSync(file, bytes);
}

/** All files below a folder, relative. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(path.join(folder, name)).isFile()).sort();
}

async function checkProblem(target: string, wanted: RegExp, deep = false): Promise<VerifyReport> {
  const report = await verifyPath(disk, target, { deep });
  assert.ok(report.problems.some(({ file, problem }) => wanted.test(`${file}: ${problem}`)), `${String(wanted)} in ${JSON.stringify(report.problems)}`);
  return report;
}

test('a sound data directory, snapshot folder and archive are proved, shallow and deep, and nothing is changed', async () => {
  await using at = await stored();
  const before = filesBelow(at.folder);
  for (const deep of [false, true]) {
    const whole = await verifyPath(disk, at.folder, { deep });
    assert.deepEqual(whole.problems, []);
    assert.deepEqual(whole.notes, []);
    assert.equal(whole.counts.collections, 1);
    assert.equal(whole.counts.snapshots, 2);
    assert.equal(whole.counts.shards, 6);
    assert.equal(whole.counts.points, deep ? 4 * pointCount : undefined);
    assert.ok(whole.counts.files > 10 && whole.counts.bytes > 1000);
    assert.deepEqual((await verifyPath(disk, at.data, { deep })).counts.points, deep ? 2 * pointCount : undefined);
    for (const snapshot of [at.snapshot, at.archive]) assert.equal((await verifyPath(disk, snapshot, { deep })).counts.points, pointCount);
  }
  assert.deepEqual((await verifyPath(disk, path.join(at.folder, 'snapshots'), { deep: false })).counts.snapshots, 1);
  assert.deepEqual(filesBelow(at.folder), before);
});

test('snapshots inside the data directory are verified with it', async () => {
  await using at = await stored();
  renameSync(path.join(at.folder, 'snapshots'), path.join(at.data, 'snapshots'));
  assert.equal((await verifyPath(disk, at.data, { deep: false })).counts.snapshots, 1);
});

test('a flipped bit in any file of a snapshot folder is named with its file', async () => {
  await using at = await stored();
  for (const name of filesBelow(at.snapshot)) {
    const copy = path.join(at.folder, 'copy');
    cpSync(at.snapshot, copy, { recursive: true });
    const { size } = statSync(path.join(copy, name));
    if (size > 0) {
      flip(path.join(copy, name), Math.floor(size / 2));
      await checkProblem(copy, new RegExp(name === 'snapshot.json.sha256' ? 'snapshot.json' : name.replaceAll('/', '.')));
    }
    rmSync(copy, { recursive: true });
  }
});

test('every damaged file of a snapshot folder is named, also missing and cut ones', async () => {
  await using at = await stored();
  const names = filesBelow(at.snapshot).filter((name) => name.startsWith('0/'));
  rmSync(path.join(at.snapshot, names[0]!));
  flip(path.join(at.snapshot, names[1]!), 3);
  const report = await verifyPath(disk, at.snapshot, { deep: true });
  assert.deepEqual(report.problems.map(({ file }) => path.relative(at.snapshot, file)).sort(), [names[0], names[1]]);
});

test('a damaged archive is a problem with its place', async () => {
  await using at = await stored();
  const { size } = statSync(at.archive);
  flip(at.archive, size - 1500);
  for (const deep of [false, true]) await checkProblem(at.archive, /downloaded.snapshot: /, deep);
  const cut = path.join(at.folder, 'cut.snapshot');
  writeFileSync(cut, readFileSync(at.archive).subarray(0, 3000));
  const report = await checkProblem(cut, /ends early/);
  assert.equal(report.problems[0]?.offsetBytes, 3000);
  writeFileSync(cut, '');
  await checkProblem(cut, /ends early/);
  assert.deepEqual(readdirSync(at.folder).filter((name) => name.startsWith('.')), []);
});

test('a checksum that is not the archive\'s is a problem', async () => {
  await using at = await stored();
  writeFileSync(`${at.archive}.checksum`, 'a'.repeat(64));
  await checkProblem(at.archive, /checksum: is a{64}, the archive has [0-9a-f]{64}/);
  writeFileSync(`${at.snapshot}.checksum`, 'no hash');
  await checkProblem(at.snapshot, /checksum: is no sha256/);
});

test('after a clean close a flipped bit in the last log entry is damage, not the torn tail of a write', async () => {
  await using at = await stored();
  const logs = filesBelow(at.data).filter((name) => /\/logs\/\d{20}$/.test(name));
  assert.equal(logs.length > 0, true);
  const last = new Map(logs.map((name) => [path.dirname(name), name])); // in order of name: the last of each shard
  for (const name of last.values()) {
    const file = path.join(at.data, name);
    const sound = readFileSync(file);
    for (const back of [1, 2, 50, 200]) {
      flip(file, sound.length - back);
      const damaged = readFileSync(file);
      await checkProblem(at.data, new RegExp(`${name}: .*(marked durable|had been stored)`));
      await using engine = await openEngine(at.folder);
      assert.equal(engine.collectionInfo('c').status, 'red');
      assert.ok(readFileSync(file).equals(damaged), 'nothing is cut off');
      await engine.close();
      writeFileSync(file, sound);
    }
    truncateSync(file, sound.length - 1);
    await checkProblem(at.data, /had been stored/);
    writeFileSync(file, sound);
  }
  assert.deepEqual((await verifyPath(disk, at.data, { deep: true })).problems, []);
});

test('a flipped bit in any file of a data directory is found', async () => {
  await using at = await stored();
  const names = filesBelow(at.data).filter((name) => !path.basename(name).startsWith('LOCK'));
  assert.ok(names.length > 5, names.join());
  for (const name of names) {
    const copy = path.join(at.folder, 'copy');
    cpSync(at.data, copy, { recursive: true });
    const { size } = statSync(path.join(copy, name));
    if (size > 0) {
      flip(path.join(copy, name), Math.floor(size / 2));
      const report = await verifyPath(disk, copy, { deep: true });
      // the last entry of a log may be a write that was never acknowledged: only a later mark tells it from a damaged one
      const isTorn = name.includes('/logs/') && report.notes.some((note) => note.includes('never acknowledged'));
      assert.ok(report.problems.length > 0 || isTorn, `${name} at byte ${Math.floor(size / 2)} of ${size}`);
    }
    rmSync(copy, { recursive: true });
  }
});

test('a missing metastore, shard or the folders of two shards exchanged are problems', async () => {
  await using at = await stored();
  const shards = path.join(at.data, 'collections', readdirSync(path.join(at.data, 'collections'))[0]!, 'shards');
  renameSync(path.join(shards, '0.g0'), path.join(shards, 'x'));
  renameSync(path.join(shards, '1.g0'), path.join(shards, '0.g0'));
  renameSync(path.join(shards, 'x'), path.join(shards, '1.g0'));
  await checkProblem(at.data, /shards\/0\.g0: is shard 1 generation 0 of collection/);
  rmSync(path.join(shards, '1.g0'), { recursive: true });
  await checkProblem(at.data, /1\.g0\/manifest.json: is missing/);
  rmSync(path.join(at.data, 'metastore.json'));
  await checkProblem(at.data, /metastore.json: is missing/);
});

test('leftovers are notes, not problems', async () => {
  await using at = await stored();
  mkdirSync(path.join(at.data, '.staging-1'));
  mkdirSync(path.join(at.data, 'collections', '11111111-1111-4111-8111-111111111111'));
  mkdirSync(path.join(at.folder, 'snapshots', 'c', 'rubbish.snapshot'));
  const report = await verifyPath(disk, at.folder, { deep: false });
  assert.deepEqual(report.problems, []);
  assert.match(report.notes.join('\n'), /\.staging-1: left over[^]*11111111.*: left over[^]*rubbish.snapshot: has no snapshot.json/);
});

test('nothing, an empty folder and one of other things are errors, never sound', async () => {
  await using folder = await temporaryFolder();
  const fails = async (target: string, exit: number): Promise<void> => {
    await assert.rejects(verifyPath(disk, target, { deep: false }), (error: unknown) => error instanceof RequestError && exitCodeOf(error) === exit);
  };
  await fails(path.join(folder.path, 'absent'), EXIT.notFound);
  await fails(folder.path, EXIT.failed);
  mkdirSync(path.join(folder.path, 'src', 'deep'), { recursive: true });
  writeFileSync(path.join(folder.path, 'src', 'deep', 'x.snapshot.txt'), '');
  await fails(folder.path, EXIT.failed);
  writeFileSync(path.join(folder.path, 'LOCK'), '');
  await checkProblem(folder.path, /metastore.json: is missing/);
});

test('a data directory that is open is refused with the name of its holder', async () => {
  await using folder = await temporaryFolder();
  await using _engine = await openEngine(folder.path);
  await assert.rejects(verifyPath(disk, path.join(folder.path, 'storage'), { deep: false }), (error: unknown) => {
    assert.ok(error instanceof RequestError);
    assert.equal(exitCodeOf(error), EXIT.locked);
    assert.match(error.message, new RegExp(`in use by pid ${process.pid}`));
    return true;
  });
});

test('nearkeep verify: text, JSON and exit codes', async () => {
  await using at = await stored();
  const runs = async (...args: string[]): Promise<{ exit: number; lines: string[]; results: unknown[]; errors: unknown[] }> => {
    const [lines, results, errors]: [string[], unknown[], unknown[]] = [[], [], []];
    const output: Output = {
      json: true, line: (text) => lines.push(text), note: () => undefined, result: (body) => results.push(body),
      error: (message, exit, more) => errors.push([message, exit, more?.details?.['problems'] instanceof Array]), progress: () => undefined,
    };
    return { exit: await runVerify(args, output), lines, results, errors };
  };
  const good = await runs(at.archive, '--deep');
  assert.equal(good.exit, EXIT.ok);
  assert.match(good.lines.at(-1) ?? '', /^ok: 0 collections, 2 shards, 1 snapshot, 50 points, \d+ files, \d+(\.\d)? kB$/);
  flip(at.archive, 100_000 % statSync(at.archive).size);
  const bad = await runs(at.archive);
  assert.equal(bad.exit, EXIT.verifyFailed);
  assert.match(bad.lines[0] ?? '', /downloaded.snapshot( at byte \d+)?: /);
  assert.match(bad.lines.at(-1) ?? '', /^FAIL: 1 problem in /);
  assert.deepEqual([bad.results, bad.errors], [[], [['verification failed: 1 problem', EXIT.verifyFailed, true]]]);
  await assert.rejects(runs(), /takes one PATH/);
  await assert.rejects(runs('a', 'b'), /takes one PATH/);
});

test('a restored collection holds the points of the instant of its snapshot, also over a collection that went on', async () => {
  await using at = await stored();
  await using engine = await openEngine(at.folder);
  const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
  const points = async (name: string): Promise<unknown> => engine.scroll(name, { limit: 1000, selectors: all });
  const location = `file://${at.snapshot}`;
  assert.equal(await engine.count('c', { exact: true }), 2 * pointCount);
  await engine.snapshots.recover('copy', { priority: 'snapshot', location });
  await engine.snapshots.recover('c', { priority: 'snapshot', location });
  assert.equal(await engine.count('c', { exact: true }), pointCount);
  assert.deepEqual(await points('copy'), await points('c'));
  await fill(engine, 'c', 5000);
  await engine.snapshots.upload('c', archiveBody(at.archive), { priority: 'snapshot' });
  assert.deepEqual(await points('c'), await points('copy'));
  const again = await engine.snapshots.create('copy');
  await engine.snapshots.recover('third', { priority: 'snapshot', location: `file://${path.join(at.folder, 'snapshots', 'copy', again.name)}` });
  assert.deepEqual(await points('third'), await points('c'));
  await engine.close();
  const report = await verifyPath(disk, at.folder, { deep: true });
  assert.deepEqual(report.problems, []);
  assert.equal(report.counts.collections, 3);
});

type Json = Record<string, unknown>;

/** The archive with a changed manifest, everything that follows from it made to fit again. */
async function resealed(archive: Buffer, change: (document: Json, shard: Json) => void): Promise<Buffer> {
  const text = archive.subarray(512, 512 + Number.parseInt(archive.toString('latin1', 124, 135), 8));
  const document = JSON.parse(text.toString()) as Json;
  change(document, ((document['collections'] as Json[])[0]!['shards'] as Json[])[0]!);
  const [before, after] = [layoutOf(await parseManifest(text)), await parseManifest(Buffer.from(JSON.stringify(document)))];
  const layout = layoutOf(after);
  const contents = [after.text, Buffer.from(after.sha256), ...before.members.slice(2).map(({ offsetBytes, sizeBytes }) => archive.subarray(offsetBytes + 512, offsetBytes + 512 + sizeBytes))];
  const made = Buffer.alloc(layout.sizeBytes);
  for (const [index, member] of layout.members.entries()) {
    encodeHeader(member, layout.modifiedSeconds).copy(made, member.offsetBytes);
    contents[index]!.copy(made, member.offsetBytes + 512);
  }
  return made;
}

const forgeries: readonly (readonly [string, (document: Json, shard: Json) => void])[] = [
  ['another chain hash', (_, shard) => { (shard['log'] as Json)['chain'] = '0'.repeat(32); }],
  ['another number of points', (document, shard) => {
    shard['points'] = Number(shard['points']) + 1;
    (document['totals'] as Json)['points'] = pointCount + 1;
  }],
];
for (const [title, change] of forgeries) {
  test(`an archive with ${title} than its log leads to is refused, and nothing is changed`, async () => {
    await using at = await stored();
    const forged = await resealed(readFileSync(at.archive), change);
    writeFileSync(path.join(at.folder, 'forged.snapshot'), forged);
    assert.deepEqual((await verifyPath(disk, path.join(at.folder, 'forged.snapshot'), { deep: false })).problems, []);
    await checkProblem(path.join(at.folder, 'forged.snapshot'), /leads to entry|points/, true);
    await using engine = await openEngine(at.folder);
    for (const name of ['new', 'c']) {
      await assert.rejects(engine.snapshots.upload(name, archiveBody(path.join(at.folder, 'forged.snapshot')), { priority: 'snapshot' }), (error: unknown) => {
        assert.ok(error instanceof RequestError, String(error));
        assert.match(error.wireText, /^Bad request: Invalid snapshot: 0(\/logs)?: /);
        return true;
      });
    }
    assert.deepEqual(engine.listCollections(), ['c']);
    assert.equal(await engine.count('c', { exact: true }), 2 * pointCount);
    assert.deepEqual(readdirSync(at.data).filter((name) => name.startsWith('.staging')), []);
  });
}

async function* archiveBody(file: string): AsyncGenerator<Buffer> {
  yield readFileSync(file);
}
