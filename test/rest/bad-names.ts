// Hostile names: of collections, of snapshots, and of what a recover may read. None may reach a file or make one.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { form, recover, withJson, type BadInput, type World } from './bad-input-world.ts';

const vectors = { vectors: { size: 4, distance: 'Dot' } };
const long = 'n'.repeat(256);

/** Escaped name in a path and what is wrong with it; refused on every route. */
const everywhere: readonly (readonly [string, string, string])[] = [
  ['a slash', '%2F', 'collection name cannot contain "/" char'],
  ['a way out', '..%2F..%2Fetc', 'collection name cannot contain "/" char'],
  ['an escaped way out', '%2e%2e%2f', 'collection name cannot contain "/" char'],
  ['a NUL', 'a%00b', 'collection name cannot contain "\\u0000" char'],
  ['256 characters', long, `value "${long}" invalid, must be from 1 to 255 characters`],
  ['the folder above', '%2e%2e', 'collection name cannot be ".."'],
  ['the folder itself', '%2e', 'collection name cannot be "."'],
];
/** Refused for new collections only. */
const inNewNames: readonly (readonly [string, string, string])[] = [
  ['a backslash', '..%5c..%5cx', 'collection name cannot contain "\\" char'],
  ['a drive letter', 'c%3a', 'collection name cannot contain ":" char'],
  ['twice escaped', '%252e%252e%252f%3f', 'collection name cannot contain "?" char'],
  ['a bracket', '%3Cscript%3E', 'collection name cannot contain "<" char'],
  ['a control character', 'a%1f', 'collection name cannot contain "\\u001f" char'],
];

const collectionRoutes: readonly (readonly [string, string, unknown])[] = [
  ['GET', '', undefined],
  ['PUT', '', vectors],
  ['PATCH', '', {}],
  ['DELETE', '', undefined],
  ['GET', '/exists', undefined],
  ['PUT', '/points', { points: [] }],
  ['POST', '/points/scroll', {}],
  ['GET', '/snapshots', undefined],
  ['POST', '/snapshots', undefined],
  ['GET', '/snapshots/x.snapshot', undefined],
  ['DELETE', '/snapshots/x.snapshot', undefined],
  ['PUT', '/snapshots/recover', { location: 'http://127.0.0.1:1/x' }],
];

const snapshotNames: readonly (readonly [string, string])[] = [
  ['..%2F..%2Fetc%2Fpasswd', '../../etc/passwd'],
  ['..%2f..%2fsecret.snapshot', '../../secret.snapshot'],
  ['%2e%2e%2fempty.snapshot', '../empty.snapshot'],
  ['%2e%2e', '..'],
  ['.', '.'],
  ['..%5c..%5csecret.snapshot', '..\\..\\secret.snapshot'],
  ['x%00.snapshot', 'x\\0.snapshot'],
  ['%2Fetc%2Fpasswd', '/etc/passwd'],
  ['.hidden', '.hidden'],
  ['.hidden%2Fx.snapshot', '.hidden/x.snapshot'],
  ['absent.snapshot', 'absent.snapshot'],
  ['link.snapshot', 'link.snapshot'],
  [`${long}.snapshot`, `${long}.snapshot`],
  ['%252e%252e%252fempty.snapshot', '%2e%2e%2fempty.snapshot'],
];

const inside =
  (name: string) =>
  ({ snapshots }: World): { location: string } => ({ location: pathToFileURL(path.join(snapshots, name)).href });
const named = (location: string) => (): { location: string } => ({ location });
const notThere =
  (name: string) =>
  ({ snapshots }: World): string =>
    `Bad request: Snapshot file "${path.join(snapshots, name)}" does not exist`;
const outside = ({ snapshots }: World): string =>
  `Forbidden: Snapshot file path must be inside the snapshots directory "${snapshots}"`;
const invalid = 'Bad request: Invalid snapshot URI, file path must be absolute or on localhost';

