// Snapshots and jobs of each of three nodes through every other one: listed, downloaded in whole and in parts, deleted, watched, cancelled.
// Each node has keys of its own, so that what passes between them is not the client's.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call, type Answer } from '../support/rest-client.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

const nodes = [0, 1, 2];
const all = '/collections/c/snapshots';

interface Description {
  readonly name: string;
  readonly size: number;
  readonly checksum: string;
  readonly peer_id?: number;
}

interface Places {
  readonly peer_id: number;
  readonly local_shards: readonly { readonly shard_id: number }[];
}

describe('snapshots of any node through any node', { skip: noNats ?? false }, () => {
  let started: ProcessCluster | undefined;
  const cluster = (): ProcessCluster => must(started, 'it runs');
  const keyOf = (at: number): string => `key-of-node-${at}`;
  const readKeyOf = (at: number): string => `read-key-of-node-${at}`;
  const environment = (at: number): Record<string, string> => ({ NEARKEEP__SERVICE__API_KEY: keyOf(at), NEARKEEP__SERVICE__READ_ONLY_API_KEY: readKeyOf(at) });
  const ask = (at: number, method: string, path: string, options: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> } = {}): Promise<Answer> =>
    call(cluster().node(at).url, method, path, { ...options, headers: { 'api-key': keyOf(at), ...options.headers } });
  const result = async <T>(at: number, method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await ask(at, method, path, body === undefined ? {} : { body });
    assert.equal(answer.status, 200, `${method} ${path} of node ${at}: ${answer.text.slice(0, 500)}`);
    return answer.result as T;
  };
  const bytesOf = async (at: number, path: string, headers: Readonly<Record<string, string>> = {}): Promise<{ readonly status: number; readonly headers: Headers; readonly bytes: Buffer }> => {
    const response = await fetch(cluster().node(at).url + path, { headers: { 'api-key': readKeyOf(at), ...headers } });
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
  };
  const made: Description[] = [];
  const peers: number[] = [];
  const own = (at: number): Description => must(made[at], 'each node has made one');
  const shardsOf = async (at: number, of: string): Promise<readonly number[]> => (await result<Places>(at, 'GET', `/collections/${of}/cluster`)).local_shards.map(({ shard_id }) => shard_id);

  before(async () => {
    started = await processCluster(3);
    await Promise.all(nodes.map((at) => cluster().start(at, environment(at))));
    await result(0, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: 3, replication_factor: 1 });
    const points = Array.from({ length: 3000 }, (_, id) => ({ id, vector: [id, 1], payload: { text: `point ${id} `.repeat(20) } }));
    await result(1, 'PUT', '/collections/c/points?wait=true', { points });
    for (const at of nodes) {
      peers.push((await result<Places>(at, 'GET', '/collections/c/cluster')).peer_id);
      made.push(await result<Description>(at, 'POST', all));
    }
  });
  after(() => started?.[Symbol.asyncDispose]());

  test('a list is of the node that is asked, of the one that is named, or of all', async () => {
    const every = nodes.map((at) => ({ ...own(at), peer_id: must(peers[at], 'three peers') }));
    for (const at of nodes) {
      assert.ok(own(at).name.startsWith(`c-${peers[at]}-`), own(at).name);
      assert.deepEqual(await result(at, 'GET', all), [own(at)]);
      for (const other of nodes) assert.deepEqual(await result(at, 'GET', `${all}?peer=${peers[other]}`), [own(other)]);
      const listed = await result<readonly Description[]>(at, 'GET', `${all}?all=true`);
      assert.deepEqual([...listed].sort((a, b) => peers.indexOf(a.peer_id ?? 0) - peers.indexOf(b.peer_id ?? 0)), every);
    }
    const absent = await ask(0, 'GET', `${all}?peer=1`);
    assert.deepEqual([absent.status, absent.error], [404, 'Not found: Peer 1 is no node of this cluster']);
  });

  test('an archive is the same bytes and headers through every node, whole and in parts', async () => {
    const shown = (headers: Headers): readonly (string | null)[] => ['etag', 'content-length', 'content-range', 'content-type', 'content-disposition', 'accept-ranges', 'last-modified'].map((name) => headers.get(name));
    for (const owner of nodes) {
      const { name, size, checksum } = own(owner);
      const whole = await bytesOf(owner, `${all}/${name}`);
      assert.equal(createHash('sha256').update(whole.bytes).digest('hex'), checksum);
      const etag = must(whole.headers.get('etag') ?? undefined, 'an archive has a tag');
      for (const at of nodes) {
        const same = await bytesOf(at, `${all}/${name}${at === 1 ? `?peer=${peers[owner]}` : ''}`);
        assert.ok(same.bytes.equals(whole.bytes), `of node ${owner} through node ${at}`);
        assert.deepEqual(shown(same.headers), shown(whole.headers));
        const middle = await bytesOf(at, `${all}/${name}`, { range: 'bytes=70000-150000', 'if-range': etag });
        assert.deepEqual([middle.status, middle.headers.get('content-range')], [206, `bytes 70000-150000/${size}`]);
        assert.ok(middle.bytes.equals(whole.bytes.subarray(70_000, 150_001)));
        const last = await bytesOf(at, `${all}/${name}`, { range: 'bytes=-100' });
        assert.ok(last.bytes.equals(whole.bytes.subarray(-100)));
        assert.equal((await bytesOf(at, `${all}/${name}`, { range: 'bytes=-100', 'if-range': '"another"' })).status, 200);
        assert.equal((await bytesOf(at, `${all}/${name}`, { range: `bytes=${size}-` })).status, 416);
        assert.equal((await bytesOf(at, `${all}/${name}`, { 'if-none-match': etag })).status, 304);
        const head = await fetch(`${cluster().node(at).url}${all}/${name}`, { method: 'HEAD', headers: { 'api-key': readKeyOf(at) } });
        assert.deepEqual([head.status, shown(head.headers)], [200, shown(whole.headers)]);
      }
    }
  });

  test('a name that no node has is 404, in plain text for a download', async () => {
    for (const at of nodes) {
      for (const name of ['none.snapshot', 'none', `c-${peers[0]}-2020-01-01-00-00-00.snapshot`]) {
        const download = await ask(at, 'GET', `${all}/${name}`);
        assert.deepEqual([download.status, download.text], [404, `Not found: Snapshot ${name} not found`]);
        const removal = await ask(at, 'DELETE', `${all}/${name}`);
        assert.deepEqual([removal.status, removal.error], [404, `Not found: Snapshot ${name} not found`]);
      }
      assert.equal((await ask(at, 'GET', `${all}/${own((at + 1) % 3).name}?peer=${peers[at]}`)).status, 404, 'the node that is named does not have it');
    }
  });

  test('rights are judged by the node that is asked', async () => {
    const path = `${all}/${own(0).name}`;
    for (const at of [1, 2]) {
      assert.equal((await ask(at, 'GET', path, { headers: { 'api-key': '' } })).status, 401);
      assert.equal((await ask(at, 'GET', path, { headers: { 'api-key': keyOf(0) } })).status, 401, 'the key of the node that has it');
      assert.equal((await ask(at, 'DELETE', path, { headers: { 'api-key': readKeyOf(at) } })).status, 403);
    }
    assert.deepEqual(await result(0, 'GET', all), [own(0)]);
  });

  test('a shard that lies elsewhere is refused with its place; its snapshots are reached all the same', async () => {
    const [shard = 0] = await shardsOf(0, 'c');
    const place = `it lies on peer ${peers[0]} at ${cluster().peerUrl(0)}`;
    const of = `/collections/c/shards/${shard}`;
    const snapshot = await result<Description>(0, 'POST', `${of}/snapshots`);
    for (const at of [1, 2]) {
      const refused = async (method: string, path: string, body?: unknown): Promise<unknown> => {
        const { status, error } = await ask(at, method, of + path, body === undefined ? {} : { body });
        return [status, error];
      };
      assert.deepEqual(await refused('GET', '/snapshots'), [400, `Wrong input: Shard ${shard} is not a local shard: ${place}`]);
      const notLocal = [400, `Wrong input: Shard ${shard} is not a local or queue proxy shard: ${place}`];
      assert.deepEqual(await refused('POST', '/snapshots'), notLocal);
      assert.deepEqual(await refused('GET', '/snapshot'), notLocal);
      assert.deepEqual(await refused('GET', '/snapshot/partial/manifest'), notLocal);
      assert.deepEqual(await refused('POST', '/snapshot/partial/create', {}), notLocal);
      assert.deepEqual(await result(at, 'GET', `${of}/snapshots?peer=${peers[0]}`), [snapshot]);
      const { bytes } = await bytesOf(at, `${of}/snapshots/${snapshot.name}`);
      assert.equal(createHash('sha256').update(bytes).digest('hex'), snapshot.checksum);
    }
    assert.equal(await result(2, 'DELETE', `${of}/snapshots/${snapshot.name}`), true);
    assert.deepEqual(await result(0, 'GET', `${of}/snapshots`), []);
  });

  test('of one name on two nodes a third one asks which', async () => {
    await result(0, 'PUT', '/collections/pair', { vectors: { size: 2, distance: 'Dot' }, shard_number: 1, replication_factor: 2 });
    const holding: number[] = [];
    for (const at of nodes) if ((await shardsOf(at, 'pair')).length > 0) holding.push(at);
    const [first = 0, second = 0] = holding;
    const third = 3 - first - second;
    const of = '/collections/pair/shards/0/snapshots';
    let name = '';
    await cluster().until('two nodes make a snapshot within one second', async () => {
      const [a, b] = await Promise.all([first, second].map((at) => result<Description>(at, 'POST', of)));
      name = a?.name ?? '';
      return a?.name === b?.name;
    });
    const { status, text } = await ask(third, 'GET', `${of}/${name}`);
    assert.equal(status, 400);
    assert.match(text, new RegExp(`^Bad request: Snapshot ${name} is on peer (\\d+) at \\S+ and peer (\\d+) at \\S+: the parameter peer names one$`));
    for (const at of [first, second]) {
      const named = await bytesOf(third, `${of}/${name}?peer=${peers[at]}`);
      assert.ok(named.bytes.equals((await bytesOf(at, `${of}/${name}`)).bytes));
    }
    assert.equal(await result(third, 'DELETE', `${of}/${name}?peer=${peers[second]}`), true);
    assert.equal((await bytesOf(third, `${of}/${name}`)).status, 200, 'now it is one');
  });

  test('snapshots of the whole storage, too', async () => {
    const made0 = await result<Description>(0, 'POST', '/snapshots');
    const { bytes } = await bytesOf(2, `/snapshots/${made0.name}`);
    assert.equal(createHash('sha256').update(bytes).digest('hex'), made0.checksum);
    assert.deepEqual((await result<readonly Description[]>(1, 'GET', '/snapshots?all=true')).map(({ name, peer_id }) => [name, peer_id]), [[made0.name, peers[0]]]);
    assert.equal((await ask(1, 'DELETE', `/snapshots/${made0.name}?wait=false`)).status, 202);
    await cluster().until('it is gone', async () => assert.deepEqual(await result(0, 'GET', '/snapshots'), []));
  });

  test('jobs: listed, read, watched to their end and cancelled by their id through every node', async () => {
    interface Job {
      readonly id: string;
      readonly kind: string;
      readonly state: string;
      readonly peer_id?: number;
      readonly error?: { readonly message: string };
    }
    const jobsOf = async (at: number, query: string): Promise<readonly Job[]> => (await result<{ readonly jobs: readonly Job[] }>(at, 'GET', `/cluster/jobs${query}`)).jobs;
    for (const at of nodes) {
      const listed = await jobsOf(at, '?all=true');
      assert.deepEqual(new Set(listed.map(({ peer_id: peer }) => peer)), new Set(peers));
      assert.deepEqual(listed.map(({ id }) => id), listed.map(({ id }) => id).sort().reverse(), 'newest first');
      assert.deepEqual((await jobsOf(at, `?peer=${peers[1]}`)).map(({ id }) => id), listed.filter(({ peer_id: peer }) => peer === peers[1]).map(({ id }) => id));
      const created = must(listed.find(({ kind, peer_id: peer }) => kind === 'create' && peer === peers[0]), 'node 0 has made a snapshot');
      assert.equal((await result<Job>(at, 'GET', `/cluster/jobs/${created.id}`)).state, 'succeeded');
      assert.equal(await result(at, 'DELETE', `/cluster/jobs/${created.id}`), false, 'it has ended');
      for (const [id, shown] of [['0123456789ab-0123456789ab', '0123456789ab-0123456789ab'], ['no%20id', 'of this id']]) {
        const absent = await ask(at, 'GET', `/cluster/jobs/${id}`);
        assert.deepEqual([absent.status, absent.error], [404, `Not found: Job ${shown} not found`]);
      }
      assert.equal((await ask(at, 'GET', `/cluster/jobs?all=true&peer=${peers[0]}`)).status, 400);
      assert.equal((await ask(at, 'DELETE', `/cluster/jobs/${created.id}`, { headers: { 'api-key': readKeyOf(at) } })).status, 403);
    }

    const part = '--x\r\ncontent-disposition: form-data; name="snapshot"; filename="c.snapshot"\r\ncontent-type: application/octet-stream\r\n\r\n';
    const endless = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(Buffer.from(part)) }); // and nothing more
    const options = { method: 'POST', body: endless, duplex: 'half' as const, headers: { 'api-key': keyOf(1), 'content-type': 'multipart/form-data; boundary=x' } };
    const uploading = fetch(`${cluster().node(1).url}/collections/never/snapshots/upload`, options);
    let running: Job | undefined;
    await cluster().until('the upload is under way', async () => {
      running = (await jobsOf(0, '?all=true')).find(({ kind, state }) => kind === 'restore' && state === 'running');
      return running !== undefined;
    });
    const { id, peer_id: peer } = must(running, 'it was found');
    assert.equal(peer, peers[1]);
    const events = await fetch(`${cluster().node(2).url}/cluster/jobs/${id}/events`, { headers: { 'api-key': keyOf(2) } });
    assert.equal(await result(0, 'DELETE', `/cluster/jobs/${id}`), true);
    const states = (await events.text()).trim().split('\n\n').map((line) => (JSON.parse(line.replace(/^data: /, '')) as Job).state);
    assert.deepEqual([events.status, states[0], states.at(-1)], [200, 'running', 'cancelled']);
    assert.equal((await result<Job>(2, 'GET', `/cluster/jobs/${id}`)).state, 'cancelled');
    assert.equal((await uploading).status, 503);
  });

  test('what lies on a node that is down is 503 with its name; the rest is served', async () => {
    await cluster().kill(2);
    const down = `peer ${peers[2]} at ${cluster().peerUrl(2)}`;
    for (const at of [0, 1]) {
      for (const method of ['GET', 'DELETE']) {
        const { status, text } = await ask(at, method, `${all}/${own(2).name}`);
        assert.equal(status, 503);
        assert.ok(text.includes(`Snapshot ${own(2).name} is on no node that answers; ${down} did not`), text);
      }
      for (const query of ['all=true', `peer=${peers[2]}`]) {
        const { status, error } = await ask(at, 'GET', `${all}?${query}`);
        assert.equal(status, 503);
        assert.ok(error.includes(`${cluster().peerUrl(2)} cannot be reached`), error);
      }
      assert.equal((await bytesOf(at, `${all}/${own(1 - at).name}`)).status, 200);
    }
    await cluster().start(2, environment(2));
    await cluster().until('it is back', async () => assert.equal((await bytesOf(0, `${all}/${own(2).name}`)).status, 200));
  });

  test('deleted through another node it is gone everywhere', async () => {
    assert.equal(await result(1, 'DELETE', `${all}/${own(0).name}`), true);
    for (const at of nodes) {
      assert.equal((await ask(at, 'GET', `${all}/${own(0).name}`)).status, 404);
      assert.equal((await result<readonly Description[]>(at, 'GET', `${all}?all=true`)).length, 2);
    }
  });
});
