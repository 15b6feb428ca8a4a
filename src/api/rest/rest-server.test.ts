// The transport alone: envelopes, errors, names, limits, origins, time-outs, logs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../../base/errors.ts';
import { openRaw, startRest } from './testing/rest-harness.ts';

const small = { vectors: { size: 4, distance: 'Cosine' } };

test('a success has result, status, time in this order', async (t) => {
  const rest = await startRest(t);
  const { text, headers } = await rest.send('PUT', '/collections/c', { json: small });
  assert.match(text, /^\{"result":true,"status":"ok","time":\d+\.\d+\}$/);
  assert.match(String(headers['content-type']), /^application\/json/);
});

test('an error has status and time, and no result', async (t) => {
  const rest = await startRest(t);
  const { status, text } = await rest.send('GET', '/collections/none');
  assert.equal(status, 404);
  assert.match(text, /^\{"status":\{"error":"Not found: Collection `none` doesn't exist!"\},"time":\d+\.\d+\}$/);
});

const badBodies: readonly [string, { readonly headers?: Record<string, string>; readonly body?: string }, RegExp][] = [
  ['an empty body', {}, /Format error in JSON body: EOF while parsing a value at line 1 column 0/],
  ['a body without a type', { body: '{}' }, /Content type error: the body must be application\/json, not without a type/],
  ['a body of another type', { body: '{}', headers: { 'content-type': 'text/plain' } }, /Content type error: .* not text\/plain/],
  ['a type that is none', { body: '{}', headers: { 'content-type': '///' } }, /media type|Content type/i],
  [
    'a compressed body',
    { body: '{}', headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } },
    /Content encoding gzip is not supported/,
  ],
  [
    'broken JSON',
    { body: '{"vectors":', headers: { 'content-type': 'application/json' } },
    /Format error in JSON body: .* at line 1 column/,
  ],
];
for (const [title, options, want] of badBodies) {
  test(`${title} is 400`, async (t) => {
    const rest = await startRest(t);
    const answer = await rest.send('PUT', '/collections/c', options);
    assert.equal(answer.status, 400);
    assert.match((answer.json().status as { error: string }).error, want);
  });
}

test('advisory 17: a body of 34 MiB is 400, declared or chunked, and the next request works', async (t) => {
  const rest = await startRest(t);
  const body = Buffer.alloc(34 * 1024 * 1024, 32);
  const declared = await rest.send('PUT', '/collections/c', { body, headers: { 'content-type': 'application/json' } });
  assert.equal(declared.status, 400);
  assert.match(declared.text, /JSON payload \(35651584 bytes\) is larger than allowed \(limit: 33554432 bytes\)\./);
  const chunked = await rest.send('PUT', '/collections/c', {
    body,
    headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
  });
  assert.equal(chunked.status, 400);
  assert.match(chunked.text, /JSON payload has exceeded limit \(33554432 bytes\)\./);
  assert.equal((await rest.send('PUT', '/collections/c', { json: small })).status, 200);
});

