// Restores that must not happen: bad forms, archives for another collection, wrong checksums, bad URLs, and races.
import assert from 'node:assert/strict';
import net from 'node:net';
import { form, fullKey, readKey, recover, upload, withJson, type BadInput, type World } from './bad-input-world.ts';
import { sendBytes, sendRaw, target, type RawAnswer } from '../support/raw-client.ts';

const nowhere = '0'.repeat(64);

const path = '/collections/fresh/snapshots/upload';
const offField =
  (field: string): BadInput['send'] =>
  (world) =>
    world.send({ method: 'POST', path, ...form(world.snapshot.archive, { field }) });

const forms: readonly BadInput[] = [
  { title: 'an upload without the field', send: offField('file'), status: 400, error: 'Field with name snapshot is required' },
  {
    title: 'an upload without a body',
    send: (world) => world.send({ method: 'POST', path }),
    status: 400,
    error: 'Field with name snapshot is required',
  },
  {
    title: 'an upload that is no form',
    send: (world) =>
      world.send({ method: 'POST', path, headers: { 'content-type': 'application/octet-stream' }, body: world.snapshot.archive }),
    status: 400,
    error: 'Content type error: the body must be multipart/form-data with a file field snapshot',
  },
  {
    title: 'an upload without a boundary',
    send: (world) =>
      world.send({ method: 'POST', path, headers: { 'content-type': 'multipart/form-data' }, body: world.snapshot.archive }),
    status: 400,
    error: 'Multipart boundary is not found',
  },
  {
    title: 'a form that is cut',
    send: (world) => {
      const { headers, body } = form(world.snapshot.archive);
      return world.send({ method: 'POST', path, headers, body: body.subarray(0, -20) });
    },
    status: 400,
    error: 'Unexpected end of form',
  },
  {
    title: 'advisory 05: an upload with the read-only key, refused before its body',
    send: readOnlyUpload,
    status: 403,
    error: 'Forbidden: Global manage access is required',
  },
  {
    title: 'a parameter of another version',
    send: upload('fresh', ({ snapshot }) => snapshot.archive, '?keys=a'),
    status: 400,
    error: 'Bad request: the parameter keys is not supported here by this version',
  },
];

