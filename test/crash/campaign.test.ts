// Single-bit flips and truncations, spread evenly over every kind of file of a data directory, a snapshot folder and an archive.
// Deep verification finds each one and names the file. Of every tenth, use as well: what is asked is refused by that damage or
// answered exactly as before; damage in a live graph refuses nothing. NEARKEEP_CAMPAIGN says how many of each, NEARKEEP_SEED repeats a run.
import assert from 'node:assert/strict';
import { cpSync, createReadStream, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { crc32, sha256Hex } from '../../src/base/checksum.ts';
import { CorruptionError, RequestError } from '../../src/base/errors.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { thisMachine } from '../../src/engine/machine.ts';
import { verifyPath } from '../../src/engine/verify.ts';
import type { VerifyProblem } from '../../src/engine/verify-report.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { decodeManifest, encodeManifest } from '../../src/shard/shard-manifest.ts';
import { loadAddon } from '../../src/vector/addon.ts';
import { makeSmall, openSmall, placesBelow, readAll, searchAll, settled, type SmallData } from '../support/small-data.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const damagesOfEach = Number(process.env['NEARKEEP_CAMPAIGN'] ?? (process.env['NEARKEEP_FAULTS'] === 'all' ? 1_000 : 120));
const usedEach = 10;
const segmentKinds = ['vec', 'has', 'pay', 'ids', 'idx', 'del', 'pidx', ...(loadAddon() === undefined ? [] : ['code', 'graph'])];
const storedKinds = [
  'data/metastore.json', 'data/manifest.json', 'data/log', 'data/job', 'data/LOCK', ...segmentKinds.map((kind) => `data/${kind}`),
  'snapshots/snapshot.json', 'snapshots/snapshot.json.sha256', 'snapshots/checksum', 'snapshots/manifest.json', ...segmentKinds.map((kind) => `snapshots/${kind}`),
  'archives/snapshot', 'archives/checksum',
];
/** What stands in them is for people: nothing reads it, so nothing minds damage. */
const forPeople = new Set(['data/LOCK']);
/** Nor does any answer depend on them. */
const isNoData = new Set([...forPeople, 'data/job']);
const vectorsOf = { mixed: { a: 16, h: 8, u: 8 }, plain: { '': 4 } } as const;

interface Damage {
  readonly kind: string;
  /** Below the root. */
  readonly file: string;
  readonly title: string;
  readonly bytes: Buffer;
}

/** Kind → files below the root, empty ones too: there is nothing in a data directory that the campaign does not know. */
function filesByKind(root: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const file = path.relative(root, path.join(entry.parentPath, entry.name));
    const kind = `${must(file.split('/')[0], 'a place')}/${kindOf(file)}`;
    found.set(kind, [...(found.get(kind) ?? []), file].sort());
  }
  return found;
}

function kindOf(file: string): string {
  const name = path.basename(file);
  const folder = path.basename(path.dirname(file));
  if (folder === 'logs' && /^\d{20}$/.test(name)) return 'log';
  if (folder === 'jobs' && /^[0-9a-f]{12}-[0-9a-f]{12}\.json$/.test(name)) return 'job';
  return name.includes('.json') || path.extname(name) === '' ? name : path.extname(name).slice(1);
}

function damageable(root: string): (readonly [string, readonly string[]])[] {
  const filled = Array.from(filesByKind(root), ([kind, files]) => [kind, files.filter((file) => readFileSync(path.join(root, file)).length > 0)] as const);
  return filled.filter(([, files]) => files.length > 0);
}

/** Kinds in turn; within a kind its files in turn and one offset of each stretch. */
function* plan(root: string, random: Random): Generator<Damage> {
  const kinds = damageable(root);
  const perKind = Math.ceil(damagesOfEach / kinds.length);
  for (let at = 0; at < damagesOfEach; at += 1) {
    const [kind, files] = must(kinds[at % kinds.length], 'kinds');
    const round = Math.floor(at / kinds.length);
    const file = must(files[round % files.length], 'files');
    const bytes = readFileSync(path.join(root, file));
    const place = (): number => Math.floor(((round + random.next()) / perKind) * bytes.length);
    const [offset, bit, size] = [place(), random.below(8), place()];
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(bytes.readUInt8(offset) ^ (1 << bit), offset);
    yield { kind, file, title: `${file} with bit ${bit} of byte ${offset} of ${bytes.length} flipped`, bytes: flipped };
    yield { kind, file, title: `${file} cut from ${bytes.length} to ${size} bytes`, bytes: bytes.subarray(0, size) };
  }
}

