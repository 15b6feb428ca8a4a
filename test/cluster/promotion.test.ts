// A data directory that one node has served by itself becomes that of a cluster's first node: everything is there afterwards, under the
// seqs it had. The disk stops before any of its changes: then the directory is one node's still, or a cluster's already, and whole.
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import type { PointId } from '../../src/base/ids.ts';
import { must } from '../../src/base/assert.ts';
import { RequestError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { memberOf } from '../../src/cluster/own-cluster.ts';
import { natsProgram, noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { FileMetastore } from '../../src/collection/file-metastore.ts';
import { Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { thisMachine, type Machine } from '../../src/engine/machine.ts';
import { verifyPath } from '../../src/engine/verify.ts';
import { FaultyDisk, isChange, type DecideFault, type DiskOperation } from '../../src/fs/testing/faulty-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';

const skip = noNats ?? false;
const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const wanted = process.env['NEARKEEP_CLUSTER_FAULTS'] === 'all' ? Infinity : Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? 6);
const vectors = { size: 2, distance: 'Dot' } as const;
const range = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, at) => from + at);

async function clusterSettings(): Promise<NonNullable<EngineOptions['cluster']>> {
  const { peer } = must((await nodePorts(1))[0], 'one was asked for');
  return {
    uri: `http://127.0.0.1:${peer}`, peerPort: undefined, bootstrap: undefined, peers: [], secret: undefined, allowNoSecret: false, tls: undefined, external: undefined, connectionsMax: 16, timeoutMs: 10_000,
    quorumTimeoutMs: 60_000, peerId: undefined, listener: false, shardsPerNode: 1, transfersMax: { incoming: 1, outgoing: 1 }, natsServer: natsProgram, searchPath: '', natsClientPort: undefined, natsMonitorPort: undefined,
  };
}

function open(data: string, more: Partial<EngineOptions> = {}): Promise<Engine> {
  return Engine.open({ dataDirectory: data, snapshotsDirectory: path.join(data, 'snapshots'), logger: silentLogger, recovery: { urlRecovery: false, boundToLoopback: true }, ...more });
}

async function write(engine: Engine, name: string, ids: readonly number[]): Promise<number> {
  const points = ids.map((id) => ({ id: id as PointId, vectors: new Map([['', Float32Array.of(id, 1)]]), payload: `{"n":${id}}` }));
  return (await engine.write(name, { kind: 'upsert', points }, { wait: true })).operationId ?? 0;
}

/** All that a client could ask for. */
async function contents(engine: Engine): Promise<unknown> {
  const collections = await Promise.all([...engine.listCollections()].sort().map(async (name) => {
    const { config, payloadSchema } = engine.collectionInfo(name);
    const { points } = await engine.scroll(name, { limit: 10_000, selectors: { payload: { kind: 'all' }, vectors: { kind: 'all' } } });
    return { name, config, fields: [...payloadSchema.keys()], points: points.map(({ id, payload, vectors: of }) => [String(id), payload, ...(of?.values() ?? [])]) };
  }));
  return { collections, aliases: engine.aliases() };
}

/** Two collections with an alias, an index, deletes, a restored shard and a state kept for an undo. */
async function fillAlone(data: string): Promise<{ readonly contents: unknown; readonly operationId: number }> {
  await using engine = await open(data);
  await engine.createCollection('plain', { vectors, shardNumber: 2 });
  await engine.createCollection('restored', { vectors });
  await engine.createCollection('empty', { vectors });
  await engine.changeAliases([{ kind: 'create', alias: 'also', collection: 'plain' }]);
  await engine.write('plain', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }, { wait: true });
  await write(engine, 'restored', range(0, 20));
  const { name: snapshot } = await engine.snapshots.create('restored');
  await write(engine, 'restored', range(20, 40));
  await engine.snapshots.recover('restored', { location: `file://${data}/snapshots/restored/${snapshot}`, priority: 'snapshot' });
  let operationId = 0;
  for (const from of [0, 50, 100]) operationId = await write(engine, 'plain', range(from, from + 50));
  await engine.write('plain', { kind: 'delete-points', selector: { kind: 'ids', ids: [3 as PointId, 4 as PointId] } }, { wait: true });
  return { contents: await contents(engine), operationId };
}

async function isMember(data: string): Promise<boolean> {
  await using metastore = await FileMetastore.open(thisMachine.disk, data);
  return (await memberOf(metastore)) !== undefined;
}

