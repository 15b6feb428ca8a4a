// Nodes that come one after another, started with Qdrant's flags as its documentation writes them: the first founds the cluster alone,
// the others join it while it serves. And nodes that may not join: nothing has changed on either side then.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, program, startServer, verifySound, type ServerProcess } from '../support/server-process.ts';
import { json } from './json-client.ts';
import { processCluster, type NodePlace, type ProcessCluster } from './process-cluster.ts';

const skip = noNats ?? false;

interface ClusterAnswer {
  readonly status: string;
  readonly peer_id: number;
  readonly peers: Readonly<Record<string, { readonly uri: string }>>;
  readonly raft_info: { readonly leader: number | null; readonly role: string };
}

interface Stream {
  readonly name: string;
  readonly config: { readonly num_replicas: number };
}

const urlOf = ({ ports: { peer } }: NodePlace): string => `http://127.0.0.1:${peer}`;

/** The flags of Qdrant's guide: the first node has a URI, the others a node to join besides. */
function qdrantFlags(node: NodePlace): readonly string[] {
  return node.at === 0 ? ['--uri', urlOf(node)] : ['--bootstrap', `http://${node.peers[0]}`, '--uri', urlOf(node)];
}

async function clusterOf(nodes: ProcessCluster, at: number): Promise<ClusterAnswer> {
  return (await call(nodes.node(at).url, 'GET', '/cluster')).result as ClusterAnswer;
}

async function create(nodes: ProcessCluster, at: number, name: string, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  assert.equal((await call(nodes.node(at).url, 'PUT', `/collections/${name}`, { body: { vectors: { size: 2, distance: 'Dot' }, ...more } })).status, 200);
}

async function write(nodes: ProcessCluster, at: number, name: string, ids: readonly number[]): Promise<void> {
  await json(nodes.node(at).url, 'PUT', `/collections/${name}/points?wait=true`, { points: ids.map((id) => ({ id, vector: [id, 1], payload: { id } })) });
}

async function count(nodes: ProcessCluster, at: number, name: string): Promise<number> {
  return ((await json(nodes.node(at).url, 'POST', `/collections/${name}/points/count`, { exact: true })) as { readonly count: number }).count;
}

/** On how many servers each stream that this node's server knows is kept. */
async function streamServers(nodes: ProcessCluster, at: number): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`http://127.0.0.1:${nodes.place(at).ports.natsMonitor}/jsz?accounts=true&streams=true&config=true`);
  const { account_details: accounts = [] } = (await response.json()) as { readonly account_details?: readonly { readonly stream_detail?: readonly Stream[] }[] };
  return new Map(accounts.flatMap(({ stream_detail: streams = [] }) => streams.map(({ name, config }) => [name, config.num_replicas] as const)));
}

async function untilStreamsOn(nodes: ProcessCluster, servers: number): Promise<void> {
  await nodes.until(`every stream is on ${servers} servers`, async () => {
    const found = [...(await streamServers(nodes, 0)).values()];
    assert.ok(found.length > 0 && found.every((each) => each === servers), JSON.stringify(found));
  });
}

/** JetStream's metadata group as a node's server sees it: how many servers there are, and the names of those it tells of. */
async function metaGroup(nodes: ProcessCluster, at: number): Promise<{ readonly size: number; readonly names: readonly string[] }> {
  const response = await fetch(`http://127.0.0.1:${nodes.place(at).ports.natsMonitor}/jsz`);
  const { meta_cluster: meta } = (await response.json()) as { readonly meta_cluster: { readonly leader: string; readonly cluster_size: number; readonly replicas?: readonly { readonly name: string }[] } };
  return { size: meta.cluster_size, names: [meta.leader, ...(meta.replicas ?? []).map(({ name }) => name)] };
}

async function freePeerPort(): Promise<number> {
  return must((await nodePorts(1))[0], 'one was asked for').peer;
}

const range = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, at) => from + at);

