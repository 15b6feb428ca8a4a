// A disk that is really full: a small tmpfs. Writes, snapshots and uploads are refused with 507 and leave nothing, reads go on,
// and writing resumes by itself when there is room again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { yieldToLoop } from '../../src/base/clock.ts';
import { temporaryFolder, type TemporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { startServer, type ServerProcess } from '../support/server-process.ts';
import { skipReason } from './skip.ts';
import { assertClean, assertSound, readWorld, result } from './world.ts';

const sizeMiB = 60;
const fillerMiB = 16;
const dim = 64;

/** A mounted tmpfs of its own, or why there is none. */
async function mountSmallDisk(): Promise<(TemporaryFolder & { readonly missing?: undefined }) | { readonly missing: string }> {
  const folder = await temporaryFolder();
  const at = path.join(folder.path, 'disk');
  mkdirSync(at);
  const ways = [[], ['sudo', '-n']].map((prefix) => (program: string, ...args: string[]) => {
    const [command = program, ...rest] = [...prefix, program, ...args];
    return spawnSync(command, rest, { encoding: 'utf8' });
  });
  const way = ways.find((run) => run('mount', '-t', 'tmpfs', '-o', `size=${sizeMiB}m,uid=${process.getuid?.() ?? 0}`, 'tmpfs', at).status === 0);
  if (way === undefined) {
    await folder[Symbol.asyncDispose]();
    return { missing: 'no right to mount a tmpfs' };
  }
  return {
    path: at,
    [Symbol.asyncDispose]: async () => {
      way('umount', at);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Id → text of each acknowledged point. */
type Ledger = Map<number, string>;

interface Filling {
  readonly server: ServerProcess;
  readonly ledger: Ledger;
}

async function upsert({ server, ledger }: Filling, points: { readonly count: number; readonly textBytes: number }): Promise<{ readonly status: number; readonly error: string }> {
  const batch = Array.from({ length: points.count }, (_, at) => {
    const id = ledger.size + at;
    return { id, vector: Array.from({ length: dim }, (__, part) => id + part), payload: { text: `${id} `.padEnd(points.textBytes, 'x') } };
  });
  const { status, error } = await call(server.url, 'PUT', '/collections/c/points?wait=true', { body: { points: batch } });
  if (status === 200) for (const { id, payload } of batch) ledger.set(id, payload.text);
  return { status, error };
}

/** Until nothing at all fits any more, also when no seal is under way that would give its room back. */
async function fillUp(filling: Filling): Promise<void> {
  for (let before = -1; before < filling.ledger.size;) {
    before = filling.ledger.size;
    await fillOnce(filling);
    while (((await result(filling.server.url, 'GET', '/collections/c')) as { status: string }).status === 'yellow') await yieldToLoop();
  }
}

/** Down to points of a few bytes. */
async function fillOnce(filling: Filling): Promise<void> {
  for (const points of [{ count: 100, textBytes: 5_000 }, { count: 10, textBytes: 1_000 }, { count: 1, textBytes: 10 }]) {
    for (;;) {
      const { status, error } = await upsert(filling, points);
      if (status === 200) continue;
      assert.equal(status, 507, error);
      assert.match(error, /^Insufficient storage: /);
      break;
    }
  }
}

/** Takes what a refused call gave back. */
function plug(file: string): void {
  for (const page = Buffer.alloc(4096); ;) {
    try {
      appendFileSync(file, page);
    } catch {
      return;
    }
  }
}

async function assertAll({ server, ledger }: Filling, title: string): Promise<void> {
  const found = new Map<number, string>();
  for (let offset: number | null = 0; offset !== null;) {
    const page = (await result(server.url, 'POST', '/collections/c/points/scroll', { limit: 1000, offset, with_payload: true })) as { points: { id: number; payload: { text: string } }[]; next_page_offset: number | null };
    for (const { id, payload } of page.points) found.set(id, payload.text);
    offset = page.next_page_offset;
  }
  for (const [id, text] of ledger) assert.equal(found.get(id), text, `${title}: point ${id} was acknowledged`);
  assert.ok(found.size <= ledger.size + 200, `${title}: ${found.size - ledger.size} points that nobody wrote`);
  const vector = Array.from({ length: dim }, (_, part) => part);
  const hits = (await result(server.url, 'POST', '/collections/c/points/search', { vector, limit: 3 })) as unknown[];
  assert.equal(hits.length, 3, title);
}

function upload(url: string, archive: ArrayBuffer, name: string): ReturnType<typeof call> {
  const form = new FormData();
  form.append('snapshot', new Blob([archive]), 'c.snapshot');
  return call(url, 'POST', `/collections/${name}/snapshots/upload`, { body: form });
}

/** Mounted, or the test skips itself. */
async function smallDiskFor(t: TestContext): Promise<TemporaryFolder | undefined> {
  const disk = await mountSmallDisk();
  if (disk.missing === undefined) return disk;
  const { skip } = skipReason(disk.missing);
  assert.ok(skip !== undefined, disk.missing);
  t.skip(skip);
  return undefined;
}

test('a full disk: 507, reads, and writing goes on when there is room', async (t) => {
  await using folder = await smallDiskFor(t);
  if (folder === undefined) return;
  const data = path.join(folder.path, 'data');
  const filler = path.join(folder.path, 'filler');
  writeFileSync(filler, Buffer.alloc(fillerMiB << 20));
  const server = await startServer({ data });
  const filling = { server, ledger: new Map<number, string>() };
  try {
    await result(server.url, 'PUT', '/collections/c', { vectors: { size: dim, distance: 'Dot' }, shard_number: 2 });
    await upsert(filling, { count: 100, textBytes: 1_000 });
    const { name } = (await result(server.url, 'POST', '/collections/c/snapshots')) as { name: string };
    const archive = await (await fetch(`${server.url}/collections/c/snapshots/${name}`)).arrayBuffer();
    await fillUp(filling);
    const full = filling.ledger.size;
    await assertAll(filling, 'on the full disk');

    const refused: readonly (() => ReturnType<typeof call>)[] = [
      () => call(server.url, 'POST', '/collections/c/snapshots'),
      () => upload(server.url, archive, 'c'),
      () => upload(server.url, archive, 'other'),
      () => call(server.url, 'PUT', '/collections/another', { body: { vectors: { size: dim, distance: 'Dot' } } }),
      () => call(server.url, 'POST', '/collections/aliases', { body: { actions: [{ create_alias: { alias_name: 'alias', collection_name: 'c' } }] } }),
    ];
    for (const send of refused) {
      plug(`${filler}-2`);
      const { status, error, text } = await send();
      assert.deepEqual([status, error.split(':')[0]], [507, 'Insufficient storage'], text);
    }
    const world = await readWorld(server.url);
    assert.deepEqual([Object.keys(world.collections), world.aliases, world.collections['c']?.snapshots], [['c'], {}, 1]);
    await assertClean(data, world, 'after what the full disk refused');
    await assertAll(filling, 'after refusals');

    rmSync(`${filler}-2`);
    rmSync(filler);
    assert.equal((await upsert(filling, { count: 100, textBytes: 1_000 })).status, 200, 'there is room again, and nobody restarted anything');
    const again = await call(server.url, 'POST', '/collections/c/snapshots');
    assert.equal(again.status, 200, again.text);
    await assertAll(filling, 'with room again');
    assert.equal(await server.stop(), 0);
    assert.deepEqual(await assertSound(data, 'after the stop'), []);
    filling.server = await startServer({ data });
    await assertAll(filling, 'after a restart');
    assert.equal(await filling.server.stop(), 0);
    t.diagnostic(`${full} points until the disk of ${sizeMiB} MiB was full, ${filling.ledger.size} at the end, 0 lost`);
  } finally {
    await filling.server.kill();
    await server.kill();
  }
});

interface KeptFolder {
  readonly collection: string;
  readonly bytes: number;
}

/** What an undo could bring back, in the order of names, as it lies on the disk. */
function keptFolders(data: string): readonly KeptFolder[] {
  const { records } = JSON.parse(readFileSync(path.join(data, 'metastore.json'), 'utf8')) as { readonly records: { readonly dir: { readonly value: { readonly replaced?: Readonly<Record<string, { readonly uuid: string }>> } } } };
  return Object.entries(records.dir.value.replaced ?? {}).map(([collection, { uuid }]) => {
    const folder = path.join(data, 'collections', uuid);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return { collection, bytes: files.reduce((sum, entry) => sum + 512 * statSync(path.join(entry.parentPath, entry.name)).blocks, 0) };
  });
}

function freeBytes(at: string): number {
  const { bavail, bsize } = statfsSync(at);
  return bavail * bsize;
}

/** So that so much is free. */
function leaveFree(file: string, bytes: number): void {
  const page = 4096;
  rmSync(file, { force: true });
  writeFileSync(file, Buffer.alloc(page * Math.floor((freeBytes(path.dirname(file)) - bytes) / page)));
}

test('states kept for an undo go when a restore needs their room or the disk is nearly full, the oldest first and no more than that', async (t) => {
  await using folder = await smallDiskFor(t);
  if (folder === undefined) return;
  const data = path.join(folder.path, 'data');
  const filler = path.join(folder.path, 'filler');
  let server = await startServer({ data });
  const fill = async (name: string): Promise<void> => {
    await result(server.url, 'PUT', `/collections/${name}`, { vectors: { size: dim, distance: 'Dot' } });
    for (let from = 0; from < 600; from += 100) {
      const points = Array.from({ length: 100 }, (_, at) => ({ id: from + at, vector: Array.from({ length: dim }, () => from), payload: { text: `${name} `.padEnd(8_000, 'x') } }));
      await result(server.url, 'PUT', `/collections/${name}/points?wait=true`, { points });
    }
  };
  const undo = async (name: string): Promise<number> => (await call(server.url, 'POST', `/collections/${name}/snapshots/undo`)).status;
  try {
    await fill('small');
    await result(server.url, 'POST', '/collections/small/points/delete?wait=true', { filter: { must: [{ has_id: Array.from({ length: 590 }, (_, at) => at) }] } });
    const { name } = (await result(server.url, 'POST', '/collections/small/snapshots')) as { name: string };
    const archive = await (await fetch(`${server.url}/collections/small/snapshots/${name}`)).arrayBuffer();
    await result(server.url, 'DELETE', `/collections/small/snapshots/${name}`);
    await result(server.url, 'DELETE', '/collections/small');
    const order = ['d', 'b', 'c'];
    for (const each of order) await fill(each);
    for (const each of order) assert.equal((await upload(server.url, archive, each)).status, 200);
    const sizes = new Map(keptFolders(data).map(({ collection, bytes }) => [collection, bytes]));
    assert.deepEqual([...sizes.keys()].sort((a, b) => (a < b ? -1 : 1)), ['b', 'c', 'd']);

    const needed = Math.ceil(archive.byteLength * 1.05) + (16 << 20);
    leaveFree(filler, needed - must(sizes.get('d'), 'kept') / 2);
    const made = await upload(server.url, archive, 'e');
    assert.equal(made.status, 200, made.text);
    assert.deepEqual(keptFolders(data).map(({ collection }) => collection).toSorted((a, b) => (a < b ? -1 : 1)), ['b', 'c'], 'the oldest made room');
    assert.equal(await undo('d'), 404);

    assert.equal(await server.stop(), 0);
    const { blocks, bsize } = statfsSync(folder.path);
    leaveFree(filler, blocks * bsize * 0.05 - must(sizes.get('b'), 'kept') / 4);
    server = await startServer({ data });
    assert.deepEqual(keptFolders(data).map(({ collection }) => collection), ['c'], 'less than 5 % were free');
    rmSync(filler);
    assert.equal(await undo('b'), 404);
    assert.equal(await undo('c'), 200);
    const { points_count: points } = (await result(server.url, 'GET', '/collections/c')) as { points_count: number };
    assert.equal(points, 600);

    leaveFree(filler, 1 << 20);
    const refused = await upload(server.url, archive, 'f');
    assert.equal(refused.status, 507, refused.text);
    assert.deepEqual(keptFolders(data), [], 'all of them, and it was not enough');
    rmSync(filler);
    assert.equal(await server.stop(), 0);
    assert.deepEqual(await assertSound(data, 'after the stop'), []);
  } finally {
    await server.kill();
  }
});
