// Nodes that hear late of what others changed, each by its own delays: the catalog of the cluster itself is driven through all of them.
// Whatever a node took for true, what was answered is true everywhere, and nothing that was answered is undone or lost.
import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { RequestError } from '../../src/base/errors.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import { peersIn, type ShardRecord } from '../../src/cluster/cluster-record.ts';
import { ClusterRecords } from '../../src/cluster/cluster-records.ts';
import { LateMetastore } from '../../src/cluster/testing/late-metastore.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { startCluster, type ClusterFixture } from './cluster-fixture.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const nodes = [0, 1, 2];
const lateMsMax = 150;
/** Of one change after another, and of each racing node. */
const rounds = 6;
const racingRounds = 12;
const moves = 3;
const readPauseMs = 5;
const vectors = { size: 2, distance: 'Dot' } as const;
const selectors = { payload: { kind: 'all' }, vectors: { kind: 'none' } } as const;

describe('nodes that hear late of changes', { skip: noNats ?? false }, () => {
  const random = seededRandom(seed);
  const views: LateMetastore[] = [];
  let fixture: ClusterFixture | undefined;
  const cluster = (): ClusterFixture => must(fixture, 'it runs');

  before(async () => {
    fixture = await startCluster(nodes.length, { viewOf: async (_at, store) => {
      const view = await LateMetastore.open(store, { random, lateMsMax });
      views.push(view);
      return view;
    } });
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  let oldReads = 0;
  /** Changes were heard late since the last call; without any nothing would be proved. */
  const checkLate = (context: TestContext): void => {
    const lateChanges = views.reduce((sum, view) => sum + view.lateChanges, 0);
    oldReads += views.reduce((sum, view) => sum + view.oldReads, 0);
    for (const view of views) view.forget();
    context.diagnostic(`seed ${seed}; changes heard late: ${lateChanges}, old reads so far: ${oldReads}`);
    assert.ok(lateChanges > 0, `seed ${seed}`);
  };
  const write = (at: number, name: string, value: number, id = 1): Promise<unknown> => cluster().node(at).catalog.get(name)
    .write({ kind: 'upsert', points: [{ id: must(parsePointId(id), 'a good id'), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"value":${value}}` }] }, { wait: true });
  const read = async (at: number, name: string, id = 1): Promise<number> => {
    const [found] = await cluster().node(at).catalog.get(name).retrieve({ ids: [must(parsePointId(id), 'a good id')], selectors });
    return (JSON.parse(found?.payload ?? '{"value":0}') as { readonly value: number }).value;
  };
  const shardOn = (at: number, name: string): ShardRecord => must(cluster().node(at).catalog.record(name).shards[0], 'it has one');
  const uuids = (at: number): Readonly<Record<string, string>> => Object.fromEntries(cluster().node(at).catalog.names().map((name) => [name, cluster().node(at).catalog.get(name).uuid]));

  test('what a node answered of a create, an alias and a delete is so on every node at once', async (context) => {
    for (let round = 0; round < rounds; round += 1) {
      const [name, alias] = [`made-${round}`, `alias-${round}`];
      const [one, other, third] = [round % 3, (round + 1) % 3, (round + 2) % 3] as const;
      await cluster().node(one).catalog.create(name, { vectors, shardNumber: 2, replicationFactor: 2 });
      await write(other, name, round + 1);
      assert.equal(await read(third, name), round + 1, `seed ${seed}`);
      await cluster().node(other).catalog.changeAliases([{ kind: 'create', alias, collection: name }]);
      for (const at of nodes) assert.equal(cluster().node(at).catalog.resolve(alias), name, `seed ${seed}: on node ${at}`);
      assert.equal(await read(one, alias), round + 1, `seed ${seed}`);
      assert.equal(await cluster().node(third).catalog.delete(name), true);
      for (const at of nodes) for (const each of [name, alias]) assert.equal(cluster().node(at).catalog.resolve(each), undefined, `seed ${seed}: ${each} on node ${at}`);
    }
    checkLate(context);
  });

  test('of racing creates, deletes and aliases each name has one holder, and every answer counts', async (context) => {
    const names = ['a', 'b', 'c'];
    const holders = new Map(names.map((name) => [name, 0]));
    const count = (name: string, by: number): void => void holders.set(name, (holders.get(name) ?? 0) + by);
    await Promise.all(nodes.map(async (at) => {
      const { catalog } = cluster().node(at);
      for (let round = 0; round < racingRounds; round += 1) {
        const name = must(names[random.below(names.length)], 'below the length');
        const other = must(names[random.below(names.length)], 'below the length');
        const kind = random.below(4);
        try {
          if (kind <= 1) {
            await catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 2 });
            count(name, 1);
          } else if (kind === 2) {
            if (await catalog.delete(name)) count(name, -1);
          } else await catalog.changeAliases([{ kind: 'create', alias: name, collection: other }]);
        } catch (error) {
          assert.ok(error instanceof RequestError && ['already-exists', 'not-found', 'bad-request', 'bad-input'].includes(error.code), `seed ${seed}: ${String(error)}`);
        }
      }
    }));
    const truth = new ClusterRecords(cluster().node(0).metastore);
    await cluster().node(0).metastore.catchUp();
    const { names: held, aliases } = await truth.directory();
    for (const name of names) assert.equal(Object.hasOwn(held, name) ? 1 : 0, holders.get(name), `seed ${seed}: ${name}`);
    for (const [alias, target] of Object.entries(aliases)) assert.ok(!Object.hasOwn(held, alias) && Object.hasOwn(held, target), `seed ${seed}: alias ${alias} of ${target}`);
    for (const at of nodes) {
      await waitUntil(`node ${at} serves what the records name`, () => assert.deepEqual(uuids(at), { ...held }));
      for (const name of Object.keys(held)) await write(at, name, at + 1, at + 1);
    }
    for (const name of Object.keys(held)) for (const at of nodes) assert.equal(await read((at + 1) % 3, name, at + 1), at + 1, `seed ${seed}`);
    for (const name of Object.keys(held)) await cluster().node(0).catalog.delete(name);
    checkLate(context);
  });

  test('a shard that moves under writes: no request fails, and no read goes back', async (context) => {
    const name = 'moving';
    await cluster().node(0).catalog.create(name, { vectors, shardNumber: 1 });
    const problems: string[] = [];
    let acknowledged = 0;
    let reads = 0;
    let isOn = true;
    const load = [
      (async () => {
        for (let value = 1; isOn; value += 1) {
          await write(random.below(3), name, value).catch((error: unknown) => problems.push(`write ${value}: ${String(error)}`));
          acknowledged = value;
        }
      })(),
      ...nodes.map(async (at) => {
        while (isOn) {
          const from = acknowledged;
          const found = await read(at, name).catch((error: unknown) => String(error));
          if (typeof found === 'string' || found < from) problems.push(`read through node ${at} found ${found}; ${from} was acknowledged`);
          reads += 1;
          await pause(readPauseMs); // the nodes share this process
        }
      }),
    ];
    for (let move = 0; move < moves; move += 1) {
      const [from = 0] = peersIn(shardOn(0, name));
      const to = 100 + ((from - 100 + 1 + random.below(2)) % 3);
      const before = { reads, acknowledged };
      await waitUntil('a read and a write more', () => reads > before.reads && acknowledged > before.acknowledged);
      await cluster().node(random.below(3)).changeShards(name, { kind: 'move-shard', shardId: 0, from, to, method: 'snapshot' });
      for (const at of nodes) await waitUntil(`node ${at} knows of move ${move} from ${from} to ${to}`, () => assert.deepEqual(shardOn(at, name), { id: 0, generation: 0, base: null, replicas: { [to]: 'Active' } }));
    }
    isOn = false;
    await Promise.all(load);
    assert.deepEqual(problems, [], `seed ${seed}`);
    for (const at of nodes) assert.equal(await read(at, name), acknowledged, `seed ${seed}`);
    context.diagnostic(`${acknowledged} writes, ${reads} reads`);
    await cluster().node(0).catalog.delete(name);
    checkLate(context);
  });

  test('restores through all nodes at once: each is answered, one content is there, and a write after them stays', async (context) => {
    const name = 'restored';
    await cluster().node(0).catalog.create(name, { vectors, shardNumber: 2, replicationFactor: 3 });
    for (let id = 1; id <= 20; id += 1) await write(id % 3, name, id, id);
    const files = await Promise.all(nodes.map(async (at) => await cluster().snapshots(at).create(name)));
    for (let id = 1; id <= 20; id += 1) await write(id % 3, name, 100 + id, id);
    const before = cluster().node(0).catalog.record(name).shards.map(({ generation }) => generation);
    const answers = await Promise.all(nodes.map(async (at) => {
      const snapshots = cluster().snapshots(at);
      const download = await snapshots.openDownload(name, must(files[at], 'one of each').name);
      try {
        return await snapshots.upload(name, download.read(0, download.sizeBytes - 1), { priority: 'snapshot' });
      } finally {
        download.release();
      }
    }));
    assert.deepEqual(answers, [true, true, true], `seed ${seed}`);
    await write(1, name, 500, 7);
    for (const at of nodes) {
      const { shards, turn } = cluster().node(at).catalog.record(name);
      assert.equal(turn, undefined);
      for (const [shard, { generation }] of shards.entries()) assert.ok(generation > must(before[shard], 'as many'), `seed ${seed}`);
      await waitUntil(`all replicas are active, as node ${at} sees it`, () => cluster().node(at).catalog.record(name).shards.every((shard) => peersIn(shard, 'Active').length === 3));
      await waitUntil(`node ${at} has the file's points and the write`, async () => {
        for (let id = 1; id <= 20; id += 1) assert.equal(await read(at, name, id), id === 7 ? 500 : id, `seed ${seed}: point ${id}`);
      }, { timeoutMs: 20_000 });
    }
    checkLate(context);
    assert.ok(oldReads > 0, `seed ${seed}: no test read what was old`);
  });
});
