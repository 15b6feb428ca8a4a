// Every route × every key. The table of routes is the server's own, so a new route is in the matrix by being there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restRoutes } from './route-tables.ts';
import { ResponseStats } from './response-stats.ts';
import type { RestRoute } from './route.ts';
import { asEngine, multipart, openRaw, startRest, type RestAt } from './testing/rest-harness.ts';
import { SmallEngine } from './testing/small-engine.ts';
import { silentLogger } from '../../base/logger.ts';

const keys = { apiKey: 'full-key', altApiKey: 'other-key', readOnlyApiKey: 'read-key' };
const missingText = 'Must provide an API key or an Authorization bearer token';
const wrongText = 'Invalid API key or JWT';
const forbiddenText = 'Forbidden: Global manage access is required';

const routes = restRoutes({
  engine: asEngine(new SmallEngine()),
  logger: silentLogger,
  stats: new ResponseStats(),
  settings: { metricsPrefix: '' },
  isReady: () => true,
  writesRefused: () => undefined,
  processFacts: () => Promise.resolve({ isContainer: false }),
  takeLoopDelay: () => ({ p50Seconds: 0, p99Seconds: 0, maxSeconds: 0 }),
});
const concrete = ({ path }: RestRoute): string => path.replaceAll(/:\w+/g, 'x');

test('the matrix covers the API', () => {
  assert.ok(routes.length >= 20);
  assert.deepEqual(
    routes
      .filter(({ access }) => access === 'none')
      .map(({ path }) => path)
      .sort(),
    ['/', '/healthz', '/livez', '/readyz'],
  );
});

for (const route of routes) {
  const title = `${route.method} ${route.path}`;
  const call = (rest: RestAt, headers: Record<string, string>): ReturnType<RestAt['send']> =>
    rest.send(route.method, concrete(route), { headers });
  const isDenied = (status: number): boolean => status === 401 || status === 403;

  test(`advisory 16: ${title} without a key`, async (t) => {
    const { status, text } = await call(await startRest(t, { keys }), {});
    if (route.access === 'none') assert.equal(isDenied(status), false);
    else assert.deepEqual([status, text], [401, missingText]);
  });

  test(`advisory 16: ${title} with a wrong key`, async (t) => {
    const { status, text, headers } = await call(await startRest(t, { keys }), { 'api-key': 'full-keY' });
    if (route.access === 'none') assert.equal(isDenied(status), false);
    else assert.deepEqual([status, text, String(headers['content-type']).split(';')[0]], [401, wrongText, 'text/plain']);
  });

  test(`advisory 16: ${title} with the read-only key`, async (t) => {
    const { status, text } = await call(await startRest(t, { keys }), { authorization: 'Bearer read-key' });
    if (route.access === 'none' || route.access === 'read') {
      assert.equal(isDenied(status), false);
      return;
    }
    assert.equal(status, 403);
    if (route.body === 'stream' || route.errors === 'text') assert.equal(text, forbiddenText);
    else assert.match(text, new RegExp(`^\\{"status":\\{"error":"${forbiddenText}"\\},"time":[\\d.]+\\}$`));
  });

  for (const key of ['full-key', 'other-key']) {
    test(`advisory 16: ${title} with ${key}`, async (t) => {
      const { status } = await call(await startRest(t, { keys }), { 'api-key': key });
      assert.equal(isDenied(status), false);
    });
  }
}

test('the header api-key wins over a bearer token', async (t) => {
  const rest = await startRest(t, { keys });
  assert.equal(
    (await rest.send('GET', '/collections', { headers: { 'api-key': 'bad', authorization: 'Bearer full-key' } })).status,
    401,
  );
  assert.equal((await rest.send('GET', '/collections', { headers: { authorization: 'bearer full-key' } })).status, 200);
  assert.equal((await rest.send('GET', '/collections', { headers: { authorization: 'Basic full-key' } })).text, missingText);
});

test('advisory 08: a path that only looks exempt needs a key', async (t) => {
  const rest = await startRest(t, { keys });
  const paths = [
    '/dashboard%2f..%2fcollections',
    '/healthz%2f..%2fcollections',
    '/HEALTHZ',
    '/healthz.',
    '/healthzz',
    '//collections',
    '/./collections',
    '/collections/%ff',
    '/nothing',
  ];
  for (const path of paths) assert.equal((await rest.send('GET', path)).status, 401, path);
});

