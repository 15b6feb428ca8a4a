// Fuzzes uploads with archives that are nearly right: a valid one with a few structured changes of its tar: names, sizes, types,
// checksums, prefixes, pax and GNU extensions, order, duplicates, padding, contents, ends. For one archive:
//   - it is refused with a 4xx and nothing has changed, or it is accepted and what was restored is the original;
//   - either way no file lies anywhere but where it should, and nothing of the upload is left.
import path from 'node:path';
import { InvariantError } from '../src/base/assert.ts';
import { ERROR_CLASSES, RequestError } from '../src/base/errors.ts';
import { silentLogger } from '../src/base/logger.ts';
import type { Random } from '../src/base/testing/random.ts';
import { MemoryDisk } from '../src/fs/testing/memory-disk.ts';
import { Snapshots } from '../src/snapshot/snapshots.ts';
import { inChunks } from '../src/snapshot/testing/archives.ts';
import { FakeSource } from '../src/snapshot/testing/fake-source.ts';
import { PlainHasher } from '../src/snapshot/testing/plain-hasher.ts';
import { allBytes, TestClock } from '../src/snapshot/testing/rig.ts';
import type { Fuzzer } from './all.ts';
import { pick } from './json-documents.ts';

const root = '/data';
const block = 512;
const target = 'n';

interface Place {
  readonly disk: MemoryDisk;
  readonly source: FakeSource;
  readonly snapshots: Snapshots;
  readonly archive: Buffer;
  /** Of the original. */
  readonly content: string;
}

type Upload = (place: Place, bytes: Buffer) => Promise<void>;

const viaProduct: Upload = async ({ snapshots }, bytes) => {
  await snapshots.upload(target, inChunks(bytes), { priority: 'snapshot' });
};

export const tarArchivesFuzzer: Fuzzer = {
  name: 'tar-archives',
  once: (random) => checkOne(random, viaProduct),
  canaries: new Map<string, (random: Random) => Promise<void>>([
    ['an archive that is taken without a look', (random) => checkOne(random, (place, bytes) => viaProduct(place, bytes).catch(() => undefined))],
    ['a refusal that is no 4xx', (random) => checkOne(random, (place, bytes) => viaProduct(place, bytes).catch(() => {
      throw new RequestError('internal', 'broken');
    }))],
    ['a file that is left over', (random) => checkOne(random, (place, bytes) => viaProduct(place, bytes).catch(async (error: unknown) => {
      await place.disk.makeDirectory(`${root}/.staging-left`);
      throw error;
    }))],
    ['a file outside of the folders', (random) => checkOne(random, async (place, bytes) => {
      await (await place.disk.create('/escaped')).close();
      await viaProduct(place, bytes);
    })],
  ]),
};

async function openPlace(): Promise<Place> {
  const disk = new MemoryDisk();
  await disk.makeDirectory(root);
  const source = new FakeSource(`${root}/live`, disk);
  await source.add('c');
  const clock = new TestClock();
  const snapshots = await Snapshots.open({
    disk, source, clock, logger: silentLogger, peerId: 42, hashes: new PlainHasher(disk), snapshotsPath: `${root}/snapshots`, stagingRoot: root,
    productVersion: '0.1.0', recovery: { urlRecovery: false, boundToLoopback: true }, wait: clock.wait,
  });
  const { name } = await snapshots.create('c');
  const download = await snapshots.openDownload('c', name);
  const archive = await allBytes(download);
  download.release();
  return { disk, source, snapshots, archive, content: source.contentOf('c') };
}

