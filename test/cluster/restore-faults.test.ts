// An upload to each of three processes whose node is killed while it restores: every shard has the state before or that of the file,
// whole; the cluster heals by itself, and the same upload again does what it should.
// NEARKEEP_CLUSTER_FAULTS=<n>: so many kills instead of two; NEARKEEP_SEED=<n> repeats their moments.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import { routePoint } from '../../src/collection/route.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { json } from './json-client.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['NEARKEEP_CLUSTER_FAULTS'] ?? 2);
const name = 'restored';
const points = 600;
const nodes = [0, 1, 2];
const uploadMsMax = 400;
/** Beyond what a restore waits for another that does not end. */
const uploadAnswerMsMax = 300_000;

interface Shards {
  readonly local_shards: readonly { readonly shard_id: number; readonly state: string }[];
  readonly remote_shards: readonly { readonly shard_id: number; readonly state: string }[];
}
type Point = { readonly id: number; readonly payload: { readonly value: number } };

const idsByShard = nodes.map((shard) => Array.from({ length: points }, (_, at) => at + 1).filter((id) => routePoint(must(parsePointId(id), 'a good id'), nodes.length) === shard));

const urlOf = (cluster: ProcessCluster, at: number): string => cluster.node(at).url;

async function write(cluster: ProcessCluster, value: number): Promise<void> {
  const body = { points: Array.from({ length: points }, (_, at) => ({ id: at + 1, vector: [value, at], payload: { value } })) };
  await json(urlOf(cluster, 0), 'PUT', `/collections/${name}/points?wait=true`, body);
}

async function download(cluster: ProcessCluster, at: number): Promise<Blob> {
  const made = (await json(urlOf(cluster, at), 'POST', `/collections/${name}/snapshots`)) as { readonly name: string };
  const response = await fetch(`${urlOf(cluster, at)}/collections/${name}/snapshots/${made.name}`);
  assert.equal(response.status, 200);
  return await response.blob();
}

async function upload(cluster: ProcessCluster, at: number, file: Blob): Promise<boolean> {
  const form = new FormData();
  form.append('snapshot', file, 'file.snapshot');
  const response = await fetch(`${urlOf(cluster, at)}/collections/${name}/snapshots/upload?priority=snapshot`, { method: 'POST', body: form, signal: AbortSignal.timeout(uploadAnswerMsMax) });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return true;
}

async function values(cluster: ProcessCluster, at: number): Promise<ReadonlyMap<number, number>> {
  const { points: found } = (await json(urlOf(cluster, at), 'POST', `/collections/${name}/points/scroll`, { limit: points * 2, with_payload: true })) as { readonly points: readonly Point[] };
  return new Map(found.map(({ id, payload }) => [id, payload.value]));
}

async function untilHealed(cluster: ProcessCluster, replicas: number): Promise<void> {
  await cluster.untilReady();
  await cluster.until(`seed ${seed}: every replica is active`, async () => {
    const seen = await Promise.all(nodes.map((at) => json(urlOf(cluster, at), 'GET', `/collections/${name}/cluster`) as Promise<Shards>));
    const states = seen.flatMap(({ local_shards: local, remote_shards: remote }) => [...local, ...remote].map(({ state }) => state));
    assert.ok(states.every((state) => state === 'Active') && states.length === nodes.length * replicas * 3, JSON.stringify(seen));
  });
}

describe('a restore on three nodes, each killed in the middle', { skip: noNats ?? false }, () => {
  test('every shard is wholly before or after it, all replicas come back, and the same upload succeeds', async (context) => {
    const random = seededRandom(seed);
    await using cluster = await startProcesses(nodes.length);
    await cluster.untilReady();
    await json(urlOf(cluster, 0), 'PUT', `/collections/${name}`, { vectors: { size: 2, distance: 'Dot' }, shard_number: 3, replication_factor: 2 });
    await write(cluster, 1);
    const files = await Promise.all(nodes.map((at) => download(cluster, at)));
    const seen: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await write(cluster, 2 + round);
      const victim = random.below(nodes.length);
      const uploads = nodes.map((at) => upload(cluster, at, must(files[at], 'three')).catch(() => false));
      const afterMs = random.below(uploadMsMax);
      await pause(afterMs);
      await cluster.kill(victim);
      await cluster.start(victim);
      const answered = await Promise.all(uploads);
      await untilHealed(cluster, 2);
      const found = await Promise.all(nodes.map((at) => values(cluster, at)));
      for (const each of found) assert.deepEqual([...each], [...must(found[0], 'three')], `seed ${seed}: nodes differ`);
      const after = must(found[0], 'three');
      assert.equal(after.size, points);
      assert.ok([...after.values()].every((value) => value === 1 || value === 2 + round), `seed ${seed}: a value of neither state`);
      for (const ids of idsByShard) assert.equal(new Set(ids.map((id) => after.get(id))).size, 1, `seed ${seed}: a shard has some of each state`);
      for (const [at, file] of files.entries()) await upload(cluster, at, file);
      await untilHealed(cluster, 2);
      for (const at of nodes) assert.ok([...(await values(cluster, at)).values()].every((value) => value === 1), `seed ${seed}: not what the files hold`);
      seen.push(`node ${victim} after ${afterMs} ms (${answered.filter(Boolean).length} of 3 answered)`);
    }
    context.diagnostic(`seed ${seed}; killed: ${seen.join(', ')}`);
    await cluster.stopAndVerify();
  });
});