test('advisory 18: no header grants rights', async (t) => {
  const rest = await startRest(t, { keys });
  for (const name of ['x-forwarded-user', 'x-internal', 'x-qdrant-route-affinity', 'x-forwarded-for']) {
    assert.equal((await rest.send('GET', '/collections', { headers: { [name]: 'full-key' } })).status, 401);
  }
});

test('advisory 05: a refused upload is answered before its body, and none of it is taken', async (t) => {
  const rest = await startRest(t, { keys });
  const { socket, until } = await openRaw(rest.port);
  socket.write(
    [
      'POST /collections/c/snapshots/upload HTTP/1.1',
      'host: localhost',
      'api-key: read-key',
      'content-type: multipart/form-data; boundary=b',
      'content-length: 1000000000',
      '',
      '',
    ].join('\r\n'),
  );
  assert.match(await until(/required/), /^HTTP\/1\.1 403 Forbidden[^]*Forbidden: Global manage access is required$/);
  assert.equal(rest.engine.snapshots.takenBytes, 0);
  // What is still sent is dropped, and the connection is ended before the announced length has come.
  const closed = new Promise((resolve) => {
    socket.once('close', resolve);
  });
  const piece = Buffer.alloc(1024 * 1024);
  for (let sent = 0; sent < 512 && !socket.destroyed; sent += 1)
    await new Promise((resolve) => {
      socket.write(piece, resolve);
    });
  await closed;
  assert.equal(rest.engine.snapshots.takenBytes, 0);
  assert.ok(socket.bytesWritten < 192 * 1024 * 1024, `${socket.bytesWritten} bytes were taken off the wire`);
});

for (const route of routes.filter(({ body }) => body === 'stream')) {
  test(`advisory 05: ${route.method} ${route.path} with the read-only key is 403 before a byte of its body`, async (t) => {
    const rest = await startRest(t, { keys });
    const { socket, until } = await openRaw(rest.port);
    const form = 'content-type: multipart/form-data; boundary=b\r\ncontent-length: 1000000000';
    socket.write(`${route.method} ${concrete(route)} HTTP/1.1\r\nhost: localhost\r\napi-key: read-key\r\n${form}\r\n\r\n`);
    assert.match(await until(/required$/), /^HTTP\/1\.1 403 Forbidden[^]*\r\n\r\nForbidden: Global manage access is required$/);
    assert.equal(rest.engine.snapshots.takenBytes, 0);
    socket.destroy();
  });
}

test('advisory 05: every upload is among the routes that stream their body', () => {
  const uploads = routes.filter(({ body }) => body === 'stream').map(({ path }) => path);
  assert.deepEqual(uploads.sort(), [
    '/collections/:collection/shards/:shard_id/snapshot/partial/recover',
    '/collections/:collection/shards/:shard_id/snapshots/upload',
    '/collections/:collection/snapshots/upload',
    '/snapshots/upload',
  ]);
});

test('a client that waits for 100-continue is told to go on only when it may', async (t) => {
  const rest = await startRest(t, { keys });
  const head = (key: string, length: number): string =>
    [
      'POST /collections/c/snapshots/upload HTTP/1.1',
      'host: localhost',
      `api-key: ${key}`,
      'expect: 100-continue',
      'content-type: multipart/form-data; boundary=test-boundary-7MA4YWxk',
      `content-length: ${length}`,
      '',
      '',
    ].join('\r\n');
  const refused = await openRaw(rest.port);
  refused.socket.write(head('read-key', 100));
  assert.match(await refused.until(/required$/), /^HTTP\/1\.1 403 /);
  const { body } = multipart([{ name: 'snapshot', filename: 'a', content: 'bytes' }]);
  const admitted = await openRaw(rest.port);
  admitted.socket.write(head('full-key', body.byteLength));
  assert.match(await admitted.until(/\r\n\r\n/), /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  admitted.socket.write(body);
  assert.match(await admitted.until(/"ok"/), /HTTP\/1\.1 200 OK/);
  assert.equal(rest.engine.snapshots.uploads[0]?.bytes.toString(), 'bytes');
  const plain = await openRaw(rest.port);
  plain.socket.write('GET /collections HTTP/1.1\r\nhost: localhost\r\napi-key: full-key\r\n\r\n');
  assert.match(await plain.until(/"ok"/), /^HTTP\/1\.1 200 OK/);
});

test('a key is compared by its UTF-8 bytes', async (t) => {
  const rest = await startRest(t, { keys: { apiKey: 'schlüssel' } });
  assert.equal(
    (await rest.send('GET', '/collections', { headers: { 'api-key': Buffer.from('schlüssel').toString('latin1') } })).status,
    200,
  );
});
