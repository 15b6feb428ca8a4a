// What goes on between nodes is theirs alone: users' keys open none of it and never travel, and what the nodes use no user can ask for.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { connect as plainConnect } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { ResponseStats } from '../../src/api/rest/response-stats.ts';
import { restRoutes } from '../../src/api/rest/route-tables.ts';
import { asEngine } from '../../src/api/rest/testing/rest-harness.ts';
import { SmallEngine } from '../../src/api/rest/testing/small-engine.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { peerTokenHeader, PeerSigner } from '../../src/cluster/peer-token.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { formsIn, formsOf, recordingProxy, type RecordingProxy } from '../support/recording-proxy.ts';
import { startCluster } from './cluster-fixture.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

const count = 3;
const routeAbove = 1000;
const secret = 'a secret that only nodes know, 7dWq';
const keys = { full: 'fullKeyOfUsers5Rz8', other: 'otherKeyOfUsers2Lm4', read: 'readKeyOfUsers9Xp1', fetch: 'keyOfSomeOtherServer3' } as const;
const marker = 'marker6Tq0OfAPayload';
const wanted = Object.values(keys).flatMap(formsOf);

const userHeaders: readonly Readonly<Record<string, string>>[] = [
  {}, ...[keys.full, keys.read].flatMap((key) => [
    { 'api-key': key }, { 'API-KEY': key }, { authorization: `Bearer ${key}` }, { authorization: key }, { 'x-api-key': key }, { cookie: `api-key=${key}` },
    { [peerTokenHeader]: key }, { [peerTokenHeader]: `Bearer ${key}` }, { [peerTokenHeader]: `1.${Date.now() + 60_000}.${'0'.repeat(64)}`, 'api-key': key },
  ]),
];

async function statusOf(url: string, method: string, headers: Readonly<Record<string, string>>): Promise<number> {
  const response = await fetch(url, { method, headers });
  await response.arrayBuffer();
  return response.status;
}

/** All that a node answers to others, by name. */
async function peerMethods(): Promise<{ readonly calls: readonly string[]; readonly streams: readonly string[] }> {
  await using cluster = await startCluster(2);
  return { calls: Object.keys(cluster.node(0).catalog.methods()), streams: ['shard-archive'] };
}

