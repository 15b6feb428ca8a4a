// What three nodes say of themselves and of one another: banner, log, /cluster, /readyz, telemetry and metrics, while nodes come and go.
// Every answer is held against the schema of its route.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call } from '../support/rest-client.ts';
import { root } from '../support/server-process.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

interface ClusterAnswer {
  readonly status: string;
  readonly peer_id: number;
  readonly peers: Readonly<Record<string, { readonly uri: string }>>;
  readonly raft_info: { readonly term: number; readonly commit: number; readonly leader: number | null; readonly role: string; readonly is_voter: boolean };
  readonly consensus_thread_status: { readonly consensus_thread_status: string };
  readonly message_send_failures: Readonly<Record<string, { readonly count: number }>>;
}

interface CollectionAnswer {
  readonly peer_id: number;
  readonly shard_count: number;
  readonly local_shards: readonly { readonly shard_id: number; readonly points_count: number; readonly state: string }[];
  readonly remote_shards: readonly { readonly shard_id: number; readonly peer_id: number; readonly state: string }[];
}

interface TelemetryAnswer {
  readonly cluster: {
    readonly enabled: boolean;
    readonly status: { readonly number_of_peers: number; readonly role: string; readonly peer_id: number; readonly commit: number };
    readonly peers?: unknown;
    readonly peer_metadata?: Readonly<Record<string, { readonly version: string }>>;
  };
  readonly collections: { readonly collections: readonly { readonly shards: readonly { readonly id: number; readonly local?: { readonly num_points: number }; readonly remote: readonly { readonly peer_id: number }[]; readonly replicate_states: Readonly<Record<string, string>> }[] }[] };
}

const all = [0, 1, 2];

async function clusterOf(nodes: ProcessCluster, at: number): Promise<ClusterAnswer> {
  return (await call(nodes.node(at).url, 'GET', '/cluster')).result as ClusterAnswer;
}

async function collectionOf(nodes: ProcessCluster, at: number, name: string): Promise<CollectionAnswer> {
  return (await call(nodes.node(at).url, 'GET', `/collections/${name}/cluster`)).result as CollectionAnswer;
}