test('one node, then two, three and four, by the flags and by the environment', { skip }, async (t) => {
  let argsOf = qdrantFlags;
  await using nodes = await processCluster(4, { argsOf: (node) => argsOf(node) });
  const ids: number[] = [];

  await t.test('the first node is a cluster of one: leader, and writable', async () => {
    await nodes.start(0);
    const found = await clusterOf(nodes, 0);
    assert.equal(found.status, 'enabled');
    assert.deepEqual(found.peers, { [String(found.peer_id)]: { uri: `${nodes.peerUrl(0)}/` } });
    await nodes.until('it leads', async () => (await clusterOf(nodes, 0)).raft_info.leader === found.peer_id);
    await create(nodes, 0, 'early', { shard_number: 2 });
    await write(nodes, 0, 'early', range(0, 50));
    ids.push(...range(0, 50));
  });

  await t.test('a second one joins by the environment and serves what is there', async () => {
    argsOf = () => [];
    await nodes.start(1, { QDRANT__CLUSTER__ENABLED: 'true', QDRANT_URI: nodes.peerUrl(1), QDRANT_BOOTSTRAP: nodes.peerUrl(0) });
    argsOf = qdrantFlags;
    assert.equal(await count(nodes, 1, 'early'), 50);
    await write(nodes, 1, 'early', range(50, 100));
    assert.equal(await count(nodes, 0, 'early'), 100);
    await untilStreamsOn(nodes, 2);
    for (const at of [0, 1]) await nodes.untilSaid(at, /"nodes":2,"msg":"the cluster has two nodes, which both keep every log: while either is away nothing can be written/);
  });

  await t.test('a third one joins through the second, and ends the witness of the first', async () => {
    argsOf = (node) => ['--bootstrap', nodes.peerUrl(1), '--uri', urlOf(node)];
    await nodes.start(2);
    argsOf = qdrantFlags;
    await write(nodes, 2, 'early', range(100, 150));
    await untilStreamsOn(nodes, 3);
    await nodes.until('three servers are the whole group', async () => {
      const { size, names } = await metaGroup(nodes, 2);
      assert.equal(size, 3);
      assert.ok(!names.some((name) => name.endsWith('-witness')), names.join());
    });
    await create(nodes, 2, 'wide', { shard_number: 3, replication_factor: 2 });
    await write(nodes, 0, 'wide', range(0, 100));
    assert.deepEqual([...(await streamServers(nodes, 0))].filter(([name]) => name.startsWith('L_')).map(([, servers]) => servers), [3, 3, 3, 3, 3]);
  });

  await t.test('the first node may be killed now: the other two go on', async () => {
    await nodes.kill(0);
    await nodes.until('a write through the second succeeds', () => write(nodes, 1, 'wide', range(100, 120)));
    await nodes.until('the third has it all', async () => (await count(nodes, 2, 'wide')) === 120); // replicas may lag behind a write
    await nodes.start(0);
    await nodes.until('the first has it all', async () => (await count(nodes, 0, 'wide')) === 120 && (await count(nodes, 0, 'early')) === 150);
  });

  await t.test('a fourth one joins three and takes shards of a new collection', async () => {
    await nodes.start(3);
    assert.equal(Object.keys((await clusterOf(nodes, 3)).peers).length, 4);
    await create(nodes, 3, 'four', { shard_number: 4 });
    const { remote_shards: remote, local_shards: local } = (await call(nodes.node(3).url, 'GET', '/collections/four/cluster')).result as { readonly remote_shards: readonly { readonly peer_id: number }[]; readonly local_shards: readonly unknown[] };
    assert.deepEqual([local.length, new Set(remote.map(({ peer_id: peer }) => peer)).size], [1, 3]);
    await write(nodes, 3, 'four', range(0, 40));
    assert.equal(await count(nodes, 0, 'four'), 40);
  });

  await t.test('all come back without being told of one another again', async () => {
    for (const at of [0, 1, 2, 3]) await nodes.stop(at);
    argsOf = () => [];
    await Promise.all([0, 1, 2, 3].map((at) => nodes.start(at, { QDRANT__CLUSTER__ENABLED: 'true' })));
    await nodes.untilReady();
    for (const at of [0, 1, 2, 3]) {
      assert.deepEqual([await count(nodes, at, 'early'), await count(nodes, at, 'wide'), await count(nodes, at, 'four')], [150, 120, 40]);
    }
    await write(nodes, 3, 'early', range(150, 160));
  });
});

test('a node moves to another address, and the others follow', { skip }, async () => {
  let argsOf = qdrantFlags;
  await using nodes = await processCluster(3, { argsOf: (node) => argsOf(node) });
  for (const at of [0, 1, 2]) await nodes.start(at);
  await create(nodes, 0, 'c', { shard_number: 3 });
  await write(nodes, 0, 'c', range(0, 30));
  const moved = await clusterOf(nodes, 2);
  const peer = await freePeerPort();
  await nodes.stop(2);
  argsOf = () => ['--uri', `http://127.0.0.1:${peer}`];
  await nodes.start(2);
  argsOf = qdrantFlags;
  await nodes.untilReady();
  for (const at of [0, 1]) await nodes.until(`node ${at} knows the new address`, async () => (await clusterOf(nodes, at)).peers[String(moved.peer_id)]?.uri === `http://127.0.0.1:${peer}/`);
  assert.deepEqual([await count(nodes, 0, 'c'), await count(nodes, 2, 'c')], [30, 30]);
  // Its old address is nobody's: the first finds it by what it knows now, not by what it was told.
  await nodes.stop(0);
  await nodes.start(0);
  await nodes.until('the first reaches it again', async () => (await count(nodes, 0, 'c')) === 30);
});

/** What a start that is refused says. */
async function refusal(data: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  let said = '';
  await assert.rejects(startServer({ data, args, env, onOutput: (output) => {
    said = output;
  } }), RangeError);
  return said;
}

test('who may not join is told why, and nothing has changed', { skip }, async (t) => {
  await using nodes = await processCluster(3, { argsOf: qdrantFlags });
  await using folder = await temporaryFolder();
  await nodes.start(0);
  await nodes.start(1);
  await create(nodes, 0, 'c');
  await write(nodes, 0, 'c', [1, 2, 3]);
  const before = await clusterOf(nodes, 0);
  const bootstrap = ['--bootstrap', nodes.peerUrl(0), '--uri', urlOf(nodes.place(2))];
  const cases: readonly (readonly [title: string, run: () => Promise<void>])[] = [
    ['another secret', async () => {
      assert.match(await refusal(path.join(folder.path, 'secret'), bootstrap, { QDRANT__CLUSTER__SECRET: 'not the secret of that cluster' }), /does not accept this node: is it of another cluster, with another secret\?/);
    }],
    ['a peer id that is taken', async () => {
      assert.match(await refusal(path.join(folder.path, 'id'), bootstrap, { QDRANT__CLUSTER__PEER_ID: String(before.peer_id) }), new RegExp(`peer id ${before.peer_id} is taken by the node at ${nodes.peerUrl(0)}`));
    }],
    ['an address that is taken', async () => {
      assert.match(await refusal(path.join(folder.path, 'uri'), ['--bootstrap', nodes.peerUrl(0), '--uri', nodes.peerUrl(1), '--peer-port', String(nodes.place(2).ports.peer)]), /is the address of peer \d+, which answers/);
    }],
    ['itself as the node to join', async () => {
      assert.match(await refusal(path.join(folder.path, 'self'), ['--bootstrap', nodes.peerUrl(2), '--uri', nodes.peerUrl(2)]), /--bootstrap names another node of the cluster/);
    }],
    ['nobody at that address', async () => {
      const nobody = ['--bootstrap', nodes.peerUrl(2), '--uri', `http://127.0.0.1:${nodes.place(2).ports.natsClient}`];
      assert.match(await refusal(path.join(folder.path, 'nobody'), nobody, { QDRANT__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC: '1' }), /no node of a cluster answers at http:/);
    }],
    ['no address at all', async () => {
      assert.match(await refusal(path.join(folder.path, 'none'), [], { QDRANT__CLUSTER__ENABLED: 'true' }), /the first node of a cluster needs --uri/);
    }],
    ['a node with collections of its own', async () => {
      const data = path.join(folder.path, 'own');
      const alone = await startServer({ data });
      await json(alone.url, 'PUT', '/collections/mine', { vectors: { size: 2, distance: 'Dot' } });
      await json(alone.url, 'PUT', '/collections/mine/points?wait=true', { points: [{ id: 7, vector: [1, 1] }] });
      await alone.stop();
      assert.match(await refusal(data, bootstrap), /holds 1 collections of its own; a node joins a cluster with an empty data directory: make snapshots/);
      assert.match(await refusal(data, ['--peers', nodes.place(0).peers.join(','), '--uri', nodes.peerUrl(2)]), /holds 1 collections of its own; a cluster that is founded by several nodes begins empty/);
      const again = await startServer({ data });
      assert.deepEqual(((await json(again.url, 'POST', '/collections/mine/points/count', { exact: true })) as { count: number }).count, 1);
      await again.stop();
      verifySound(data);
    }],
    ['a node of another cluster', async () => {
      const data = path.join(folder.path, 'other');
      const peer = await freePeerPort();
      const other = await startServer({ data, args: ['--uri', `http://127.0.0.1:${peer}`] });
      await json(other.url, 'PUT', '/collections/theirs', { vectors: { size: 2, distance: 'Dot' } });
      await other.stop();
      assert.match(await refusal(data, bootstrap), /this node is a member of another cluster than http:\/\/127/);
      assert.match(await refusal(data, []), /this data directory is that of peer \d+ of a cluster: start it with --uri/);
      assert.match(await refusal(data, [], { QDRANT__CLUSTER__ENABLED: 'true', QDRANT__CLUSTER__PEER_ID: '5' }), /is peer \d+ of its cluster, and cannot become 5/);
      const back = await startServer({ data, env: { QDRANT__CLUSTER__ENABLED: 'true' } });
      assert.deepEqual(((await json(back.url, 'GET', '/collections')) as { collections: unknown }).collections, [{ name: 'theirs' }]);
      await back.stop();
    }],
  ];
  for (const [title, run] of cases) {
    await t.test(title, async () => {
      await run();
      assert.deepEqual((await clusterOf(nodes, 0)).peers, before.peers);
    });
  }
  assert.deepEqual([await count(nodes, 0, 'c'), await count(nodes, 1, 'c')], [3, 3]);
});

test('with TLS between nodes a cluster grows the same way, by the names of the certificates', { skip }, async () => {
  await using folder = await temporaryFolder();
  const made = path.join(folder.path, 'certs');
  const { status, stderr } = spawnSync(process.execPath, [program, 'certs', 'create', made, 'node,localhost'], { encoding: 'utf8', env: cleanEnvironment() });
  assert.equal(status, 0, stderr);
  const secureUrl = (port: number | string): string => `https://localhost:${port}`;
  await using nodes = await processCluster(3, {
    env: { QDRANT__CLUSTER__P2P__ENABLE_TLS: 'true', QDRANT__TLS__CERT: path.join(made, 'node.pem'), QDRANT__TLS__KEY: path.join(made, 'node.key'), QDRANT__TLS__CA_CERT: path.join(made, 'ca.pem') },
    argsOf: ({ at, ports: { peer } }) => ['--uri', secureUrl(peer), ...(at === 0 ? [] : ['--bootstrap', secureUrl(nodes.place(0).ports.peer)])],
  });
  await nodes.start(0);
  await create(nodes, 0, 'c');
  await write(nodes, 0, 'c', range(0, 20));
  for (const at of [1, 2]) {
    await nodes.start(at);
    await write(nodes, at, 'c', range(at * 20, at * 20 + 20));
  }
  await nodes.untilSaid(0, /the witness of the first has ended/);
  await untilStreamsOn(nodes, 3);
  for (const at of [0, 1, 2]) assert.equal(await count(nodes, at, 'c'), 60);
});

test('a cluster of one whose store is gone does not take its shards for leftovers', { skip }, async () => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const peer = await freePeerPort();
  const args = ['--uri', `http://127.0.0.1:${peer}`];
  const first: ServerProcess = await startServer({ data, args });
  await json(first.url, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' } });
  await json(first.url, 'PUT', '/collections/c/points?wait=true', { points: [{ id: 1, vector: [1, 1] }] });
  await first.stop();
  for (const name of ['nats', 'nats-witness']) await rm(path.join(data, name), { recursive: true });
  assert.match(await refusal(data, args), /holds shards of a cluster whose metadata is gone/);
  verifySound(data);
});
