// Bad inputs to any route: bodies that are malformed, too large or of the wrong type; and bad collections.
import { fullKey, withJson, type BadInput, type Refusal, type World } from './bad-input-world.ts';
import { sendBytes, target, type RawAnswer } from '../support/raw-client.ts';

const format = 'Format error in JSON body: ';
const range = 'Validation error in JSON body: ';
const scroll = '/collections/c/points/scroll';
const limitBytes = 32 * 1024 * 1024;
const overBytes = 34 * 1024 * 1024;

/** Body and where it breaks. */
const malformed: readonly (readonly [string, string | Uint8Array, string])[] = [
  ['a body of white space', ' \n ', 'EOF while parsing a value at line 2 column 1'],
  ['a body that ends early', '{"limit": 1', 'EOF while parsing an object at line 1 column 11'],
  ['a trailing comma', '{"limit": 1,}', 'trailing comma at line 1 column 13'],
  ['a missing colon', '{\n  "limit" 1}', 'expected `:` at line 2 column 11'],
  ['a key without quotes', '{limit: 1}', 'key must be a string at line 1 column 2'],
  ['single quotes', "{'limit': 1}", 'key must be a string at line 1 column 2'],
  ['two values', '{"limit": 1} {}', 'trailing characters at line 1 column 14'],
  ['a number with a leading zero', '{"limit": 01}', 'invalid number at line 1 column 12'],
  ['a number without digits', '{"limit": -}', 'invalid number at line 1 column 12'],
  ['a bad escape', '{"a": "\\x"}', 'invalid escape at line 1 column 9'],
  [
    'a line break in a text',
    '{"a": "x\ny"}',
    'control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0',
  ],
  ['a text without an end', '{"a": "x', 'EOF while parsing a string at line 1 column 8'],
  ['no JSON', 'limit=1', 'expected value at line 1 column 1'],
  [
    'bytes that are no UTF-8',
    Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]),
    'invalid unicode code point at line 1 column 7',
  ],
  ['200 lists in one another', '['.repeat(200) + ']'.repeat(200), 'recursion limit exceeded at line 1 column 128'],
];

const shapes: readonly (readonly [string, string, string, unknown, ...Refusal])[] = [
  ['a body that is a list', 'POST', scroll, [], 400, `${format}invalid type: sequence, expected a map`],
  ['a body that is null', 'POST', scroll, null, 400, `${format}invalid type: null, expected a map`],
  ['a limit as text', 'POST', scroll, { limit: '5' }, 400, `${format}limit: invalid type: string "5", expected usize`],
  ['an unknown collection to read', 'GET', '/collections/none', undefined, 404, "Not found: Collection `none` doesn't exist!"],
  ['an unknown collection to change', 'PATCH', '/collections/none', {}, 404, "Not found: Collection `none` doesn't exist!"],
  [
    'an unknown collection to write to',
    'PUT',
    '/collections/none/points',
    { points: [{ id: 1, vector: [1] }] },
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to scroll',
    'POST',
    '/collections/none/points/scroll',
    {},
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to search',
    'POST',
    '/collections/none/points/query',
    { query: [1] },
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to count',
    'POST',
    '/collections/none/points/count',
    {},
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to index',
    'PUT',
    '/collections/none/index',
    { field_name: 'x', field_schema: 'bool' },
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to snapshot',
    'POST',
    '/collections/none/snapshots',
    undefined,
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown collection to list the aliases of',
    'GET',
    '/collections/none/aliases',
    undefined,
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an existing collection',
    'PUT',
    '/collections/c',
    { vectors: { size: 4, distance: 'Dot' } },
    409,
    'Wrong input: Collection `c` already exists!',
  ],
  [
    'a collection with the name of an alias',
    'PUT',
    '/collections/alias',
    { vectors: { size: 4, distance: 'Dot' } },
    400,
    /^Wrong input: .*[aA]lias/,
  ],
  [
    'an alias with the name of a collection',
    'POST',
    '/collections/aliases',
    {
      actions: [
        { create_alias: { collection_name: 'c', alias_name: 'fresh' } },
        { create_alias: { collection_name: 'c', alias_name: 'named' } },
      ],
    },
    409,
    'Wrong input: Collection `named` already exists!',
  ],
  [
    'an alias for an unknown collection',
    'POST',
    '/collections/aliases',
    { actions: [{ create_alias: { collection_name: 'none', alias_name: 'x' } }] },
    404,
    "Not found: Collection `none` doesn't exist!",
  ],
  [
    'an unknown alias to rename',
    'POST',
    '/collections/aliases',
    { actions: [{ delete_alias: { alias_name: 'alias' } }, { rename_alias: { old_alias_name: 'absent', new_alias_name: 'x' } }] },
    404,
    /^Not found: Alias absent/,
  ],
  [
    'no known alias action',
    'POST',
    '/collections/aliases',
    { actions: [{ move_alias: {} }] },
    400,
    `${format}actions[0]: expected one of \`create_alias\`, \`delete_alias\`, \`rename_alias\``,
  ],
  ['a cluster operation', 'POST', '/collections/c/cluster', { move_shard: {} }, 405, 'Qdrant is running in standalone mode'],
  ['a node to remove', 'DELETE', '/cluster/peer/1', undefined, 405, 'Qdrant is running in standalone mode'],
];

