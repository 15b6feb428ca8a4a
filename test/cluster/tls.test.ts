// TLS on every port of a cluster: who is let in between the nodes, and certificates that are swapped under load.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { request as plainRequest } from 'node:http';
import { Agent } from 'node:https';
import { connect as plainConnect } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls';
import { must } from '../../src/base/assert.ts';
import { pause } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { temporaryFolder, type TemporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { makeCertificates, type CertificateFiles } from '../support/certificates.ts';
import { cleanEnvironment, program } from '../support/server-process.ts';
import { tlsCall, type TlsAnswer } from '../support/tls-client.ts';
import { processCluster, type ProcessCluster } from './process-cluster.ts';

const count = 3;
const routeAbove = 1000;
const renewed = /the certificate was renewed/g;

/** Sees the first bytes that a port sends on a TLS connection. */
function firstBytes(port: number, options: ConnectionOptions): Promise<{ readonly text: string; readonly fingerprint: string }> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', ...options });
    socket.once('error', reject).once('close', () => reject(new RangeError('closed before a byte came')));
    socket.once('data', (data: Buffer) => {
      resolve({ text: data.toString('latin1'), fingerprint: must(socket.getPeerX509Certificate(), 'a server shows one').fingerprint256 });
      socket.destroy();
    });
  });
}

/** All that a port says to who speaks plainly to it. */
function plainBytes(port: number, said: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = plainConnect(port, '127.0.0.1', () => socket.write(said));
    socket.on('data', (data) => (text += data.toString('latin1'))).on('error', () => undefined).once('close', () => resolve(text));
  });
}