async function makeWithBare(root: string): Promise<SmallData> {
  const places = await makeSmall(root, seed);
  cpSync(places.archive, path.join(path.dirname(places.archive), bareName));
  return places;
}

/** Under its own name meanwhile: links to it from elsewhere keep the sound bytes. */
async function withDamage<T>(root: string, { file, bytes }: Pick<Damage, 'file' | 'bytes'>, work: () => Promise<T>): Promise<T> {
  const at = path.join(root, file);
  const kept = path.join(root, 'sound');
  renameSync(at, kept);
  try {
    writeFileSync(at, bytes);
    return await work();
  } finally {
    renameSync(kept, at);
  }
}

type Prove = (target: string) => Promise<readonly VerifyProblem[]>;

/** An archive without a checksum beside it: the archive itself must cover each of its bytes. */
const bareName = 'bare.snapshot';

/** What a person would verify: the data directory, the snapshots or the archive. */
function targetOf({ data, snapshots, archive }: SmallData, { kind, file }: Damage): string {
  if (kind.startsWith('archives/')) return path.join(path.dirname(archive), path.basename(file, '.checksum'));
  return kind.startsWith('data/') ? data : snapshots;
}

/** The file itself; the folder of a log whose end is missing; the file whose sha256 lies beside it. */
function isNamed(problem: VerifyProblem, file: string): boolean {
  if (problem.file === file) return true;
  return (path.basename(path.dirname(file)) === 'logs' && problem.file === path.dirname(file)) || (file.endsWith('.sha256') && problem.file === file.slice(0, -'.sha256'.length));
}

/** Another spelling of the same checksum: hex in capitals, which every reader of it takes. */
function isSameChecksum(root: string, { kind, file, bytes }: Damage): boolean {
  return kind.endsWith('/checksum') && bytes.toString('latin1').toLowerCase() === readFileSync(path.join(root, file), 'latin1');
}

/** Question → its answer, or the error that refused it. */
type Answers = ReadonlyMap<string, { readonly answer: unknown } | { readonly refusal: string }>;

/** Everything that can be asked, of a copy that may be changed by it. */
async function useCopy(root: string, snapshotName: string): Promise<Answers> {
  const places = placesBelow(root, snapshotName);
  const answers = new Map<string, { readonly answer: unknown } | { readonly refusal: string }>();
  const ask = async <T>(question: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      const answer = await work();
      answers.set(question, { answer });
      return answer;
    } catch (error) {
      if (!(error instanceof RequestError) && !(error instanceof CorruptionError)) throw error;
      answers.set(question, { refusal: error.message });
      return undefined;
    }
  };
  let engine: Engine | undefined;
  await ask('start', async () => {
    engine = await openSmall(places);
  });
  if (engine === undefined) return answers;
  await using open = engine;
  await ask('names', () => Promise.resolve([open.listCollections(), open.aliases()]));
  for (const [name, vectors] of Object.entries(vectorsOf)) {
    await ask(`contents of ${name}`, () => readAll(open, name));
    await ask(`searches of ${name}`, () => searchAll(open, name, vectors));
  }
  const restored = async (body: AsyncIterable<Uint8Array>, checksum?: string): Promise<unknown> => {
    await open.snapshots.upload('restored', body, { priority: 'snapshot', ...(checksum === undefined ? {} : { checksum }) });
    const contents = [await readAll(open, 'restored'), await searchAll(open, 'restored', vectorsOf.mixed)];
    await open.deleteCollection('restored');
    return contents;
  };
  await ask('contents of the snapshot', async () => {
    const download = await open.snapshots.openDownload('mixed', snapshotName);
    try {
      return await restored(download.read(0, download.sizeBytes - 1));
    } finally {
      download.release();
    }
  });
  await ask('contents of the archive', () => restored(createReadStream(places.archive), readFileSync(`${places.archive}.checksum`, 'latin1').trim()));
  await ask('contents of the bare archive', () => restored(createReadStream(path.join(path.dirname(places.archive), bareName))));
  await settled(open);
  return answers;
}

/** The same on a copy of everything. */
async function use({ root, snapshotName }: { readonly root: string; readonly snapshotName: string }): Promise<Answers> {
  await using copy = await temporaryFolder();
  cpSync(root, copy.path, { recursive: true });
  rmSync(path.join(copy.path, 'sound'), { force: true });
  return await useCopy(copy.path, snapshotName);
}

