// The routes of shards, of the whole storage and of undo, over real engines.
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import type { PointId } from '../../base/ids.ts';
import { silentLogger } from '../../base/logger.ts';
import { Engine } from '../../engine/engine.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { multipart, startRest, type Answer, type RestAt } from './testing/rest-harness.ts';

const errorOf = (answer: Answer): string => (answer.json().status as { error: string }).error;
const shard = '/collections/c/shards/0';

interface Served {
  readonly engine: Engine;
  readonly rest: RestAt;
  readonly write: (from: number, count: number) => Promise<void>;
  readonly points: () => number;
}

async function serve(t: TestContext, urlRecovery?: boolean): Promise<Served> {
  const folder = await temporaryFolder();
  const engine = await Engine.open({
    dataDirectory: path.join(folder.path, 'storage'),
    snapshotsDirectory: path.join(folder.path, 'snapshots'),
    logger: silentLogger,
    recovery: { urlRecovery, boundToLoopback: true },
  });
  const rest = await startRest(t, { engine });
  t.after(async () => {
    await engine.close();
    await folder[Symbol.asyncDispose]();
  });
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  return {
    engine,
    rest,
    write: async (from, count) => {
      const points = Array.from({ length: count }, (_, index) => ({
        id: (from + index) as PointId,
        vectors: new Map([['', Float32Array.of(from + index, 1, 2, 3)]]),
        payload: '{}',
      }));
      await engine.write('c', { kind: 'upsert', points }, { wait: true });
    },
    points: () => engine.collectionInfo('c').points,
  };
}

/** The whole answer as bytes. */
function bytesOf(rest: RestAt, url: string, options: http.RequestOptions & { readonly body?: string } = {}): Promise<{ readonly status: number; readonly headers: http.IncomingHttpHeaders; readonly bytes: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = http.request(rest.url + url, { agent: false, ...options }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(pieces) });
      });
    });
    request.on('error', reject);
    request.end(options.body);
  });
}

function form(bytes: Buffer): ReturnType<typeof multipart> {
  return multipart([{ name: 'snapshot', filename: 'x', content: bytes }]);
}

test('a shard snapshot: create, list, download, recover by name, upload, delete', async (t) => {
  const { rest, write, points } = await serve(t);
  await write(1, 10);
  const made = (await rest.send('POST', `${shard}/snapshots`)).json().result as { readonly name: string; readonly size: number; readonly checksum: string };
  assert.match(made.name, /^c-shard-0-[\d-]{19}\.snapshot$/);
  assert.deepEqual((await rest.send('GET', `${shard}/snapshots`)).json().result, [made]);
  const { bytes, headers } = await bytesOf(rest, `${shard}/snapshots/${made.name}`);
  assert.deepEqual([bytes.length, headers['content-disposition']], [made.size, `attachment; filename="${made.name}"`]);
  await write(100, 5);
  const wrong = await rest.send('PUT', `${shard}/snapshots/recover`, { json: { location: made.name, checksum: '0'.repeat(64) } });
  assert.match(errorOf(wrong), /^Wrong input: Snapshot checksum mismatch: expected 0+, got /);
  assert.equal(points(), 15);
  const byName = await rest.send('PUT', `${shard}/snapshots/recover`, { json: { location: made.name, priority: 'no_sync', checksum: made.checksum } });
  assert.deepEqual([byName.status, byName.json().result, points()], [200, true, 10]);
  await write(100, 5);
  const uploaded = await rest.send('POST', `${shard}/snapshots/upload?checksum=${made.checksum.toUpperCase()}&priority=replica`, form(bytes));
  assert.match(uploaded.text, /^\{"result":null,"status":"ok","time":[\d.]+\}$/);
  assert.match(String(uploaded.headers['x-nearkeep-warning']), /priority=replica replaces 15 points/);
  assert.equal(points(), 10);
  const undone = await rest.send('POST', '/collections/c/snapshots/undo');
  assert.deepEqual([undone.json().result, points()], [true, 15]);
  assert.equal((await rest.send('DELETE', `${shard}/snapshots/${made.name}`)).json().result, true);
  const gone = await rest.send('GET', `${shard}/snapshots/${made.name}`);
  assert.deepEqual([gone.status, gone.text, String(gone.headers['content-type']).split(';')[0]], [404, 'File not found: No such file or directory (os error 2)', 'text/plain']);
  const deleted = await rest.send('DELETE', `${shard}/snapshots/${made.name}`);
  assert.deepEqual([deleted.status, errorOf(deleted)], [404, `Not found: Snapshot ${made.name} not found`]);
});

