// Files of three nodes into clusters and single nodes of other sizes; the three priorities where other nodes hold what a file brings;
// restores that nobody waits for.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { waitUntil } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call, type Answer } from '../support/rest-client.ts';
import { serveFolder, startServer } from '../support/server-process.ts';
import { startProcesses, type ProcessCluster } from './process-cluster.ts';

const nodes = [0, 1, 2];
const total = 300;
const vectors = { size: 2, distance: 'Dot' };
const points = (from: string): object => ({ points: Array.from({ length: total }, (_, id) => ({ id, vector: [id, 1], payload: { from } })) });

interface Place {
  readonly shard_id: number;
  readonly peer_id?: number;
  readonly points_count?: number;
  readonly state: string;
}

interface Places {
  readonly peer_id: number;
  readonly local_shards: readonly Place[];
  readonly remote_shards: readonly Place[];
}

interface Job {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly target: string;
}

async function ok<T>(url: string, method: string, at: string, body?: unknown): Promise<T> {
  const answer = await call(url, method, at, body === undefined ? {} : { body });
  assert.equal(answer.status, 200, `${method} ${at}: ${answer.text.slice(0, 500)}`);
  return answer.result as T;
}

function upload(url: string, to: string, bytes: Buffer, query = ''): Promise<Answer> {
  const form = new FormData();
  form.append('snapshot', new Blob([new Uint8Array(bytes)]), 'any.snapshot');
  return call(url, 'POST', `/collections/${to}/snapshots/upload?${query}`, { body: form });
}

async function snapshotOf(url: string, of: string): Promise<Buffer> {
  const { name } = await ok<{ readonly name: string }>(url, 'POST', `/collections/${of}/snapshots`);
  return Buffer.from(await (await fetch(`${url}/collections/${of}/snapshots/${name}`)).arrayBuffer());
}

const placesOf = (url: string, of: string): Promise<Places> => ok<Places>(url, 'GET', `/collections/${of}/cluster`);
const restored = (answer: Answer): void => assert.deepEqual([answer.status, answer.result], [200, answer.result === null ? null : true], answer.text);

async function countOf(url: string, of: string, from: string): Promise<number> {
  return (await ok<{ readonly count: number }>(url, 'POST', `/collections/${of}/points/count?consistency=all`, { exact: true, filter: { must: [{ key: 'from', match: { value: from } }] } })).count;
}

const idsOf = async (url: string, of: string): Promise<readonly unknown[]> => (await ok<{ readonly points: readonly { readonly id: number }[] }>(url, 'POST', `/collections/${of}/points/scroll`, { limit: 1000 })).points.map(({ id }) => id);
const allIds = Array.from({ length: total }, (_, id) => id);

