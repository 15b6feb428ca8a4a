// The server killed before chosen changes of its files, in the middle of each kind of job and of its own start: afterwards
// everything is as before the job or as after it, never a mix, and nothing unfinished is left. NEARKEEP_FAULTS=all kills before
// every single change.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { startServer, type ServerProcess } from '../support/server-process.ts';
import { buildShim, openShim, type FaultShim } from './shim/fault-shim.ts';
import { skipReason } from './skip.ts';
import { assertClean, assertSound, readWorld, result, type Point, type World } from './world.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const killsPerJob = process.env['NEARKEEP_FAULTS'] === 'all' ? Infinity : Number(process.env['NEARKEEP_KILLS'] ?? 4);
const title = `NEARKEEP_SEED=${seed} node --test dist/test/crash/kill-jobs.test.js`;
const built = buildShim();

interface Rig {
  readonly data: string;
  readonly shim: FaultShim;
  readonly archive: Buffer;
  readonly snapshot: string;
  server: ServerProcess;
}

interface Job {
  readonly name: string;
  /** Makes what the job starts from, whatever stands now. */
  readonly reset: (rig: Rig) => Promise<void>;
  readonly run: (rig: Rig) => Promise<{ readonly status: number; readonly text: string }>;
}

const pointsOf = (version: number, count: number): Point[] => Array.from({ length: count }, (_, id) => ({ id, vector: [id, version, 1, 0], payload: { version, id } }));

/** `a` differs from its snapshot: other values, fewer points. */
async function resetContents({ server: { url } }: Rig): Promise<void> {
  await result(url, 'POST', '/collections/a/points/delete?wait=true', { filter: {} });
  await result(url, 'PUT', '/collections/a/points?wait=true', { points: pointsOf(2, 60) });
}

async function dropCollection({ server: { url } }: Rig, name: string): Promise<void> {
  await result(url, 'DELETE', `/collections/${name}`);
}

async function makeSpare({ server: { url } }: Rig): Promise<void> {
  if ((await call(url, 'GET', '/collections/spare')).status === 200) return;
  await result(url, 'PUT', '/collections/spare', { vectors: { size: 4, distance: 'Dot' } });
  await result(url, 'PUT', '/collections/spare/points?wait=true', { points: pointsOf(7, 10) });
}

async function keepOneSnapshot({ server: { url }, snapshot }: Rig): Promise<void> {
  const found = (await result(url, 'GET', '/collections/a/snapshots')) as { name: string }[];
  for (const { name } of found) if (name !== snapshot) await result(url, 'DELETE', `/collections/a/snapshots/${name}`);
}

async function secondSnapshot(rig: Rig): Promise<void> {
  await keepOneSnapshot(rig);
  await result(rig.server.url, 'POST', '/collections/a/snapshots');
}

async function deleteSecondSnapshot({ server: { url }, snapshot }: Rig): ReturnType<typeof call> {
  const found = (await result(url, 'GET', '/collections/a/snapshots')) as { name: string }[];
  const second = must(found.find(({ name }) => name !== snapshot), 'the reset made it');
  return await call(url, 'DELETE', `/collections/a/snapshots/${second.name}`);
}

function upload({ server, archive }: Rig, name: string): ReturnType<typeof call> {
  const form = new FormData();
  form.append('snapshot', new Blob([archive]), 'a.snapshot');
  return call(server.url, 'POST', `/collections/${name}/snapshots/upload?priority=snapshot`, { body: form });
}

function recover({ server, data, snapshot }: Rig, name: string): ReturnType<typeof call> {
  const location = `file://${path.join(data, 'snapshots/a', snapshot)}`;
  return call(server.url, 'PUT', `/collections/${name}/snapshots/recover`, { body: { location, priority: 'snapshot' } });
}

function pointAlias({ server }: Rig, target: string): ReturnType<typeof call> {
  const actions = [{ delete_alias: { alias_name: 'live' } }, { create_alias: { alias_name: 'live', collection_name: target } }];
  return call(server.url, 'POST', '/collections/aliases', { body: { actions } });
}

const jobs: readonly Job[] = [
  { name: 'create a collection', reset: (rig) => dropCollection(rig, 'n'), run: ({ server }) => call(server.url, 'PUT', '/collections/n', { body: { vectors: { size: 4, distance: 'Dot' }, shard_number: 2 } }) },
  { name: 'delete a collection', reset: makeSpare, run: ({ server }) => call(server.url, 'DELETE', '/collections/spare') },
  { name: 'switch an alias', reset: async (rig) => void (await pointAlias(rig, 'a')), run: (rig) => pointAlias(rig, 'b') },
  { name: 'make a snapshot', reset: keepOneSnapshot, run: ({ server }) => call(server.url, 'POST', '/collections/a/snapshots') },
  { name: 'delete a snapshot', reset: secondSnapshot, run: deleteSecondSnapshot },
  { name: 'upload into a new name', reset: (rig) => dropCollection(rig, 'n'), run: (rig) => upload(rig, 'n') },
  { name: 'recover into a new name', reset: (rig) => dropCollection(rig, 'n'), run: (rig) => recover(rig, 'n') },
  { name: 'upload over a collection', reset: resetContents, run: (rig) => upload(rig, 'a') },
  { name: 'recover over a collection', reset: resetContents, run: (rig) => recover(rig, 'a') },
];

