// Jobs: records that come before the work and outlive the process, cancelling up to the commit point, watching.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { decodeJob, encodeJob, type JobRecord } from './job-record.ts';
import { Jobs, type JobHandle } from './jobs.ts';
import { inChunks } from './testing/archives.ts';
import { allBytes, openRig, TestClock, until } from './testing/rig.ts';

interface Opened extends AsyncDisposable {
  readonly jobs: Jobs;
  readonly folder: string;
  readonly clock: TestClock;
  reopen(isCommitted?: (record: JobRecord) => boolean): Promise<Jobs>;
  stored(): readonly JobRecord[];
}

async function openJobs(): Promise<Opened> {
  const folder = await temporaryFolder();
  const directory = path.join(folder.path, 'jobs');
  const clock = new TestClock();
  const open = (isCommitted: (record: JobRecord) => boolean): Promise<Jobs> => Jobs.open({
    disk: new NodeDisk(), clock, logger: silentLogger, directory, isCommitted: (record) => Promise.resolve(isCommitted(record)),
  });
  return {
    jobs: await open(() => false), folder: directory, clock,
    reopen: (isCommitted = () => false) => open(isCommitted),
    stored: () => readdirSync(directory).filter((name) => name.endsWith('.json')).sort().flatMap((name) => decodeJob(readFileSync(path.join(directory, name))) ?? []),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const draft = { kind: 'restore', target: 'c', source: 'upload' } as const;
const untilAborted = ({ signal }: JobHandle): Promise<never> => new Promise((_resolve, reject) => {
  signal.addEventListener('abort', () => {
    reject(signal.reason as Error);
  });
});

test('the record is stored before the work begins, and its end before the caller hears of it', async () => {
  await using at = await openJobs();
  const started = at.jobs.start(draft, async (job) => {
    assert.deepEqual(at.stored().map(({ id, state }) => [id, state]), [[job.id, 'running']]);
    job.progress({ phase: 'adopting', bytesDone: 5, bytesTotal: 10, pointsDone: 3 });
    return 'yes';
  });
  assert.equal(await started.done, 'yes');
  const [record] = at.stored();
  assert.deepEqual(record, at.jobs.get(started.id));
  assert.deepEqual([record?.state, record?.phase, record?.bytesDone, record?.bytesTotal, record?.pointsDone, record?.result], ['succeeded', 'done', 5, 10, 3, 'yes']);
});

test('a failure is kept with code and text, over a restart too', async () => {
  await using at = await openJobs();
  const failures = [new RequestError('no-space', 'needs more'), new CorruptionError({ file: '0/x', problem: 'bad' }), new RangeError('plain')];
  for (const failure of failures) await assert.rejects(at.jobs.start(draft, () => Promise.reject(failure)).done, failure);
  const want = ['failed corruption 0/x: bad', 'failed failed plain', 'failed no-space Insufficient storage: needs more'];
  const shown = (jobs: Jobs): unknown => jobs.list().map(({ state, error }) => `${state} ${error?.code ?? ''} ${error?.message ?? ''}`).sort();
  assert.deepEqual(shown(at.jobs), want);
  assert.deepEqual(shown(await at.reopen()), want);
});

test('a cancel ends a job before its commit point and not after it', async () => {
  await using at = await openJobs();
  const early = at.jobs.start(draft, untilAborted);
  await until(() => at.jobs.get(early.id).state === 'running');
  const rejected = assert.rejects(early.done, /cancelled/);
  assert.equal(await at.jobs.cancel(early.id), true);
  await rejected;
  assert.deepEqual(at.stored().map(({ state }) => state), ['cancelled']);
  assert.equal(await at.jobs.cancel(early.id), false, 'it has ended');
  let finish: (() => void) | undefined;
  const late = at.jobs.start(draft, async (job) => {
    job.commit();
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    assert.equal(job.signal.aborted, false);
  });
  await until(() => finish !== undefined);
  assert.equal(await at.jobs.cancel(late.id), false);
  finish?.();
  await late.done;
  assert.equal(at.jobs.get(late.id).state, 'succeeded');
  await assert.rejects(at.jobs.cancel('x'), (error) => error instanceof RequestError && error.code === 'not-found');
});

test('a commit after a cancel throws: the work cannot pass it', async () => {
  await using at = await openJobs();
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  let passed = false;
  const started = at.jobs.start(draft, async (job) => {
    await gate;
    job.commit();
    passed = true;
  });
  const rejected = assert.rejects(started.done, /cancelled/);
  await until(() => at.jobs.get(started.id).state === 'running');
  const cancelled = at.jobs.cancel(started.id);
  go();
  assert.equal(await cancelled, true);
  await rejected;
  assert.equal(passed, false);
});

test('what a crash cut off is failed at the next start, or finished where its commit point was passed', async () => {
  await using at = await openJobs();
  const ids = [1, 2].map(() => at.jobs.start(draft, () => new Promise(() => undefined)).id);
  while (at.stored().length < 2) await new Promise(setImmediate);
  const after = await at.reopen(({ id }) => id === ids[1]);
  assert.deepEqual([after.get(ids[0] ?? '').state, after.get(ids[0] ?? '').error?.code, after.get(ids[1] ?? '').state], ['failed', 'interrupted', 'succeeded']);
  assert.deepEqual(new Set(at.stored().map(({ state }) => state)), new Set(['failed', 'succeeded']));
});

test('a watcher gets the record and its end', async () => {
  await using at = await openJobs();
  let finish = (): void => undefined;
  const started = at.jobs.start(draft, (job) => new Promise<void>((resolve) => {
    job.progress({ phase: 'receiving', bytesDone: 7 });
    finish = resolve;
  }));
  const seen: string[] = [];
  for await (const record of at.jobs.watch(started.id, new AbortController().signal)) {
    seen.push(`${record.state} ${record.phase} ${record.bytesDone}`);
    if (record.phase === 'receiving') finish();
  }
  assert.equal(seen.at(-1), 'succeeded done 7');
  assert.ok(seen.includes('running receiving 7'), seen.join());
  assert.throws(() => at.jobs.watch('000000000000-000000000000', new AbortController().signal), /not found/);
});

test('a watcher that leaves ends its watch', async () => {
  await using at = await openJobs();
  const started = at.jobs.start(draft, untilAborted);
  const gone = new AbortController();
  const seen: JobRecord[] = [];
  for await (const record of at.jobs.watch(started.id, gone.signal)) {
    seen.push(record);
    gone.abort();
  }
  assert.ok(seen.length <= 2);
  await Promise.allSettled([at.jobs.cancel(started.id), started.done]);
});

test('records go after 30 days and beyond 1,000', async () => {
  await using at = await openJobs();
  await at.jobs.start(draft, () => Promise.resolve()).done;
  await at.clock.wait(31 * 24 * 3600 * 1000);
  await at.jobs.start(draft, () => Promise.resolve()).done;
  assert.equal(at.stored().length, 1);
  const [record] = at.stored();
  for (let count = 0; count < 1001; count += 1) {
    const id = `${(1_000_000 + count).toString(16).padStart(12, '0')}-000000000000`;
    writeFileSync(path.join(at.folder, `${id}.json`), encodeJob({ ...(record as JobRecord), id, startedAtMs: at.clock.now() }));
  }
  assert.equal((await at.reopen()).list().length, 1000);
  assert.equal(at.stored().length, 1000);
});

test('a file that is no record is left as it is', async () => {
  await using at = await openJobs();
  mkdirSync(at.folder, { recursive: true });
  writeFileSync(path.join(at.folder, 'note.json'), '{}');
  assert.deepEqual((await at.reopen()).list(), []);
  assert.equal(readFileSync(path.join(at.folder, 'note.json'), 'utf8'), '{}');
});

test('decode(encode(record)) is the record; a flipped bit is none', () => {
  const text = fc.string({ unit: 'grapheme' });
  const optional = <T>(name: string, values: fc.Arbitrary<T>): fc.Arbitrary<object> => fc.option(values, { nil: undefined }).map((value) => (value === undefined ? {} : { [name]: value }));
  const records = fc.tuple(
    fc.record({
      id: fc.constant('0123456789ab-0123456789ab'), kind: fc.constantFrom('create', 'restore', 'verify'), state: fc.constantFrom('queued', 'running', 'succeeded', 'failed', 'cancelled'),
      target: text, startedAtMs: fc.nat(), phase: text, bytesDone: fc.nat(), pointsDone: fc.nat(),
    }),
    optional('source', text), optional('snapshot', text), optional('finishedAtMs', fc.nat()), optional('bytesTotal', fc.nat()),
    optional('error', fc.record({ code: text, message: text })), optional('result', fc.jsonValue().filter((value) => value !== null && !JSON.stringify(value).includes('-0'))),
  ).map((parts) => Object.assign({}, ...parts) as JobRecord);
  fc.assert(fc.property(records, fc.nat(), (record, at) => {
    const bytes = encodeJob(record);
    assert.deepEqual(decodeJob(bytes), JSON.parse(JSON.stringify(record)));
    const flipped = Buffer.from(bytes);
    const place = at % flipped.length;
    flipped[place] = (flipped[place] ?? 0) ^ 1;
    assert.equal(decodeJob(flipped), undefined);
  }));
});

test('creates and restores are jobs; a restore that crashed after its commit is finished at the next start', async () => {
  await using rig = await openRig();
  const create = rig.snapshots.startCreate('c');
  const made = await create.done;
  const download = await rig.snapshots.openDownload('c', made.name);
  const bytes = await allBytes(download);
  download.release();
  const record = rig.snapshots.jobs.get(create.id);
  assert.deepEqual([record.kind, record.state, record.target, record.snapshot, record.bytesTotal], ['create', 'succeeded', 'c', made.name, made.sizeBytes]);
  await rig.snapshots.upload('new', inChunks(bytes), { priority: 'snapshot' });
  await assert.rejects(rig.snapshots.recover('new', { priority: 'snapshot', location: 'http://127.0.0.1:1/x.snapshot?secret=1' }));
  const [failed, restored] = rig.snapshots.jobs.list().filter(({ kind }) => kind === 'restore').sort((a) => (a.state === 'failed' ? -1 : 1));
  assert.deepEqual([failed?.state, failed?.source], ['failed', 'http://127.0.0.1:1/x.snapshot']);
  assert.deepEqual([restored?.state, restored?.source, restored?.pointsDone, (restored?.bytesDone ?? 0) > 0], ['succeeded', 'upload', 21, true]);
  for (const { id, kind } of rig.snapshots.jobs.list()) {
    const file = path.join(rig.dataDirectory, 'jobs', `${id}.json`);
    const before = rig.snapshots.jobs.get(id);
    const { finishedAtMs: _f, ...unfinished } = before;
    if (kind === 'restore' || kind === 'create') writeFileSync(file, encodeJob({ ...unfinished, state: 'running' }));
  }
  await using again = await rig.reopen();
  assert.deepEqual(again.jobs.list().map(({ kind, source, state }) => `${kind} ${source ?? ''} ${state}`).sort(), [
    'create  succeeded', 'restore http://127.0.0.1:1/x.snapshot failed', 'restore upload succeeded',
  ]);
});
