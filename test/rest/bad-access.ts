// Requests without the right key, and query parameters that no route takes.
import { fullKey, readKey, withJson, type BadInput, type Refusal } from './bad-input-world.ts';
import { sendRaw } from '../support/raw-client.ts';

const scroll = '/collections/c/points/scroll';

const parameters: readonly (readonly [string, string, string, ...Refusal])[] = [
  [
    'wait=x',
    'PUT',
    '/collections/c/points?wait=x',
    400,
    'Deserialize error in query parameters: wait: provided string was not `true` or `false`',
  ],
  [
    'wait=1',
    'POST',
    '/collections/c/snapshots?wait=1',
    400,
    'Deserialize error in query parameters: wait: provided string was not `true` or `false`',
  ],
  [
    'an unknown ordering',
    'PUT',
    '/collections/c/points?ordering=x',
    400,
    'Deserialize error in query parameters: ordering: unknown variant `x`, expected one of `weak`, `medium`, `strong`',
  ],
  [
    'timeout=0 of a write',
    'PUT',
    '/collections/c/points?timeout=0',
    422,
    'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]',
  ],
  [
    'timeout=x of a write',
    'PUT',
    '/collections/c/points?timeout=x',
    400,
    'Deserialize error in query parameters: timeout: invalid digit found in string',
  ],
  [
    'timeout=0 of a read',
    'POST',
    '/collections/c/points/scroll?timeout=0',
    422,
    'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]',
  ],
  [
    'timeout=0 of a create',
    'PUT',
    '/collections/fresh?timeout=0',
    422,
    'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]',
  ],
  [
    'timeout=-1 of a delete',
    'DELETE',
    '/collections/c?timeout=-1',
    400,
    'Deserialize error in query parameters: timeout: invalid digit found in string',
  ],
  [
    'consistency=0',
    'POST',
    '/collections/c/points/scroll?consistency=0',
    422,
    'Validation error in query parameters: [consistency: value 0 invalid, must be 1 or larger]',
  ],
  [
    'an unknown consistency',
    'POST',
    '/collections/c/points/scroll?consistency=most',
    400,
    'Deserialize error in query parameters: consistency: data did not match any variant of untagged enum ReadConsistency',
  ],
  [
    'anonymize=x',
    'GET',
    '/telemetry?anonymize=x',
    400,
    'Deserialize error in query parameters: anonymize: provided string was not `true` or `false`',
  ],
  [
    'details_level=-1',
    'GET',
    '/telemetry?details_level=-1',
    400,
    'Deserialize error in query parameters: details_level: invalid digit found in string',
  ],
  [
    'timeout=0 of metrics',
    'GET',
    '/metrics?timeout=0',
    422,
    'Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]',
  ],
  [
    'timeout=x of telemetry',
    'GET',
    '/telemetry?timeout=x',
    400,
    'Deserialize error in query parameters: timeout: invalid digit found in string',
  ],
  [
    'per_collection of metrics',
    'GET',
    '/metrics?per_collection=true',
    400,
    'Bad request: the parameter per_collection is not supported by this version',
  ],
  [
    'per_collection of telemetry',
    'GET',
    '/telemetry?per_collection=true',
    400,
    'Bad request: the parameter per_collection is not supported by this version',
  ],
  [
    'an unknown priority',
    'POST',
    '/collections/c/snapshots/upload?priority=x',
    400,
    'Deserialize error in query parameters: priority: unknown variant `x`, expected one of `no_sync`, `snapshot`, `replica`',
  ],
  [
    'a checksum that is none',
    'POST',
    '/collections/c/snapshots/upload?checksum=x',
    422,
    /^Validation error in query parameters: \[checksum: .*invalid_sha256_hash/,
  ],
  [
    'wait=x of an upload',
    'POST',
    '/collections/c/snapshots/upload?wait=x',
    400,
    'Deserialize error in query parameters: wait: provided string was not `true` or `false`',
  ],
];

/** What a read-only key must not do, whatever the body holds. */
const changes: readonly (readonly [string, string])[] = [
  ['PUT', '/collections/fresh'],
  ['PATCH', '/collections/c'],
  ['DELETE', '/collections/c'],
  ['POST', '/collections/aliases'],
  ['POST', '/collections/c/cluster'],
  ['PUT', '/collections/c/shards'],
  ['POST', '/collections/c/shards/delete'],
  ['PUT', '/collections/c/points'],
  ['POST', '/collections/c/points/delete'],
  ['PUT', '/collections/c/points/vectors'],
  ['POST', '/collections/c/points/vectors/delete'],
  ['POST', '/collections/c/points/payload'],
  ['PUT', '/collections/c/points/payload'],
  ['POST', '/collections/c/points/payload/delete'],
  ['POST', '/collections/c/points/payload/clear'],
  ['POST', '/collections/c/points/batch'],
  ['PUT', '/collections/c/index'],
  ['DELETE', '/collections/c/index/n'],
  ['PUT', '/collections/c/vectors/v'],
  ['DELETE', '/collections/c/vectors/v'],
  ['POST', '/collections/c/snapshots'],
  ['DELETE', '/collections/c/snapshots/x.snapshot'],
  ['PUT', '/collections/c/snapshots/recover'],
  ['POST', '/collections/c/snapshots/upload'],
];

const needingKeys: readonly (readonly [string, string])[] = [
  ...changes,
  ['GET', '/collections'],
  ['GET', '/collections/c'],
  ['POST', scroll],
  ['GET', '/collections/c/snapshots'],
  ['GET', '/metrics'],
  ['GET', '/telemetry'],
  ['GET', '/no/such/route'],
];

const anonymous =
  (method: string, path: string, headers: Readonly<Record<string, string>> = {}): BadInput['send'] =>
  ({ url }) =>
    sendRaw(url, {
      method,
      path,
      headers: { 'content-type': 'application/json', ...headers },
      ...(method === 'GET' ? {} : { body: '{}' }),
    });

export const badAccess: readonly BadInput[] = [
  ...parameters.map(([title, method, path, status, error]) => ({
    title: `the parameter ${title}`,
    send: withJson(method, path, method === 'GET' || method === 'DELETE' ? undefined : {}),
    status,
    error,
  })),
  ...needingKeys.flatMap(([method, path]) => [
    {
      title: `${method} ${path} without a key`,
      send: anonymous(method, path),
      status: 401,
      error: 'Must provide an API key or an Authorization bearer token',
    },
    {
      title: `${method} ${path} with a wrong key`,
      send: anonymous(method, path, { 'api-key': `${fullKey}x` }),
      status: 401,
      error: 'Invalid API key or JWT',
    },
  ]),
  ...changes.map(([method, path]) => ({
    title: `${method} ${path} with the read-only key`,
    send: anonymous(method, path, { 'api-key': readKey }),
    status: 403,
    error: 'Forbidden: Global manage access is required',
  })),
  {
    title: 'a wrong bearer token',
    send: anonymous('GET', '/collections', { authorization: 'Bearer nobody' }),
    status: 401,
    error: 'Invalid API key or JWT',
  },
  {
    title: 'the right key in the wrong place',
    send: anonymous('GET', `/collections?api-key=${fullKey}`),
    status: 401,
    error: 'Must provide an API key or an Authorization bearer token',
  },
  { title: 'a route that is none', send: withJson('GET', '/collections/c/nothing'), status: 404, error: '' },
  { title: 'a method that the path has not', send: withJson('POST', '/collections/c', {}), status: 405, error: '' },
];