async function checkOne(random: Random, upload: Upload): Promise<void> {
  const place = await openPlace();
  const { disk, source, snapshots, archive, content } = place;
  const { bytes, done } = mutate(archive, random);
  const before = await folders(disk);
  try {
    const refusal = await upload(place, bytes).then(() => undefined, (error: unknown) => error);
    const status = refusal instanceof RequestError ? ERROR_CLASSES[refusal.code].httpStatus : 500;
    if (refusal !== undefined && (status < 400 || status >= 500)) throw new InvariantError(`${done}: refused with ${status}: ${refusal instanceof Error ? refusal.message : 'no error'}`);
    if (refusal === undefined && !source.collections.has(target)) throw new InvariantError(`${done}: accepted, and not restored`);
    if (refusal === undefined && source.contentOf(target) !== content) throw new InvariantError(`${done}: accepted, and something else was restored`);
    if (refusal !== undefined && source.collections.has(target)) throw new InvariantError(`${done}: refused, and restored`);
    const after = await folders(disk);
    const wanted = refusal === undefined ? before.length + 2 : before.length; // a folder for each shard
    if (after.length !== wanted || after.some((name) => name.includes('.staging') || name.includes('.tmp'))) throw new InvariantError(`${done}: ${after.filter((name) => !before.includes(name)).join()} is left`);
    if (source.contentOf('c') !== content) throw new InvariantError(`${done}: another collection changed`);
  } finally {
    await snapshots.close();
  }
}

/** Every name at the top, and what lies in the data directory and with the collections; jobs leave their records. */
async function folders(disk: MemoryDisk): Promise<readonly string[]> {
  const names: string[] = [];
  for (const folder of ['/', root, `${root}/live`, `${root}/snapshots`]) names.push(...(await disk.list(folder)).map((name) => path.join(folder, name)));
  return names.sort();
}

interface Member {
  header: Buffer;
  content: Buffer;
  padding: Buffer;
}

function membersOf(archive: Buffer): Member[] {
  const members: Member[] = [];
  for (let at = 0; archive[at] !== 0;) {
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8);
    const [start, end] = [at + block, at + block + Math.ceil(size / block) * block];
    members.push({ header: Buffer.from(archive.subarray(at, start)), content: Buffer.from(archive.subarray(start, start + size)), padding: Buffer.from(archive.subarray(start + size, end)) });
    at = end;
  }
  return members;
}

