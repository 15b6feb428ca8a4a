// A flipped bit in what a NATS server keeps of a stream, whose server then leads it: every server says that all is well, and its readers
// are given the entries behind the gap as if there were none. A replica that reads there stops, and gets what it lacks from another node.
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { parsePointId, type PointId } from '../../src/base/ids.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import type { PointDraft } from '../../src/command/write.ts';
import { replicaOf, type ReplicaState } from '../../src/cluster/cluster-record.ts';
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
const mk = (l: string) => (...a: unknown[]) => { console.log(Date.now() % 1000000, l, JSON.stringify(a)); };
const lg = { info: mk('I'), warn: mk('W'), error: mk('E'), debug: () => undefined } as never;
const missed = 200;

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

test('a flipped bit in the stream of the server that leads it: no replica goes on without the entries that are gone', { skip: noNats ?? false }, async (context) => {
  await using cluster = await startCluster(3, lg);
  await cluster.node(whole).catalog.create(name, { vectors, shardNumber: 1, replicationFactor: 3 });
  await fill(cluster, whole, 0, before);
  const stream = streamName({ collectionUuid: cluster.node(whole).catalog.get(name).uuid, shardId: 0, generation: 0 });
  await cluster.stop(behind);
  await fill(cluster, whole, before, missed);
  await cluster.stop(damaged);
  await cluster.stop(whole);
  assert.equal(await flipBlocks(cluster.data(damaged), stream), 1);

  // the log of the one that was away is the shorter one: the damaged server leads, and is all there is to read from
  await Promise.all([cluster.start(damaged), cluster.start(behind)]);
  console.log(JSON.stringify((await cluster.node(damaged).nats.monitor('jsz?accounts=true&streams=true'))?.['account_details']).slice(0,3000));
  const states = new Set<ReplicaState | undefined>();
  await waitUntil('the replica that was behind has everything', () => {
    const [shard] = cluster.node(behind).catalog.record(name).shards;
    const state = replicaOf(must(shard, 'it has one'), 100 + behind);
    states.add(state);
    assert.equal(state, 'Active');
    const [of, local] = [damaged, behind].map((at) => must(cluster.node(at).catalog.get(name).set.slots[0]?.shard, 'it is open').position());
    assert.deepEqual(local, of);
  });
  assert.ok(states.has('Recovery'), [...states].join(' '));
  console.log(JSON.stringify((await cluster.node(damaged).nats.monitor('jsz?accounts=true&streams=true'))?.['account_details']).slice(0,3000));
  console.log(JSON.stringify((await cluster.node(behind).nats.monitor('jsz?accounts=true&streams=true'))?.['account_details']).slice(0,3000));
  await cluster.start(whole);
  console.log('whole is up');
  await fill(cluster, behind, before + missed, 10);
  console.log('filled');
  const wanted = await contents(cluster, whole);
  assert.equal(wanted.length, before + missed + 10);
  const iv = setInterval(() => void (async () => { for (const at of [0,1,2]) console.log(at, JSON.stringify((await cluster.node(at).nats.monitor('jsz?accounts=true&streams=true'))?.['account_details']).match(/"name":"L_.*/)?.[0].slice(0,900)); })(), 5000);
 for (const at of [damaged, behind]) await waitUntil(`node ${at} has the same`, async () => assert.deepEqual(await contents(cluster, at), wanted));
  clearInterval(iv);
  context.diagnostic(`acknowledged writes: ${before + missed + 10}; faults: 1 flipped bit; states on the way: ${[...states].join(' ')}`);
});
