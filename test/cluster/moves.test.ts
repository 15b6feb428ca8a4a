// Shards that are moved, replicated and dropped by hand over three nodes as processes, through REST and the official Python client.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { judgingProxy } from '../support/judging-proxy.ts';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, root } from '../support/server-process.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';
import { change, holders, peerIds, shardMap, untilSettled, type Transfer } from './shard-map.ts';

const python = process.env['NEARKEEP_TEST_PYTHON'] ?? '';
const nodes = [0, 1, 2];
const points = 300;

describe('shards of a cluster are moved by hand', { skip: noNats ?? false }, () => {
  let running: ProcessCluster | undefined;
  let ids: readonly number[] = [];
  const cluster = (): ProcessCluster => must(running, 'it runs');
  const id = (at: number): number => must(ids[at], 'three nodes');

  before(async () => {
    running = await startProcesses(3);
    await running.untilReady();
    ids = await peerIds(running);
  });
  after(() => running?.[Symbol.asyncDispose]());

  const create = async (name: string, shards: number, replicas = 1): Promise<void> => {
    const { url } = cluster().node(0);
    const body = { vectors: { size: 2, distance: 'Dot' }, shard_number: shards, replication_factor: replicas };
    assert.equal((await call(url, 'PUT', `/collections/${name}`, { body })).status, 200);
    const upsert = { points: Array.from({ length: points }, (_, at) => ({ id: at + 1, vector: [at, 1] })) };
    assert.equal((await call(url, 'PUT', `/collections/${name}/points?wait=true`, { body: upsert })).status, 200);
  };
  const count = async (at: number, name: string): Promise<number> =>
    ((await call(cluster().node(at).url, 'POST', `/collections/${name}/points/count`, { body: { exact: true } })).result as { readonly count: number }).count;
  const checkCounts = async (name: string, wanted = points): Promise<void> => {
    for (const at of nodes) assert.equal(await count(at, name), wanted, `through node ${at}`);
  };
  /** Names of the shard folders that a node has of a collection. */
  const folders = async (at: number, name: string): Promise<readonly string[]> => {
    const { result } = await call(cluster().node(at).url, 'GET', '/telemetry?details_level=2');
    const { collections } = (result as { readonly collections: { readonly collections: readonly { readonly id: string; readonly config: { readonly uuid: string } }[] } }).collections;
    const uuid = must(collections.find((collection) => collection.id === name), 'it is there').config.uuid;
    return await readdir(path.join(cluster().place(at).data, 'collections', uuid, 'shards')).catch(() => []);
  };
  const nodeOf = (peer: number): number => ids.indexOf(peer);
  const other = (...not: readonly number[]): number => must(nodes.find((at) => !not.includes(at)), 'three nodes');

  test('what cannot be done is refused with the reason', async () => {
    await create('refused', 1, 2);
    const map = await shardMap(cluster(), 0, 'refused');
    const [a = 0, b = 0] = holders(map, 0);
    const c = must(ids.find((peer) => peer !== a && peer !== b), 'two of three hold it');
    const bad = 'Bad request: ';
    const cases: readonly (readonly [operation: unknown, status: number, error: string])[] = [
      [{ move_shard: { shard_id: 7, from_peer_id: a, to_peer_id: c } }, 400, `${bad}Shard 7 of refused does not exist`],
      [{ replicate_shard: { shard_id: 0, from_peer_id: a, to_peer_id: 77 } }, 400, `${bad}Peer 77 does not exist`],
      [{ replicate_shard: { shard_id: 0, from_peer_id: 77, to_peer_id: c } }, 400, `${bad}Peer 77 does not exist`],
      [{ move_shard: { shard_id: 0, from_peer_id: c, to_peer_id: a } }, 400, `${bad}Shard 0 is not active on peer ${c}`],
      [{ move_shard: { shard_id: 0, from_peer_id: a, to_peer_id: b } }, 400, `${bad}Shard 0 is already active on peer ${b}`],
      [{ move_shard: { shard_id: 0, from_peer_id: a, to_peer_id: a } }, 400, `${bad}Shard 0 cannot be transferred from peer ${a} to itself`],
      [{ abort_transfer: { shard_id: 0, from_peer_id: a, to_peer_id: c } }, 404, `Not found: Shard transfer ${a} -> ${c} for collection refused:0 does not exist`],
      [{ restart_transfer: { shard_id: 0, from_peer_id: a, to_peer_id: c, method: 'snapshot' } }, 404, `Not found: Shard transfer ${a} -> ${c} for collection refused:0 does not exist`],
      [{ drop_replica: { shard_id: 0, peer_id: c } }, 400, `${bad}Peer ${c} has no replica of shard 0`],
      [{ drop_replica: { shard_id: 0, peer_id: 77 } }, 400, `${bad}Peer 77 does not exist`],
      [{ start_resharding: { direction: 'up' } }, 400, `${bad}resharding is only supported in Qdrant Cloud`],
      [{ abort_resharding: {} }, 400, `${bad}resharding is only supported in Qdrant Cloud`],
      [{ move_shard: { shard_id: 0, from_peer_id: a } }, 400, 'Format error in JSON body: move_shard: missing field `to_peer_id`'],
      [{ move_shard: { shard_id: 0, from_peer_id: a, to_peer_id: c, method: 'x' } }, 400, 'Format error in JSON body: move_shard.method: unknown variant `x`, expected one of `stream_records`, `snapshot`, `wal_delta`'],
      [{}, 400, 'Format error in JSON body: data did not match any variant of untagged enum ClusterOperations'],
    ];
    for (const [operation, status, error] of cases) {
      const answer = await change(cluster(), 1, 'refused', operation);
      assert.deepEqual([answer.status, answer.error], [status, error], JSON.stringify(operation));
    }
    assert.deepEqual((await change(cluster(), 0, 'absent', { drop_replica: { shard_id: 0, peer_id: a } })).status, 404);
    assert.deepEqual(await shardMap(cluster(), 0, 'refused'), map, 'nothing has changed');
  });

  test('a shard moves by each method: the source leaves with its files, every node finds every point', async () => {
    await create('moved', 1);
    for (const [round, method] of [undefined, 'stream_records', 'snapshot', 'wal_delta'].entries()) {
      const [from = 0] = holders(await shardMap(cluster(), 0, 'moved'), 0);
      const to = id(other(nodeOf(from), round % 3));
      const move = { move_shard: { shard_id: 0, from_peer_id: from, to_peer_id: to, ...(method === undefined ? {} : { method }) } };
      const { status, result, error } = await change(cluster(), round % 3, 'moved', move);
      assert.deepEqual([status, result], [200, true], error);
      await untilSettled(cluster(), nodes, 'moved', 1);
      assert.deepEqual(holders(await shardMap(cluster(), 0, 'moved'), 0), [to]);
      await checkCounts('moved');
      await cluster().until('the files of the source are gone', async () => assert.deepEqual(await folders(nodeOf(from), 'moved'), []));
      assert.deepEqual(await folders(nodeOf(to), 'moved'), ['0.g0']);
    }
  });

  test('a replica more and one less, but never the last', async () => {
    await create('copied', 1);
    const [from = 0] = holders(await shardMap(cluster(), 0, 'copied'), 0);
    for (const to of ids.filter((peer) => peer !== from)) {
      assert.equal((await change(cluster(), 0, 'copied', { replicate_shard: { shard_id: 0, from_peer_id: from, to_peer_id: to } })).status, 200);
      await cluster().until('it is active there', async () => (await shardMap(cluster(), 0, 'copied')).shards.get(0)?.get(to) === 'Active');
    }
    await untilSettled(cluster(), nodes, 'copied', 3);
    for (const peer of ids.filter((each) => each !== from)) {
      assert.equal((await change(cluster(), 1, 'copied', { drop_replica: { shard_id: 0, peer_id: peer } })).status, 200);
      await cluster().until('its files are gone', async () => assert.deepEqual(await folders(nodeOf(peer), 'copied'), []));
    }
    const refused = await change(cluster(), 1, 'copied', { drop_replica: { shard_id: 0, peer_id: from } });
    assert.deepEqual([refused.status, refused.error], [400, `Bad request: Shard 0 must have at least one active replica after removing ${from}`]);
    await checkCounts('copied');
  });

  test('a transfer to a node that does not go on is seen through every node, is the only one of its shard, and can be aborted', async () => {
    await create('aborted', 1);
    const [from = 0] = holders(await shardMap(cluster(), 0, 'aborted'), 0);
    const stopped = other(nodeOf(from));
    const asked = other(nodeOf(from), stopped);
    const to = id(stopped);
    process.kill(cluster().node(stopped).pid, 'SIGSTOP'); // no node says so yet
    const key = { shard_id: 0, from_peer_id: from, to_peer_id: to };
    try {
      const late = await change(cluster(), asked, 'aborted', { replicate_shard: { ...key, method: 'snapshot' } }, '?timeout=1');
      assert.deepEqual([late.status, late.error], [408, 'Timeout: Operation timed out after 1 seconds'], 'it goes on all the same');
      const wanted: Transfer = { shard_id: 0, from, to, sync: true, method: 'snapshot' };
      for (const at of nodes.filter((node) => node !== stopped)) {
        const map = await shardMap(cluster(), at, 'aborted');
        assert.deepEqual([map.transfers, map.shards.get(0)?.get(to)], [[wanted], 'PartialSnapshot']);
      }
      const second = await change(cluster(), asked, 'aborted', { move_shard: { ...key, to_peer_id: id(asked) } });
      assert.deepEqual([second.status, second.error], [400, `Bad request: Shard 0 is already involved in transfer ${from} -> ${to}`]);
      assert.equal((await change(cluster(), asked, 'aborted', { abort_transfer: key })).status, 200);
      for (const at of nodes.filter((node) => node !== stopped)) assert.deepEqual(holders(await shardMap(cluster(), at, 'aborted'), 0), [from]);
    } finally {
      process.kill(cluster().node(stopped).pid, 'SIGCONT');
    }
    await untilSettled(cluster(), nodes, 'aborted', 1);
    await cluster().until('nothing is left there', async () => assert.deepEqual(await folders(stopped, 'aborted'), []));
    await checkCounts('aborted');
  });

  test('files of a replica that was dropped while its node was away go when it is back', async () => {
    await create('away', 1, 2);
    const [stays = 0, leaves = 0] = holders(await shardMap(cluster(), 0, 'away'), 0);
    const at = nodeOf(leaves);
    assert.deepEqual(await folders(at, 'away'), ['0.g0']);
    await cluster().kill(at);
    assert.equal((await change(cluster(), nodeOf(stays), 'away', { drop_replica: { shard_id: 0, peer_id: leaves } })).status, 200);
    await cluster().start(at);
    await cluster().untilReady();
    assert.deepEqual(await folders(at, 'away'), []);
    await checkCounts('away');
  });

  test('restart_transfer begins anew and keeps a move a move', async () => {
    await create('restarted', 1);
    const [from = 0] = holders(await shardMap(cluster(), 0, 'restarted'), 0);
    const stopped = other(nodeOf(from));
    const asked = other(nodeOf(from), stopped);
    const key = { shard_id: 0, from_peer_id: from, to_peer_id: id(stopped) };
    process.kill(cluster().node(stopped).pid, 'SIGSTOP');
    try {
      assert.equal((await change(cluster(), asked, 'restarted', { move_shard: key }, '?timeout=1')).status, 408);
      const restarted = await change(cluster(), asked, 'restarted', { restart_transfer: { ...key, method: 'wal_delta' } }, '?timeout=1');
      assert.equal(restarted.status, 408, 'the stopped node is given time to drop what it has');
    } finally {
      process.kill(cluster().node(stopped).pid, 'SIGCONT');
    }
    await cluster().until('the shard has moved', async () => assert.deepEqual(holders(await shardMap(cluster(), asked, 'restarted'), 0), [id(stopped)]));
    await untilSettled(cluster(), nodes, 'restarted', 1);
    await checkCounts('restarted');
  });

  test('Python client: shards are moved, replicated and dropped', { skip: python === '' ? 'no Python with the official client' : false }, async () => {
    await create('python', 2);
    await using proxy = await judgingProxy(cluster().node(0).url);
    const child = spawn(python, [path.join(root, 'test/cluster/moves_client.py'), proxy.url, 'python'], { env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0, output);
    await checkCounts('python');
  });
});
