// What the table of bad inputs runs against: one server with two keys and two filled collections, the archive of a snapshot, a
// foreign HTTP server for recover URLs, and a picture of the whole state that no row may change.
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { sendRaw, type RawAnswer, type RawRequest } from '../support/raw-client.ts';
import { call } from '../support/rest-client.ts';
import { serveFolder, type ServedFolder } from '../support/server-process.ts';

export const fullKey = 'the-full-key';
export const readKey = 'the-read-only-key';

export interface World extends AsyncDisposable {
  readonly served: ServedFolder;
  readonly url: string;
  readonly snapshots: string;
  /** Name, bytes and sha256 of the snapshot of collection `c`. */
  readonly snapshot: { readonly name: string; readonly archive: Buffer; readonly checksum: string };
  /** The same of `named`. */
  readonly other: { readonly archive: Buffer };
  /** Of the foreign server: /archive, /other, /cut, /absent, /loop, /to-file, /to-private, /wrong. */
  readonly foreign: string;
  /** With the full key. */
  send(request: RawRequest): Promise<RawAnswer>;
  /** Everything a client can see, and the names of everything that was left unfinished on disk. */
  state(): Promise<unknown>;
}

/** One row: a request that must be refused, and with what. */
export interface BadInput {
  readonly title: string;
  readonly send: (world: World) => Promise<RawAnswer>;
  readonly status: number;
  readonly error: string | RegExp | ((world: World) => string);
}

export type Refusal = readonly [status: number, error: BadInput['error']];