const refusals: readonly [string, 'GET' | 'POST' | 'PUT' | 'DELETE', string, unknown, number, RegExp][] = [
  ['a shard that is not there', 'GET', '/collections/c/shards/7/snapshots', undefined, 404, /^Not found: shard 7 not found$/],
  ['creating one there', 'POST', '/collections/c/shards/7/snapshots', undefined, 404, /^Not found: shard 7 not found$/],
  ['recovering one there', 'PUT', '/collections/c/shards/7/snapshots/recover', { location: 'x.snapshot' }, 404, /^Not found: shard 7 not found$/],
  ['a collection that is not there', 'GET', '/collections/no/shards/0/snapshots', undefined, 404, /^Not found: Collection `no` doesn't exist!$/],
  ['a shard id that is none', 'GET', '/collections/c/shards/x/snapshots', undefined, 400, /^Deserialize error in path parameters: can not parse "x" to a u32$/],
  ['a shard id above 32 bits', 'GET', '/collections/c/shards/4294967296/snapshots', undefined, 400, /to a u32$/],
  ['a file URL', 'PUT', `${shard}/snapshots/recover`, { location: 'file:///etc/passwd' }, 400, /^Wrong input: Invalid snapshot URL .*: URLs with file scheme are not supported$/],
  ['an unknown name', 'PUT', `${shard}/snapshots/recover`, { location: 'no.snapshot' }, 404, /^Not found: Snapshot no\.snapshot not found$/],
  ['a name that leads out', 'PUT', `${shard}/snapshots/recover`, { location: '../../x.snapshot' }, 404, /^Not found: Snapshot .* not found$/],
  ['reshard of a shard', 'PUT', `${shard}/snapshots/recover?reshard=true`, { location: 'x.snapshot' }, 400, /the parameter reshard is not supported here/],
  ['a peer that is no URL', 'POST', `${shard}/snapshot/partial/recover_from`, { peer_url: 'x' }, 400, /peer_url: relative URL without a base/],
  ['a storage snapshot that is not there', 'DELETE', '/snapshots/c', undefined, 404, /^Not found: Snapshot c not found$/],
  ['undo without a restore', 'POST', '/collections/c/snapshots/undo', undefined, 404, /^Not found: Collection `c` has no replaced state to bring back$/],
];
for (const [title, method, url, json, status, text] of refusals) {
  test(`refused: ${title}`, async (t) => {
    const { rest } = await serve(t);
    const answer = await rest.send(method, url, json === undefined ? {} : { json });
    assert.deepEqual([answer.status], [status], answer.text);
    assert.match(errorOf(answer), text);
  });
}

test('the streamed snapshot has no length, restores, and leaves nothing; its errors are plain text', async (t) => {
  const { rest, engine, write, points } = await serve(t);
  await write(1, 10);
  const { status, headers, bytes } = await bytesOf(rest, `${shard}/snapshot`);
  assert.deepEqual([status, headers['content-length'], headers['transfer-encoding'], headers['content-type']], [200, undefined, 'chunked', 'application/octet-stream']);
  assert.match(String(headers['content-disposition']), /^attachment; filename="c-shard-0-[\d-]{19}\.snapshot"$/);
  await write(50, 5);
  assert.equal((await rest.send('POST', `${shard}/snapshots/upload`, form(bytes))).status, 200);
  assert.equal(points(), 10);
  const absent = await rest.send('GET', '/collections/c/shards/3/snapshot');
  assert.deepEqual([absent.status, absent.text], [404, 'Not found: shard 3 not found']);
  assert.deepEqual(await engine.snapshots.list({ kind: 'shard', collection: 'c', shardId: 0 }), []);
});

test('partial snapshots: manifest, create, 304, recover, recover_from', async (t) => {
  const [source, copy] = [await serve(t), await serve(t)];
  await source.write(1, 30);
  const from = (): Promise<Answer> => copy.rest.send('POST', `${shard}/snapshot/partial/recover_from`, { json: { peer_url: source.rest.url } });
  assert.equal((await from()).json().result, true);
  assert.equal(copy.points(), 30);
  assert.equal((await from()).json().result, false, 'nothing has changed');
  await source.write(31, 3);
  const held = await copy.rest.send('GET', `${shard}/snapshot/partial/manifest`);
  const manifest = held.json().result as Record<string, { readonly segment_id: string; readonly segment_version: number; readonly file_versions: Record<string, number> }>;
  const [[uuid, segment]] = Object.entries(manifest) as [[string, (typeof manifest)[string]]];
  assert.equal(segment.segment_id, uuid);
  assert.ok(Object.keys(segment.file_versions).every((name) => /^[0-9a-f]{64}\.[a-z]+$/.test(name)));
  const create = (body: unknown): ReturnType<typeof bytesOf> =>
    bytesOf(source.rest, `${shard}/snapshot/partial/create`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const changes = await create(manifest);
  assert.equal(changes.status, 200);
  const wrong = await copy.rest.send('POST', `${shard}/snapshot/partial/recover?checksum=${'0'.repeat(64)}`, form(changes.bytes));
  assert.match(errorOf(wrong), /^Checksum mismatch: expected 0+, actual /);
  assert.equal(copy.points(), 30);
  const recovered = await copy.rest.send('POST', `${shard}/snapshot/partial/recover?priority=no_sync`, form(changes.bytes));
  assert.match(recovered.text, /^\{"result":null,"status":"ok",/);
  assert.equal(copy.points(), 33);
  const now = (await source.rest.send('GET', `${shard}/snapshot/partial/manifest`)).json().result;
  const same = await create(now);
  assert.deepEqual([same.status, same.bytes.length], [304, 0]);
  const whole = await bytesOf(source.rest, `${shard}/snapshot`);
  const refused = await copy.rest.send('POST', `${shard}/snapshot/partial/recover`, form(whole.bytes));
  assert.match(errorOf(refused), /^Wrong input: Validation failed: invalid partial snapshot: segment .* does not contain segment manifest; /);
  const partialOnFull = await copy.rest.send('POST', `${shard}/snapshots/upload`, form(changes.bytes));
  assert.match(errorOf(partialOnFull), /^Wrong input: Validation failed: invalid shard snapshot: segment .* contains segment manifest; /);
});

test('recover_from and recover of a shard follow three redirects, and no fourth', async (t) => {
  const [source, copy] = [await serve(t), await serve(t)];
  await source.write(1, 30);
  // /n/…: n redirects, the last one to the source itself
  const server = http.createServer((request, response) => {
    const [, count = '', rest = ''] = /^\/(\d)(\/.*)$/.exec(request.url ?? '') ?? [];
    request.resume();
    response.writeHead(307, { location: count === '1' ? `${source.rest.url}${rest}` : `/${Number(count) - 1}${rest}` }).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const origin = `http://127.0.0.1:${(server.address() as { readonly port: number }).port}`;
  const from = (count: number): Promise<Answer> => copy.rest.send('POST', `${shard}/snapshot/partial/recover_from`, { json: { peer_url: `${origin}/${count}` } });
  const tooMany = /^Wrong input: Failed to download tar from .*: more than 3 redirects$/;
  assert.match(errorOf(await from(4)), tooMany);
  assert.equal(copy.points(), 0);
  assert.deepEqual([(await from(3)).json().result, copy.points()], [true, 30]);
  assert.equal((await from(3)).json().result, false, 'the held files arrive there');
  await source.write(31, 3);
  const recover = (count: number): Promise<Answer> => copy.rest.send('PUT', `${shard}/snapshots/recover`, { json: { location: `${origin}/${count}${shard}/snapshot`, priority: 'snapshot' } });
  assert.match(errorOf(await recover(4)), tooMany);
  assert.equal((await recover(3)).status, 200);
  assert.equal(copy.points(), 33);
});

test('a second partial recovery of a shard is told that one is in progress', async (t) => {
  const { rest } = await serve(t);
  const server = http.createServer(() => undefined); // takes the request and never answers
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const asked = new Promise<void>((resolve) => {
    server.on('request', () => {
      resolve();
    });
  });
  const { port } = server.address() as { readonly port: number };
  const json = { peer_url: `http://127.0.0.1:${port}` };
  const first = await rest.send('POST', `${shard}/snapshot/partial/recover_from?wait=false`, { json });
  assert.equal(first.status, 202);
  await asked;
  for (const answer of [
    await rest.send('POST', `${shard}/snapshot/partial/recover_from`, { json }),
    await rest.send('POST', `${shard}/snapshot/partial/recover`, form(Buffer.from('x'))),
  ]) assert.deepEqual([answer.status, answer.text], [503, '{"status":"already_in_progress","time":0}']);
  assert.equal((await rest.send('DELETE', `/cluster/jobs/${String(first.headers['x-nearkeep-job'])}`)).json().result, true);
});

test('URL recovery that is switched off is 403 for shards too, before any traffic', async (t) => {
  const { rest } = await serve(t, false);
  const text = 'Forbidden: Snapshot recovery from remote URLs is disabled in the configuration';
  for (const answer of [
    await rest.send('PUT', `${shard}/snapshots/recover`, { json: { location: 'http://127.0.0.1:1/x' } }),
    await rest.send('POST', `${shard}/snapshot/partial/recover_from`, { json: { peer_url: 'http://127.0.0.1:1/' } }),
  ]) assert.deepEqual([answer.status, errorOf(answer)], [403, text]);
});

test('the whole storage: create, list, download, upload, recover, dry run, delete', async (t) => {
  const { rest, engine, write, points } = await serve(t);
  await write(1, 10);
  const made = (await rest.send('POST', '/snapshots')).json().result as { readonly name: string; readonly size: number };
  assert.deepEqual((await rest.send('GET', '/snapshots')).json().result, [made]);
  const { bytes, headers } = await bytesOf(rest, `/snapshots/${made.name}`);
  assert.deepEqual([bytes.length, headers['accept-ranges']], [made.size, 'bytes']);
  await write(50, 5);
  const dry = (await rest.send('POST', '/snapshots/upload?dry_run=true', form(bytes))).json().result as { readonly collections: readonly Record<string, unknown>[] };
  assert.deepEqual(dry.collections, [{ name: 'c', action: 'replace', points: 10, shards: { archive: 1, target: 1 }, aliases: [], points_replaced: 15, not_applied: [] }]);
  assert.equal(points(), 15);
  assert.equal((await rest.send('POST', '/snapshots/upload', form(bytes))).json().result, true);
  assert.equal(points(), 10);
  await write(50, 5);
  const location = `file://${engine.snapshotsDirectory}/${made.name}`;
  assert.equal((await rest.send('PUT', '/snapshots/recover', { json: { location } })).json().result, true);
  assert.equal(points(), 10);
  const twin = await rest.send('PUT', '/collections/c/snapshots/recover', { json: { location } });
  assert.match(errorOf(twin), /^Bad request: Invalid snapshot: it is of the whole storage, not of a collection$/);
  assert.equal((await rest.send('DELETE', `/snapshots/${made.name}`)).json().result, true);
  assert.deepEqual((await rest.send('GET', '/snapshots')).json().result, []);
  const missing = await rest.send('GET', `/snapshots/${made.name}`);
  assert.deepEqual([missing.status, missing.text], [404, `Not found: Snapshot ${made.name} not found`]);
});

test('a collection restore takes reshard, schema, aliases and dry_run', async (t) => {
  const { rest, engine, write } = await serve(t);
  await write(1, 20);
  const made = (await rest.send('POST', '/collections/c/snapshots')).json().result as { readonly name: string };
  const { bytes } = await bytesOf(rest, `/collections/c/snapshots/${made.name}`);
  await engine.createCollection('d', { vectors: { size: 4, distance: 'Dot' }, shardNumber: 3 });
  const plain = await rest.send('POST', '/collections/d/snapshots/upload', form(bytes));
  assert.match(errorOf(plain), /Collection shard number: 3 Snapshot shard number: 1$/);
  const dry = await rest.send('POST', '/collections/d/snapshots/upload?reshard=true&dry_run=true', form(bytes));
  assert.equal(dry.status, 200);
  assert.equal(engine.collectionInfo('d').points, 0);
  assert.equal((await rest.send('POST', '/collections/d/snapshots/upload?reshard=true&aliases=restore&schema=snapshot', form(bytes))).json().result, true);
  assert.equal(engine.collectionInfo('d').points, 20);
  const bad = await rest.send('POST', '/collections/d/snapshots/upload?aliases=all', form(bytes));
  assert.match(errorOf(bad), /aliases: unknown variant `all`, expected one of `restore`, `take`, `keep`/);
});