const unfit: readonly BadInput[] = [
  ...(['upload', 'recover'] as const).flatMap((how) => [
    {
      title: `an ${how} of other vectors`,
      status: 400,
      send: restoring(how, 'named', ({ snapshot }) => snapshot.archive),
      error:
        /^Wrong input: Snapshot is not compatible with existing collection: Collection vectors: \{.*"a".*\} Snapshot Vectors: \{"size":4/,
    },
    {
      title: `an ${how} through an alias of other vectors`,
      status: 400,
      send: restoring(how, 'alias', ({ other }) => other.archive),
      error: /^Wrong input: Snapshot is not compatible with existing collection: Collection vectors: /,
    },
  ]),
  {
    title: 'an upload of another number of shards',
    status: 400,
    send: otherShards,
    error:
      'Wrong input: Snapshot is not compatible with existing collection: Collection shard number: 2 Snapshot shard number: 1',
  },
  {
    title: 'an upload with a wrong checksum',
    status: 400,
    send: upload('fresh', ({ snapshot }) => snapshot.archive, `?checksum=${nowhere}`),
    error: ({ snapshot }) => `Checksum mismatch: expected ${nowhere}, actual ${snapshot.checksum}`,
  },
  {
    title: 'an upload with a wrong checksum over a collection',
    status: 400,
    send: upload('c', ({ snapshot }) => snapshot.archive, `?checksum=${nowhere}`),
    error: ({ snapshot }) => `Checksum mismatch: expected ${nowhere}, actual ${snapshot.checksum}`,
  },
  {
    title: 'a recover with a wrong checksum',
    status: 400,
    send: recover('fresh', (world) => ({ location: fileUrl(world), checksum: nowhere })),
    error: ({ snapshot }) => `Wrong input: Snapshot checksum mismatch: expected ${nowhere}, got ${snapshot.checksum}`,
  },
  {
    title: 'a recover from a URL with a wrong checksum',
    status: 400,
    send: recover('fresh', ({ foreign }) => ({ location: `${foreign}/archive`, checksum: nowhere })),
    error: ({ snapshot }) => `Wrong input: Snapshot checksum mismatch: expected ${nowhere}, got ${snapshot.checksum}`,
  },
  {
    title: 'a recover with a checksum that is none',
    status: 422,
    send: recover('fresh', (world) => ({ location: fileUrl(world), checksum: 'zz' })),
    error: /^Validation error in JSON body: \[checksum: .*invalid_sha256_hash/,
  },
  {
    title: 'a recover with an unknown priority',
    status: 400,
    send: recover('fresh', (world) => ({ location: fileUrl(world), priority: 'x' })),
    error: 'Format error in JSON body: priority: unknown variant `x`, expected one of `no_sync`, `snapshot`, `replica`',
  },
];

const urls: readonly BadInput[] = [
  {
    title: 'a recover from a URL that answers 404',
    status: 400,
    send: fromForeign('/absent'),
    error: ({ foreign }) => `Wrong input: Failed to download tar from ${foreign}/absent: status - 404`,
  },
  {
    title: 'a recover from a URL that is cut midway',
    status: 500,
    send: fromForeign('/cut'),
    error: /^Service internal error: Failed to download snapshot from http:\/\/127\.0\.0\.1:\d+\/cut: /,
  },
  {
    title: 'a recover from a URL without an archive',
    status: 400,
    send: fromForeign('/wrong'),
    error: /^Bad request: Invalid snapshot: archive/,
  },
  {
    title: 'a recover from a URL that redirects for ever',
    status: 400,
    send: fromForeign('/loop'),
    error: ({ foreign }) => `Wrong input: Failed to download tar from ${foreign}/loop: more than 3 redirects`,
  },
  {
    title: 'a recover from a URL that redirects to a file',
    status: 400,
    send: fromForeign('/to-file'),
    error: 'Bad request: URL file:///etc/passwd with scheme file is not supported',
  },
  {
    title: 'advisory 06: a recover from a URL that redirects to a private address',
    status: 403,
    send: fromForeign('/to-private'),
    error: /^Forbidden: Snapshot URL host 10\.0\.0\.1 /,
  },
  {
    title: 'a recover from a port that nobody listens on',
    status: 500,
    send: recover('fresh', () => ({ location: 'http://127.0.0.1:1/x' })),
    error: 'Service internal error: Failed to download snapshot from http://127.0.0.1:1/x: ECONNREFUSED',
  },
  {
    title: 'a recover from the own server without its key',
    status: 400,
    send: recover('fresh', ({ url, snapshot }) => ({ location: `${url}/collections/c/snapshots/${snapshot.name}` })),
    error: ({ url, snapshot }) =>
      `Wrong input: Failed to download tar from ${url}/collections/c/snapshots/${snapshot.name}: status - 401`,
  },
];

const raced: readonly BadInput[] = [
  { title: 'a client that leaves in the middle of an upload', status: 0, send: (world) => abandoned(world, 'fresh'), error: '' },
  {
    title: 'a client that leaves in the middle of an upload over a collection',
    status: 0,
    send: (world) => abandoned(world, 'c'),
    error: '',
  },
  {
    title: 'the second of two creates for one name',
    status: 409,
    error: 'Wrong input: Collection `fresh` already exists!',
    send: (world) =>
      secondOf(
        world,
        [0, 1].map(() => withJson('PUT', '/collections/fresh', { vectors: { size: 4, distance: 'Dot' } })),
      ),
  },
  {
    title: 'a create behind an upload for one name',
    status: 409,
    error: 'Wrong input: Collection `fresh` already exists!',
    send: createBehindUpload,
  },
  {
    title: 'one of two uploads for one name that does not fit the other',
    status: 400,
    error: /^Wrong input: Snapshot is not compatible with existing collection: /,
    send: (world) =>
      secondOf(world, [upload('fresh', ({ snapshot }) => snapshot.archive), upload('fresh', ({ other }) => other.archive)]),
  },
  {
    title: 'a cut upload beside a create for one name',
    status: 400,
    error: /^Bad request: Invalid snapshot: archive at byte \d+: ends/,
    send: (world) =>
      secondOf(world, [
        upload('fresh', ({ snapshot }) => snapshot.archive.subarray(0, -9)),
        withJson('PUT', '/collections/fresh', { vectors: { size: 4, distance: 'Dot' } }),
      ]),
  },
];

export const badRestores: readonly BadInput[] = [...forms, ...unfit, ...urls, ...raced];

function fileUrl({ snapshots, snapshot }: World): string {
  return `file://${snapshots}/c/${snapshot.name}`;
}

function fromForeign(at: string): BadInput['send'] {
  return recover('fresh', ({ foreign }) => ({ location: foreign + at }));
}

function restoring(how: 'upload' | 'recover', collection: string, archive: (world: World) => Buffer): BadInput['send'] {
  if (how === 'upload') return upload(collection, archive);
  return recover(collection, (world) => ({
    location: archive(world) === world.snapshot.archive ? `${world.foreign}/archive` : `${world.foreign}/other`,
  }));
}

/** `c` has one shard, its twin for this row two. */
async function otherShards(world: World): Promise<RawAnswer> {
  await mustBe(200, withJson('PUT', '/collections/twin', { vectors: { size: 4, distance: 'Dot' }, shard_number: 2 })(world));
  const answer = await upload('twin', ({ snapshot }) => snapshot.archive)(world);
  await mustBe(200, withJson('DELETE', '/collections/twin')(world));
  return answer;
}

/** No byte of the body is sent: the answer comes all the same. */
async function readOnlyUpload({ url }: World): Promise<RawAnswer> {
  const { host, port } = target(url);
  const headers = 'content-type: multipart/form-data; boundary=x\r\ncontent-length: 100000000';
  const head = `POST ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\napi-key: ${readKey}\r\n${headers}\r\n\r\n`;
  const { text } = await sendBytes(url, [Buffer.from(head)], /required$/);
  const [lines = '', body = ''] = text.split('\r\n\r\n');
  assert.match(lines, /content-type: text\/plain/i);
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(lines)?.[1]), contentType: 'text/plain', headers: {}, text: body };
}