const creates: readonly (readonly [string, unknown, ...Refusal])[] = [
  ['size 0', { vectors: { size: 0, distance: 'Dot' } }, 422, `${range}[vectors.size: value 0 invalid, must be from 1 to 65536]`],
  [
    'size 70000',
    { vectors: { size: 70_000, distance: 'Dot' } },
    422,
    `${range}[vectors.size: value 70000 invalid, must be from 1 to 65536]`,
  ],
  [
    'an unknown distance',
    { vectors: { size: 4, distance: 'Hamming' } },
    400,
    `${format}vectors.distance: unknown variant \`Hamming\`, expected one of \`Cosine\`, \`Euclid\`, \`Dot\`, \`Manhattan\``,
  ],
  [
    'an unknown datatype',
    { vectors: { size: 4, distance: 'Dot', datatype: 'float64' } },
    400,
    /^Format error in JSON body: vectors\.datatype: unknown variant `float64`/,
  ],
  ['no size', { vectors: { distance: 'Dot' } }, 400, `${format}vectors: missing field \`size\``],
  [
    'shard_number 0',
    { vectors: { size: 4, distance: 'Dot' }, shard_number: 0 },
    422,
    `${range}[shard_number: value 0 invalid, must be from 1 to 4294967295]`,
  ],
  [
    '10^9 shards',
    { vectors: { size: 4, distance: 'Dot' }, shard_number: 1e9 },
    400,
    'Wrong input: shard_number 1000000000 (at most 1000) is not supported by this version',
  ],
  [
    'ef_construct 1',
    { vectors: { size: 4, distance: 'Dot' }, hnsw_config: { ef_construct: 1 } },
    422,
    `${range}[hnsw_config.ef_construct: value 1 invalid, must be 4 or larger]`,
  ],
  [
    'a bad vector name',
    { vectors: { 'a/b': { size: 4, distance: 'Dot' } } },
    422,
    `${range}[vectors.?: vector name cannot contain "/" char]`,
  ],
];

