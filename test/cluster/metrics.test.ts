// Metrics of a cluster have the values that docs/operations.md says: at rest, while a node is away, and of a stream that lacks an entry.
// That one disk is full is told in full-disks.test.ts, that replicas differ in divergence.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call } from '../support/rest-client.ts';
import { json } from './json-client.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

const secret = 'the secret of this test';
const all = [0, 1, 2];
const listener = 2;
const points = 5;
/** Of every node while all is well. */
const atRest = {
  cluster_enabled: 1, cluster_peers_total: 3, cluster_peers_up: 3, cluster_working_state: 1, cluster_pending_operations_total: 0, cluster_disk_full: 0,
  cluster_shards_differing: 0, cluster_shards_stopped: 0, cluster_log_entries_missing: 0, cluster_message_send_failures: 0,
};

interface ClusterAnswer {
  readonly peer_id: number;
  readonly raft_info: { readonly leader: number };
}

/** Families `cluster_…` of a node, none of which has labels. */
async function metricsOf(nodes: ProcessCluster, at: number): Promise<Readonly<Record<string, number>>> {
  const { text } = await call(nodes.node(at).url, 'GET', '/metrics');
  return Object.fromEntries(Array.from(text.matchAll(/^(cluster_\S+) (\S+)$/gm), ([, name = '', value]) => [name, Number(value)]));
}

async function metric(nodes: ProcessCluster, at: number, name: string): Promise<number> {
  return must((await metricsOf(nodes, at))[name], name);
}

async function clusterOf(nodes: ProcessCluster, at: number): Promise<ClusterAnswer> {
  return (await json(nodes.node(at).url, 'GET', '/cluster')) as ClusterAnswer;
}

/** A stream in the place of the shard's own, of which single entries can be deleted. */
async function replaceStream({ manager }: NatsClient): Promise<string> {
  const [stream = ''] = (await manager.streams.names('l.>').next()).filter((name) => name.startsWith('L_'));
  const { config } = await manager.streams.info(stream);
  await manager.streams.delete(stream);
  await manager.streams.add({ ...config, deny_delete: false });
  return stream;
}

test('metrics of three nodes are what the page of operations says', { skip: noNats ?? false }, async (t) => {
  await using nodes = await processCluster(all.length, { env: { NEARKEEP__CLUSTER__SECRET: secret } });
  const start = (at: number): Promise<unknown> => nodes.start(at, at === listener ? { NEARKEEP__STORAGE__NODE_TYPE: 'Listener' } : {});
  await Promise.all(all.map(start));
  await nodes.untilReady();
  const peerIds = await Promise.all(all.map(async (at) => (await clusterOf(nodes, at)).peer_id));
  await json(nodes.node(0).url, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: 1, replication_factor: 2 });
  let stream = '';

  await t.test('at rest', async () => {
    for (const at of all) {
      await nodes.until(`node ${at} is at rest`, async () => {
        const { cluster_voter: voter, cluster_term: term, cluster_commit: commit, ...others } = await metricsOf(nodes, at);
        assert.deepEqual(others, atRest);
        assert.deepEqual([voter, term], [at === listener ? 0 : 1, 1]);
        assert.equal(commit, await metric(nodes, 0, 'cluster_commit'));
      });
    }
  });

  await t.test('a change of the metadata is counted on every node', async () => {
    const before = await metric(nodes, 0, 'cluster_commit');
    await json(nodes.node(1).url, 'POST', '/collections/aliases', { actions: [{ create_alias: { collection_name: 'c', alias_name: 'other' } }] });
    for (const at of all) assert.ok((await metric(nodes, at, 'cluster_commit')) > before, `node ${at}`);
  });

  await t.test('a stream counts an entry as missing, and nothing here has looked at it yet', async () => {
    await using client = await NatsClient.connect({ url: `nats://127.0.0.1:${nodes.place(0).ports.natsClient}`, user: clusterKeys(secret).app, name: 'test', clock: systemClock });
    stream = await replaceStream(client);
    for (let id = 1; id <= points; id += 1) await json(nodes.node(0).url, 'PUT', '/collections/c/points?wait=true', { points: [{ id, vector: [id, 1] }] });
    assert.equal(await client.manager.streams.deleteMessage(stream, 3), true);
    assert.equal((await client.leaderInfo(stream)).state.num_deleted, 1);
  });

  const leader = (await clusterOf(nodes, 0)).raft_info.leader;
  const victim = peerIds.indexOf(leader);
  const holder = must([0, 1].find((at) => at !== victim), 'two hold the shard');
  const third = must(all.find((at) => at !== victim && at !== holder), 'there are three');

  await t.test('the node that leads the metadata is away', async () => {
    const before = await metric(nodes, third, 'cluster_term');
    await nodes.kill(victim);
    await nodes.until('another one leads', async () => {
      const { cluster_term: term, cluster_working_state: isWorking, cluster_peers_up: up } = await metricsOf(nodes, third);
      assert.deepEqual([term, isWorking, up], [before + 1, 1, 2]);
    });
    assert.equal((await call(nodes.node(third).url, 'GET', `/collections/c/snapshots?peer=${leader}`)).status, 503);
    const { cluster_peers_total: total, cluster_message_send_failures: failures = 0 } = await metricsOf(nodes, third);
    assert.deepEqual([total, failures > 0], [3, true]);
  });

  await t.test('a node that looks at the stream tells what it counts as missing, until all servers are there and it is replaced', async () => {
    await nodes.stop(holder);
    await start(holder); // looks at once
    await nodes.until('the node tells of the missing entry', async () => (await metric(nodes, holder, 'cluster_log_entries_missing')) === 1);
    if (victim !== listener) assert.equal(await metric(nodes, listener, 'cluster_log_entries_missing'), 0, 'of the shards of each node');
    await start(victim);
    await nodes.untilReady();
    await nodes.until('the stream is replaced', async () => (await metric(nodes, holder, 'cluster_log_entries_missing')) === 0);
    for (const at of all) {
      const { result } = await call(nodes.node(at).url, 'POST', '/collections/c/points/count', { body: { exact: true } });
      assert.deepEqual(result, { count: points });
    }
  });

  await t.test('at rest again', async () => {
    assert.equal((await call(nodes.node(third).url, 'GET', `/collections/c/snapshots?peer=${leader}`)).status, 200);
    for (const at of all) {
      await nodes.until(`node ${at} is at rest`, async () => {
        const { cluster_voter: voter, cluster_term: term, cluster_commit: commit, ...others } = await metricsOf(nodes, at);
        assert.deepEqual(others, atRest);
        assert.deepEqual([voter, (term ?? 0) >= 1, (commit ?? 0) > 0], [at === listener ? 0 : 1, true, true]);
      });
    }
  });
});