describe('between the nodes of a cluster with keys', { skip: noNats ?? false }, () => {
  let processes: ProcessCluster | undefined;
  const proxies: { readonly peer: RecordingProxy; readonly route: RecordingProxy }[] = [];
  const cluster = (): ProcessCluster => must(processes, 'it runs');
  const peerUrl = (at: number): string => `http://127.0.0.1:${cluster().place(at).ports.peer}`;
  const sign = (method: string, where: string, nowMs = Date.now()): string => new PeerSigner(clusterKeys(secret).peerToken, 1).sign({ method, path: where }, nowMs);

  before(async () => {
    const shown = await nodePorts(count);
    const peers = shown.map(({ peer }) => `127.0.0.1:${peer}`);
    processes = await processCluster(count, {
      argsOf: ({ at, ports: { peer } }) => ['--peer-port', String(peer), '--uri', `http://${peers[at]}`, '--peers', peers.join(',')],
      env: {
        NEARKEEP__CLUSTER__SECRET: secret, QDRANT__SERVICE__API_KEY: keys.full, QDRANT__SERVICE__ALT_API_KEY: keys.other, QDRANT__SERVICE__READ_ONLY_API_KEY: keys.read, QDRANT__LOG_LEVEL: 'trace',
      },
    });
    for (let at = 0; at < count; at += 1) {
      const [from, to] = [must(shown[at], 'one for each').peer, cluster().place(at).ports.peer];
      proxies.push({ peer: await recordingProxy(from, to, [...wanted, marker]), route: await recordingProxy(from + routeAbove, to + routeAbove, [...wanted, marker]) });
    }
    await cluster().startAll();
  });
  after(async () => {
    await processes?.[Symbol.asyncDispose]();
    for (const { peer, route } of proxies) {
      await peer[Symbol.asyncDispose]();
      await route[Symbol.asyncDispose]();
    }
  });

  test('no key of a user opens a method of the peer port, and no port of users has one', async () => {
    const { calls, streams } = await peerMethods();
    assert.ok(calls.length > 5);
    for (const [method, names] of [['POST', calls], ['GET', streams]] as const) {
      for (const name of names) {
        const where = `/internal/${name}`;
        for (const headers of userHeaders) assert.equal(await statusOf(`${peerUrl(0)}${where}`, method, headers), 401, `${name} with ${JSON.stringify(headers)}`);
        for (const query of [`?api_key=${keys.full}`, `?api-key=${keys.full}`]) assert.equal(await statusOf(`${peerUrl(0)}${where}${query}`, method, {}), 401);
        assert.notEqual(await statusOf(`${peerUrl(0)}${where}`, method, { [peerTokenHeader]: sign(method, where) }), 401, `${name} is there for nodes`);
        assert.equal(await statusOf(`${cluster().node(0).url}${where}`, method, { 'api-key': keys.full, [peerTokenHeader]: sign(method, where) }), 404, `${name} on the port of users`);
      }
    }
    for (const where of ['/', '/collections', '/cluster', '/metrics']) {
      assert.equal(await statusOf(`${peerUrl(0)}${where}`, 'GET', { 'api-key': keys.full }), 401, `${where} on the port of nodes`);
      assert.equal(await statusOf(`${peerUrl(0)}${where}`, 'GET', { 'api-key': keys.full, [peerTokenHeader]: sign('GET', where) }), 500, `${where} on the port of nodes, as a node`);
    }
  });

  test('a token opens nothing but its own call, in its time', async () => {
    const where = '/internal/follow';
    const send = (token: string, method = 'POST', to = where): Promise<number> => statusOf(`${peerUrl(0)}${to}`, method, { [peerTokenHeader]: token });
    const good = sign('POST', where);
    assert.equal(await send(good), 500, 'it is heard, and has no arguments');
    assert.equal(await send(good), 401, 'it was here before');
    for (const [why, token, method, to] of [
      ['of another method', sign('GET', where)], ['of another path', sign('POST', '/internal/shard-applied')], ['with a query', sign('POST', where), 'POST', `${where}?a`],
      ['of an hour ago', sign('POST', where, Date.now() - 3_600_000)], ['of the next hour', sign('POST', where, Date.now() + 3_600_000)], ['of another node', sign('POST', where).replace(/^1\./, '2.')],
      ['drawn out', sign('POST', where).replace(/\.\d+\./, (until) => `.${Number(until.slice(1, -1)) + 1}.`)], ['of another cluster', new PeerSigner(clusterKeys('a secret of other nodes').peerToken, 1).sign({ method: 'POST', path: where }, Date.now())],
      ['sent as GET', sign('POST', where), 'GET'], ['twice', `${sign('POST', where)}, ${sign('POST', where)}`],
    ] as const) assert.equal(await send(token, method, to), 401, why);
  });

  test('NATS takes clients and questions on loopback alone, and clients with the key of the cluster alone', async () => {
    const { natsClient, natsMonitor } = cluster().place(0).ports;
    // 127.0.0.2 is this machine as well, but not the address that is listened to
    for (const port of [natsClient, natsMonitor]) await assert.rejects(new Promise((resolve, reject) => plainConnect(port, '127.0.0.2', () => resolve(port)).once('error', reject)), { code: 'ECONNREFUSED' });
    const { host, http_host: httpHost, auth_required: isAuth } = (await (await fetch(`http://127.0.0.1:${natsMonitor}/varz`)).json()) as { readonly host: string; readonly http_host: string; readonly auth_required: boolean };
    assert.deepEqual([host, httpHost, isAuth], ['127.0.0.1', '127.0.0.1', true]);
    const connect = (user: Parameters<typeof NatsClient.connect>[0]['user']): Promise<NatsClient> => NatsClient.connect({ url: `nats://127.0.0.1:${natsClient}`, user, name: 'test', clock: systemClock, waits: false });
    await using own = await connect(clusterKeys(secret).app);
    assert.equal(own.connection.isClosed(), false);
    for (const user of [clusterKeys('a secret of other nodes').app, () => undefined, () => ({ auth_token: keys.full }), () => ({ user: 'admin', pass: keys.full })]) await assert.rejects(connect(user), /Authorization Violation/i);
  });

  test('keys of users go through every route, and to no other node, into no stream, log line or file', async () => {
    const url = (at: number): string => cluster().node(at).url;
    const send = async (at: number, method: string, where: string, body?: unknown): Promise<void> => {
      const response = await fetch(url(at) + where, { method, headers: { 'api-key': keys.full, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      const text = await response.text();
      assert.equal(response.status, 200, text);
    };
    await send(0, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: 3, replication_factor: 2 });
    for (let at = 0; at < count; at += 1) {
      await send(at, 'PUT', '/collections/c/points?wait=true', { points: Array.from({ length: 10 }, (_, n) => ({ id: at * 10 + n, vector: [n, 1], payload: { marker } })) });
      await send(at, 'POST', '/collections/c/points/query', { query: [1, 1], limit: 30, with_payload: true });
      await send(at, 'POST', '/collections/c/points/scroll', { limit: 30 });
    }
    await send(1, 'POST', '/collections/c/snapshots', {});
    const routes = restRoutes({
      engine: asEngine(new SmallEngine()), logger: silentLogger, stats: new ResponseStats(), settings: { metricsPrefix: '' }, isReady: () => true, writesRefused: () => undefined,
      processFacts: () => Promise.resolve({ isContainer: false }), takeLoopDelay: () => ({ p50Seconds: 0, p99Seconds: 0, maxSeconds: 0 }),
    });
    for (const [n, { method, path: pattern }] of routes.entries()) {
      const where = pattern.replace(':collection', method === 'DELETE' || method === 'PUT' ? 'none' : 'c').replaceAll(/:\w+/g, '0');
      const body = method === 'GET' ? {} : { body: JSON.stringify({ location: `${url(1)}/collections/c/snapshots/none.snapshot`, api_key: keys.fetch }) };
      for (const headers of [{ 'api-key': keys.full }, { authorization: `Bearer ${keys.other}` }, { 'api-key': keys.read }]) {
        const response = await fetch(`${url(n % count)}${where}`, { method, headers: { ...headers, 'content-type': 'application/json' }, ...body });
        await response.arrayBuffer();
        assert.notEqual(response.status, 401, `${method} ${where}`);
      }
    }
    await cluster().untilReady();
    const data = Array.from({ length: count }, (_, at) => cluster().place(at).data);
    const outputs = data.map((_, at) => cluster().output(at));
    for (let at = 0; at < count; at += 1) await cluster().stop(at);

    for (const [at, { peer, route }] of proxies.entries()) {
      assert.ok(peer.seen.has(marker), `what goes to the peer port of node ${at} is looked at`);
      assert.deepEqual([...peer.seen, ...route.seen].filter((form) => form !== marker), []);
    }
    assert.ok(proxies.some(({ route }) => route.seen.has(marker)), 'what goes between NATS servers is looked at: two of them use a connection that either has made');
    for (const output of outputs) assert.deepEqual(formsIn(Buffer.from(output), wanted), []);
    for (const folder of data) {
      let holdsMarker = false;
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const bytes = await readFile(path.join(entry.parentPath, entry.name));
        holdsMarker ||= entry.parentPath.includes('/nats/') && bytes.includes(marker);
        assert.deepEqual(formsIn(bytes, wanted), [], path.join(entry.parentPath, entry.name));
      }
      assert.ok(holdsMarker, 'the streams are looked at');
    }
  });
});
