import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { multipart, openRaw, startRest, type Answer, type RestAt } from './testing/rest-harness.ts';
import { parseRange } from './snapshot-download.ts';

const archive = Buffer.from('0123456789');
const errorOf = (answer: Answer): string => (answer.json().status as { error: string }).error;

async function withCollection(t: TestContext): Promise<RestAt> {
  const rest = await startRest(t);
  await rest.send('PUT', '/collections/c', { json: { vectors: { size: 4, distance: 'Dot' } } });
  rest.engine.snapshots.archives.set('c/a.snapshot', archive);
  return rest;
}

test('create, list and delete answer descriptions', async (t) => {
  const rest = await withCollection(t);
  const created = await rest.send('POST', '/collections/c/snapshots');
  const want = {
    name: 'c-1-2026-01-01-00-00-00.snapshot',
    creation_time: '2026-01-01T00:00:00',
    size: 10,
    checksum: 'a'.repeat(64),
  };
  assert.deepEqual(created.json().result, want);
  const listed = (await rest.send('GET', '/collections/c/snapshots')).json().result as readonly { readonly name: string }[];
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['a.snapshot', want.name],
  );
  assert.equal((await rest.send('DELETE', '/collections/c/snapshots/a.snapshot')).json().result, true);
  assert.equal((await rest.send('DELETE', '/collections/c/snapshots/a.snapshot')).status, 404);
});

test('an alias reaches the snapshots of its collection', async (t) => {
  const rest = await withCollection(t);
  rest.engine.aliasNames.set('nick', 'c');
  assert.equal((await rest.send('GET', '/collections/nick/snapshots/a.snapshot')).text, '0123456789');
});

test('wait=false answers 202 and hands the work over; a bad wait is 400', async (t) => {
  const rest = await withCollection(t);
  const accepted = await rest.send('POST', '/collections/c/snapshots?wait=false');
  assert.equal(accepted.status, 202);
  assert.match(accepted.text, /^\{"status":"accepted","time":[\d.]+\}$/);
  assert.equal(accepted.headers['x-nearkeep-job'], 'job-1');
  assert.equal((await rest.send('DELETE', '/collections/c/snapshots/a.snapshot?wait=false')).status, 202);
  assert.equal(
    (await rest.send('PUT', '/collections/c/snapshots/recover?wait=false', { json: { location: 'http://h/x' } })).status,
    202,
  );
  assert.deepEqual(rest.engine.snapshots.detached, ['removal of snapshot a.snapshot']);
  assert.deepEqual(rest.engine.snapshots.started, ['create c', 'recover c']);
  const bad = await rest.send('POST', '/collections/c/snapshots?wait=maybe');
  assert.deepEqual(
    [bad.status, errorOf(bad)],
    [400, 'Deserialize error in query parameters: wait: provided string was not `true` or `false`'],
  );
});

