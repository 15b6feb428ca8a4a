// Archives and names that mean harm, sent over HTTP to a real engine by whoever may restore: refused without a trace.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { sha256Hex } from '../../base/checksum.ts';
import type { Logger } from '../../base/logger.ts';
import { Engine } from '../../engine/engine.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { BLOCK_BYTES, decodeSize, encodeHeader, paddedBytes } from '../../snapshot/archive-layout.ts';
import { multipart, openRaw, startRest, type Answer, type RestAt } from './testing/rest-harness.ts';

type Json = Record<string, unknown>;
const errorOf = (answer: Answer): string => (answer.json().status as { error: string }).error;
const secret = 'words that no answer may quote';

interface Served {
  readonly engine: Engine;
  readonly rest: RestAt;
  /** Below it lie `storage`, `snapshots` and `secret.snapshot`. */
  readonly folder: string;
  /** What a refused request must leave as it was. */
  readonly picture: () => unknown;
  /** Lines of the engine. */
  readonly logged: readonly string[];
}

/** Collection `c` of two points with the alias `other`. */
async function serve(t: TestContext): Promise<Served> {
  const folder = await temporaryFolder();
  const logged: string[] = [];
  const log: Logger['info'] = (fields, message) => {
    logged.push(`${message} ${JSON.stringify(fields)}`);
  };
  const engine = await Engine.open({
    dataDirectory: path.join(folder.path, 'storage'),
    snapshotsDirectory: path.join(folder.path, 'snapshots'),
    logger: { info: log, warn: log, error: log },
    recovery: { urlRecovery: true, boundToLoopback: true },
  });
  const rest = await startRest(t, { engine });
  t.after(async () => {
    await engine.close();
    await folder[Symbol.asyncDispose]();
  });
  writeFileSync(path.join(folder.path, 'secret.snapshot'), secret);
  await rest.send('PUT', '/collections/c', { json: { vectors: { size: 2, distance: 'Dot' } } });
  await rest.send('PUT', '/collections/c/points?wait=true', { json: { points: [{ id: 1, vector: [1, 2] }, { id: 2, vector: [3, 4] }] } });
  await rest.send('POST', '/collections/aliases', { json: { actions: [{ create_alias: { collection_name: 'c', alias_name: 'other' } }] } });
  const picture = (): unknown => ({
    collections: [...engine.listCollections()].sort().map((name) => [name, engine.collectionInfo(name).points]),
    aliases: engine.aliases(),
    beside: readdirSync(folder.path).sort(),
    // Beside them only what is written while it serves: records of jobs.
    folders: ['storage', 'storage/collections', 'snapshots'].map((name) => readdirSync(path.join(folder.path, name)).sort()),
  });
  return { engine, rest, folder: folder.path, picture, logged };
}

function download(rest: RestAt, url: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    http.get(rest.url + url, { agent: false }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('end', () => {
        resolve(Buffer.concat(pieces));
      });
      response.on('error', reject);
    }).on('error', reject);
  });
}

async function archiveAt(rest: RestAt, url: string): Promise<Buffer> {
  const { name } = (await rest.send('POST', url)).json().result as { readonly name: string };
  const bytes = await download(rest, `${url}/${name}`);
  await rest.send('DELETE', `${url}/${name}`);
  return bytes;
}

/** The archive with another snapshot.json, headers and hash made to fit. */
function withManifest(archive: Buffer, change: (document: Json, collection: Json) => void): Buffer {
  const sizeBytes = decodeSize(archive.subarray(0, BLOCK_BYTES)) ?? 0;
  const document = JSON.parse(archive.toString('utf8', BLOCK_BYTES, BLOCK_BYTES + sizeBytes)) as Json;
  const [collection = {}] = document['collections'] as Json[];
  change(document, collection);
  const text = Buffer.from(JSON.stringify(document));
  const seconds = Number.parseInt(archive.toString('latin1', 136, 147), 8);
  const hashAt = BLOCK_BYTES + paddedBytes(sizeBytes);
  return Buffer.concat([
    encodeHeader({ name: 'snapshot.json', sizeBytes: text.length }, seconds),
    text,
    Buffer.alloc(paddedBytes(text.length) - text.length),
    archive.subarray(hashAt, hashAt + BLOCK_BYTES),
    Buffer.from(sha256Hex(text).padEnd(BLOCK_BYTES, '\0')),
    archive.subarray(hashAt + 2 * BLOCK_BYTES),
  ]);
}

