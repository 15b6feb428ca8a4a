// Replicas that one and the same log left different: one node of a cluster stores one bit of one vector wrongly, once. Nothing that the
// log, its checksums or its chain hash say is wrong then; only what became of it is.
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, test } from 'node:test';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call } from '../support/rest-client.ts';
import { faultyPoint } from './faulty-point.ts';
import { json } from './json-client.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';
import { stateOf, untilEqual } from './replica-states.ts';
import { change, peerIds, untilSettled } from './shard-map.ts';

const fault = { NODE_OPTIONS: `--enable-source-maps --import=${pathToFileURL(path.join(import.meta.dirname, 'faulty-apply.js')).href}` };
const points = 60;

interface PlacedShard {
  readonly local_shards: readonly { readonly state: string }[];
  readonly remote_shards: readonly { readonly peer_id: number; readonly state: string }[];
  readonly disagreements?: readonly { readonly shard_id: number; readonly what: string; readonly peers: readonly (readonly number[])[]; readonly writes_stopped: boolean }[];
}

const vectorOf = (id: number): readonly number[] => [id + 1, id + 2, id + 3, id + 4];

async function placed(url: string): Promise<PlacedShard> {
  return (await json(url, 'GET', '/collections/c/cluster')) as PlacedShard;
}

async function readFaulty(url: string): Promise<readonly number[]> {
  const [found] = (await json(url, 'POST', '/collections/c/points', { ids: [faultyPoint], with_vector: true })) as readonly { readonly vector: readonly number[] }[];
  return found?.vector ?? [];
}

async function metric(url: string, name: string): Promise<string | undefined> {
  return new RegExp(`^${name} (\\S+)$`, 'm').exec((await call(url, 'GET', '/metrics')).text)?.[1];
}

/** All nodes but the last are sound. The point that it gets wrong is written last. */
async function startWithFault(nodes: ProcessCluster, count: number): Promise<readonly string[]> {
  const last = count - 1;
  await Promise.all(Array.from({ length: count }, (_, at) => nodes.start(at, at === last ? fault : {})));
  const urls = Array.from({ length: count }, (_, at) => nodes.node(at).url);
  await json(urls[0] ?? '', 'PUT', '/collections/c', { vectors: { size: 4, distance: 'Dot' }, shard_number: 1, replication_factor: count });
  const ids = Array.from({ length: points }, (_, at) => at + 1).filter((id) => id !== faultyPoint);
  for (const id of [...ids, faultyPoint]) await json(urls[0] ?? '', 'PUT', '/collections/c/points?wait=true', { points: [{ id, vector: vectorOf(id), payload: { id } }] });
  return urls;
}