/** The sum that a reader of tar files expects. */
function seal(header: Buffer): void {
  header.fill(0x20, 148, 156);
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

function writeField(header: Buffer, field: { readonly at: number; readonly bytes: number }, text: string): void {
  header.fill(0, field.at, field.at + field.bytes);
  header.write(text.slice(0, field.bytes), field.at, 'latin1');
}

const names = ['../escaped', '/escaped', '0/../../escaped', '0/files/../../../escaped', './snapshot.json', 'snapshot.json', '0/manifest.json', '0//manifest.json', 'C:\\x', '0\\manifest.json', '', '.', '..', 'x'.repeat(100), '0/files/\xff', '0/logs/00000000000000000001'];
const sizes = ['00000000000\0', '77777777777\0', '00000001000\0', '-0000000001\0', '0000000001 \0', '1\0', '           \0', '00000000x00\0', '\x80\0\0\0\0\0\0\0\0\0\x04\0', '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff', '\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff'];

/** A member of its own that says something of the next one. */
function extension(random: Random): Member {
  const [type, text] = pick(random, [
    ['x', '21 path=../../escaped\n'], ['x', '13 size=99999\n'], ['x', '22 linkpath=/etc/passwd\n'], ['g', '17 path=escaped_\n'], ['L', `${'x'.repeat(200)}\0`], ['K', '/etc/passwd\0'], ['S', ''], ['x', 'no record'], ['x', '999999999999 path=x\n'], ['V', ''],
  ] as const);
  const content = Buffer.from(text, 'latin1');
  const header = Buffer.alloc(block);
  header.write('././@LongLink', 0, 'latin1');
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  header.write(type, 156, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  seal(header);
  return { header, content, padding: Buffer.alloc(Math.ceil(content.length / block) * block - content.length) };
}

type Mutation = (members: Member[], at: number, random: Random) => void;

const ofHeader = (change: (header: Buffer, random: Random) => void): Mutation => (members, at, random) => {
  const header = members[at]?.header;
  if (header === undefined) return;
  change(header, random);
  if (random.below(5) > 0) seal(header);
};

const mutations: readonly (readonly [string, Mutation])[] = [
  ['another name', ofHeader((header, random) => { writeField(header, { at: 0, bytes: 100 }, pick(random, names)); })],
  ['another size', ofHeader((header, random) => { writeField(header, { at: 124, bytes: 12 }, pick(random, sizes)); })],
  ['another type', ofHeader((header, random) => { header.write(pick(random, ['\0', '1', '2', '3', '4', '5', '6', '7', 'D', 'L', 'K', 'S', 'x', 'g', 'Z']), 156, 'latin1'); })],
  ['a link', ofHeader((header, random) => { header.write(pick(random, ['1', '2']), 156, 'latin1'); writeField(header, { at: 157, bytes: 100 }, pick(random, ['/etc/passwd', '../../x', 'snapshot.json'])); })],
  ['a prefix', ofHeader((header, random) => { writeField(header, { at: 345, bytes: 155 }, pick(random, ['..', '/', '0', 'x/../..', '0/files'])); })],
  ['another magic', ofHeader((header, random) => { writeField(header, { at: 257, bytes: 8 }, pick(random, ['ustar  \0', '', 'USTAR\0', 'ustar\0' + '99'])); })],
  ['another sum', (members, at, random) => { members[at]?.header.write(pick(random, ['000000\0 ', '777777\0 ', '        ', '\0\0\0\0\0\0\0\0']), 148, 'latin1'); }],
  ['a byte of a header', ofHeader((header, random) => { header[random.below(block)] = random.below(256); })],
  ['an extension before it', (members, at, random) => { members.splice(at, 0, extension(random)); }],
  ['it is gone', (members, at) => { members.splice(at, 1); }],
  ['it is there twice', (members, at, random) => { members.splice(random.below(members.length), 0, ...members.slice(at, at + 1)); }],
  ['it has another place', (members, at, random) => { members.splice(random.below(members.length), 0, ...members.splice(at, 1)); }],
  ['a byte of its padding', (members, at, random) => { const padding = members[at]?.padding; if (padding !== undefined && padding.length > 0) padding[random.below(padding.length)] = 1 + random.below(255); }],
  ['a byte of its content', (members, at, random) => { const content = members[at]?.content; if (content !== undefined && content.length > 0) content[random.below(content.length)] = random.below(256); }],
  ['its content is cut', (members, at, random) => { const member = members[at]; if (member !== undefined) member.content = member.content.subarray(0, random.below(member.content.length + 1)); }],
  ['its content is longer', (members, at, random) => { const member = members[at]; if (member !== undefined) member.content = Buffer.concat([member.content, Buffer.alloc(1 + random.below(2 * block))]); }],
  ['no padding', (members, at) => { const member = members[at]; if (member !== undefined) member.padding = Buffer.alloc(0); }],
  ['contents change places', (members, at, random) => { const [a, b] = [members[at], members[random.below(members.length)]]; if (a !== undefined && b !== undefined) [a.content, b.content] = [b.content, a.content]; }],
];

function endOf(random: Random): Buffer {
  return Buffer.alloc(random.below(6) > 0 ? 2 * block : pick(random, [0, 1, block, 2 * block - 1, 3 * block, 20 * block]), random.below(30) === 0 ? 1 : 0);
}

/** One to three changes; now and then none, which must be accepted. */
function mutate(archive: Buffer, random: Random): { readonly bytes: Buffer; readonly done: string } {
  const members = membersOf(archive);
  const done: string[] = [];
  for (let changes = random.below(4); changes > 0 && members.length > 0; changes -= 1) {
    const [title, change] = pick(random, mutations);
    const at = random.below(members.length);
    change(members, at, random);
    done.push(`${title} (member ${at})`);
  }
  const bytes = Buffer.concat([...members.flatMap(({ header, content, padding }) => [header, content, padding]), endOf(random)]);
  return { bytes, done: done.join(', ') };
}