async function metric(nodes: ProcessCluster, at: number, name: string): Promise<number | undefined> {
  const { text } = await call(nodes.node(at).url, 'GET', '/metrics');
  const found = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

test('three nodes tell what they are, what they wait for, and which of them are up', { skip: noNats ?? false }, async (t) => {
  await using nodes = await processCluster(3);
  const founding = [nodes.start(0), nodes.start(1)];

  await t.test('nodes that found a cluster say that they wait for the others', async () => {
    for (const at of [0, 1]) await nodes.untilSaid(at, /"up":2,"of":3,"msg":"waiting for nodes of the cluster: for all of them when it is founded, for a majority after that"/);
    assert.doesNotMatch(nodes.output(0) + nodes.output(1), /"msg":"listening"/);
  });

  await t.test('with the third one all listen and name one another', async () => {
    await Promise.all([...founding, nodes.start(2)]);
    for (const at of all) {
      await nodes.untilSaid(at, new RegExp(`cluster {4}[23] of 3 up, this is peer \\d+ at ${nodes.peerUrl(at)}\n {2}log {8}nats-server \\d+\\.\\d+\\.\\d+ at nats://127\\.0\\.0\\.1:\\d+`));
      await nodes.untilSaid(at, /"cluster":\{"peerId":\d+,"url":"[^"]+","nats":"[\d.]+","natsUrl":"[^"]+","up":[23],"of":3\},"msg":"listening"/);
      for (const other of all) if (other !== at) await nodes.untilSaid(at, new RegExp(`"url":"${nodes.peerUrl(other)}","up":[23],"of":3,"msg":"a node of the cluster is up"`));
    }
  });

  const peerIds: number[] = [];
  await t.test('GET /cluster names the same peers, leader and change on every node', async () => {
    const answers = await Promise.all(all.map((at) => clusterOf(nodes, at)));
    peerIds.push(...answers.map((answer) => answer.peer_id));
    const peers = Object.fromEntries(answers.map((answer, at) => [String(answer.peer_id), { uri: `${nodes.peerUrl(at)}/` }]));
    for (const answer of answers) {
      assert.equal(answer.status, 'enabled');
      assert.deepEqual(answer.peers, peers);
      assert.equal(answer.raft_info.leader, answers[0]?.raft_info.leader);
      assert.equal(answer.raft_info.role, answer.raft_info.leader === answer.peer_id ? 'Leader' : 'Follower');
      assert.ok(answer.raft_info.term >= 1 && answer.raft_info.is_voter);
      assert.equal(answer.consensus_thread_status.consensus_thread_status, 'working');
    }
    assert.equal(answers.filter(({ raft_info: { role } }) => role === 'Leader').length, 1);
    await nodes.until('all nodes know the same change', async () => new Set((await Promise.all(all.map((at) => clusterOf(nodes, at)))).map((answer) => answer.raft_info.commit)).size === 1);
  });

  await t.test('GET /collections/{c}/cluster places every shard once for each replica, the same on every node', async () => {
    const { url } = nodes.node(1);
    await call(url, 'PUT', '/collections/spread', { body: { vectors: { size: 2, distance: 'Dot' }, shard_number: 3 } });
    await call(url, 'PUT', '/collections/copied', { body: { vectors: { size: 2, distance: 'Dot' }, shard_number: 2, replication_factor: 3 } });
    const points = Array.from({ length: 60 }, (_, id) => ({ id, vector: [id, 1] }));
    for (const name of ['spread', 'copied']) assert.equal((await call(url, 'PUT', `/collections/${name}/points?wait=true`, { body: { points } })).status, 200);
    const spread = await Promise.all(all.map((at) => collectionOf(nodes, at, 'spread')));
    assert.equal(spread.flatMap((answer) => answer.local_shards).reduce((sum, shard) => sum + shard.points_count, 0), 60);
    assert.deepEqual(new Set(spread.flatMap((answer) => answer.local_shards.map((shard) => shard.shard_id))), new Set([0, 1, 2]));
    for (const [at, answer] of spread.entries()) {
      assert.deepEqual([answer.peer_id, answer.shard_count, answer.local_shards.length, answer.remote_shards.length], [peerIds[at], 3, 1, 2]);
      for (const remote of answer.remote_shards) assert.deepEqual(spread[peerIds.indexOf(remote.peer_id)]?.local_shards[0]?.shard_id, remote.shard_id);
      assert.deepEqual(new Set([...answer.local_shards, ...answer.remote_shards].map((shard) => shard.state)), new Set(['Active']));
    }
    for (const at of all) {
      const { local_shards: local, remote_shards: remote } = await collectionOf(nodes, at, 'copied');
      assert.deepEqual([local.length, remote.length], [2, 4]);
      await nodes.until(`node ${at} has all points of its replicas`, async () => (await collectionOf(nodes, at, 'copied')).local_shards.reduce((sum, shard) => sum + shard.points_count, 0) === 60);
    }
  });

  await t.test('telemetry says the same, in every detail', async () => {
    for (const at of all) {
      const { url } = nodes.node(at);
      const cluster = await clusterOf(nodes, at);
      for (const level of [0, 1, 2]) {
        const { cluster: told, collections } = (await call(url, 'GET', `/telemetry?details_level=${level}`)).result as TelemetryAnswer;
        assert.equal(told.enabled, true);
        assert.deepEqual([told.status.number_of_peers, told.status.peer_id, told.status.role, told.status.commit], [3, peerIds[at], cluster.raft_info.role, cluster.raft_info.commit]);
        if (level === 0) assert.equal(told.peers, undefined);
        else assert.deepEqual([told.peers, Object.keys(told.peer_metadata ?? {}).length], [cluster.peers, 3]);
        if (level < 2) continue;
        const shards = collections.collections.flatMap((collection) => collection.shards);
        assert.equal(shards.length, 5);
        assert.equal(shards.filter(({ local }) => local !== undefined).length, 3, 'one of spread, two of copied');
        for (const { local, remote, replicate_states: states } of shards) {
          assert.equal((local === undefined ? 0 : 1) + remote.length, Object.keys(states).length);
          for (const [peer, state] of Object.entries(states)) assert.deepEqual([peerIds.includes(Number(peer)), state], [true, 'Active']);
        }
      }
    }
  });

  await t.test('metrics say the same, and the page of operations has them all', async () => {
    for (const at of all) {
      const { raft_info: info } = await clusterOf(nodes, at);
      const wanted = { cluster_enabled: 1, cluster_peers_total: 3, cluster_peers_up: 3, cluster_term: info.term, cluster_commit: info.commit, cluster_voter: 1, cluster_working_state: 1, collection_dead_replicas: 0 };
      for (const [name, value] of Object.entries(wanted)) assert.equal(await metric(nodes, at, name), value, name);
    }
    const { text } = await call(nodes.node(0).url, 'GET', '/metrics');
    const page = readFileSync(path.join(root, 'docs/operations.md'), 'utf8');
    const families = Array.from(text.matchAll(/^# TYPE (cluster_\S+) /gm), ([, name = '']) => name);
    assert.ok(families.length > 7);
    for (const name of families) assert.ok(page.includes(`\`${name}\``), `${name} in docs/operations.md`);
    assert.match(text, /^collection_active_replicas_min\{id="copied"\} 3$/m);
    assert.match(text, /^collection_active_replicas_max\{id="spread"\} 1$/m);
    for (const at of all) assert.equal((await call(nodes.node(at).url, 'GET', '/readyz')).text, 'all shards are ready');
  });

  await t.test('a node that is killed is missed, its replicas become dead, and all is well when it is back', async () => {
    await nodes.kill(2);
    for (const at of [0, 1]) await nodes.untilSaid(at, new RegExp(`"url":"${nodes.peerUrl(2)}","up":2,"of":3,"msg":"a node of the cluster is not heard"`));
    assert.deepEqual([await metric(nodes, 0, 'cluster_peers_total'), await metric(nodes, 0, 'cluster_peers_up')], [3, 2]);
    await nodes.until('the replicas of the killed node are dead', async () => (await collectionOf(nodes, 0, 'copied')).remote_shards.filter(({ state }) => state === 'Dead').length === 2);
    assert.match((await call(nodes.node(1).url, 'GET', '/metrics')).text, /^collection_dead_replicas\{id="copied"\} 2$/m);
    assert.match((await call(nodes.node(1).url, 'GET', '/metrics')).text, /^collection_active_replicas_min\{id="copied"\} 2$/m);
    assert.equal((await call(nodes.node(0).url, 'PUT', '/collections/copied/points?wait=true', { body: { points: [{ id: 1000, vector: [1, 1] }] } })).status, 200);
    await nodes.start(2);
    await nodes.untilReady();
    assert.equal((await clusterOf(nodes, 2)).peer_id, peerIds[2]);
    const told = await call(nodes.node(2).url, 'GET', '/collections/copied/cluster');
    assert.equal(told.status, 200, told.error);
    const { local_shards: local } = told.result as CollectionAnswer;
    assert.deepEqual([local.map(({ state }) => state), local.reduce((sum, shard) => sum + shard.points_count, 0)], [['Active', 'Active'], 61]);
    await nodes.until('all nodes are up and no replica is dead', async () => (await metric(nodes, 0, 'cluster_peers_up')) === 3 && (await metric(nodes, 0, 'collection_dead_replicas')) === 0);
  });

  await t.test('a node without a majority says that the metadata has no leader', async () => {
    await Promise.all([nodes.stop(1), nodes.stop(2)]);
    await nodes.until('the metadata has no leader', async () => (await metric(nodes, 0, 'cluster_working_state')) === 0);
    const answer = await clusterOf(nodes, 0);
    assert.deepEqual([answer.raft_info.leader, answer.raft_info.role, answer.consensus_thread_status.consensus_thread_status], [null, 'Candidate', 'stopped_with_err']);
    const sinceMs = performance.now();
    const refused = await call(nodes.node(0).url, 'PUT', '/collections/copied/points?wait=true&timeout=2', { body: { points: [{ id: 2000, vector: [1, 1] }] } });
    assert.deepEqual([refused.status, refused.error], [503, 'Shard temporarily unavailable: Shard temporarily unavailable: no quorum of the log answered in time']);
    assert.ok(performance.now() - sinceMs < 8_000, 'within its own time, which is shorter than that of a publish');
    const doubtful = await call(nodes.node(0).url, 'POST', '/collections/aliases', { body: { actions: [{ create_alias: { collection_name: 'copied', alias_name: 'other' } }] } });
    assert.match(doubtful.error, /^Service internal error: the metadata of the cluster did not answer in time, and whether the change was made shows when it does \(/);
    await nodes.until('one node is up', async () => (await metric(nodes, 0, 'cluster_peers_up')) === 1);
    await nodes.stop(0);
  });

  await t.test('two of three are enough once it is founded, and say so', async () => {
    await Promise.all([nodes.start(0), nodes.start(1)]);
    for (const at of [0, 1]) await nodes.untilSaid(at, /cluster {4}2 of 3 up, /);
    assert.doesNotMatch(nodes.output(0), new RegExp(`"url":"${nodes.peerUrl(2)}",[^\\n]*is up"`));
    const refused = 2000; // and may be stored all the same
    const { text } = await call(nodes.node(1).url, 'POST', '/collections/copied/points/count', { body: { exact: true, filter: { must_not: [{ has_id: [refused] }] } } });
    assert.match(text, /"count":61/);
  });
});
