// A killed server's files cut and damaged, then the real process started over them. A torn tail is cut and reported, all else is
// served. Any other damage refuses what it hits, with file and offset; other collections serve, and verify ends with code 4.
// One collection for each kind of damage, so that one start meets all of them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, program, startServer, type ServerProcess } from '../support/server-process.ts';
import { result } from './world.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const logHeaderBytes = 64;
/** Of the data in a sealed file; before it, a header and zeros. */
const dataOffset = 4096;
const sealedPoints = 20;
/** Points that only the log has, an entry each. */
const loggedIds = [100, 101, 102];

interface Damage {
  /** Of its collection. */
  readonly name: string;
  /** Does it; answers the file. */
  readonly inflict: (directory: string, random: Random) => string;
  /** Points of the log that are left; undefined: the damage is refused. */
  readonly left?: readonly number[];
  /** Whether bytes are left over that were no whole entry. */
  readonly isTorn?: boolean;
}

interface LogFile {
  readonly file: string;
  readonly sizeBytes: number;
  /** Where the entries of the last points begin. */
  readonly starts: readonly number[];
}

/** The one log file of a shard. An entry is a header of 56 bytes with the body's length at 4, and the body, padded to 8. */
function logFile(directory: string): LogFile {
  const folder = path.join(directory, 'logs');
  const file = path.join(folder, must(readdirSync(folder)[0], 'a log file'));
  const bytes = readFileSync(file);
  const starts: number[] = [];
  for (let at = logHeaderBytes; at < bytes.length; at += 56 + Math.ceil(bytes.readUInt32LE(at + 4) / 8) * 8) starts.push(at);
  return { file, sizeBytes: bytes.length, starts: starts.slice(-loggedIds.length) };
}

function cutLog(name: string, left: readonly number[], sizeOf: (log: { readonly sizeBytes: number; readonly starts: readonly [number, number, number] }) => number, isTorn = true): Damage {
  const inflict = (directory: string): string => {
    const { file, sizeBytes, starts: [first = 0, second = 0, third = 0] } = logFile(directory);
    truncateSync(file, sizeOf({ sizeBytes, starts: [first, second, third] }));
    return file;
  };
  return { name, left, isTorn, inflict };
}

function flip(file: string, at: number, random: Random): string {
  const bytes = readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
  writeFileSync(file, bytes);
  return file;
}

function flipSealed(kind: string): Damage {
  return {
    name: `flipped-${kind}`,
    inflict: (directory, random) => {
      const folder = path.join(directory, 'files');
      const file = path.join(folder, must(readdirSync(folder).find((name) => name.endsWith(`.${kind}`)), `a file of kind ${kind}`));
      return flip(file, random.next() < 0.3 ? random.below(dataOffset) : dataOffset + random.below(readFileSync(file).length - dataOffset), random);
    },
  };
}

const damages: readonly Damage[] = [
  cutLog('cut-by-one-byte', [100, 101], ({ sizeBytes }) => sizeBytes - 1),
  cutLog('cut-in-an-entry-header', [100, 101], ({ starts: [, , third] }) => third + 10),
  cutLog('cut-between-entries', [100, 101], ({ starts: [, , third] }) => third, false),
  cutLog('cut-in-the-second-entry', [100], ({ starts: [, second] }) => second + 70),
  cutLog('cut-in-the-file-header', [], () => logHeaderBytes - 1),
  cutLog('cut-to-nothing', [], () => 0, false),
  {
    name: 'flipped-log',
    inflict: (directory, random) => {
      const { file, starts: [, , third = 0] } = logFile(directory);
      return flip(file, logHeaderBytes + random.below(third - logHeaderBytes), random);
    },
  },
  { name: 'flipped-manifest', inflict: (directory, random) => flip(path.join(directory, 'manifest.json'), random.below(readFileSync(path.join(directory, 'manifest.json')).length), random) },
  ...['ids', 'idx', 'pay', 'vec', 'has', 'pidx', 'del'].map(flipSealed),
  {
    name: 'missing-file',
    inflict: (directory) => {
      const folder = path.join(directory, 'files');
      const file = path.join(folder, must(readdirSync(folder).find((name) => name.endsWith('.ids')), 'a file of ids'));
      rmSync(file);
      return file;
    },
  },
];

const point = (id: number): object => ({ id, vector: [id, 1, 2, 3], payload: { number: id } });

/** Points in sealed files with deletes and an index, and three more in the log. Restoring a snapshot over the collection seals. */
async function makeCollection(url: string, snapshots: string, name: string): Promise<void> {
  await result(url, 'PUT', `/collections/${name}`, { vectors: { size: 4, distance: 'Dot' } });
  await result(url, 'PUT', `/collections/${name}/index?wait=true`, { field_name: 'number', field_schema: 'integer' });
  const restore = async (): Promise<void> => {
    const made = (await result(url, 'POST', `/collections/${name}/snapshots`)) as { name: string };
    await result(url, 'PUT', `/collections/${name}/snapshots/recover`, { location: `file://${path.join(snapshots, name, made.name)}` });
    await result(url, 'DELETE', `/collections/${name}/snapshots/${made.name}`);
  };
  await result(url, 'PUT', `/collections/${name}/points?wait=true`, { points: Array.from({ length: sealedPoints + 2 }, (_, id) => point(id)) });
  await restore();
  await result(url, 'POST', `/collections/${name}/points/delete?wait=true`, { points: [sealedPoints, sealedPoints + 1] });
  await restore();
  for (const id of loggedIds) await result(url, 'PUT', `/collections/${name}/points?wait=true`, { points: [point(id)] });
}

