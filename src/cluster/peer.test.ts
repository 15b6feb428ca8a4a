import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import { silentLogger } from '../base/logger.ts';
import { clusterKeys } from './cluster-secret.ts';
import { PeerClient } from './peer-client.ts';
import { PeerServer, type PeerMethods } from './peer-server.ts';
import { PeerGate, peerTokenHeader, PeerSigner } from './peer-token.ts';
import { answerOf, encodeValue } from './peer-wire.ts';

const { peerToken: tokenKey } = clusterKeys('the secret of this test');

async function pair(t: TestContext, methods: PeerMethods, { key = tokenKey, timeoutMs = 5_000, aheadMs = 0 } = {}): Promise<{ readonly client: PeerClient; readonly url: string }> {
  const server = await PeerServer.listen({ host: '127.0.0.1', port: 0, tokenKey, tls: undefined, clock: systemClock, logger: silentLogger });
  server.serve(methods);
  const client = new PeerClient({ peerId: 7, tokenKey: key, tls: undefined, clock: { ...systemClock, now: () => Date.now() + aheadMs }, connectionsMax: 4, timeoutMs });
  t.after(async () => {
    client.close();
    await server.close();
  });
  return { client, url: `http://127.0.0.1:${server.port}` };
}

test('values go over and back as they are', async (t) => {
  const { client, url } = await pair(t, { calls: { echo: (args: unknown, { peerId }) => Promise.resolve({ args, peerId }) }, streams: {} });
  const value = { id: 2n ** 63n, vector: Float32Array.of(1.5, -2, 3), names: new Map([['', new Set([1])]]), none: undefined, text: 'ä\u0000\uD800' };
  assert.deepEqual(await client.call(url, 'echo', value), { args: value, peerId: 7 });
});

test('an error keeps its class, and what is no error of a request is one of the node', async (t) => {
  const { client, url } = await pair(t, {
    calls: {
      missing: () => Promise.reject(new RequestError('not-found', 'Collection `x` doesn\'t exist!')),
      broken: () => Promise.reject(new TypeError('oh')),
    },
    streams: {},
  });
  await assert.rejects(client.call(url, 'missing', null), { name: 'RequestError', code: 'not-found', message: 'Collection `x` doesn\'t exist!' });
  await assert.rejects(client.call(url, 'broken', null), { code: 'internal', message: 'oh' });
  await assert.rejects(client.call(url, 'toString', null), { code: 'not-found' });
});

test('a stream that fails half way is seen to be cut off', async (t) => {
  async function* bytes(from: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < 100; at += 1) {
      await Promise.resolve();
      yield Buffer.alloc(10_000, at);
      if (at === from) throw new RangeError('the disk failed');
    }
  }
  const { client, url } = await pair(t, { calls: {}, streams: { all: (from: number) => Promise.resolve(bytes(from)), none: () => Promise.reject(new RequestError('not-found', 'no')) } });
  const read = async (from: number): Promise<number> => {
    let size = 0;
    for await (const chunk of await client.stream(url, 'all', from)) size += chunk.byteLength;
    return size;
  };
  assert.equal(await read(-1), 1_000_000);
  await assert.rejects(read(50), { code: 'unavailable' });
  await assert.rejects(client.stream(url, 'none', null), { code: 'not-found' });
});