export function withJson(
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): BadInput['send'] {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return (world) =>
    world.send({
      method,
      path,
      headers: { ...(text === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(text === undefined ? {} : { body: text }),
    });
}

/** A multipart form of one file. */
export function form(
  content: Uint8Array,
  { field = 'snapshot', filename = 'x.snapshot' } = {},
): { readonly headers: Record<string, string>; readonly body: Buffer } {
  const boundary = 'boundary-of-the-bad-inputs';
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="${field}"; filename="${filename}"\r\ncontent-type: application/octet-stream\r\n\r\n`;
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: Buffer.concat([Buffer.from(head), content, Buffer.from(`\r\n--${boundary}--\r\n`)]),
  };
}

export function upload(collection: string, content: (world: World) => Uint8Array, query = ''): BadInput['send'] {
  return (world) =>
    world.send({ method: 'POST', path: `/collections/${collection}/snapshots/upload${query}`, ...form(content(world)) });
}

export function recover(collection: string, body: (world: World) => unknown): BadInput['send'] {
  return (world) => withJson('PUT', `/collections/${collection}/snapshots/recover`, body(world))(world);
}

export async function openWorld(): Promise<World> {
  const served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: fullKey, QDRANT__SERVICE__READ_ONLY_API_KEY: readKey } });
  const { url } = served.server;
  const send: World['send'] = (request) => sendRaw(url, { ...request, headers: { 'api-key': fullKey, ...request.headers } });
  const must = async (method: string, at: string, body?: unknown): Promise<unknown> => {
    const answer = await call(url, method, at, { headers: { 'api-key': fullKey }, ...(body === undefined ? {} : { body }) });
    assert.equal(answer.status, 200, answer.text);
    return answer.result;
  };
  await must('PUT', '/collections/c', { vectors: { size: 4, distance: 'Dot' } });
  await must('PUT', '/collections/named', {
    vectors: { a: { size: 2, distance: 'Cosine' }, b: { size: 3, distance: 'Euclid' } },
    shard_number: 2,
  });
  await must('PUT', '/collections/c/index?wait=true', { field_name: 'n', field_schema: 'integer' });
  await must('POST', '/collections/aliases', { actions: [{ create_alias: { collection_name: 'c', alias_name: 'alias' } }] });
  await must('PUT', '/collections/c/points?wait=true', {
    points: [1, 2, 3].map((id) => ({ id, vector: [id, 0, 0, 1], payload: { n: id, text: `text ${id}` } })),
  });
  await must('PUT', '/collections/named/points?wait=true', {
    points: [1, 2, 3].map((id) => ({ id, vector: { a: [id, 1], b: [id, 0, 0] }, payload: { n: id } })),
  });
  const archives = [];
  for (const collection of ['c', 'named']) {
    const { name, checksum } = (await must('POST', `/collections/${collection}/snapshots`)) as {
      readonly name: string;
      readonly checksum: string;
    };
    const response = await fetch(`${url}/collections/${collection}/snapshots/${name}`, { headers: { 'api-key': fullKey } });
    archives.push({ name, checksum, archive: Buffer.from(await response.arrayBuffer()) });
  }
  const [snapshot, other] = archives;
  assert.ok(snapshot !== undefined && other !== undefined);
  const snapshots = path.join(served.data, 'snapshots');
  await plantFiles(served.data, snapshots);
  const foreign = await foreignServer(snapshot.archive, other.archive);
  const world: World = {
    served,
    url,
    snapshots,
    snapshot,
    other,
    send,
    foreign: foreign.url,
    state: () => picture(served.data, must),
    [Symbol.asyncDispose]: async () => {
      await foreign.close();
      for (const planted of ['c/link.snapshot', 'c/.hidden', 'empty.snapshot'])
        await rm(path.join(snapshots, planted), { recursive: true });
      await served[Symbol.asyncDispose]();
    },
  };
  return world;
}

/** Files that a restore must not read: one outside the snapshots folder, a link to it inside, and an unpublished one. */
async function plantFiles(data: string, snapshots: string): Promise<void> {
  const folder = path.dirname(data);
  await writeFile(path.join(folder, 'secret.snapshot'), 'the content of a secret');
  await symlink(path.join(folder, 'secret.snapshot'), path.join(snapshots, 'c', 'link.snapshot'));
  await mkdir(path.join(snapshots, 'c', '.hidden'));
  await writeFile(path.join(snapshots, 'c', '.hidden', 'x.snapshot'), 'not published');
  await writeFile(path.join(snapshots, 'empty.snapshot'), '');
}

async function picture(data: string, ask: (method: string, path: string, body?: unknown) => Promise<unknown>): Promise<unknown> {
  const { collections } = (await ask('GET', '/collections')) as { readonly collections: readonly { readonly name: string }[] };
  const seen = collections.map(async ({ name }) => {
    const [info, points, list] = await Promise.all([
      ask('GET', `/collections/${name}`),
      ask('POST', `/collections/${name}/points/scroll`, { limit: 100, with_vector: true }),
      ask('GET', `/collections/${name}/snapshots`),
    ]);
    const { config, payload_schema: schema, points_count: count } = info as Readonly<Record<string, unknown>>;
    return { name, config, schema, count, points, list };
  });
  const [files, aliases, beside] = await Promise.all([
    readdir(data, { recursive: true }),
    ask('GET', '/aliases'),
    readdir(path.dirname(data)),
  ]);
  const folders = files.filter((file) => /^[^/]+$|^collections\/[^/]+$|^snapshots\//.test(file));
  return {
    seen: await Promise.all(seen),
    aliases,
    folders: folders.sort(),
    unfinished: files.filter((file) => /^\.(staging|tmp)-|\.tmp$/.test(path.basename(file))),
    beside: beside.sort(),
  };
}

/** A host that a recover may be sent to. Loopback is allowed while the server itself listens there. */
async function foreignServer(archive: Buffer, other: Buffer): Promise<{ readonly url: string; close(): Promise<void> }> {
  const redirect =
    (location: string) =>
    (response: http.ServerResponse): void => {
      response.writeHead(302, { location }).end();
    };
  const answers: Readonly<Record<string, (response: http.ServerResponse) => void>> = {
    '/archive': (response) => response.writeHead(200, { 'content-length': archive.length }).end(archive),
    '/other': (response) => response.writeHead(200).end(other),
    '/cut': (response) => {
      response
        .writeHead(200, { 'content-length': archive.length })
        .write(archive.subarray(0, archive.length >> 1), () => response.destroy());
    },
    '/wrong': (response) => response.writeHead(200).end('this is not an archive'),
    '/loop': redirect('/loop'),
    '/to-file': redirect('file:///etc/passwd'),
    '/to-private': redirect('http://10.0.0.1:1/x'),
  };
  const server = http.createServer((request, response) => {
    const answer = answers[request.url ?? ''];
    if (answer === undefined) response.writeHead(404).end('nothing here');
    else answer(response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}