test('a body may come with its headers, in pieces, or with the next request behind it', async (t) => {
  const rest = await startRest(t, { settings: { bodyLimitBytes: 100 } });
  const put = (name: string, length: string): string => `PUT /collections/${name} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${length}\r\n\r\n`;
  const json = JSON.stringify(small);
  const sized = (name: string): string => put(name, `content-length: ${json.length}`) + json;
  const chunked = (name: string, body: string): string => `${put(name, 'transfer-encoding: chunked')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const { socket, until } = await openRaw(rest.port);
  socket.write(sized('a') + sized('b'));
  await until(/(.*"result":true){2}/s);
  socket.write(sized('c').slice(0, -9));
  await until(/(.*"result":true){2}/s);
  assert.equal((await rest.send('GET', '/collections/c')).status, 404);
  socket.write(sized('c').slice(-9));
  await until(/(.*"result":true){3}/s);
  socket.write(chunked('d', json.padEnd(100)));
  await until(/(.*"result":true){4}/s);
  socket.write(chunked('e', json.padEnd(101)));
  await until(/JSON payload has exceeded limit \(100 bytes\)\./);
  socket.destroy();
});

test('a refused body is taken to its end, also of a client that asked to close, so that it can read the answer', async (t) => {
  const rest = await startRest(t);
  const { socket, until } = await openRaw(rest.port);
  const head = ['PUT /collections/c HTTP/1.1', 'host: localhost', 'content-type: application/json', 'connection: close'];
  socket.write([...head, `content-length: ${34 * 1024 * 1024}`, '', ''].join('\r\n'));
  assert.match(await until(/larger than allowed/), /^HTTP\/1\.1 400 /);
  for (let sent = 0; sent < 34; sent += 1) {
    await new Promise<void>((resolve, reject) => {
      socket.write(Buffer.alloc(1024 * 1024, 32), (error) => {
        if (error === null || error === undefined) resolve();
        else reject(error);
      });
    });
  }
  assert.equal(socket.errored, null);
  socket.destroy();
});

const badNames: readonly [string, string, RegExp][] = [
  ['an encoded slash', 'a%2Fb', /collection_name: collection name cannot contain "\/" char/],
  ['NUL', 'a%00b', /collection_name: collection name cannot contain "\\u0000" char/],
  ['dots', '..', /collection name cannot be ".."/],
  ['encoded dots', '%2e%2e', /collection name cannot be ".."/],
  ['encoded dots and slash', '%2e%2e%2fetc', /cannot contain "\/" char/],
  ['256 characters', 'x'.repeat(256), /must be from 1 to 255 characters/],
];
for (const [title, name, want] of badNames) {
  for (const [method, path] of [
    ['GET', `/collections/${name}`],
    ['PUT', `/collections/${name}`],
    ['POST', `/collections/${name}/snapshots`],
  ] as const) {
    test(`a name with ${title} is 422 on ${method} ${path.endsWith('snapshots') ? '…/snapshots' : '…'}`, async (t) => {
      const rest = await startRest(t);
      const answer = await rest.send(method, path, method === 'PUT' ? { json: small } : {});
      assert.equal(answer.status, 422);
      const { error } = answer.json().status as { error: string };
      assert.match(error, /^Validation error in path parameters: \[/);
      assert.match(error, want);
    });
  }
}

for (const char of ['<', '>', ':', '"', '\\', '|', '?', '*', '\u001f']) {
  test(`a new collection's name cannot hold ${JSON.stringify(char)}, an existing one may`, async (t) => {
    const rest = await startRest(t);
    const path = `/collections/${encodeURIComponent(`a${char}b`)}`;
    assert.equal((await rest.send('PUT', path, { json: small })).status, 422);
    assert.equal((await rest.send('GET', path)).status, 404);
  });
}

test('names are decoded once', async (t) => {
  const rest = await startRest(t);
  assert.equal((await rest.send('PUT', '/collections/a%2525b', { json: small })).status, 200);
  assert.deepEqual(rest.engine.listCollections(), ['a%25b']);
  assert.equal((await rest.send('PUT', `/collections/${encodeURIComponent('日本 語')}`, { json: small })).status, 200);
  assert.equal(rest.engine.listCollections()[1], '日本 語');
  assert.equal((await rest.send('PUT', `/collections/${encodeURIComponent('語'.repeat(255))}`, { json: small })).status, 200);
});

test('advisory 11: a path that is no UTF-8 is 400', async (t) => {
  const rest = await startRest(t);
  for (const path of ['/collections/%ff', '/collections/%zz', '/%c3%28']) {
    const { status } = await rest.send('GET', path);
    assert.ok(status === 400 || status === 404, `${path}: ${status}`);
  }
  assert.equal((await rest.send('GET', '/healthz')).status, 200);
});