test('a reader that takes its time gets all of a stream, a source that falls silent is given up, and one that is left ends', async (t) => {
  const timeoutMs = 200;
  const pieces = 40;
  let ended = 0;
  async function* bytes(isSilent: boolean, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signal.addEventListener('abort', () => (ended += 1), { once: true });
    for (let at = 0; at < pieces; at += 1) {
      if (isSilent && at === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      yield Buffer.alloc(1 << 20, at);
    }
  }
  const { client, url } = await pair(t, { calls: {}, streams: { some: (isSilent: boolean, { signal }) => Promise.resolve(bytes(isSilent, signal)) } }, { timeoutMs });
  let size = 0;
  for await (const piece of await client.stream(url, 'some', false)) {
    if (size === 0) await sleep(3 * timeoutMs);
    size += piece.byteLength;
  }
  assert.equal(size, pieces << 20);
  await assert.rejects(async () => {
    for await (const piece of await client.stream(url, 'some', true)) size += piece.byteLength;
  }, { code: 'unavailable', message: `${url} cannot be reached: no byte within ${timeoutMs} ms` });
  for await (const piece of await client.stream(url, 'some', false)) if (piece.byteLength > 0) break;
  await waitUntil('the other side hears of every end', () => ended === 3);
});

test('without a token of this cluster nothing runs, whatever else is sent', async (t) => {
  let ran = 0;
  const { client, url } = await pair(t, { calls: { echo: () => Promise.resolve((ran += 1)) }, streams: {} }, { key: clusterKeys('another secret altogether').peerToken });
  await assert.rejects(client.call(url, 'echo', null), /does not accept this node/);
  const status = (headers: Record<string, string>, path = '/internal/echo'): Promise<number | undefined> => new Promise((resolve, reject) => {
    request(new URL(path, url), { method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).once('error', reject).end();
  });
  const token = (path: string, nowMs: number): string => new PeerSigner(tokenKey, 1).sign({ method: 'POST', path }, nowMs);
  assert.equal(await status({ 'api-key': 'admin', authorization: 'Bearer admin' }), 401);
  assert.equal(await status({ [peerTokenHeader]: token('/internal/other', Date.now()) }), 401, 'of another call');
  assert.equal(await status({ [peerTokenHeader]: token('/internal/echo', Date.now() - 3_600_000) }), 401, 'of long ago');
  assert.equal(await status({ [peerTokenHeader]: token('/internal/echo', Date.now() + 3_600_000) }), 401, 'of the future');
  assert.equal(await status({ [peerTokenHeader]: token('/internal/echo', Date.now()).replace(/^1/, '2') }), 401, 'of another node');
  assert.equal(ran, 0);
  const good = token('/internal/echo', Date.now());
  assert.deepEqual([await status({ [peerTokenHeader]: good }), await status({ [peerTokenHeader]: good })], [500, 401], 'once: the body is no message, and the token is used up');
});

test('a node that cannot be reached is counted until it answers again', async (t) => {
  const { client, url } = await pair(t, { calls: { echo: () => Promise.resolve(1) }, streams: {} });
  await assert.rejects(client.call('http://127.0.0.1:1', 'echo', null), { code: 'unavailable' });
  await assert.rejects(client.call('http://127.0.0.1:1', 'echo', null), { code: 'unavailable' });
  assert.equal(client.failures.get('http://127.0.0.1:1')?.count, 2);
  await client.call(url, 'echo', null);
  assert.equal(client.failures.has(url), false);
});

for (const [title, ms, told] of [['behind', 3_600_000, 'behind'], ['ahead', -3_600_000, 'ahead of']] as const) {
  test(`a node whose clock is an hour ${title} refuses with the difference, and without the key nothing is told`, async (t) => {
    const { client, url } = await pair(t, { calls: { echo: (args: unknown) => Promise.resolve(args) }, streams: { all: () => Promise.reject(new RequestError('internal', 'not reached')) } }, { aheadMs: ms });
    const refused = { code: 'unavailable', message: `${url} does not accept this node: its clock is 3600 s ${told} this one's; set the clocks of both nodes` };
    await assert.rejects(client.call(url, 'echo', 1), refused);
    await assert.rejects(client.stream(url, 'all', 1), refused);
    const { status, headers } = await fetch(`${url}/internal/echo`, { method: 'POST', headers: { [peerTokenHeader]: `1.1.${'00'.repeat(32)}` } });
    assert.deepEqual([status, headers.get('x-nearkeep-apart-ms')], [401, null]);
  });
}

test('a kept connection that is reset is asked again over another one, unless it is a write', async (t) => {
  let asked = 0;
  const seen = new WeakSet<object>();
  const server = createServer((incoming, response) => {
    asked += 1;
    if (seen.has(incoming.socket)) incoming.socket.resetAndDestroy();
    else response.end(encodeValue(answerOf(new RequestError('not-found', 'answered'))));
    seen.add(incoming.socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const client = new PeerClient({ peerId: 7, tokenKey, tls: undefined, clock: systemClock, connectionsMax: 4, timeoutMs: 5_000 });
  t.after(() => {
    client.close();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const answered = { code: 'not-found', message: 'answered' };
  await assert.rejects(client.call(url, 'read', null), answered);
  await assert.rejects(client.call(url, 'read', null, { isRepeatable: true }), answered);
  assert.equal(asked, 3);
  await assert.rejects(client.call(url, 'write', null), { code: 'unavailable' });
  assert.equal(asked, 4);
});

test('what is asked of a node that is given up ends, and it can be asked again', async (t) => {
  let asked = (): void => undefined;
  const { client, url } = await pair(t, { calls: {
    silent: () => new Promise(() => asked()),
    echo: (args: unknown) => Promise.resolve(args),
  }, streams: {} });
  await client.call(url, 'echo', 1); // its connection is kept
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const calls = [client.call(url, 'silent', null), client.call(url, 'silent', null)].map((call) => assert.rejects(call, { code: 'unavailable', message: /not heard any more/ }));
  await isAsked;
  client.abandon(url.replace('127.0.0.1', '127.0.0.2'));
  assert.equal(await client.call(url, 'echo', 2), 2);
  client.abandon(url);
  await Promise.all(calls);
  assert.equal(await client.call(url, 'echo', 3), 3);
});

test('a token says who asks', () => {
  const call = { method: 'GET', path: '/internal/x?y' };
  const gate = new PeerGate(tokenKey);
  assert.deepEqual(gate.check(new PeerSigner(tokenKey, 9_007_199_254_740_991).sign(call, 1e12), call, 1e12), { peerId: 9_007_199_254_740_991 });
  assert.equal(gate.check(undefined, call, 1e12), undefined);
});

test('a token is taken once, in whatever order tokens come, and one that comes too late is not taken', () => {
  const call = { method: 'POST', path: '/internal/x' };
  const gate = new PeerGate(tokenKey);
  const signers = [new PeerSigner(tokenKey, 1), new PeerSigner(tokenKey, 1), new PeerSigner(tokenKey, 2)];
  const late = signers.map((signer) => signer.sign(call, 1e12));
  const tokens = Array.from({ length: 300 }, (_, n) => signers[n % 3]?.sign(call, 1e12)).reverse();
  for (const token of tokens) assert.notEqual(gate.check(token, call, 1e12), undefined);
  for (const token of tokens) assert.equal(gate.check(token, call, 1e12), undefined);
  assert.deepEqual(gate.check(late[0], call, 1e12), { peerId: 1 }, 'a request may have waited');
  const [, , other] = signers;
  for (let n = 0; n < 40_000; n += 1) assert.deepEqual(gate.check(other?.sign(call, 1e12), call, 1e12), { peerId: 2 });
  assert.equal(gate.check(late[2], call, 1e12), undefined, 'what is forgotten may have been here');
  assert.deepEqual(gate.check(late[1], call, 1e12 + 3_600_000), { apartMs: -3_600_000 }, 'its time is over');
});