const form = (content: Buffer | string): ReturnType<typeof multipart> => multipart([{ name: 'snapshot', filename: 'x', content }]);

const changes: readonly (readonly [string, (document: Json, collection: Json) => void, RegExp])[] = [
  ...['..', '.', '../../x', 'a/b', 'a\0b', '', '\udc00'].map((name) =>
    [`a collection named ${JSON.stringify(name)}`, (_: Json, collection: Json) => { collection['name'] = name; }, /name must be a collection name$/] as const),
  ['an alias that leads out', (_, collection) => { collection['aliases'] = ['../../x']; }, /must be a collection name$/],
  ['an alias that is its collection', (_, collection) => { collection['aliases'] = ['c']; }, /names and aliases of their own$/],
  ['a collection named like an alias of the server', (_, collection) => { Object.assign(collection, { name: 'other', aliases: [] }); }, /Alias with the same name already exists$/],
  ['a total that lies', (document) => { document['totals'] = { points: 2, files: 1, bytes: 1 }; }, /totals/],
  ['a number of points that lies', (document, collection) => {
    (collection['shards'] as Json[])[0]!['points'] = 3;
    (document['totals'] as Json)['points'] = 3;
  }, /Invalid snapshot/],
  ['a file that claims 8 PB', (_, collection) => { ((collection['shards'] as Json[])[0]!['manifest'] as Json)['size'] = 2 ** 53 - 1; }, /Invalid snapshot/],
  ['more files than there is memory for', (_, collection) => { collection['aliases'] = Array.from({ length: 100_001 }, () => ''); }, /at most 100000$/],
];
for (const [title, change, text] of changes) {
  test(`advisory 10/14: an archive of the whole storage with ${title} is refused and changes nothing`, async (t) => {
    const { rest, picture } = await serve(t);
    const archive = await archiveAt(rest, '/snapshots');
    assert.equal((await rest.send('POST', '/snapshots/upload?dry_run=true', form(withManifest(archive, () => undefined)))).status, 200);
    const before = picture();
    const answer = await rest.send('POST', '/snapshots/upload', form(withManifest(archive, change)));
    assert.equal(answer.status, 400, answer.text);
    assert.match(errorOf(answer), text);
    assert.deepEqual(picture(), before);
  });
}

test('advisory 14/30: names that differ in case or in Unicode form only stay two collections', async (t) => {
  const { rest, engine } = await serve(t);
  const names = ['C', 'caf\u00e9', 'cafe\u0301'];
  for (const [at, name] of names.entries()) {
    await rest.send('PUT', `/collections/${encodeURIComponent(name)}`, { json: { vectors: { size: 2, distance: 'Dot' } } });
    const points = Array.from({ length: at + 3 }, (_, id) => ({ id, vector: [1, 2] }));
    await rest.send('PUT', `/collections/${encodeURIComponent(name)}/points?wait=true`, { json: { points } });
  }
  const archive = await archiveAt(rest, '/snapshots');
  for (const name of names) await engine.deleteCollection(name);
  assert.equal((await rest.send('POST', '/snapshots/upload', form(archive))).status, 200);
  assert.deepEqual(['c', ...names].map((name) => engine.collectionInfo(name).points), [2, 3, 4, 5]);
});

test('advisory 14: an alias in an archive takes no name from a collection of the server', async (t) => {
  const { rest, engine } = await serve(t);
  const archive = withManifest(await archiveAt(rest, '/snapshots'), (_, collection) => { collection['aliases'] = ['d', 'new']; });
  await rest.send('PUT', '/collections/d', { json: { vectors: { size: 2, distance: 'Dot' } } });
  assert.equal((await rest.send('POST', '/snapshots/upload', form(archive))).status, 200);
  assert.deepEqual(engine.aliases().map(({ alias }) => alias).sort(), ['new', 'other']);
  assert.equal(engine.realName('d'), 'd');
  assert.equal(engine.collectionInfo('d').points, 0);
});