/** Never a wrong answer. Answers how many questions were refused. */
function compareAnswers(found: Answers, sound: Answers, damage: Pick<Damage, 'file' | 'kind' | 'title'>): number {
  const refusals = [...found].flatMap(([question, answer]) => ('refusal' in answer ? [[question, answer.refusal] as const] : []));
  if (!refusals.some(([question]) => question === 'start')) assert.deepEqual([...found.keys()], [...sound.keys()], damage.title);
  for (const [question, answer] of found) if ('answer' in answer) assert.deepEqual(answer, sound.get(question), `${question}: ${damage.title}`);
  if (!damage.kind.startsWith('data/')) return refusals.length;
  const names = [damage.file, ...(damage.kind === 'data/log' ? [path.dirname(damage.file)] : [])];
  for (const [question, refusal] of refusals) {
    if (question.startsWith('contents of mixed') || question === 'start') assert.ok(names.some((name) => refusal.includes(name)), `${question}: ${refusal} names ${damage.file}`);
  }
  return refusals.length;
}

/** With one worker that hashes for all of them. */
async function withProver(work: (prove: Prove) => Promise<void>): Promise<void> {
  const hasher = thisMachine.openHasher();
  const machine = { lock: thisMachine.lock, openHasher: () => ({ hash: hasher.hash.bind(hasher), close: () => Promise.resolve() }) };
  try {
    await work(async (target) => (await verifyPath(thisMachine.disk, target, { deep: true, machine })).problems);
  } finally {
    await hasher.close();
  }
}

test(`${damagesOfEach} flips and ${damagesOfEach} truncations of stored files, seed ${seed}`, async (t) => {
  await using folder = await temporaryFolder();
  const root = folder.path;
  const places = await makeWithBare(root);
  assert.deepEqual([...filesByKind(root).keys()].filter((kind) => kind !== 'snapshots/log').sort(), [...storedKinds].sort(), 'every kind of file is there');
  const sound = await use({ root, snapshotName: places.snapshotName });
  assert.deepEqual([...sound].filter(([, answer]) => 'refusal' in answer), []);
  const counts = { damages: 0, sameChecksum: 0, used: 0, usedRefused: 0 };
  const undetected: string[] = [];
  await withProver(async (prove) => {
    for (const target of [places.data, places.snapshots, path.dirname(places.archive)]) assert.deepEqual(await prove(target), [], 'sound before');
    for (const damage of plan(root, seededRandom(seed))) {
      if (isSameChecksum(root, damage)) {
        counts.sameChecksum += 1;
        continue;
      }
      counts.damages += 1;
      await withDamage(root, damage, async () => {
        const problems = await prove(targetOf(places, damage));
        if (forPeople.has(damage.kind)) assert.deepEqual(problems, [], damage.title);
        else if (!problems.some((problem) => isNamed(problem, path.join(root, damage.file)))) undetected.push(`${damage.title}: ${JSON.stringify(problems)}`);
        if (counts.damages % usedEach !== 0) return;
        counts.used += 1;
        const refused = compareAnswers(await use({ root, snapshotName: places.snapshotName }), sound, damage);
        if (isNoData.has(damage.kind)) assert.equal(refused, 0, damage.title);
        if (refused > 0) counts.usedRefused += 1;
      });
    }
    for (const target of [places.data, places.snapshots, path.dirname(places.archive)]) assert.deepEqual(await prove(target), [], 'sound again');
  });
  t.diagnostic(`${JSON.stringify(counts)}, ${filesByKind(root).size} kinds of files; NEARKEEP_SEED=${seed} NEARKEEP_CAMPAIGN=${damagesOfEach} node --test dist/test/crash/campaign.test.js`);
  assert.deepEqual(undetected, [], `${undetected.length} of ${counts.damages} damages are not found`);
});

