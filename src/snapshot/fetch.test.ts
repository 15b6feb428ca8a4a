// Recover from URLs: real HTTP servers, and every way not to reach or to trust one.
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { RequestError } from '../base/errors.ts';
import { isAllowedAddress } from './address-policy.ts';
import { openSnapshot, systemResolver, type Address } from './fetch.ts';
import { allBytes, openRig, type Rig } from './testing/rig.ts';

const options = { priority: 'snapshot' } as const;

interface TestServer extends AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  readonly requests: http.IncomingMessage[];
}

async function serve(handler: http.RequestListener): Promise<TestServer> {
  const requests: http.IncomingMessage[] = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`, port, requests,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
      server.closeAllConnections();
    }),
  };
}

async function archiveOf(rig: Rig): Promise<Buffer> {
  const made = await rig.snapshots.create('c');
  const download = await rig.snapshots.openDownload('c', made.name);
  const bytes = await allBytes(download);
  download.release();
  return bytes;
}

async function checkRefused(rig: Rig, location: string, wireText: RegExp, more: { apiKey?: string } = {}): Promise<void> {
  const before = [...rig.source.collections.keys()];
  await assert.rejects(rig.snapshots.recover('new', { ...options, ...more, location }), (error: unknown) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.match(error.wireText, wireText);
    return true;
  });
  assert.deepEqual([...rig.source.collections.keys()], before);
  assert.deepEqual(rig.leftovers(), []);
}

test('recover from a URL restores; the key goes in its header', async () => {
  await using rig = await openRig();
  const bytes = await archiveOf(rig);
  await using server = await serve((_, response) => response.end(bytes));
  await rig.snapshots.recover('new', { ...options, location: `${server.origin}/c/x.snapshot?token=1`, apiKey: 'secret' });
  assert.equal(rig.source.contentOf('new'), rig.source.contentOf('c'));
  const [request] = server.requests;
  assert.equal(request?.headers['api-key'], 'secret');
  assert.equal(request.headers['user-agent'], 'nearkeep/0.1.0');
  assert.equal(request.headers['accept-encoding'], 'identity');
  assert.equal(request.url, '/c/x.snapshot?token=1');
});

test('advisory 28: redirects are followed up to three, and the key stays with the first origin', async () => {
  await using rig = await openRig();
  const bytes = await archiveOf(rig);
  await using other = await serve((_, response) => response.end(bytes));
  await using server = await serve(({ url }, response) => {
    const step = Number(url?.slice(1));
    response.writeHead(307, { location: step < 2 ? `/${step + 1}` : `${other.origin}/x` }).end('moved');
  });
  await rig.snapshots.recover('new', { ...options, location: `${server.origin}/0`, apiKey: 'secret' });
  assert.equal(rig.source.contentOf('new'), rig.source.contentOf('c'));
  assert.deepEqual(server.requests.map(({ url }) => url), ['/0', '/1', '/2']);
  assert.deepEqual(server.requests.map(({ headers }) => headers['api-key']), ['secret', 'secret', 'secret']);
  assert.equal(other.requests[0]?.headers['api-key'], undefined);
  await checkRefused(rig, `${server.origin}/-1`, /^Wrong input: Failed to download tar from .*: more than 3 redirects$/);
});

test('advisory 28: a redirect away and back does not bring the key', async () => {
  await using rig = await openRig();
  await using other = await serve((_, response) => response.writeHead(302, { location: `${server.origin}/back` }).end());
  await using server = await serve(({ url }, response) => response.writeHead(url === '/back' ? 404 : 302, { location: `${other.origin}/x` }).end());
  await checkRefused(rig, `${server.origin}/x`, /status - 404$/, { apiKey: 'secret' });
  assert.deepEqual(server.requests.map(({ headers }) => headers['api-key']), ['secret', undefined]);
});

test('what is sent by POST follows 307 and 308; other redirects of it lead to a GET; 304 answers a POST alone', async () => {
  const bodies: string[] = [];
  await using server = await serve((request, response) => {
    const [, status = '', end = ''] = /^\/(\d+)\/(\w*)$/.exec(request.url ?? '') ?? [];
    request.setEncoding('utf8').on('data', (text: string) => bodies.push(`${request.method} ${text}`)).on('end', () => {
      if (status !== '') response.writeHead(Number(status), { location: `/${end}` }).end();
      else response.writeHead(request.url === '/same' ? 304 : 200).end('bytes');
    });
  });
  const open = async (path: string): Promise<string | undefined> => {
    const { signal } = new AbortController();
    const body = await openSnapshot(new URL(path, server.origin), { allowLoopback: true, allow: [], userAgent: 'test', idleMs: 60_000, resolve: systemResolver, post: '{"held":1}', signal });
    if (body === undefined) return undefined;
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    return Buffer.concat(pieces).toString();
  };
  for (const status of [307, 308]) {
    assert.deepEqual([await open(`/${status}/x`), await open(`/${status}/same`)], ['bytes', undefined]);
    assert.deepEqual(bodies.splice(0), Array.from({ length: 4 }, () => 'POST {"held":1}'));
  }
  for (const status of [301, 302, 303]) {
    assert.equal(await open(`/${status}/x`), 'bytes');
    await assert.rejects(open(`/${status}/same`), /status - 304$/);
    assert.deepEqual(bodies.splice(0), Array.from({ length: 2 }, () => 'POST {"held":1}'));
    assert.deepEqual(server.requests.slice(-3).map(({ method }) => method), ['GET', 'POST', 'GET']);
  }
});

test('answers that are no archive', async () => {
  await using rig = await openRig();
  await using server = await serve(({ url }, response) => {
    if (url === '/loop') response.writeHead(302, { location: '/loop' }).end();
    else if (url === '/nowhere') response.writeHead(302).end();
    else if (url === '/gzip') response.writeHead(200, { 'content-encoding': 'gzip' }).end('x');
    else if (url === '/ftp') response.writeHead(302, { location: 'ftp://example.com/x' }).end();
    else if (url === '/file') response.writeHead(302, { location: 'file:///etc/passwd' }).end();
    else if (url === '/html') response.end('<html>'.repeat(200));
    else response.writeHead(404).end('secret page');
  });
  await checkRefused(rig, `${server.origin}/absent?token=secret`, new RegExp(`^Wrong input: Failed to download tar from ${server.origin}/absent: status - 404$`));
  await checkRefused(rig, `${server.origin}/loop`, /more than 3 redirects$/);
  await checkRefused(rig, `${server.origin}/nowhere`, /redirect without a target$/);
  await checkRefused(rig, `${server.origin}/gzip`, /content encoding gzip is not supported$/);
  await checkRefused(rig, `${server.origin}/ftp`, /^Bad request: URL ftp:\/\/example.com\/x with scheme ftp is not supported$/);
  await checkRefused(rig, `${server.origin}/file`, /scheme file is not supported$/);
  await checkRefused(rig, `${server.origin}/html`, /^Bad request: Invalid snapshot: archive at byte 0: is not a nearkeep snapshot$/);
  await checkRefused(rig, server.origin.replace('http://', 'http://user:pw@'), /user name or password is not supported/);
});

test('a body that is cut midway is an error, whatever its framing', async () => {
  await using rig = await openRig();
  const bytes = await archiveOf(rig);
  await using server = await serve(({ url }, response) => {
    if (url === '/length') response.writeHead(200, { 'content-length': bytes.length });
    if (url === '/close') response.shouldKeepAlive = false;
    response.write(bytes.subarray(0, 4000), () => {
      if (url === '/close') response.socket?.end();
      else response.socket?.destroy();
    });
  });
  for (const path of ['length', 'chunked', 'close']) await checkRefused(rig, `${server.origin}/${path}`, /^Service internal error: Failed to download snapshot from .*: ECONNRESET$/);
});

test('a server that stops sending, or never answers, is given up', async () => {
  await using rig = await openRig({ urlIdleMs: 50 });
  const bytes = await archiveOf(rig);
  await using server = await serve(({ url }, response) => {
    if (url === '/body') response.write(bytes.subarray(0, 4000));
  });
  await checkRefused(rig, `${server.origin}/body`, /^Service internal error: Failed to download snapshot from .*: no data for 0.05 s$/);
  await checkRefused(rig, `${server.origin}/head`, /no data for 0.05 s$/);
});

test('a server that cannot be reached is a 500', async () => {
  await using rig = await openRig({ resolve: () => Promise.reject(Object.assign(new RangeError('no such host'), { code: 'ENOTFOUND' })) });
  const server = await serve(() => undefined);
  await server[Symbol.asyncDispose]();
  await checkRefused(rig, `${server.origin}/x`, /^Service internal error: Failed to download snapshot from .*: ECONNREFUSED$/);
  await checkRefused(rig, 'http://no.such.host/x', /: ENOTFOUND$/);
});

test('close ends a download that hangs', async () => {
  await using rig = await openRig();
  const server = await serve((_, response) => {
    response.write('x');
    setImmediate(() => void rig.snapshots.close());
  });
  await checkRefused(rig, `${server.origin}/x`, /shutting down/);
  await server[Symbol.asyncDispose]();
});

const forbiddenHosts = [
  '10.0.0.1', '192.168.1.1', '172.16.0.1', '172.31.255.255', '169.254.169.254', '100.64.0.1', '0.0.0.0', '0', '224.0.0.1', '255.255.255.255', '198.18.0.1', '192.0.2.1',
  '0xa9fea9fe', '2852039166', '0251.0376.0251.0376', '[::]', '[fe80::1]', '[fc00::1]', '[fd12:3456::1]', '[ff02::1]', '[::ffff:10.0.0.1]', '[::ffff:169.254.169.254]',
  '[64:ff9b::a9fe:a9fe]', '[2002:a00:1::]', '[::10.0.0.1]', '[2001:db8::1]',
];
for (const host of forbiddenHosts) {
  test(`advisory 06: ${host} is refused, also as the target of a redirect`, async () => {
    await using rig = await openRig();
    await checkRefused(rig, `http://${host}/x`, /^Forbidden: Snapshot URL host .* is at an address that snapshots are not recovered from/);
    await using server = await serve((_, response) => response.writeHead(302, { location: `http://${host}/x` }).end());
    await checkRefused(rig, `${server.origin}/x`, /^Forbidden: /);
  });
}