const shard = '/collections/c/shards/0';
const hostileNames = ['..%2F..%2Fsecret.snapshot', '..%2fsecret.snapshot', '%2e%2e%2fsecret.snapshot', '%252e%252e%252fsecret.snapshot', '%2e%2e', '..', '..%5csecret.snapshot',
  'x%00.snapshot', '%2Fetc%2Fpasswd', '.hidden.snapshot', `${'n'.repeat(300)}.snapshot`];
for (const [title, all] of [['a collection', '/collections/c/snapshots'], ['a shard', `${shard}/snapshots`], ['the whole storage', '/snapshots']] as const) {
  test(`advisory 02/07/10/24: hostile names of snapshots of ${title} are 404 on GET and DELETE`, async (t) => {
    const { rest, picture } = await serve(t);
    const before = picture();
    for (const name of hostileNames) {
      for (const method of ['GET', 'DELETE']) {
        const { status, text } = await rest.send(method, `${all}/${name}`);
        assert.equal(status, 404, `${method} ${name}: ${text}`);
        assert.ok(!text.includes(secret));
      }
    }
    assert.deepEqual(picture(), before);
  });
}

test('advisory 03/10: hostile names of collections, shards and jobs are refused on the newer routes, and nothing is made', async (t) => {
  const { rest, picture } = await serve(t);
  const before = picture();
  const upload = form('x');
  for (const name of ['%2e%2e%2f', '..%2F..%2Fx', 'a%00b', '%2e%2e']) {
    for (const [method, at, more] of [
      ['POST', 'shards/0/snapshots', {}],
      ['POST', 'shards/0/snapshots/upload', upload],
      ['PUT', 'shards/0/snapshots/recover', { json: { location: 'x.snapshot' } }],
      ['GET', 'shards/0/snapshot', {}],
      ['POST', 'shards/0/snapshot/partial/recover', upload],
      ['POST', 'shards/0/snapshot/partial/recover_from', { json: { peer_url: 'http://127.0.0.1:1/' } }],
      ['POST', 'snapshots/undo', {}],
    ] as const) assert.equal((await rest.send(method, `/collections/${name}/${at}`, more)).status, 422, `${method} ${name} ${at}`);
    for (const at of ['snapshots/upload', 'snapshot/partial/recover']) assert.equal((await rest.send('POST', `/collections/c/shards/${name}/${at}`, upload)).status, 400, `${name} ${at}`);
    for (const method of ['GET', 'DELETE']) assert.equal((await rest.send(method, `/cluster/jobs/${name}`)).status, 404, `${method} job ${name}`);
  }
  assert.deepEqual(picture(), before);
});

test('advisory 09/24: a recover of a shard or of the storage reads nothing outside of the snapshots folder', async (t) => {
  const { rest, folder, picture } = await serve(t);
  const before = picture();
  const outside = `file://${folder}/secret.snapshot`;
  for (const [url, location, status] of [
    ['/snapshots/recover', outside, 403],
    ['/snapshots/recover', `file://${folder}/snapshots/../secret.snapshot`, 403],
    ['/snapshots/recover', `file://${folder}/snapshots/..%2fsecret.snapshot`, 400],
    [`${shard}/snapshots/recover`, outside, 400],
    [`${shard}/snapshots/recover`, '../secret.snapshot', 404],
    [`${shard}/snapshots/recover`, '..%2fsecret.snapshot', 404],
    [`${shard}/snapshots/recover`, `${folder}/secret.snapshot`, 404],
  ] as const) {
    const answer = await rest.send('PUT', url, { json: { location } });
    assert.equal(answer.status, status, `${url} ${location}: ${answer.text}`);
    assert.ok(!answer.text.includes(secret));
  }
  assert.deepEqual(picture(), before);
});

