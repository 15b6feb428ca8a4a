// A replica whose files or whose stream no longer lead to what it should hold gets its content from another node, by itself.
import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { RequestError } from '../../src/base/errors.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { replicaOf, type ReplicaState } from '../../src/cluster/cluster-record.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { NatsServer } from '../../src/cluster/nats-server.ts';
import { purgeStream, streamFacts, streamName } from '../../src/cluster/shard-stream.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { clusterSecret, startCluster, type ClusterFixture } from './cluster-fixture.ts';

const vectors = { size: 2, distance: 'Dot' } as const;
const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const draft = (value: number): PointDraft => ({ id: id(value), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"n":${value}}` });
const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
const victim = 2;

/** Of one server: its own copies of the streams. */
interface StoreFacts {
  readonly account_details?: readonly { readonly stream_detail?: readonly { readonly name: string; readonly state: { readonly first_seq: number } }[] }[];
}

describe('a replica that lost or damaged its part', { skip: noNats ?? false }, () => {
  let fixture: ClusterFixture | undefined;
  const cluster = (): ClusterFixture => must(fixture, 'it runs');

  before(async () => {
    fixture = await startCluster(3);
  });
  after(() => fixture?.[Symbol.asyncDispose]());

  const fill = async (name: string, from: number, writes: number): Promise<void> => {
    for (let at = 0; at < writes; at += 1) await cluster().node(0).catalog.get(name).write({ kind: 'upsert', points: [draft(from + at)] }, { wait: true });
  };
  const create = async (name: string): Promise<string> => {
    await cluster().node(0).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 3 });
    await fill(name, 0, 20);
    return cluster().node(0).catalog.get(name).uuid;
  };
  const local = (at: number, name: string): Shard | undefined => cluster().node(at).catalog.get(name).set.slots[0]?.shard;

  /** Until the replica of the victim is Active again with what the others have; answers the states that it had on the way. */
  const untilHealed = async (name: string): Promise<ReadonlySet<ReplicaState | undefined>> => {
    const states = new Set<ReplicaState | undefined>();
    await waitUntil(`the replica of ${name} is healed`, () => {
      const [shard] = cluster().node(0).catalog.record(name).shards;
      const state = replicaOf(must(shard, 'it has one'), 100 + victim);
      states.add(state);
      const positions = new Set([0, 1, victim].map((at) => `${local(at, name)?.applied} ${local(at, name)?.position().chain} ${JSON.stringify(local(at, name)?.marks.at(-1))}`));
      assert.ok(state === 'Active' && positions.size === 1, `${state}: ${[...positions].join(' | ')}`);
    }, { pollMs: 5 });
    const [wanted, found] = await Promise.all([0, victim].map(async (at) => {
      const { points } = await cluster().node(at).catalog.get(name).scroll({ limit: 1000, selectors: all });
      return points.map(({ id: point, payload, vectors: rows }) => [point, payload, [...(rows?.get('') ?? [])]]);
    }));
    assert.deepEqual(found, wanted);
    return states;
  };

  /** One in every file of the victim's replica. */
  const flipBits = async (uuid: string, kind: 'logs' | 'files'): Promise<void> => {
    const folder = path.join(cluster().data(victim), 'collections', uuid, 'shards', '0.g0', kind);
    const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    assert.ok(files.length > 0);
    for (const { name: file, parentPath } of files) {
      const bytes = await readFile(path.join(parentPath, file));
      const middle = bytes.byteLength >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      await writeFile(path.join(parentPath, file), bytes);
    }
  };

  test('a node that comes back with less than its stream still has gets a copy', async () => {
    const uuid = await create('purged');
    const folder = path.join(cluster().data(victim), 'collections', uuid);
    const older = `${cluster().data(victim)}-older`;
    await cluster().stop(victim);
    await cp(folder, older, { recursive: true });
    await cluster().start(victim);
    await fill('purged', 100, 50);
    await untilHealed('purged');
    await using client = await NatsClient.connect({ url: cluster().node(0).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
    const stream = { collectionUuid: uuid, shardId: 0, generation: 0 };
    const firstSeq = (await streamFacts(client, stream)).lastSeq - 3;
    for (const at of [0, 1]) await cluster().node(at).catalog.checkpoint('purged', 0);
    await purgeStream(client, stream, firstSeq);
    const { nats } = cluster().node(victim);
    assert.ok(nats instanceof NatsServer);
    await waitUntil('its own server has purged as well', async () => {
      const { account_details: accounts = [] } = (await nats.monitor('jsz?streams=true')) as StoreFacts;
      assert.equal(accounts.flatMap(({ stream_detail: streams = [] }) => streams).find(({ name }) => name === streamName(stream))?.state.first_seq, firstSeq);
    });
    await cluster().stop(victim);
    await rm(folder, { recursive: true });
    await cp(older, folder, { recursive: true });
    const [states] = await Promise.all([untilHealed('purged'), cluster().start(victim)]);
    assert.ok(states.has('Recovery') || states.has('Dead'), [...states].join(' '));
    await fill('purged', 200, 5);
    await untilHealed('purged');
  });

  test('a copy that is made while the record changes is opened once', async () => {
    const uuid = await create('busy');
    await cluster().stop(victim);
    await flipBits(uuid, 'logs');
    await cluster().start(victim);
    await Promise.all([0, 1, 0, 1, 0, 1].map(async (node) => {
      for (let at = 0; local(victim, 'busy') === undefined; at += 1) await cluster().node(node).catalog.update('busy', { metadata: { at } });
    }));
    await untilHealed('busy');
    await fill('busy', 100, 20);
    await untilHealed('busy');
    await cluster().stop(victim);
    await cluster().start(victim);
    assert.deepEqual([...await untilHealed('busy')], ['Active'], 'its files lead to what they should');
  });

  for (const kind of ['logs', 'files'] as const) {
    test(`a replica with a flipped bit in its ${kind === 'logs' ? 'log' : 'segments'} is not served, and gets a copy`, async () => {
      const name = `flipped-${kind}`;
      const uuid = await create(name);
      if (kind === 'files') await cluster().node(victim).catalog.checkpoint(name, 0);
      await cluster().stop(victim);
      await flipBits(uuid, kind);
      await cluster().start(victim);
      assert.equal(await cluster().node(victim).catalog.get(name).count({ exact: true }), 20);
      await untilHealed(name);
      await fill(name, 100, 5);
      await untilHealed(name);
    });
  }

  test('of racing creates and deletes of one name through three nodes every node ends with the same, and nothing half made', async () => {
    for (let round = 0; round < 5; round += 1) {
      const outcomes = await Promise.allSettled([0, 1, 2, 0, 1, 2].map((at, turn) => (turn % 2 === 0
        ? cluster().node(at).catalog.create('raced', { vectors, shardNumber: 2, replicationFactor: 3, writeConsistencyFactor: 3 })
        : cluster().node(at).catalog.delete('raced'))));
      for (const outcome of outcomes) if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof RequestError && outcome.reason.code === 'already-exists', String(outcome.reason));
      const uuids = new Set([0, 1, 2].map((at) => (cluster().node(at).catalog.resolve('raced') === undefined ? undefined : cluster().node(at).catalog.get('raced').uuid)));
      assert.equal(uuids.size, 1, [...uuids].join(' '));
      if (!uuids.has(undefined)) {
        await cluster().node(round % 3).catalog.get('raced').write({ kind: 'upsert', points: [draft(round)] }, { wait: true });
        assert.equal(await cluster().node((round + 1) % 3).catalog.get('raced').count({ exact: true }), 1);
        assert.equal(await cluster().node(round % 3).catalog.delete('raced'), true);
      }
    }
  });
});