test('an unknown path is 404 and a wrong method 405, both without a body', async (t) => {
  const rest = await startRest(t);
  for (const path of ['/nothing', '/snapshot', '/collections/c/shards/0', '/dashboard%2f..%2fcollections']) {
    const { status, text } = await rest.send('GET', path);
    assert.deepEqual([status, text], [404, ''], path);
  }
  const wrong = await rest.send('POST', '/collections');
  assert.deepEqual([wrong.status, wrong.text, wrong.headers.allow], [405, '', 'GET']);
  assert.equal((await rest.send('PATCH', '/collections/c/snapshots/x')).status, 405);
  assert.equal((await rest.send('HEAD', '/collections')).status, 405);
});

test('trailing and doubled slashes are no difference', async (t) => {
  const rest = await startRest(t);
  assert.equal((await rest.send('GET', '/collections/')).status, 200);
  assert.equal((await rest.send('GET', '//collections')).status, 200);
});

test('damage names the file, any other failure its message; each is logged once', async (t) => {
  const rest = await startRest(t);
  rest.engine.infoFailure = new CorruptionError({ file: 'a1b2.vec', offsetBytes: 40, problem: 'crc differs' });
  const damaged = await rest.send('GET', '/collections/c');
  assert.equal(damaged.status, 500);
  assert.equal((damaged.json().status as { error: string }).error, 'Service internal error: a1b2.vec at byte 40: crc differs');
  rest.engine.infoFailure = new TypeError('bug');
  const bug = await rest.send('GET', '/collections/c');
  assert.equal((bug.json().status as { error: string }).error, 'Service internal error: bug');
  rest.engine.infoFailure = Object.assign(new Error('write'), { code: 'ENOSPC' });
  const full = await rest.send('GET', '/collections/c');
  assert.deepEqual(
    [full.status, (full.json().status as { error: string }).error],
    [507, 'Insufficient storage: no space left on the device'],
  );
  assert.equal(rest.lines.filter(({ level }) => level === 'error').length, 3);
});

test('advisory 28: each request is one line without query, names or headers; probes are none', async (t) => {
  const rest = await startRest(t, { keys: { apiKey: 'secret-key' } });
  await rest.send('GET', '/collections/private?token=hidden', { headers: { 'api-key': 'secret-key' } });
  await rest.send('GET', '/healthz');
  await rest.send('GET', '/healthz');
  const requests = rest.lines.filter(({ message }) => message === 'request');
  assert.equal(requests.length, 1);
  const { ms, ...fields } = requests[0]?.fields ?? {};
  assert.equal(typeof ms, 'number');
  assert.deepEqual(fields, { method: 'GET', route: '/collections/:collection', status: 404 });
  assert.doesNotMatch(JSON.stringify(rest.lines), /secret-key|hidden|private/);
});

test('timeout: a bad value is 400 or 422, a change that takes longer is 408', async (t) => {
  const rest = await startRest(t);
  const zero = await rest.send('PUT', '/collections/c?timeout=0', { json: small });
  assert.deepEqual(
    [zero.status, (zero.json().status as { error: string }).error],
    [422, 'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]'],
  );
  const word = await rest.send('PUT', '/collections/c?timeout=soon', { json: small });
  assert.equal(word.status, 400);
  assert.match(word.text, /Deserialize error in query parameters: timeout/);
  let finish: () => void = () => undefined;
  rest.engine.beforeCreate = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const late = await rest.send('PUT', '/collections/c?timeout=1', { json: small });
  assert.equal(late.status, 408);
  assert.match(late.text, /Timeout: Operation timed out after 1 seconds/);
  finish();
});

test('timeout: a read that takes longer is aborted and answered with 408', async (t) => {
  const rest = await startRest(t);
  let reason: unknown;
  rest.engine.onCount = (signal) =>
    new Promise(() => {
      signal.addEventListener('abort', () => {
        reason = signal.reason;
      });
    });
  const { status, text } = await rest.send('POST', '/collections/c/points/count?timeout=1', { json: {} });
  assert.equal(status, 408);
  assert.match(text, /"Timeout: Operation timed out after 1 seconds"/);
  assert.equal((reason as Error).message, 'Operation timed out after 1 seconds');
});