async function openRig(folder: string, shim: FaultShim): Promise<Rig> {
  const data = path.join(folder, 'data');
  const server = await startServer({ data, env: shim.env });
  const { url } = server;
  const config = { vectors: { size: 4, distance: 'Dot' }, shard_number: 2, optimizers_config: { indexing_threshold: 1 } };
  await result(url, 'PUT', '/collections/a', config);
  await result(url, 'PUT', '/collections/b', config);
  await result(url, 'PUT', '/collections/a/index?wait=true', { field_name: 'version', field_schema: 'integer' });
  await result(url, 'PUT', '/collections/a/points?wait=true', { points: pointsOf(1, 100) });
  await result(url, 'PUT', '/collections/b/points?wait=true', { points: pointsOf(1, 10) });
  await result(url, 'POST', '/collections/aliases', { actions: [{ create_alias: { alias_name: 'live', collection_name: 'a' } }] });
  const { name } = (await result(url, 'POST', '/collections/a/snapshots')) as { name: string };
  const archive = Buffer.from(await (await fetch(`${url}/collections/a/snapshots/${name}`)).arrayBuffer());
  const rig = { data, shim, server, snapshot: name, archive };
  await resetContents(rig);
  return rig;
}

/** Which changes to kill before: all, or some that are spread over the job, and the last. */
function pickKills(changes: number, random: Random): number[] {
  if (changes <= killsPerJob) return Array.from({ length: changes }, (_, at) => at + 1);
  const spread = killsPerJob - 1;
  return [...Array.from({ length: spread }, (_, at) => 1 + Math.floor(((at + random.next()) / spread) * changes)), changes];
}

/** Runs the job under a kill; answers whether it had been answered as done before. */
async function runKilled(rig: Rig, job: Job, first: number): Promise<boolean> {
  rig.shim.arm({ mode: 'kill', path: rig.data, first });
  const isDone = await job.run(rig).then(({ status }) => status === 200, () => false);
  await rig.server.kill(); // where the job had fewer changes this time
  rig.shim.arm({ mode: 'watch', path: rig.data });
  return isDone;
}

async function restart(rig: Rig): Promise<void> {
  rig.server = await startServer({ data: rig.data, env: rig.shim.env });
}

/** What is seen after a restart is what was there before the job or what it was to make. */
async function checkOutcome(rig: Rig, worlds: { readonly before: World; readonly after: World }, at: { readonly isDone: boolean; readonly place: string }): Promise<'old' | 'new'> {
  const found = await readWorld(rig.server.url);
  await assertClean(rig.data, found, at.place);
  const isNew = JSON.stringify(found) === JSON.stringify(worlds.after);
  if (at.isDone || isNew) assert.deepEqual(found, worlds.after, at.place);
  else assert.deepEqual(found, worlds.before, at.place);
  return isNew ? 'new' : 'old';
}

async function killJob(t: TestContext, rig: Rig, job: Job, random: Random): Promise<void> {
  await job.reset(rig);
  const before = await readWorld(rig.server.url);
  rig.shim.arm({ mode: 'watch', path: rig.data });
  const { status, text } = await job.run(rig);
  assert.equal(status, 200, `${job.name}: ${text}`);
  const { seen } = rig.shim.counts();
  const after = await readWorld(rig.server.url);
  assert.notDeepEqual(after, before, `${job.name} changes something`);
  const outcomes = { old: 0, new: 0 };
  for (const first of pickKills(seen, random)) {
    const place = `${job.name}, killed before change ${first} of ${seen}; ${title}`;
    await job.reset(rig);
    const isDone = await runKilled(rig, job, first);
    await assertSound(rig.data, place);
    await restart(rig);
    outcomes[await checkOutcome(rig, { before, after }, { isDone, place })] += 1;
  }
  t.diagnostic(`${job.name}: ${seen} changes, ${outcomes.old + outcomes.new} kills: ${outcomes.old} old, ${outcomes.new} new`);
}

/** Kills an upload over a collection, then the start that finds what it left, before each of its changes until it comes up. */
async function killStart(t: TestContext, rig: Rig, random: Random): Promise<void> {
  await resetContents(rig);
  const before = await readWorld(rig.server.url);
  const job: Job = { name: 'upload over a collection', reset: resetContents, run: (it) => upload(it, 'a') };
  rig.shim.arm({ mode: 'watch', path: rig.data });
  await job.run(rig);
  const { seen } = rig.shim.counts();
  const after = await readWorld(rig.server.url);
  await resetContents(rig);
  await runKilled(rig, job, Math.ceil(seen / 2));
  let kills = 0;
  for (let first = 1; ; first += 1 + random.below(killsPerJob === Infinity ? 1 : 6)) {
    const place = `start killed before change ${first}; ${title}`;
    rig.shim.arm({ mode: 'kill', path: rig.data, first });
    const server = await startServer({ data: rig.data, env: rig.shim.env }).catch(() => undefined);
    if (server === undefined) {
      await assertSound(rig.data, place);
      kills += 1;
      continue;
    }
    rig.shim.arm({ mode: 'watch', path: rig.data });
    rig.server = server;
    await checkOutcome(rig, { before, after }, { isDone: false, place });
    break;
  }
  t.diagnostic(`start: killed ${kills} times before it came up`);
  assert.ok(kills > 0, 'a start after a kill changes files');
}

test(`kill -9 inside jobs and starts, seed ${seed}`, skipReason('missing' in built ? built.missing : undefined), async (t) => {
  assert.ok('library' in built);
  await using folder = await temporaryFolder();
  using shim = openShim(built.library, folder.path);
  const random = seededRandom(seed);
  const rig = await openRig(folder.path, shim);
  try {
    for (const job of jobs) await killJob(t, rig, job, random);
    await killStart(t, rig, random);
    assert.equal(await rig.server.stop(), 0);
    assert.deepEqual(await assertSound(rig.data, title), [], 'a server that was stopped leaves nothing to remove');
  } finally {
    await rig.server.kill();
  }
  t.diagnostic(title);
});