test(`damage in a graph of the data refuses nothing, and is gone when the graph is built again, seed ${seed}`, { skip: loadAddon() === undefined ? 'graphs need the addon' : false }, async () => {
  await using folder = await temporaryFolder();
  const root = path.join(folder.path, 'sound');
  mkdirSync(root);
  const { snapshotName } = await makeWithBare(root);
  const sound = await use({ root, snapshotName });
  const random = seededRandom(seed);
  const files = filesByKind(root);
  await withProver(async (prove) => {
    for (const [kind, flips] of [['data/code', true], ['data/graph', true], ['data/graph', false]] as const) {
      await using copy = await temporaryFolder();
      cpSync(root, copy.path, { recursive: true });
      const ofKind = must(files.get(kind), kind);
      const file = path.join(copy.path, must(ofKind[random.below(ofKind.length)], kind));
      const bytes = readFileSync(file);
      const offset = random.below(bytes.length);
      if (flips) bytes.writeUInt8(bytes.readUInt8(offset) ^ (1 << random.below(8)), offset);
      writeFileSync(file, flips ? bytes : bytes.subarray(0, offset));
      const { data } = placesBelow(copy.path, snapshotName);
      assert.deepEqual((await prove(data)).map((problem) => problem.file), [file]);
      assert.deepEqual(await useCopy(copy.path, snapshotName), sound, `${kind} at byte ${offset}`);
      assert.deepEqual(await prove(data), [], `${kind} at byte ${offset}`);
    }
  });
});

/** Changes a text in the payloads of a shard and makes every checksum above it fit again. */
function reseal(shard: string, from: string, to: string): void {
  const files = path.join(shard, 'files');
  const name = must(readdirSync(files).find((file) => file.endsWith('.pay') && readFileSync(path.join(files, file)).includes(from)), 'payloads with the text');
  const bytes = readFileSync(path.join(files, name));
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at + 1)) bytes.write(to, at, 'latin1'); // everywhere: a row may be dead
  const [start, block] = [4_096, 65_536];
  const end = start + Number(bytes.readBigUInt64LE(24));
  let at = end;
  for (let from = start; from < end; from += block) at = bytes.writeUInt32LE(crc32(bytes.subarray(from, Math.min(from + block, end))), at);
  bytes.writeUInt32LE(crc32(bytes.subarray(end, at)), at);
  const [old, sha256] = [path.basename(name, '.pay'), sha256Hex(bytes)];
  rmSync(path.join(files, name));
  writeFileSync(path.join(files, `${sha256}.pay`), bytes);
  const file = path.join(shard, 'manifest.json');
  const manifest = decodeManifest(readFileSync(file), file);
  const segments = manifest.segments.map((segment) => ({ ...segment, files: segment.files.map((entry) => (entry.sha256 === old ? { ...entry, sha256 } : entry)) }));
  writeFileSync(file, encodeManifest({ ...manifest, segments }));
}

test('a kind of file that the campaign does not know is seen', async () => {
  await using folder = await temporaryFolder();
  const places = await makeWithBare(folder.path);
  const known = [...filesByKind(folder.path).keys()];
  for (const name of ['x.new', 'jobs/x.json', 'collections/00000000000000000001', 'README', 'empty']) {
    const file = path.join(places.data, name);
    writeFileSync(file, name === 'empty' ? '' : 'x');
    const more = [...filesByKind(folder.path).keys()].filter((kind) => !known.includes(kind));
    assert.equal(more.length, 1, `${name}: ${more.join()}`);
    assert.ok(!storedKinds.includes(must(more[0], 'one')), name);
    rmSync(file);
  }
});

test('the campaign sees wrong content whose checksums all fit: by deep verification where an index tells, else by comparison', async () => {
  await using folder = await temporaryFolder();
  const root = path.join(folder.path, 'sound');
  mkdirSync(root);
  const { data, snapshotName } = await makeWithBare(root);
  const sound = await use({ root, snapshotName });
  const shard = path.join('data', path.relative(data, must(readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name.endsWith('.graph') || entry.name.endsWith('.pidx')).map((entry) => path.dirname(entry.parentPath))[0], 'a shard with indexes')));
  await withProver(async (prove) => {
    const changed = async (from: string, to: string): Promise<{ readonly problems: readonly VerifyProblem[]; readonly answers: Answers }> => {
      await using copy = await temporaryFolder();
      cpSync(root, copy.path, { recursive: true });
      reseal(path.join(copy.path, shard), from, to);
      return { problems: await prove(path.join(copy.path, 'data')), answers: await use({ root: copy.path, snapshotName }) };
    };
    const indexed = await changed('"tag":["t', '"tag":["x');
    assert.ok(indexed.problems.length > 0, 'deep verification compares payloads with their index');
    const plain = await changed('prose', 'Prose');
    assert.deepEqual(plain.problems, [], 'no checksum tells');
    assert.throws(() => compareAnswers(plain.answers, sound, { file: '', kind: 'data/pay', title: 'resealed' }), assert.AssertionError);
  });
});