export const badRequests: readonly BadInput[] = [
  ...malformed.map(([title, body, problem]) => ({ title, send: sendBody(body), status: 400, error: format + problem })),
  {
    title: 'no body',
    send: withJson('POST', scroll),
    status: 400,
    error: `${format}EOF while parsing a value at line 1 column 0`,
  },
  { title: 'an empty body', send: sendBody(''), status: 400, error: `${format}EOF while parsing a value at line 1 column 0` },
  {
    title: 'a type that is no JSON',
    send: withJson('POST', scroll, '{}', { 'content-type': 'text/plain' }),
    status: 400,
    error: 'Content type error: the body must be application/json, not text/plain',
  },
  {
    title: 'a body without a type',
    send: (world) => world.send({ method: 'POST', path: scroll, body: '{}' }),
    status: 400,
    error: 'Content type error: the body must be application/json, not without a type',
  },
  {
    title: 'a compressed body',
    send: withJson('POST', scroll, '{}', { 'content-encoding': 'gzip' }),
    status: 400,
    error: 'Content encoding gzip is not supported; send the body as it is',
  },
  {
    title: 'a body announced with 34 MiB',
    send: (world) =>
      world.send({
        method: 'PUT',
        path: '/collections/c/points',
        headers: { 'content-type': 'application/json' },
        body: Buffer.alloc(overBytes, 0x20),
      }),
    status: 400,
    error: `JSON payload (${overBytes} bytes) is larger than allowed (limit: ${limitBytes} bytes).`,
  },
  {
    title: 'a body of 34 MiB without a length',
    send: (world) =>
      world.send({
        method: 'PUT',
        path: '/collections/c/points',
        headers: { 'content-type': 'application/json' },
        body: spaces(overBytes),
      }),
    status: 400,
    error: `JSON payload has exceeded limit (${limitBytes} bytes).`,
  },
  {
    title: 'advisory 17: a body without an end',
    send: endlessBody,
    status: 400,
    error: `JSON payload has exceeded limit (${limitBytes} bytes).`,
  },
  {
    title: 'a body of 34 MiB that waits for leave to be sent',
    send: expectedBody,
    status: 400,
    error: `JSON payload (${overBytes} bytes) is larger than allowed (limit: ${limitBytes} bytes).`,
  },
  ...shapes.map(([title, method, path, body, status, error]) => ({ title, send: withJson(method, path, body), status, error })),
  ...creates.map(([title, body, status, error]) => ({
    title: `a new collection with ${title}`,
    send: withJson('PUT', '/collections/fresh', body),
    status,
    error,
  })),
  {
    title: 'a change of an unknown vector',
    send: withJson('PATCH', '/collections/c', { vectors: { foo: { on_disk: true } } }),
    status: 400,
    error: 'Wrong input: Not existing vector name error: foo',
  },
  {
    title: 'a change out of range behind a good one',
    send: withJson('PATCH', '/collections/c', { hnsw_config: { m: 3 }, optimizers_config: { deleted_threshold: 2 } }),
    status: 422,
    error: `${range}[optimizers_config.deleted_threshold: value 2.0 invalid, must be from 0.0 to 1.0]`,
  },
];

function sendBody(body: string | Uint8Array): BadInput['send'] {
  return (world) => world.send({ method: 'POST', path: scroll, headers: { 'content-type': 'application/json' }, body });
}

async function* spaces(sizeBytes: number): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(256 * 1024, 0x20);
  for (let sent = 0; sent < sizeBytes; sent += piece.length) yield piece;
}

/** The server answers, reads on for a moment so that the answer arrives, and hangs up: it does not take what it is offered. */
async function endlessBody({ url }: World): Promise<RawAnswer> {
  const offeredBytes = 512 * 1024 * 1024;
  const { text, sentBytes } = await sendBytes(url, chunked(url, offeredBytes));
  if (sentBytes > 192 * 1024 * 1024) throw new RangeError(`the server took ${sentBytes} bytes`);
  return parseAnswer(text);
}

async function* chunked(url: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  yield Buffer.from(head(url, 'transfer-encoding: chunked'));
  for await (const piece of spaces(sizeBytes))
    yield Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]);
}

/** With `Expect: 100-continue`: the body is refused without a byte of it. */
async function expectedBody({ url }: World): Promise<RawAnswer> {
  const headers = `expect: 100-continue\r\ncontent-length: ${overBytes}`;
  const { text } = await sendBytes(url, [Buffer.from(head(url, headers))], /HTTP\/1\.1 400 [^]*\}$/);
  return parseAnswer(text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, ''));
}

function head(url: string, headers: string): string {
  const { host, port } = target(url);
  return `PUT /collections/c/points HTTP/1.1\r\nhost: ${host}:${port}\r\napi-key: ${fullKey}\r\ncontent-type: application/json\r\n${headers}\r\n\r\n`;
}

function parseAnswer(text: string): RawAnswer {
  const [lines = '', body = ''] = text.split('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(lines)?.[1]),
    contentType: /content-type: (.*)/i.exec(lines)?.[1] ?? '',
    headers: {},
    text: body,
  };
}