async function makeData(data: string): Promise<void> {
  const server = await startServer({ data });
  await Promise.all(['sound', ...damages.map(({ name }) => name)].map((name) => makeCollection(server.url, path.join(data, 'snapshots'), name)));
  await server.kill(); // a stop in order would mark the whole log as stored, and any cut as damage
}

/** The folder of the only shard of each collection. */
function shardFolders(data: string): ReadonlyMap<string, string> {
  const { records } = JSON.parse(readFileSync(path.join(data, 'metastore.json'), 'utf8')) as { records: { dir: { value: { names: Record<string, string> } } } };
  return new Map(Object.entries(records.dir.value.names).map(([name, uuid]) => {
    const shards = path.join(data, 'collections', uuid, 'shards');
    return [name, path.join(shards, must(readdirSync(shards)[0], 'a shard'))];
  }));
}

async function idsOf(url: string, name: string): Promise<readonly number[]> {
  const { points } = (await result(url, 'POST', `/collections/${name}/points/scroll`, { limit: 1000, with_payload: true, with_vector: true })) as { points: { id: number; vector: number[]; payload: { number: number } }[] };
  for (const { id, vector, payload } of points) assert.deepEqual([vector, payload], [[id, 1, 2, 3], { number: id }], name);
  return points.map(({ id }) => id);
}

const sealedIds = Array.from({ length: sealedPoints }, (_, id) => id);

/** Everything that is asked of a damaged collection is answered rightly, or refused by its damage; at least one thing is refused. */
async function assertRefused({ url }: ServerProcess, name: string, file: string): Promise<void> {
  const whole = [...sealedIds, ...loggedIds];
  const scroll = await call(url, 'POST', `/collections/${name}/points/scroll`, { body: { limit: 1000, with_payload: true, with_vector: true } });
  if (scroll.status === 200) assert.deepEqual(await idsOf(url, name), whole, name);
  const search = await call(url, 'POST', `/collections/${name}/points/search`, { body: { vector: [1, 0, 0, 0], limit: 3 } });
  if (search.status === 200) assert.deepEqual((search.result as { id: number }[]).map(({ id }) => id), [102, 101, 100], name);
  const refusals = [scroll, search].filter(({ status }) => status !== 200);
  assert.ok(refusals.length > 0, `${name}: damage in ${file} is met`);
  for (const { status, error } of refusals) {
    assert.equal(status, 500, `${name}: ${error}`);
    assert.ok(error.includes(file), `${name}: ${error} names ${file}`);
  }
}

function verify(data: string): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'verify', data, '--deep'], { encoding: 'utf8', env: cleanEnvironment() });
  return { status, output: stdout + stderr };
}

test(`a killed server's files cut and damaged, seed ${seed}`, async (t) => {
  const random = seededRandom(seed);
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  await makeData(data);
  const places = shardFolders(data);
  const inflicted = damages.map((damage) => ({ ...damage, file: damage.inflict(must(places.get(damage.name), 'each has a collection'), random) }));
  const refused = inflicted.filter(({ left }) => left === undefined);

  const { status, output } = verify(data);
  assert.equal(status, 4, output);
  const problems = output.split('\n').filter((line) => !line.startsWith('note: '));
  for (const { name, file } of refused) assert.ok(problems.some((line) => line.startsWith(file)), `verify names ${file} of ${name}:\n${output}`);
  for (const { name, file, left } of inflicted) if (left !== undefined) assert.ok(!problems.some((line) => line.includes(file)), `verify has nothing against ${name}:\n${output}`);

  const server = await startServer({ data });
  try {
    assert.deepEqual(await idsOf(server.url, 'sound'), [...sealedIds, ...loggedIds]);
    for (const { name, file, left, isTorn } of inflicted) {
      if (left === undefined) {
        await assertRefused(server, name, file);
        continue;
      }
      assert.deepEqual(await idsOf(server.url, name), [...sealedIds, ...left], name);
      assert.equal(isReported(server, path.dirname(file)), isTorn, `${name}: a torn tail is reported`);
      await result(server.url, 'PUT', `/collections/${name}/points?wait=true`, { points: [point(200)] });
    }
    await result(server.url, 'PUT', '/collections/sound/points?wait=true', { points: [point(200)] });
  } finally {
    await server.kill();
  }
  t.diagnostic(`${damages.length} damages, ${refused.length} of them refused; NEARKEEP_SEED=${seed} node --test dist/test/crash/damage.test.js`);
});

/** Whether the server has said that it cut a torn tail in this folder. */
function isReported(server: ServerProcess, logs: string): boolean {
  const lines = server.output().split('\n').filter((line) => line.includes('"tornTailBytes":'));
  return lines.some((line) => (JSON.parse(line) as { directory: string }).directory === logs);
}

test('after a stop in order: a cut log is damage; with a damaged metastore the server does not start and says which file', async () => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const server = await startServer({ data });
  await result(server.url, 'PUT', '/collections/c', { vectors: { size: 4, distance: 'Dot' } });
  for (const id of loggedIds) await result(server.url, 'PUT', '/collections/c/points?wait=true', { points: [point(id)] });
  assert.equal(await server.stop(), 0);
  const log = logFile(must(shardFolders(data).get('c'), 'its shard'));
  truncateSync(log.file, log.sizeBytes - 1);
  const again = await startServer({ data });
  const { status, error } = await call(again.url, 'POST', '/collections/c/points/scroll', { body: {} });
  await again.kill();
  assert.equal(status, 500, error);
  assert.ok(error.includes(log.file), error);
  const file = path.join(data, 'metastore.json');
  flip(file, 40, seededRandom(seed));
  await assert.rejects(startServer({ data }), (error) => error instanceof RangeError && /ended with 4 /.test(error.message) && error.message.includes(file));
  assert.equal(verify(data).status, 4);
});