test('a client that leaves aborts its read', async (t) => {
  const rest = await startRest(t);
  const { socket } = await openRaw(rest.port);
  const signals = new Promise<AbortSignal>((resolve) => {
    rest.engine.onCount = (signal) =>
      new Promise((_done, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
        resolve(signal);
      });
  });
  socket.write(
    'POST /collections/c/points/count HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
  );
  const signal = await signals;
  assert.equal(signal.aborted, false);
  socket.destroy();
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve);
  });
  while (!rest.lines.some(({ message }) => message === 'client left before the answer')) await new Promise(setImmediate);
  assert.equal(rest.lines.filter(({ level }) => level === 'error').length, 0);
});

test('without settings no CORS header is sent; named origins and * are', async (t) => {
  const closed = await startRest(t, { keys: { apiKey: 'k' } });
  const plain = await closed.send('GET', '/healthz', { headers: { origin: 'http://evil.example' } });
  assert.equal(plain.headers['access-control-allow-origin'], undefined);
  const preflight = {
    origin: 'http://app.example',
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'api-key',
  };
  assert.equal((await closed.send('OPTIONS', '/collections', { headers: preflight })).status, 401);

  const named = await startRest(t, { keys: { apiKey: 'k' }, settings: { corsOrigins: ['http://app.example'] } });
  const allowed = await named.send('OPTIONS', '/collections', { headers: preflight });
  assert.deepEqual(
    [
      allowed.status,
      allowed.headers['access-control-allow-origin'],
      allowed.headers['access-control-allow-headers'],
      allowed.headers.vary,
    ],
    [204, 'http://app.example', 'api-key', 'Origin'],
  );
  const other = await named.send('GET', '/healthz', { headers: { origin: 'http://evil.example' } });
  assert.equal(other.headers['access-control-allow-origin'], undefined);
  assert.equal(
    (await named.send('GET', '/collections', { headers: { origin: 'http://app.example' } })).headers[
      'access-control-allow-origin'
    ],
    'http://app.example',
  );

  const any = await startRest(t, { settings: { enableCors: true } });
  const answer = await any.send('GET', '/collections', { headers: { origin: 'http://evil.example' } });
  assert.deepEqual([answer.status, answer.headers['access-control-allow-origin']], [200, '*']);
});

test('open on loopback: foreign hosts and foreign origins are refused', async (t) => {
  const rest = await startRest(t);
  const rebound = await rest.send('GET', '/collections', { headers: { host: 'evil.example:6333' } });
  assert.equal(rebound.status, 403);
  assert.match(rebound.text, /^Forbidden: /);
  assert.equal(
    (await rest.send('POST', '/collections/aliases', { headers: { origin: 'http://evil.example' }, json: { actions: [] } }))
      .status,
    403,
  );
  assert.equal((await rest.send('GET', '/collections', { headers: { origin: rest.url } })).status, 200);
  for (const host of [`localhost:${rest.port}`, '[::1]', '127.0.0.1'])
    assert.equal((await rest.send('GET', '/collections', { headers: { host } })).status, 200, host);
  const guarded = await startRest(t, { keys: { apiKey: 'k' } });
  assert.equal((await guarded.send('GET', '/collections', { headers: { host: 'db.example', 'api-key': 'k' } })).status, 200);
});

test('advisory 17: bytes that are no HTTP get an answer and leave the server alive', async (t) => {
  const rest = await startRest(t);
  const { socket, until } = await openRaw(rest.port);
  socket.write('NONSENSE\r\n\r\n');
  assert.match(await until(/\r\n\r\n/), /^HTTP\/1\.1 400 /);
  assert.equal((await rest.send('GET', '/healthz')).status, 200);
});