describe('a cluster with TLS on every port', { skip: noNats ?? false }, () => {
  let folder: TemporaryFolder | undefined;
  let processes: ProcessCluster | undefined;
  let first: CertificateFiles | undefined;
  let second: CertificateFiles | undefined;
  const cluster = (): ProcessCluster => must(processes, 'it runs');
  const of = (files: CertificateFiles | undefined): { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer } => {
    const { ca, cert, key } = must(files, 'they are made');
    return { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  };
  const filesOf = (at: number): CertificateFiles => ({ ca: path.join(must(folder, 'it is there').path, `ca-${at}`), cert: path.join(must(folder, 'it is there').path, `cert-${at}`), key: path.join(must(folder, 'it is there').path, `key-${at}`) });
  const env = (at: number): Readonly<Record<string, string>> => ({
    QDRANT__SERVICE__ENABLE_TLS: 'true', QDRANT__CLUSTER__P2P__ENABLE_TLS: 'true', QDRANT__TLS__CERT: filesOf(at).cert, QDRANT__TLS__KEY: filesOf(at).key, QDRANT__TLS__CA_CERT: filesOf(at).ca,
    QDRANT__TLS__CERT_TTL: '1', QDRANT__SERVICE__HTTP_KEEP_ALIVE_TIMEOUT_SEC: '3600',
  });
  const agentOf = (): Agent => new Agent({ ca: [of(first).ca, of(second).ca], keepAlive: true, maxSockets: 1 });
  const json = async (agent: Agent, at: number, method: string, where: string, body?: unknown): Promise<unknown> => {
    const { status, text } = await tlsCall(cluster().node(at).url, where, { agent, method, body });
    assert.equal(status, 200, text);
    return (JSON.parse(text) as { readonly result: unknown }).result;
  };

  before(async () => {
    folder = await temporaryFolder();
    const made = path.join(folder.path, 'first');
    const names = [...Array.from({ length: count }, (_, at) => `node-${at}`), 'test'];
    const { status, stderr } = spawnSync(process.execPath, [program, 'certs', 'create', made, ...names.map((name) => `${name},localhost,127.0.0.1`)], { encoding: 'utf8', env: cleanEnvironment() });
    assert.equal(status, 0, stderr);
    first = { ca: path.join(made, 'ca.pem'), cert: path.join(made, 'test.pem'), key: path.join(made, 'test.key') };
    second = await makeCertificates(path.join(folder.path, 'second'));
    for (let at = 0; at < count; at += 1) {
      await copyFile(first.ca, filesOf(at).ca);
      await copyFile(path.join(made, `node-${at}.pem`), filesOf(at).cert);
      await copyFile(path.join(made, `node-${at}.key`), filesOf(at).key);
    }
    processes = await processCluster(count, { argsOf: ({ ports: { peer }, peers }) => ['--peer-port', String(peer), '--uri', `https://127.0.0.1:${peer}`, '--peers', peers.join(',')] });
    await Promise.all(Array.from({ length: count }, (_, at) => cluster().start(at, env(at))));
  });
  after(async () => {
    await processes?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  test('writes, reads, snapshots and restores go over it', async () => {
    const agent = agentOf();
    try {
      await json(agent, 0, 'PUT', '/collections/c', { vectors: { size: 2, distance: 'Dot' }, shard_number: 3, replication_factor: 3 });
      for (let at = 0; at < count; at += 1) await json(agent, at, 'PUT', '/collections/c/points?wait=true', { points: Array.from({ length: 20 }, (_, n) => ({ id: at * 20 + n, vector: [n, 1] })) });
      for (let at = 0; at < count; at += 1) assert.deepEqual(await json(agent, at, 'POST', '/collections/c/points/count', { exact: true }), { count: 60 });
      const { peers } = (await json(agent, 0, 'GET', '/cluster')) as { readonly peers: Readonly<Record<string, { readonly uri: string }>> };
      assert.deepEqual(Object.values(peers).map(({ uri }) => uri).sort(), cluster().place(0).peers.map((peer) => `https://${peer}/`).sort());

      const { name } = (await json(agent, 0, 'POST', '/collections/c/snapshots')) as { readonly name: string };
      const archive = (await tlsCall(cluster().node(0).url, `/collections/c/snapshots/${name}`, { agent })).bytes;
      const form = new FormData();
      form.set('snapshot', new Blob([new Uint8Array(archive)]), 'a.snapshot');
      const encoded = new Response(form);
      const { status, text } = await tlsCall(cluster().node(1).url, '/collections/copy/snapshots/upload', {
        agent, method: 'POST', body: new Uint8Array(await encoded.arrayBuffer()), headers: { 'content-type': must(encoded.headers.get('content-type'), 'a form has one') },
      });
      assert.equal(status, 200, text);
      await cluster().until('every replica is there', async () => {
        const { local_shards: local, remote_shards: remote } = (await json(agent, 2, 'GET', '/collections/copy/cluster')) as { readonly local_shards: readonly { readonly state: string }[]; readonly remote_shards: readonly { readonly state: string }[] };
        return local.length === 3 && remote.length === 6 && [...local, ...remote].every(({ state }) => state === 'Active');
      });
      for (let at = 0; at < count; at += 1) assert.deepEqual(await json(agent, at, 'POST', '/collections/copy/points/count', { exact: true }), { count: 60 });
    } finally {
      agent.destroy();
    }
  });

  test('between the nodes only a certificate of the authority is listened to', async () => {
    const { peer } = cluster().place(0).ports;
    const own = of(first);
    const stranger = { ...of(second), ca: own.ca };
    const answer = (options: ConnectionOptions): Promise<TlsAnswer> => {
      const agent = new Agent(options as ConstructorParameters<typeof Agent>[0]);
      return tlsCall(`https://127.0.0.1:${peer}`, '/internal/follow', { agent, method: 'POST' }).finally(() => agent.destroy());
    };
    assert.equal((await answer(own)).status, 401, 'a certificate alone is no token');
    await assert.rejects(answer({ ca: own.ca }), 'no certificate');
    await assert.rejects(answer(stranger), 'a certificate of another authority');
    await assert.rejects(new Promise((resolve, reject) => void plainRequest({ port: peer, host: '127.0.0.1', method: 'POST', path: '/internal/follow' }, resolve).once('error', reject).end()), 'no TLS');

    const route = peer + routeAbove;
    assert.match((await firstBytes(route, own)).text, /^INFO \{/);
    await assert.rejects(firstBytes(route, { ca: own.ca }), /certificate required/);
    await assert.rejects(firstBytes(route, stranger), /unknown ca/);
    assert.equal(await plainBytes(route, 'CONNECT {"verbose":false}\r\nPING\r\n'), '');
  });

  test('certificates and their authority are swapped under load and open connections, and nothing fails', async () => {
    const [before, then] = [of(first), of(second)];
    const both = Buffer.concat([before.ca, then.ca]);
    const agents = Array.from({ length: count }, agentOf);
    const sockets = await Promise.all(agents.map(async (agent, at) => (await tlsCall(cluster().node(at).url, '/readyz', { agent })).socket));
    const failures: unknown[] = [];
    const written = agents.map(() => 0);
    let isOver = false;
    const load = agents.map(async (agent, at) => {
      for (let n = 0; !isOver; await pause(1)) {
        const id = 1_000 + at + n * count;
        try {
          await json(agent, at, 'PUT', '/collections/c/points?wait=true', { points: [{ id, vector: [id, 1] }] });
          n += 1;
          written[at] = n;
        } catch (error) {
          failures.push(error);
        }
      }
    });
    const swap = async (files: Partial<Record<keyof CertificateFiles, Buffer>>): Promise<void> => {
      const seen = agents.map((_, at) => cluster().output(at).match(renewed)?.length ?? 0);
      // the key first: a pair that does not fit is looked at again, and never used
      for (let at = 0; at < count; at += 1) for (const [kind, bytes] of Object.entries(files)) await writeFile(filesOf(at)[kind as keyof CertificateFiles], bytes);
      for (let at = 0; at < count; at += 1) await cluster().until(`node ${at} has renewed its certificate`, () => (cluster().output(at).match(renewed)?.length ?? 0) > (seen[at] ?? 0));
    };
    const ports = agents.flatMap((_, at) => [cluster().place(at).ports.peer, cluster().place(at).ports.peer + routeAbove]);
    const fingerprint = async (port: number, options: ConnectionOptions): Promise<string> => await new Promise((resolve, reject) => {
      const socket = tlsConnect({ port, host: '127.0.0.1', ...options }, () => {
        resolve(must(socket.getPeerX509Certificate(), 'a server shows one').fingerprint256);
        socket.destroy();
      }).once('error', reject);
    });
    const shown = (await firstBytes(ports[1] ?? 0, before)).fingerprint;
    try {
      await swap({ ca: both });
      await swap({ key: then.key, cert: then.cert });
      for (const port of ports) await cluster().until(`port ${port} shows the new certificate`, async () => (await fingerprint(port, { ...then, ca: both })) !== shown && (await fingerprint(port, then)) !== '');
      await swap({ ca: then.ca });
      const routePorts = ports.filter((_, n) => n % 2 === 1);
      for (const port of routePorts) await cluster().until(`port ${port} takes the old certificate no longer`, () => firstBytes(port, { ...before, ca: both }).then(() => false, () => true));
      await cluster().until('every node writes on', () => written.every((n) => n > 20));
    } finally {
      isOver = true;
      await Promise.all(load);
    }
    assert.deepEqual(failures, []);
    const anew = new Agent({ ca: then.ca });
    try {
      for (const [at, agent] of agents.entries()) {
        assert.equal((await tlsCall(cluster().node(at).url, '/readyz', { agent })).socket, sockets[at], 'the connection of before serves on');
        assert.equal((await tlsCall(cluster().node(at).url, '/readyz', { agent: anew })).status, 200);
      }
      // a node that comes back makes all its connections anew, with the new certificate alone
      await cluster().stop(2);
      await cluster().start(2, env(2));
      const wanted = 60 + written.reduce((sum, n) => sum + n, 0);
      for (let at = 0; at < count; at += 1) await cluster().until(`node ${at} has all points`, async () => assert.deepEqual(await json(anew, at, 'POST', '/collections/c/points/count', { exact: true }), { count: wanted }));
    } finally {
      anew.destroy();
      for (const agent of agents) agent.destroy();
    }
  });

  test('a node without TLS, or of another authority, is not let in', async () => {
    const { peer } = cluster().place(1).ports;
    assert.ok(must(cluster().place(1).peers[1], 'it is listed').endsWith(String(peer)));
    await cluster().stop(2);
    const stranger = await makeCertificates(path.join(must(folder, 'it is there').path, 'stranger'));
    const strange = cluster().start(2, { ...env(2), QDRANT__TLS__CERT: stranger.cert, QDRANT__TLS__KEY: stranger.key, QDRANT__TLS__CA_CERT: stranger.ca, QDRANT__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC: '5' });
    await assert.rejects(strange, /too few nodes of the cluster came up in time/);
    await cluster().start(2, env(2));
  });
});