/** Half of an upload, then the connection ends: there is nobody to answer. */
async function abandoned({ url, snapshot }: World, collection: string): Promise<RawAnswer> {
  const { headers, body } = form(snapshot.archive);
  const { host, port } = target(url);
  const socket = net.connect({ host, port });
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write(
    `POST /collections/${collection}/snapshots/upload HTTP/1.1\r\nhost: ${host}:${port}\r\napi-key: ${fullKey}\r\ncontent-type: ${headers['content-type']}\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  await new Promise((resolve) => socket.write(body.subarray(0, body.length >> 1), resolve));
  await sendRaw(url, { method: 'GET', path: '/healthz' });
  socket.destroy();
  return { status: 0, contentType: 'text/plain', headers: {}, text: '' };
}

/** Both at once: one is done, the other's refusal is answered, and what was made is removed. */
async function secondOf(world: World, sends: readonly BadInput['send'][]): Promise<RawAnswer> {
  const answers = await Promise.all(sends.map((send) => send(world)));
  const refused = answers.filter(({ status }) => status !== 200);
  assert.equal(refused.length, 1, answers.map(({ text }) => text).join('\n'));
  await mustBe(200, withJson('DELETE', '/collections/fresh')(world));
  return refused[0] as RawAnswer;
}

async function createBehindUpload(world: World): Promise<RawAnswer> {
  await mustBe(200, upload('fresh', ({ snapshot }) => snapshot.archive)(world));
  const answer = await withJson('PUT', '/collections/fresh', { vectors: { size: 4, distance: 'Dot' } })(world);
  await mustBe(200, withJson('DELETE', '/collections/fresh')(world));
  return answer;
}

async function mustBe(status: number, answer: Promise<RawAnswer>): Promise<void> {
  const { status: got, text } = await answer;
  assert.equal(got, status, text);
}