async function checkSound(data: string): Promise<void> {
  assert.deepEqual((await verifyPath(thisMachine.disk, data, { deep: true })).problems, []);
}

test('what one node has kept becomes the first node of a cluster, with its seqs', { skip }, async () => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const before = await fillAlone(data);
  const cluster = await clusterSettings();
  {
    await using engine = await open(data, { cluster });
    assert.deepEqual(await contents(engine), before.contents);
    assert.ok((await write(engine, 'also', range(200, 260))) > before.operationId);
    assert.equal(await engine.count('plain', { exact: true }), 208);
    await engine.createCollection('later', { vectors });
    await write(engine, 'later', [1]);
  }
  await assert.rejects(open(data), (error) => error instanceof RequestError && /is that of peer \d+ of a cluster/.test(error.message));
  await using engine = await open(data, { cluster: { ...cluster, uri: undefined } });
  assert.equal(await engine.count('plain', { exact: true }), 208);
  assert.deepEqual([...engine.listCollections()].sort(), ['empty', 'later', 'plain', 'restored']);
  await engine.close();
  await checkSound(data);
});

interface Cut {
  readonly title: string;
  /** Whether the disk stops before this change. */
  readonly isBefore: (change: DiskOperation, number: number) => boolean;
}

function stoppingMachine(cut: Cut | undefined, changes: DiskOperation[] = []): Machine {
  let isStopped = false;
  const decide: DecideFault = (operation) => {
    isStopped ||= isChange(operation) && cut?.isBefore(operation, changes.length) === true;
    if (isStopped) return { kind: 'error', code: 'EIO' };
    if (isChange(operation)) changes.push(operation);
    return undefined;
  };
  return { ...thisMachine, disk: new FaultyDisk(thisMachine.disk, decide) };
}

const isCommit = ({ kind, detail = '' }: DiskOperation): boolean => kind === 'rename' && path.basename(detail) === 'metastore.json';

test(`the disk stops anywhere while one node becomes a cluster's, seed ${seed}`, { skip }, async (t) => {
  t.diagnostic(`NEARKEEP_SEED=${seed} NEARKEEP_CLUSTER_FAULTS=${wanted} node --test dist/test/cluster/promotion.test.js`);
  await using folder = await temporaryFolder();
  const origin = path.join(folder.path, 'origin');
  const before = await fillAlone(origin);
  const cluster = await clusterSettings();

  const copyOf = async (name: string): Promise<string> => {
    const data = path.join(folder.path, name);
    await cp(origin, data, { recursive: true, filter: (file) => !path.basename(file).startsWith('LOCK') });
    return data;
  };
  const changes: DiskOperation[] = [];
  await (await open(await copyOf('whole'), { cluster, machine: stoppingMachine(undefined, changes) })).close();
  const commits = changes.filter(isCommit).length;
  assert.ok(commits >= 3, 'founding, member, and the records of one node forgotten');
  const random = seededRandom(seed);
  const drawn = wanted >= changes.length ? range(0, changes.length) : Array.from({ length: wanted }, () => random.below(changes.length));
  const cuts: readonly Cut[] = [
    ...range(0, commits).map((at): Cut => {
      let seen = 0;
      return { title: `rename ${at} of the metastore`, isBefore: (change) => isCommit(change) && (seen += 1) > at };
    }),
    ...drawn.map((at): Cut => ({ title: `change ${at} of ${changes.length}`, isBefore: (_change, number) => number >= at })),
  ];
  let alone = 0;
  for (const [at, cut] of cuts.entries()) {
    await t.test(`before ${cut.title}`, async () => {
      const data = await copyOf(`cut-${at}`);
      const stopped = await open(data, { cluster, machine: stoppingMachine(cut) }).catch((error: unknown) => error);
      if (stopped instanceof Engine) await stopped.close().catch(() => undefined); // it met the end only while it closed
      let expected = before.contents;
      if (!(await isMember(data))) {
        alone += 1;
        await using engine = await open(data);
        assert.deepEqual(await contents(engine), before.contents);
        await write(engine, 'plain', [1000]);
        expected = await contents(engine);
      }
      await using engine = await open(data, { cluster });
      assert.deepEqual(await contents(engine), expected);
      await write(engine, 'plain', [1001]);
      await engine.close();
      await checkSound(data);
    });
  }
  assert.ok(alone >= 2 && alone < cuts.length, `${alone} of ${cuts.length} cuts came before the cluster was there`);
});