test('advisory 06: loopback is reached only while the server itself listens on loopback', async () => {
  await using rig = await openRig({ recovery: { urlRecovery: true, boundToLoopback: false } });
  const bytes = await archiveOf(rig);
  await using server = await serve((_, response) => response.end(bytes));
  for (const host of ['127.0.0.1', '127.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '0x7f000001']) await checkRefused(rig, `http://${host}:${server.port}/x`, /^Forbidden: /);
  assert.deepEqual(server.requests, [], 'the target saw no connection');
});

test('advisory 06: a name is resolved once, and the connection goes to the address that was checked', async () => {
  const asked: string[] = [];
  let answer: readonly Address[] = [];
  const resolve = (host: string): Promise<readonly Address[]> => {
    asked.push(host);
    return Promise.resolve(answer);
  };
  await using rig = await openRig({ resolve });
  const bytes = await archiveOf(rig);
  await using server = await serve((_, response) => response.end(bytes));
  answer = [{ address: '127.0.0.1', family: 4 }];
  await rig.snapshots.recover('new', { ...options, location: `http://snapshots.example:${server.port}/x` });
  assert.deepEqual(asked, ['snapshots.example']);
  assert.equal(server.requests[0]?.headers.host, `snapshots.example:${server.port}`);
  rig.source.collections.delete('new');
  answer = [{ address: '127.0.0.1', family: 4 }, { address: '10.0.0.7', family: 4 }];
  await checkRefused(rig, `http://mixed.example:${server.port}/x`, /^Forbidden: /);
  answer = [];
  await checkRefused(rig, `http://nothing.example:${server.port}/x`, /^Forbidden: /);
  assert.equal(server.requests.length, 1);
});

test('advisory 06: recovery from URLs that is switched off is a 403 before any network traffic', async () => {
  const asked: string[] = [];
  const resolve = (host: string): Promise<readonly Address[]> => {
    asked.push(host);
    return Promise.resolve([]);
  };
  await using off = await openRig({ resolve, recovery: { urlRecovery: false, boundToLoopback: true } });
  await checkRefused(off, 'http://example.com/x', /^Forbidden: Snapshot recovery from remote URLs is disabled in the configuration$/);
  await using unset = await openRig({ resolve, recovery: { urlRecovery: undefined, boundToLoopback: false } });
  await checkRefused(unset, 'http://example.com/x', /^Forbidden: Snapshot recovery from remote URLs is disabled in the configuration; /);
  assert.deepEqual(asked, []);
});

test('public addresses are allowed, in both families', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '2606:4700:4700::1111', '2a00:1450::1', '::ffff:8.8.8.8']) {
    assert.ok(isAllowedAddress(address, { allowLoopback: false }), address);
  }
  assert.ok(!isAllowedAddress('no address', { allowLoopback: true }));
});