test('routes of an absent collection are 404', async (t) => {
  const rest = await startRest(t);
  for (const [method, path] of [
    ['GET', ''],
    ['POST', ''],
    ['GET', '/a.snapshot'],
    ['DELETE', '/a.snapshot'],
    ['POST', '?wait=false'],
  ] as const) {
    const { status, text } = await rest.send(method, `/collections/none/snapshots${path}`);
    assert.equal(status, 404);
    assert.match(text, /Not found: Collection `none` doesn't exist!/);
  }
});

test('a download is the archive with its headers', async (t) => {
  const rest = await withCollection(t);
  const { status, text, headers } = await rest.send('GET', '/collections/c/snapshots/a.snapshot', {
    headers: { 'accept-encoding': 'gzip' },
  });
  assert.deepEqual([status, text], [200, '0123456789']);
  assert.deepEqual(
    [
      headers['content-type'],
      headers['content-length'],
      headers['content-disposition'],
      headers['accept-ranges'],
      headers.etag,
      headers['last-modified'],
      headers['content-encoding'],
    ],
    [
      'application/octet-stream',
      '10',
      'attachment; filename="a.snapshot"',
      'bytes',
      '"tag-1"',
      'Thu, 01 Jan 2026 00:00:00 GMT',
      undefined,
    ],
  );
  assert.equal(rest.engine.snapshots.released, 1);
});

test('HEAD answers the same headers without the bytes, and releases', async (t) => {
  const rest = await withCollection(t);
  const { status, text, headers } = await rest.send('HEAD', '/collections/c/snapshots/a.snapshot');
  assert.deepEqual(
    [status, text, headers['content-length'], headers.etag, headers['content-type']],
    [200, '', '10', '"tag-1"', 'application/octet-stream'],
  );
  assert.equal(rest.engine.snapshots.released, 1);
});

const ranges: readonly [string, Record<string, string>, number, string, string | undefined][] = [
  ['bytes=2-5', {}, 206, '2345', 'bytes 2-5/10'],
  ['bytes=7-', {}, 206, '789', 'bytes 7-9/10'],
  ['bytes=-3', {}, 206, '789', 'bytes 7-9/10'],
  ['bytes=5-99', {}, 206, '56789', 'bytes 5-9/10'],
  ['bytes=10-', {}, 416, '', 'bytes */10'],
  ['bytes=-0', {}, 416, '', 'bytes */10'],
  ['bytes=5-2', {}, 200, '0123456789', undefined],
  ['bytes=0-1,4-5', {}, 200, '0123456789', undefined],
  ['lines=1-2', {}, 200, '0123456789', undefined],
  ['bytes=2-5', { 'if-range': '"tag-1"' }, 206, '2345', 'bytes 2-5/10'],
  ['bytes=2-5', { 'if-range': '"tag-0"' }, 200, '0123456789', undefined],
  ['bytes=2-5', { 'if-range': 'Thu, 01 Jan 2026 00:00:00 GMT' }, 206, '2345', 'bytes 2-5/10'],
  ['bytes=2-5', { 'if-range': 'Wed, 31 Dec 2025 00:00:00 GMT' }, 200, '0123456789', undefined],
];
for (const [range, more, status, text, contentRange] of ranges) {
  test(`range ${range} ${JSON.stringify(more)} is ${status}`, async (t) => {
    const rest = await withCollection(t);
    const answer = await rest.send('GET', '/collections/c/snapshots/a.snapshot', { headers: { range, ...more } });
    assert.deepEqual([answer.status, answer.text, answer.headers['content-range']], [status, text, contentRange]);
    assert.equal(rest.engine.snapshots.released, 1);
  });
}

test('an unchanged archive is 304', async (t) => {
  const rest = await withCollection(t);
  for (const headers of [
    { 'if-none-match': '"tag-1"' },
    { 'if-none-match': 'W/"x", "tag-1"' },
    { 'if-modified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' },
  ]) {
    assert.equal((await rest.send('GET', '/collections/c/snapshots/a.snapshot', { headers })).status, 304);
  }
  assert.equal(
    (await rest.send('GET', '/collections/c/snapshots/a.snapshot', { headers: { 'if-none-match': '"other"' } })).status,
    200,
  );
});

test('parseRange of an empty archive has no byte to give', () => {
  assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable');
  assert.equal(parseRange('bytes=-5', 0), 'unsatisfiable');
  assert.equal(parseRange(undefined, 10), undefined);
});

test('advisory 02/07/10: hostile snapshot names are 404 as plain text on GET, as JSON on DELETE', async (t) => {
  const rest = await withCollection(t);
  for (const name of [
    '..%2F..%2Fetc%2Fpasswd',
    '%2e%2e%2fa.snapshot',
    '..',
    '%2e',
    'a%00.snapshot',
    'sub%2fa.snapshot',
    '..%5ca.snapshot',
  ]) {
    const got = await rest.send('GET', `/collections/c/snapshots/${name}`);
    assert.equal(got.status, 404, name);
    assert.match(got.text, /^Not found: Snapshot .* not found$/, name);
    const deleted = await rest.send('DELETE', `/collections/c/snapshots/${name}`);
    assert.equal(deleted.status, 404, name);
    assert.match(errorOf(deleted), /^Not found: Snapshot /, name);
  }
  assert.equal(rest.engine.snapshots.archives.size, 1);
});

test('advisory 01: an upload passes the file on, whatever the client calls it', async (t) => {
  const rest = await withCollection(t);
  const content = Buffer.alloc(3_000_000, 7);
  for (const filename of ['x.snapshot', '../../x', '/etc/passwd', '..\\..\\x', '-rf $(x)', 'n'.repeat(4096)]) {
    const { body, headers } = multipart([
      { name: 'note', content: 'dropped' },
      { name: 'other', filename: 'o', content: 'dropped' },
      { name: 'snapshot', filename, content },
    ]);
    const answer = await rest.send('POST', '/collections/fresh/snapshots/upload', { body, headers });
    assert.deepEqual([answer.status, answer.json().result], [200, true], filename.slice(0, 20));
  }
  assert.equal(rest.engine.snapshots.uploads.length, 6);
  for (const upload of rest.engine.snapshots.uploads) {
    assert.equal(upload.collection, 'fresh');
    assert.deepEqual(upload.bytes, content);
    assert.deepEqual(upload.options, { priority: 'snapshot' });
  }
});

test('advisory 01: an upload whose file name holds a NUL is 400 and restores nothing', async (t) => {
  const rest = await withCollection(t);
  const answer = await rest.send('POST', '/collections/fresh/snapshots/upload', multipart([{ name: 'snapshot', filename: 'a\0b', content: 'x' }]));
  assert.equal(answer.status, 400, answer.text);
  assert.equal(rest.engine.snapshots.uploads.length, 0);
  assert.equal((await rest.send('GET', '/healthz')).status, 200);
});

test('an upload takes priority and checksum, and warns where replica keeps nothing', async (t) => {
  const rest = await withCollection(t);
  const { body, headers } = multipart([{ name: 'snapshot', filename: 'f', content: 'x' }]);
  const answer = await rest.send('POST', `/collections/c/snapshots/upload?priority=replica&checksum=${'AB'.repeat(32)}`, {
    body,
    headers,
  });
  assert.equal(answer.status, 200);
  assert.deepEqual(rest.engine.snapshots.uploads[0]?.options, { priority: 'replica', checksum: 'ab'.repeat(32) });
  assert.match(String(answer.headers['x-nearkeep-warning']), /replaces 3 points/);
});

const badUploads: readonly [string, string, Parameters<typeof multipart>[0] | undefined, number, RegExp][] = [
  ['an unknown priority', '?priority=all', [], 400, /Deserialize error in query parameters: priority: unknown variant `all`/],
  [
    'a short checksum',
    '?checksum=abc',
    [],
    422,
    /Validation error in query parameters: \[checksum: Validation error: invalid_sha256_hash \[\{"value": String\("abc"\)\}\]\]/,
  ],
  ['a parameter of another version', '?keys=a', [], 400, /the parameter keys is not supported here by this version/],
  ['no file', '', [{ name: 'note', content: 'x' }], 400, /Field with name snapshot is required/],
  ['no part at all', '', [], 400, /Field with name snapshot is required|Unexpected end of form/],
  ['no body', '', undefined, 400, /Field with name snapshot is required/],
  ['a text field', '', [{ name: 'snapshot', content: 'x' }], 400, /Field snapshot must be a file/],
  [
    'two files',
    '',
    [
      { name: 'snapshot', filename: 'a', content: 'x' },
      { name: 'snapshot', filename: 'b', content: 'y' },
    ],
    400,
    /Duplicate field found: snapshot/,
  ],
];
for (const [title, query, parts, status, text] of badUploads) {
  test(`an upload with ${title} is ${status} and restores nothing`, async (t) => {
    const rest = await withCollection(t);
    const answer = await rest.send(
      'POST',
      `/collections/c/snapshots/upload${query}`,
      parts === undefined ? {} : multipart(parts),
    );
    assert.equal(answer.status, status);
    assert.match(errorOf(answer), text);
    assert.equal(rest.engine.snapshots.uploads.length, 0);
    assert.equal((await rest.send('GET', '/healthz')).status, 200);
  });
}

test('a body that is no form, has no boundary or is cut is 400', async (t) => {
  const rest = await withCollection(t);
  const { body, headers } = multipart([{ name: 'snapshot', filename: 'f', content: 'x'.repeat(1000) }]);
  const path = '/collections/c/snapshots/upload';
  const noForm = await rest.send('POST', path, { body, headers: { 'content-type': 'application/octet-stream' } });
  assert.deepEqual(
    [noForm.status, errorOf(noForm)],
    [400, 'Content type error: the body must be multipart/form-data with a file field snapshot'],
  );
  const noBoundary = await rest.send('POST', path, { body, headers: { 'content-type': 'multipart/form-data' } });
  assert.deepEqual([noBoundary.status, errorOf(noBoundary)], [400, 'Multipart boundary is not found']);
  const cut = await rest.send('POST', path, { body: body.subarray(0, 900), headers });
  assert.deepEqual([cut.status, errorOf(cut)], [400, 'Unexpected end of form']);
  assert.equal(rest.engine.snapshots.uploads.length, 0);
});

test('advisory 03: a bad collection name is refused before the upload body is read', async (t) => {
  const rest = await startRest(t);
  const { body, headers } = multipart([{ name: 'snapshot', filename: 'f', content: Buffer.alloc(4_000_000) }]);
  for (const name of ['%2e%2e%2f', '..', 'a%00', 'a%3ab', '%252e%252e%252f%2f']) {
    assert.equal((await rest.send('POST', `/collections/${name}/snapshots/upload`, { body, headers })).status, 422, name);
  }
  assert.equal(rest.engine.snapshots.takenBytes, 0);
});

test('wait=false: the body is received whole, then 202; the restore goes on by itself', async (t) => {
  const rest = await withCollection(t);
  let restore: () => void = () => undefined;
  rest.engine.snapshots.beforeRestore = () =>
    new Promise((resolve) => {
      restore = resolve;
    });
  const content = Buffer.alloc(2_000_000, 1);
  const answer = await rest.send(
    'POST',
    '/collections/c/snapshots/upload?wait=false',
    multipart([{ name: 'snapshot', filename: 'f', content }]),
  );
  assert.equal(answer.status, 202);
  assert.equal(rest.engine.snapshots.takenBytes, content.byteLength);
  assert.equal(answer.headers['x-nearkeep-job'], 'job-1');
  restore();
  await new Promise(setImmediate);
  assert.equal(rest.engine.snapshots.uploads.length, 1);
  const bad = await rest.send('POST', '/collections/c/snapshots/upload?wait=false', multipart([{ name: 'note', content: 'x' }]));
  assert.equal(bad.status, 400);
});

const uploadHead = (length: number): string =>
  [
    'POST /collections/c/snapshots/upload HTTP/1.1',
    'host: localhost',
    'content-type: multipart/form-data; boundary=test-boundary-7MA4YWxk',
    `content-length: ${length}`,
    '',
    '',
  ].join('\r\n');

test('a client that leaves in the middle of an upload ends it', async (t) => {
  const rest = await withCollection(t);
  const { body } = multipart([{ name: 'snapshot', filename: 'f', content: Buffer.alloc(1_000_000) }]);
  const { socket } = await openRaw(rest.port);
  const firstPiece = new Promise<void>((resolve) => {
    rest.engine.snapshots.onPiece = () => {
      resolve();
    };
  });
  socket.write(uploadHead(body.byteLength));
  socket.write(body.subarray(0, 500_000));
  await firstPiece;
  socket.destroy();
  while (rest.engine.snapshots.failures.length === 0) await new Promise(setImmediate);
  assert.equal(rest.engine.snapshots.uploads.length, 0);
  assert.equal((await rest.send('GET', '/healthz')).status, 200);
});

test('a client that leaves after the whole upload does not undo it', async (t) => {
  const rest = await withCollection(t);
  let restore: () => void = () => undefined;
  const waiting = new Promise<void>((reached) => {
    rest.engine.snapshots.beforeRestore = () =>
      new Promise((resolve) => {
        restore = resolve;
        reached();
      });
  });
  const { body } = multipart([{ name: 'snapshot', filename: 'f', content: 'whole' }]);
  const { socket } = await openRaw(rest.port);
  socket.write(uploadHead(body.byteLength));
  socket.write(body);
  await waiting;
  socket.destroy();
  await once(socket, 'close');
  await rest.send('GET', '/healthz');
  restore();
  await new Promise(setImmediate);
  assert.equal(rest.engine.snapshots.uploads[0]?.bytes.toString(), 'whole');
});

test('an upload that fails early still gets its answer while the client sends', async (t) => {
  const rest = await withCollection(t);
  rest.engine.snapshots.onPiece = () => {
    throw Object.assign(new Error('full'), { code: 'ENOSPC' });
  };
  const answer = await rest.send(
    'POST',
    '/collections/c/snapshots/upload',
    multipart([{ name: 'snapshot', filename: 'f', content: Buffer.alloc(8_000_000) }]),
  );
  assert.deepEqual([answer.status, errorOf(answer)], [507, 'Insufficient storage: no space left on the device']);
});

test('a slow reader slows the sender down: an upload is never gathered', async (t) => {
  const rest = await withCollection(t);
  let goOn: () => void = () => undefined;
  let first = true;
  const snapshots = rest.engine.snapshots;
  const original = snapshots.upload.bind(snapshots);
  const blocked = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  snapshots.upload = async (collection, body, options, signal) => {
    async function* slow(): AsyncGenerator<Uint8Array> {
      for await (const piece of body) {
        yield piece;
        if (first) {
          first = false;
          await blocked;
        }
      }
    }
    return original(collection, slow(), options, signal);
  };
  const { body } = multipart([{ name: 'snapshot', filename: 'f', content: Buffer.alloc(64_000_000) }]);
  const { socket, until } = await openRaw(rest.port);
  socket.write(uploadHead(body.byteLength));
  socket.write(body);
  // The sender's buffer stays full until the reader goes on: the socket does not drain.
  let drained = false;
  socket.once('drain', () => {
    drained = true;
  });
  for (let round = 0; round < 50; round += 1) await rest.send('GET', '/healthz');
  assert.equal(drained, false);
  goOn();
  assert.match(await until(/"ok"/), /200 OK/);
  assert.equal(snapshots.uploads[0]?.bytes.byteLength, 64_000_000);
});

const recovers: readonly [string, unknown, number, RegExp][] = [
  ['no location', {}, 400, /Format error in JSON body: missing field `location`/],
  ['a number as location', { location: 5 }, 400, /location: invalid type: integer `5`, expected a string/],
  ['a location that is no URL', { location: 'x.snapshot' }, 400, /location: relative URL without a base/],
  [
    'an unknown priority',
    { location: 'http://h/x', priority: 'most' },
    400,
    /priority: unknown variant `most`, expected one of `no_sync`, `snapshot`, `replica`/,
  ],
  [
    'a bad checksum',
    { location: 'http://h/x', checksum: 'zz' },
    422,
    /Validation error in JSON body: \[checksum: Validation error: invalid_sha256_hash/,
  ],
];
for (const [title, json, status, text] of recovers) {
  test(`a recover with ${title} is ${status}`, async (t) => {
    const rest = await withCollection(t);
    const answer = await rest.send('PUT', '/collections/c/snapshots/recover', { json });
    assert.equal(answer.status, status);
    assert.match(errorOf(answer), text);
    assert.equal(rest.engine.snapshots.recoveries.length, 0);
  });
}

test('a recover passes location, priority, checksum and key on', async (t) => {
  const rest = await withCollection(t);
  const json = { location: 'http://h/x', priority: 'no_sync', checksum: 'AB'.repeat(32), api_key: 'other', unknown: 1 };
  assert.equal((await rest.send('PUT', '/collections/c/snapshots/recover', { json })).json().result, true);
  await rest.send('PUT', '/collections/c/snapshots/recover', {
    json: { location: 'file:///a', priority: null, checksum: null, api_key: null },
  });
  assert.deepEqual(rest.engine.snapshots.recoveries, [
    { collection: 'c', request: { location: 'http://h/x', priority: 'no_sync', checksum: 'ab'.repeat(32), apiKey: 'other' } },
    { collection: 'c', request: { location: 'file:///a', priority: 'snapshot' } },
  ]);
});

test('a snapshot may be named with its node: one node by itself is the only one there is', async (t) => {
  const rest = await withCollection(t);
  const own = `peer=${rest.engine.peerId}`;
  const wanted = [{ name: 'a.snapshot', creation_time: '2026-01-01T00:00:00', size: 10, checksum: 'a'.repeat(64) }];
  const all = '/collections/c/snapshots';
  assert.deepEqual((await rest.send('GET', `${all}?${own}`)).json().result, wanted);
  assert.deepEqual((await rest.send('GET', `${all}?all=true`)).json().result, wanted.map((each) => ({ ...each, peer_id: rest.engine.peerId })));
  assert.equal((await rest.send('GET', `${all}/a.snapshot?${own}`)).text, '0123456789');
  const refusals = [
    ['GET', `${all}?peer=5`, 404, `Not found: Peer 5 is not this server, which is peer ${rest.engine.peerId} and no part of a cluster`],
    ['DELETE', `${all}/a.snapshot?peer=5`, 404, `Not found: Peer 5 is not this server, which is peer ${rest.engine.peerId} and no part of a cluster`],
    ['GET', `${all}?peer=x`, 400, 'Deserialize error in query parameters: peer: invalid digit found in string'],
    ['GET', `${all}?peer=9007199254740992`, 400, 'Deserialize error in query parameters: peer: invalid digit found in string'],
    ['GET', `${all}?all=yes`, 400, 'Deserialize error in query parameters: all: provided string was not `true` or `false`'],
    ['GET', `${all}?all=true&${own}`, 400, 'Bad request: of the parameters peer and all only one can be given'],
    ['POST', `${all}?${own}`, 400, 'Bad request: the parameter peer is not supported here by this version'],
    ['POST', `${all}?all=true`, 400, 'Bad request: the parameter all is not supported here by this version'],
  ] as const;
  for (const [method, path, status, error] of refusals) {
    const answer = await rest.send(method, path);
    assert.deepEqual([answer.status, errorOf(answer)], [status, error], `${method} ${path}`);
  }
  assert.equal((await rest.send('DELETE', `${all}/a.snapshot?${own}`)).json().result, true);
});