test('advisory 09: no error of an upload quotes what was sent', async (t) => {
  const { rest, picture } = await serve(t);
  const before = picture();
  const archive = await archiveAt(rest, '/snapshots');
  const broken = Buffer.from(archive);
  broken.write(secret, BLOCK_BYTES, 'latin1');
  for (const url of ['/collections/c/snapshots/upload', '/snapshots/upload', `${shard}/snapshots/upload`, `${shard}/snapshot/partial/recover`]) {
    for (const bytes of [Buffer.from(secret.repeat(100)), broken]) {
      const answer = await rest.send('POST', url, form(bytes));
      assert.equal(answer.status, 400, answer.text);
      assert.match(errorOf(answer), /Invalid snapshot/);
      assert.ok(!answer.text.includes('words'), answer.text);
    }
  }
  assert.deepEqual(picture(), before);
});

test('advisory 06: recover_from and recover of a shard reach no private address, nor by a redirect', async (t) => {
  const { rest } = await serve(t);
  const server = http.createServer((_, response) => response.writeHead(302, { location: 'http://169.254.169.254/x' }).end());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const redirect = `http://127.0.0.1:${(server.address() as { readonly port: number }).port}/`;
  const forbidden = /^403 Forbidden: Snapshot URL host .* is at an address/;
  for (const url of ['http://10.1.2.3/', 'http://169.254.169.254/', 'http://[::ffff:10.0.0.1]/', redirect]) {
    for (const answer of [
      await rest.send('PUT', `${shard}/snapshots/recover`, { json: { location: url } }),
      await rest.send('PUT', '/snapshots/recover', { json: { location: url } }),
    ]) assert.match(`${answer.status} ${errorOf(answer)}`, forbidden);
    const from = await rest.send('POST', `${shard}/snapshot/partial/recover_from`, { json: { peer_url: url } });
    assert.match(`${from.status} ${errorOf(from)}`, forbidden);
  }
});

test('advisory 11: bytes that are not UTF-8 in a path are 4xx, and the server lives on', async (t) => {
  const { rest } = await serve(t);
  for (const at of ['/snapshots/%ff.snapshot', '/snapshots/\xff.snapshot', `${shard}/snapshots/%c0%ae`, '/collections/%ff/snapshots', '/cluster/jobs/%ff']) {
    const { socket, until } = await openRaw(rest.port);
    socket.write(Buffer.from(`GET ${at} HTTP/1.1\r\nhost: localhost\r\n\r\n`, 'latin1'));
    assert.match(await until(/\r\n\r\n/), /^HTTP\/1\.1 4\d\d /, at);
    socket.destroy();
  }
  assert.equal((await rest.send('GET', '/healthz')).status, 200);
});

test('advisory 28: keys, passwords and query texts of a recover stand in no job, log line, answer or file', async (t) => {
  const { rest, folder, logged } = await serve(t);
  const server = http.createServer((_, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const host = `127.0.0.1:${(server.address() as { readonly port: number }).port}`;
  const answers: string[] = [];
  for (const location of [`http://${host}/x?token=planted-1`, `http://user:planted-2@${host}/x`, `ftp://user:planted-3@${host}/x?y=planted-4`]) {
    for (const wait of [true, false]) {
      const json = { location, api_key: 'planted-5' };
      for (const url of ['/collections/c/snapshots/recover', `${shard}/snapshots/recover`, '/snapshots/recover']) answers.push((await rest.send('PUT', `${url}?wait=${wait}`, { json })).text);
      answers.push((await rest.send('POST', `${shard}/snapshot/partial/recover_from?wait=${wait}`, { json: { peer_url: location, api_key: 'planted-5' } })).text);
    }
  }
  const { jobs } = (await rest.send('GET', '/cluster/jobs')).json().result as { readonly jobs: readonly { readonly id: string }[] };
  for (const { id } of jobs) answers.push((await rest.send('GET', `/cluster/jobs/${id}/events`)).text);
  assert.ok(jobs.length >= 6 && logged.some((line) => line.startsWith('job failed')), 'there was something to look through');
  const files = readdirSync(path.join(folder, 'storage'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  assert.ok(files.some(({ parentPath }) => parentPath.endsWith('jobs')));
  const texts = [...answers, ...logged, JSON.stringify(rest.lines), ...files.map(({ parentPath, name }) => readFileSync(path.join(parentPath, name), 'latin1'))];
  assert.deepEqual(texts.filter((text) => text.includes('planted')), []);
});