describe('a node that applies an entry otherwise than the others', { skip: noNats ?? false }, () => {
  test('of three replicas the odd one is found, copied from another node, and ends Active and equal', async () => {
    await using nodes = await processCluster(3);
    const urls = await startWithFault(nodes, 3);
    const [first = '', , odd = ''] = urls;
    await nodes.untilSaid(2, /"groups":\[\[\d+,\d+\],\[\d+\]\],.*"msg":"the contents of the replicas of shard 0 differ since an entry between \d+ and \d+ \(peers \d+, \d+ \| \d+\): the majority is right, the others are copied anew"/);
    await nodes.untilSaid(2, /"msg":"a replica was copied from another node"/);
    await untilEqual(urls, 'c');
    await nodes.until('the copy is Active', async () => (await placed(first)).remote_shards.every(({ state }) => state === 'Active'));
    assert.deepEqual(await readFaulty(odd), vectorOf(faultyPoint));
    assert.equal((await placed(odd)).disagreements, undefined);
    assert.equal(await metric(odd, 'cluster_shards_differing'), '0');
    for (const at of [0, 1]) assert.doesNotMatch(nodes.output(at), /"msg":"a replica was copied from another node"/);
    await json(odd, 'PUT', '/collections/c/points?wait=true', { points: [{ id: faultyPoint, vector: vectorOf(0), payload: {} }] });
    await untilEqual(urls, 'c');
  });

  test('of two replicas nobody knows which is right: both are read and writes stop, until a start applies the log anew', async () => {
    await using nodes = await processCluster(2);
    const urls = await startWithFault(nodes, 2);
    const [first = '', odd = ''] = urls;
    const refused = /^503 .*Shard temporarily unavailable: the contents of the replicas of shard 0 differ since an entry between \d+ and \d+ \(peers \d+ \| \d+\), and none has a majority: writes are stopped until an operator drops one of them/;
    const writeOf = (url: string) => json(url, 'PUT', '/collections/c/points?wait=true', { points: [{ id: 1, vector: vectorOf(1), payload: {} }] }).then(() => 'taken', (error: unknown) => (error as Error).message);
    const checkStopped = async (): Promise<void> => {
      for (const url of urls.map((_, at) => nodes.node(at).url)) {
        await nodes.until('writes are stopped', async () => refused.test(await writeOf(url)));
        const { local_shards: local, remote_shards: remote, disagreements } = await placed(url);
        assert.deepEqual([...local, ...remote].map(({ state }) => state), ['Active', 'Active']);
        assert.deepEqual(disagreements?.map(({ shard_id: shard, what, writes_stopped: isStopped }) => [shard, what, isStopped]), [[0, 'contents', true]]);
        assert.equal(await metric(url, 'cluster_shards_stopped'), '1');
        assert.equal(await metric(url, 'cluster_shards_differing'), '1');
      }
    };
    await checkStopped();
    assert.deepEqual(await readFaulty(first), vectorOf(faultyPoint));
    assert.notDeepEqual(await readFaulty(odd), vectorOf(faultyPoint));
    assert.notEqual((await stateOf(first, 'c', 0))?.digest, (await stateOf(odd, 'c', 0))?.digest);
    for (const at of [0, 1]) await nodes.untilSaid(at, /"level":50,.*"msg":"the contents of [^"]* and none has a majority: writes are stopped until an operator drops one of them"/);
    await nodes.stop(1);
    await nodes.start(1); // what was wrong was in memory alone, and the log was not
    const now = [nodes.node(0).url, nodes.node(1).url];
    await nodes.until('writes are taken again', async () => (await Promise.all(now.map(writeOf))).every((outcome) => outcome === 'taken'));
    await untilEqual(now, 'c');
    await nodes.untilSaid(0, /"msg":"replicas of a shard are equal again, as far as this node has heard"/);
    for (const url of now) assert.equal(await metric(url, 'cluster_shards_stopped'), '0');
  });

  test('of two replicas the operator drops the one that is wrong: writes go on at once, and a new second one is made', async () => {
    await using nodes = await processCluster(2);
    const urls = await startWithFault(nodes, 2);
    const [first = '', odd = ''] = urls;
    const write = (url: string): Promise<unknown> => json(url, 'PUT', '/collections/c/points?wait=true', { points: [{ id: 1, vector: vectorOf(1), payload: {} }] });
    for (const url of urls) await nodes.until('writes are stopped', () => assert.rejects(write(url), /^RangeError: 503 .*writes are stopped until an operator drops one of them/));
    const [right = 0, wrong = 0] = await peerIds(nodes);
    assert.deepEqual(await readFaulty(first), vectorOf(faultyPoint), 'what the operator sees of the one');
    assert.notDeepEqual(await readFaulty(odd), vectorOf(faultyPoint), 'and of the other');
    const alone = await change(nodes, 1, 'c', { replicate_shard: { shard_id: 0, from_peer_id: right, to_peer_id: wrong } });
    assert.equal(alone.status, 400, 'both are active');
    assert.equal((await change(nodes, 1, 'c', { drop_replica: { shard_id: 0, peer_id: wrong } })).status, 200);
    for (const url of urls) await write(url);
    for (const url of urls) {
      assert.deepEqual(await readFaulty(url), vectorOf(faultyPoint));
      assert.equal((await placed(url)).disagreements, undefined);
      assert.equal(await metric(url, 'cluster_shards_stopped'), '0');
    }
    assert.equal((await change(nodes, 0, 'c', { replicate_shard: { shard_id: 0, from_peer_id: right, to_peer_id: wrong } })).status, 200);
    await untilSettled(nodes, [0, 1], 'c', 2);
    for (const url of urls) await write(url);
    await untilEqual(urls, 'c');
    assert.equal((await stateOf(odd, 'c', 0))?.digest, (await stateOf(first, 'c', 0))?.digest);
    assert.deepEqual(await readFaulty(odd), vectorOf(faultyPoint));
    for (const url of urls) assert.equal((await placed(url)).disagreements, undefined);
  });
});
