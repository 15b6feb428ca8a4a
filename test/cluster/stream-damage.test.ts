// Streams that lose entries: by a flipped bit in the files of the server that leads one, when every server says that all is well and
// readers are given the entries behind the gap as if there were none; and by older files on every server. Replicas lose nothing, what
// a replica lacks comes from another node, and the log goes on with a new stream.
import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { replicaOf, type ShardRecord } from '../../src/cluster/cluster-record.ts';
import { streamName } from '../../src/cluster/shard-stream.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { startCluster, type ClusterFixture } from './cluster-fixture.ts';

const vectors = { size: 2, distance: 'Dot' } as const;
const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const draft = (value: number): PointDraft => ({ id: id(value), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"n":${value}}` });
const name = 'damaged';
const behind = 2;
const damaged = 1;
const whole = 0;
const before = 20;
const missed = 200;
const nodes = [0, 1, 2];

async function fill(cluster: ClusterFixture, at: number, from: number, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, n) => cluster.node(at).catalog.get(name).write({ kind: 'upsert', points: [draft(from + n)] }, { wait: true })));
}

async function contents(cluster: ClusterFixture, at: number): Promise<readonly unknown[]> {
  const { points } = await cluster.node(at).catalog.get(name).scroll({ limit: 10_000, selectors: all });
  return points.map(({ id: point, payload, vectors: rows }) => [point, payload, [...(rows?.get('') ?? [])]]);
}

/** In the middle of each block of the stream's files: headers at the front, the last entries behind it. */
async function flipBlocks(data: string, stream: string): Promise<number> {
  const files = (await readdir(path.join(data, 'nats'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile() && entry.name.endsWith('.blk') && entry.parentPath.includes(`/${stream}/msgs`));
  for (const { name: file, parentPath } of files) {
    const bytes = await readFile(path.join(parentPath, file));
    const middle = bytes.byteLength >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    await writeFile(path.join(parentPath, file), bytes);
  }
  return files.length;
}

/**
 * Every replica is Active in one generation, is as far as the others, and has so many points, the same ones. `isRenewed`: not the first
 * generation; which one it is says how many nodes tried to replace the stream, not how often it was replaced.
 * @param onLook sees the states on the way
 */
async function untilEqual(cluster: ClusterFixture, at: readonly number[], want: { readonly isRenewed: boolean; readonly points: number }, onLook: (shard: ShardRecord) => void = () => undefined): Promise<void> {
  await waitUntil('all replicas are active and equal', async () => {
    const generations = new Set<number>();
    for (const node of at) {
      const [shard] = cluster.node(node).catalog.record(name).shards;
      onLook(must(shard, 'it has one'));
      generations.add(must(shard, 'it has one').generation);
      for (const other of at) assert.equal(shard?.replicas[String(100 + other)], 'Active', `replica ${other}, as node ${node} sees it`);
    }
    assert.equal(generations.size, 1, `generations ${[...generations].join(' ')}`);
    assert.equal(!generations.has(0), want.isRenewed, `generations ${[...generations].join(' ')}`);
    // of the replicas themselves: a node whose own one lacks something answers with another's
    assert.equal(new Set(at.map((node) => must(cluster.node(node).catalog.get(name).set.slots[0]?.shard, 'it has a replica').applied)).size, 1);
    const all = await Promise.all(at.map((node) => contents(cluster, node)));
    for (const [index, each] of all.entries()) {
      assert.equal(each.length, want.points, `points on node ${at[index]}`);
      assert.deepEqual(each, all[0]);
    }
  });
}

test('a flipped bit in the stream of the server that leads it: no replica goes on without the entries that are gone', { skip: noNats ?? false }, async (context) => {
  await using cluster = await startCluster(3);
  await cluster.node(whole).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 3 });
  await fill(cluster, whole, 0, before);
  const stream = streamName({ collectionUuid: cluster.node(whole).catalog.get(name).uuid, shardId: 0, generation: 0 });
  await cluster.stop(behind);
  await fill(cluster, whole, before, missed);
  await waitUntil('both that are up have everything', () => {
    for (const at of [whole, damaged]) assert.equal(must(cluster.node(at).catalog.get(name).set.slots[0]?.shard, 'it has a replica').applied, before + missed);
  });
  await cluster.stop(damaged);
  await cluster.stop(whole);
  assert.equal(await flipBlocks(cluster.data(damaged), stream), 1);

  // the log of the one that was away is the shorter one: the damaged server leads, and is all there is to read from
  const said: string[] = [];
  await Promise.all([damaged, behind].map((at) => cluster.start(at, { ...silentLogger, error: (fields, message) => void said.push(`${message} ${JSON.stringify(fields)}`) })));
  const states = new Set<string | undefined>();
  await untilEqual(cluster, [damaged, behind], { isRenewed: false, points: before + missed }, (shard) => states.add(replicaOf(shard, 100 + behind)));
  assert.ok([...states].some((state) => state === 'Recovery' || state === 'Dead'), `not served while it lacks entries: ${[...states].join(' ')}`);
  assert.match(said.join('\n'), /the stream of a shard has lost entries; it is replaced .*entry \d+ is not there, \d+ comes next/);

  // a new stream needs all servers
  await assert.rejects(cluster.node(behind).catalog.create('another', { vectors }), { code: 'unavailable', message: /needs 3 servers at once/ });
  await cluster.start(whole);
  // one that the old stream took and gave to nobody before it was deleted is answered by an error: it may be in the new one
  await waitUntil('it is written', () => fill(cluster, behind, before + missed, 10));
  await untilEqual(cluster, nodes, { isRenewed: true, points: before + missed + 10 });
  context.diagnostic(`acknowledged writes: ${before + missed + 10}; faults: 1 flipped bit; states of the replica that read there: ${[...states].join(' ')}`);
});

test('older files of the streams on every server: no replica goes back, and the log goes on', { skip: noNats ?? false }, async (context) => {
  await using cluster = await startCluster(3);
  const restart = async (between: (data: string) => Promise<void>): Promise<void> => {
    await Promise.all(nodes.map((at) => cluster.stop(at)));
    await Promise.all(nodes.map((at) => between(cluster.data(at))));
    await Promise.all(nodes.map((at) => cluster.start(at)));
  };
  await cluster.node(whole).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 3 });
  await fill(cluster, whole, 0, before);
  await restart((data) => cp(path.join(data, 'nats'), path.join(data, 'older'), { recursive: true }));
  await fill(cluster, whole, before, missed);
  await untilEqual(cluster, nodes, { isRenewed: false, points: before + missed });
  await restart(async (data) => {
    await rm(path.join(data, 'nats'), { recursive: true });
    await cp(path.join(data, 'older'), path.join(data, 'nats'), { recursive: true });
  });
  await assert.rejects(fill(cluster, whole, before + missed, 1), { code: 'unavailable', message: /the stream of shard 0 has lost entries and is replaced/ });
  await waitUntil('it is written again', () => fill(cluster, behind, before + missed, 1));
  await untilEqual(cluster, nodes, { isRenewed: true, points: before + missed + 1 });
  context.diagnostic(`acknowledged writes: ${before + missed + 1}; faults: ${missed} entries taken from every server`);
});