describe('restores into clusters', { skip: noNats ?? false }, () => {
  let started: ProcessCluster | undefined;
  const cluster = (): ProcessCluster => must(started, 'it runs');
  const url = (at: number): string => cluster().node(at).url;
  const peers: number[] = [];
  /** Of the collection `file`, one of each node; and the shards that they hold, with points. */
  const files: Buffer[] = [];
  const held: (readonly Place[])[] = [];
  const file = (at: number): Buffer => must(files[at], 'three files');
  const heldBy = (at: number): readonly Place[] => must(held[at], 'three nodes');
  const pointsIn = (places: readonly Place[]): number => places.reduce((sum, { points_count: found = 0 }) => sum + found, 0);

  const create = async (name: string, replicas: number, from: string): Promise<void> => {
    await ok(url(0), 'PUT', `/collections/${name}`, { vectors, shard_number: 3, replication_factor: replicas });
    await ok(url(1), 'PUT', `/collections/${name}/points?wait=true`, points(from));
  };
  /** Shard → peers that hold it, all Active. */
  const holders = async (name: string): Promise<ReadonlyMap<number, readonly number[]>> => {
    const { peer_id: self, local_shards: local, remote_shards: remote } = await placesOf(url(0), name);
    const all = [...local.map((place) => ({ ...place, peer_id: self })), ...remote];
    for (const { state, shard_id: shard } of all) assert.equal(state, 'Active', `shard ${shard}`);
    return new Map([...new Set(all.map(({ shard_id: shard }) => shard))].map((shard) => [shard, all.filter((place) => place.shard_id === shard).map(({ peer_id: peer = 0 }) => peer).sort((a, b) => a - b)]));
  };
  /** Resolves when so many points are of the file, and the others as they were, through every node and on every replica. */
  const untilContent = (name: string, ofFile: number, before: string): Promise<void> => cluster().until(`${ofFile} points of ${name} are of the file`, async () => {
    await holders(name);
    for (const at of nodes) assert.deepEqual([await countOf(url(at), name, 'file'), await countOf(url(at), name, before)], [ofFile, total - ofFile], `node ${at}`);
  });

  before(async () => {
    started = await startProcesses(3);
    await create('file', 1, 'file');
    for (const at of nodes) {
      const places = await placesOf(url(at), 'file');
      peers.push(places.peer_id);
      held.push(places.local_shards);
      files.push(await snapshotOf(url(at), 'file'));
    }
    assert.equal(pointsIn(held.flat()), total);
  });
  after(() => started?.[Symbol.asyncDispose]());

  test('priority snapshot: the file becomes the shard, and the other replicas are copied from it', async () => {
    await create('snapshot', 2, 'old');
    restored(await upload(url(0), 'snapshot', file(0), 'priority=snapshot'));
    await untilContent('snapshot', pointsIn(heldBy(0)), 'old');
    for (const [shard, on] of await holders('snapshot')) {
      assert.equal(on.length, 2, `shard ${shard}`);
      if (heldBy(0).some(({ shard_id: id }) => id === shard)) assert.ok(on.includes(must(peers[0], 'three peers')));
    }
  });

  test('priority replica: what another node holds stays, and the answer says so; what nobody else holds is replaced', async () => {
    await create('replica', 2, 'old');
    const shards = heldBy(1).map(({ shard_id: id }) => id);
    const kept = await upload(url(1), 'replica', file(1), 'priority=replica');
    restored(kept);
    assert.equal(kept.headers.get('x-nearkeep-warning'), 'priority=replica keeps shards 0, 1, 2 as they are: other nodes hold them, and nothing of the archive is taken for them');
    await untilContent('replica', 0, 'old');
    assert.ok(shards.length > 0);

    await create('alone', 1, 'old');
    const own = (await placesOf(url(1), 'alone')).local_shards.map(({ shard_id: id }) => id);
    for (const at of nodes) restored(await upload(url(1), 'alone', file(at), 'priority=replica'));
    await untilContent('alone', pointsIn(held.flat().filter(({ shard_id: id }) => own.includes(id))), 'old');
  });

  test('priority no_sync: the file becomes the shard on this node alone', async () => {
    await create('no-sync', 3, 'old');
    restored(await upload(url(2), 'no-sync', file(2), 'priority=no_sync'));
    await untilContent('no-sync', pointsIn(heldBy(2)), 'old');
    for (const [shard, on] of await holders('no-sync')) {
      const isRestored = heldBy(2).some(({ shard_id: id }) => id === shard);
      assert.deepEqual(on, isRestored ? [peers[2]] : [...peers].sort((a, b) => a - b), `shard ${shard}`);
    }
  });

  test('with no_sync files of one state make the replicas of another cluster, and nothing is copied between nodes', async () => {
    await create('pairs', 2, 'file');
    const copies = (): number => nodes.reduce((sum, at) => sum + cluster().output(at).split('a replica was copied from another node').length, 0);
    const before = copies();
    const made = await Promise.all(nodes.map((at) => snapshotOf(url(at), 'pairs')));
    for (const at of nodes) restored(await upload(url(at), 'pairs-again', must(made[at], 'three files'), 'priority=no_sync'));
    await untilContent('pairs-again', total, 'old');
    assert.deepEqual(await holders('pairs-again'), await holders('pairs'));
    assert.equal(copies(), before);
    await ok(url(2), 'PUT', '/collections/pairs-again/points?wait=true', points('later'));
    for (const at of nodes) assert.equal(await countOf(url(at), 'pairs-again', 'later'), total);
  });

  test('a snapshot of one shard: no replica leaves with snapshot, this one is copied anew with replica, and alone it is with no_sync', async () => {
    for (const priority of ['snapshot', 'replica', 'no_sync']) {
      const name = `shard-${priority}`;
      await create(name, 2, 'file');
      const place = must([...(await holders(name))].find(([, on]) => on.includes(must(peers[0], 'three peers'))), 'node 0 holds a shard');
      const [shard, before] = place;
      const { name: snapshot } = await ok<{ readonly name: string }>(url(0), 'POST', `/collections/${name}/shards/${shard}/snapshots`);
      const inShard = pointsIn((await placesOf(url(0), name)).local_shards.filter(({ shard_id: id }) => id === shard));
      await ok(url(0), 'PUT', `/collections/${name}/points?wait=true`, points('old'));
      const answer = await call(url(0), 'PUT', `/collections/${name}/shards/${shard}/snapshots/recover`, { body: { location: snapshot, priority } });
      restored(answer);
      await untilContent(name, priority === 'replica' ? 0 : inShard, 'old');
      assert.deepEqual((await holders(name)).get(shard), priority === 'no_sync' ? [peers[0]] : before);
      assert.equal(answer.headers.get('x-nearkeep-warning'), priority === 'replica' ? `priority=replica keeps shards ${shard} as they are: other nodes hold them, and nothing of the archive is taken for them` : null);
    }
  });

  test('a shard whose snapshot is uploaded to a node without it lies there as well', async () => {
    await create('elsewhere', 1, 'file');
    const [shard, on] = must([...(await holders('elsewhere'))][0], 'it has shards');
    const owner = peers.indexOf(must(on[0], 'one replica'));
    const { name: snapshot } = await ok<{ readonly name: string }>(url(owner), 'POST', `/collections/elsewhere/shards/${shard}/snapshots`);
    const bytes = Buffer.from(await (await fetch(`${url(owner)}/collections/elsewhere/shards/${shard}/snapshots/${snapshot}`)).arrayBuffer());
    const other = (owner + 1) % 3;
    restored(await upload(url(other), `elsewhere/shards/${shard}`, bytes));
    await untilContent('elsewhere', total, 'old');
    assert.deepEqual((await holders('elsewhere')).get(shard), [must(peers[owner], 'a peer'), must(peers[other], 'a peer')].sort((a, b) => a - b));
  });

  test('wait=false: the job is listed and watched on its node, and the content is there at its end', async () => {
    const accepted = await upload(url(1), 'accepted', file(1), 'wait=false');
    assert.equal(accepted.status, 202);
    const id = must(accepted.headers.get('x-nearkeep-job') ?? undefined, 'a job has an id');
    const events = await (await fetch(`${url(1)}/cluster/jobs/${id}/events`)).text();
    const last = JSON.parse(must(events.trim().split('\n\n').at(-1), 'an event').replace(/^data: /, '')) as Job;
    assert.deepEqual([last.id, last.kind, last.state, last.target], [id, 'restore', 'succeeded', 'accepted']);
    const listed = async (at: number): Promise<readonly string[]> => (await ok<{ readonly jobs: readonly Job[] }>(url(at), 'GET', '/cluster/jobs')).jobs.map((job) => job.id);
    assert.ok((await listed(1)).includes(id));
    assert.ok(!(await listed(0)).includes(id), 'another node has jobs of its own');
    for (const at of nodes) assert.equal(await countOf(url(at), 'accepted', 'file'), pointsIn(heldBy(1)));
  });

  test('wait=false: a restore that is cancelled leaves everything as it was, with any priority', async () => {
    await create('cancelled', 2, 'old');
    const before = await holders('cancelled');
    const stalled = createServer((_request, response) => {
      response.writeHead(200, { 'content-length': file(0).byteLength });
      response.write(file(0).subarray(0, 4096));
    });
    await new Promise<void>((resolve) => void stalled.listen(0, '127.0.0.1', resolve));
    try {
      for (const priority of ['snapshot', 'replica', 'no_sync']) {
        const location = `http://127.0.0.1:${(stalled.address() as AddressInfo).port}/any.snapshot`;
        const { status, headers } = await call(url(0), 'PUT', '/collections/cancelled/snapshots/recover?wait=false', { body: { location, priority } });
        assert.equal(status, 202);
        const id = must(headers.get('x-nearkeep-job') ?? undefined, 'a job has an id');
        const watched = fetch(`${url(0)}/cluster/jobs/${id}/events`).then((response) => response.text());
        await waitUntil('it receives', async () => assert.equal((await ok<{ readonly phase: string }>(url(0), 'GET', `/cluster/jobs/${id}`)).phase, 'receiving'));
        assert.equal(await ok(url(0), 'DELETE', `/cluster/jobs/${id}`), true);
        assert.match(await watched, /"state":"cancelled"/);
        await untilContent('cancelled', 0, 'old');
        assert.deepEqual(await holders('cancelled'), before);
      }
    } finally {
      stalled.closeAllConnections();
      stalled.close();
    }
  });

  test('a snapshot has what was acknowledged before it, also of a node that stood still meanwhile', async () => {
    const paused = cluster().node(2);
    for (let round = 0; round < 3; round += 1) {
      const name = `paused-${round}`;
      await ok(url(0), 'PUT', `/collections/${name}`, { vectors, shard_number: 2, replication_factor: 3 });
      process.kill(paused.pid, 'SIGSTOP');
      try {
        await ok(url(0), 'PUT', `/collections/${name}/points?wait=true`, points('file'));
      } finally {
        process.kill(paused.pid, 'SIGCONT');
      }
      restored(await upload(url(1), `${name}-again`, await snapshotOf(paused.url, name)));
      assert.deepEqual(await idsOf(url(1), `${name}-again`), allIds);
    }
  });

  test('from one node to three: all shards lie where the file was uploaded', async () => {
    await using single = await serveFolder();
    await ok(single.server.url, 'PUT', '/collections/c', { vectors, shard_number: 3 });
    await ok(single.server.url, 'PUT', '/collections/c/points?wait=true', points('file'));
    restored(await upload(url(2), 'from-one', await snapshotOf(single.server.url, 'c')));
    await untilContent('from-one', total, 'old');
    for (const [, on] of await holders('from-one')) assert.deepEqual(on, [peers[2]]);
  });

  test('from three nodes to one: all files at its start are one collection; a file alone lacks shards, and says which', async () => {
    await using folder = await temporaryFolder();
    const saved = await Promise.all(nodes.map(async (at) => {
      const name = path.join(folder.path, `${at}.snapshot`);
      await writeFile(name, file(at));
      return name;
    }));
    const data = path.join(folder.path, 'data');
    const args = (of: readonly string[]): readonly string[] => of.flatMap((name) => ['--snapshot', `${name}:c`]);
    const missing = must(heldBy(2)[0], 'node 2 holds a shard').shard_id;
    await assert.rejects(startServer({ data, args: args(saved.slice(0, 2)) }), new RegExp(`Can't restore snapshot in local mode with missing data at shard: ${missing}`));
    const server = await startServer({ data, args: args(saved) });
    try {
      assert.deepEqual(await idsOf(server.url, 'c'), allIds);
      const alone = await upload(server.url, 'd', file(0));
      assert.deepEqual([alone.status, alone.error.replace(/\d+$/, 'N')], [500, "Service internal error: Can't restore snapshot in local mode with missing data at shard: N"]);
      await ok(server.url, 'PUT', '/collections/c/points?wait=true', points('later'));
      assert.equal(await countOf(server.url, 'c', 'later'), total);
    } finally {
      await server.stop();
    }
  });

  test('from three nodes with two replicas each to one: of each shard the state that is further', async () => {
    await create('moving', 2, 'old');
    await using folder = await temporaryFolder();
    const args: string[] = [];
    for (const at of nodes) {
      if (at === 2) await ok(url(0), 'PUT', '/collections/moving/points?wait=true', points('file'));
      const name = path.join(folder.path, `${at}.snapshot`);
      await writeFile(name, await snapshotOf(url(at), 'moving'));
      args.unshift('--snapshot', `${name}:c`);
    }
    const inLast = pointsIn((await placesOf(url(2), 'moving')).local_shards);
    const server = await startServer({ data: path.join(folder.path, 'data'), args });
    try {
      assert.deepEqual([await countOf(server.url, 'c', 'file'), await countOf(server.url, 'c', 'old')], [inLast, total - inLast]);
    } finally {
      await server.stop();
    }
  });

  test('from three nodes to five', async () => {
    await using larger = await startProcesses(5);
    for (const at of nodes) restored(await upload(larger.node(at * 2).url, 'file', file(at)));
    for (let at = 0; at < 5; at += 1) {
      const { url: of } = larger.node(at);
      await larger.until(`node ${at} has all points`, async () => assert.deepEqual(await idsOf(of, 'file'), allIds));
      const here = (await placesOf(of, 'file')).local_shards.map(({ shard_id: id }) => id);
      assert.deepEqual(here, at % 2 === 0 ? heldBy(at / 2).map(({ shard_id: id }) => id) : [], `node ${at}`);
    }
  });
});