const locations: readonly (readonly [string, (world: World) => unknown, number, BadInput['error']])[] = [
  ['a file outside the snapshots folder', named('file:///etc/passwd'), 403, outside],
  [
    'a file beside the data directory',
    ({ served }) => ({ location: pathToFileURL(path.join(path.dirname(served.data), 'secret.snapshot')).href }),
    403,
    outside,
  ],
  [
    'a file reached by a way up',
    ({ snapshots }) => ({ location: `file://${snapshots}/c/../../../secret.snapshot` }),
    403,
    outside,
  ],
  [
    'a file reached by an escaped way up',
    ({ snapshots }) => ({ location: `file://${snapshots}/c/%2e%2e/%2e%2e/%2e%2e/secret.snapshot` }),
    403,
    outside,
  ],
  ['a link that leads outside', inside('c/link.snapshot'), 403, outside],
  [
    'a file with escaped slashes',
    ({ snapshots }) => ({ location: `file://${snapshots}/c/..%2f..%2fsecret.snapshot` }),
    400,
    invalid,
  ],
  ['a file with a NUL', named('file:///etc/passwd%00.snapshot'), 400, invalid],
  ['a file on another host', named('file://elsewhere/etc/passwd'), 400, invalid],
  ['a file that is not there', inside('c/absent.snapshot'), 400, notThere('c/absent.snapshot')],
  ['a file that was not published', inside('c/.hidden/x.snapshot'), 400, notThere('c/.hidden/x.snapshot')],
  [
    'a file outside that is not there',
    named('file:///absent/x.snapshot'),
    400,
    'Bad request: Snapshot file "/absent/x.snapshot" does not exist',
  ],
  [
    'a folder that is no snapshot',
    inside('c'),
    400,
    ({ snapshots }) => `Bad request: Snapshot file "${path.join(snapshots, 'c')}" is not a snapshot`,
  ],
  ['a file without content', inside('empty.snapshot'), 400, /^Bad request: Invalid snapshot: archive/],
  ['another scheme', named('ftp://127.0.0.1/x'), 400, 'Bad request: URL ftp://127.0.0.1/x with scheme ftp is not supported'],
  ['a scheme that reads data', named('data:text/plain,x'), 400, /^Bad request: URL data:.* with scheme data is not supported$/],
  ['a bare name', named('x.snapshot'), 400, 'Format error in JSON body: location: relative URL without a base'],
  ['no location', () => ({}), 400, 'Format error in JSON body: missing field `location`'],
  [
    'a number as location',
    () => ({ location: 5 }),
    400,
    'Format error in JSON body: location: invalid type: integer `5`, expected a string',
  ],
  [
    'a URL with a password',
    named('http://user:secret@127.0.0.1/x'),
    400,
    'Bad request: URL with a user name or password is not supported; use api_key',
  ],
  ['a private address', named('http://10.1.2.3/x'), 403, /^Forbidden: Snapshot URL host 10\.1\.2\.3 is at an address/],
  [
    'the address of cloud metadata',
    named('http://169.254.169.254/latest'),
    403,
    /^Forbidden: Snapshot URL host 169\.254\.169\.254 /,
  ],
  [
    'a private address in other clothes',
    named('http://[::ffff:10.1.2.3]/x'),
    403,
    /^Forbidden: Snapshot URL host \[::ffff:a01:203\] /,
  ],
  ['a private address as one number', named('http://167772161/x'), 403, /^Forbidden: Snapshot URL host 10\.0\.0\.1 /],
];

/** What a client may call its file: a label, never a path. The content is refused, whatever the name. */
const fileNames = ['../../x', '/etc/cron.d/x', 'x\\..\\y', 'n'.repeat(4096), 'c.snapshot'];

export const badNames: readonly BadInput[] = [
  ...everywhere.flatMap(([what, name, problem]) =>
    collectionRoutes.map(([method, at, body]) => ({
      title: `${method} of a collection named by ${what}${at === '' ? '' : `, ${at}`}`,
      send: withJson(method, `/collections/${name}${at}`, body),
      status: 422,
      error: `Validation error in path parameters: [collection_name: ${problem}]`,
    })),
  ),
  ...inNewNames.flatMap(([what, name, problem]) =>
    (
      [
        ['PUT', '', vectors],
        ['PUT', '/snapshots/recover', { location: 'http://127.0.0.1:1/x' }],
      ] as const
    ).map(([method, at, body]) => ({
      title: `${method} of a new collection named by ${what}${at}`,
      send: withJson(method, `/collections/${name}${at}`, body),
      status: 422,
      error: `Validation error in path parameters: [collection_name: ${problem}]`,
    })),
  ),
  ...[...everywhere, ...inNewNames].map(([what, name, problem]) => ({
    title: `advisory 03: an upload to a collection named by ${what}`,
    send: (world: World) =>
      world.send({ method: 'POST', path: `/collections/${name}/snapshots/upload`, ...form(world.snapshot.archive) }),
    status: 422,
    error: `Validation error in path parameters: [collection_name: ${problem}]`,
  })),
  {
    title: 'an alias with a slash',
    send: withJson('POST', '/collections/aliases', { actions: [{ create_alias: { collection_name: 'c', alias_name: 'a/b' } }] }),
    status: 422,
    error: 'Validation error in JSON body: [actions[0].create_alias.alias_name: collection name cannot contain "/" char]',
  },
  { title: 'a path that cannot be decoded', send: withJson('GET', '/collections/%zz'), status: 400, error: /./ },
  {
    title: 'advisory 11: a path of bytes that are no UTF-8',
    send: withJson('GET', '/collections/%ff%fe'),
    status: 400,
    error: /./,
  },
  ...snapshotNames.flatMap(([name, shown]) =>
    ['GET', 'DELETE'].map((method) => ({
      title: `advisories 02, 07, 10: ${method} of a snapshot named ${name.slice(0, 40)}`,
      send: withJson(method, `/collections/c/snapshots/${name}`),
      status: 404,
      error: `Not found: Snapshot ${shown} not found`,
    })),
  ),
  ...locations.map(([title, body, status, error]) => ({
    title: `advisories 06, 09, 24: a recover from ${title}`,
    send: recover('fresh', body),
    status,
    error,
  })),
  ...fileNames.map((filename) => ({
    title: `advisory 01: an upload whose file is named ${filename.slice(0, 20)}`,
    status: 400,
    error: 'Bad request: Invalid snapshot: archive at byte 0: is not a nearkeep snapshot',
    send: (world: World) =>
      world.send({ method: 'POST', path: '/collections/fresh/snapshots/upload', ...form(Buffer.alloc(2048, 1), { filename }) }),
  })),
];
