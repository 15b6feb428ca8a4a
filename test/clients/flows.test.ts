// The official Python client, every method that has a route here, through the judging proxy: flows.py asserts the values, the
// proxy the shapes of all answers.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { judgingProxy, type JudgingProxy } from '../support/judging-proxy.ts';
import { cleanEnvironment, root, serveFolder, type ServedFolder } from '../support/server-process.ts';

const python = process.env['NEARKEEP_TEST_PYTHON'] ?? '';
const skip = python === '' ? 'no Python with the official client' : false;
const key = 'flows-key';

/** Section of flows.py → title. */
const sections: readonly (readonly [string, string])[] = [
  ['service', 'Python client: version and cluster status'],
  ['collections', 'Python client: collections of every distance, datatype and number of shards live and die'],
  ['no-vectors', 'Python client: a collection without vectors'],
  ['configuration', 'Python client: configurations are kept, shown and changed'],
  ['aliases', 'Python client: aliases'],
  ['indexes', 'Python client: payload indexes of the six types'],
  ['vector-names', 'Python client: named vectors come and go'],
  ['upserts', 'Python client: upserts as lists and batches, ids up to 2^64-1 and UUIDs, waiting and not'],
  ['uploads', 'Python client: upload_points and upload_collection'],
  ['conditional', 'Python client: update_mode and update_filter'],
  ['pages', 'Python client: scroll by id, page by page'],
  ['order-by', 'Python client: scroll with order_by'],
  ['deletes', 'Python client: deletes by ids and by filter, counts'],
  ['payload-edits', 'Python client: payloads are set, overwritten, deleted and cleared'],
  ['vector-edits', 'Python client: vectors are updated and deleted'],
  ['batches', 'Python client: batch_update_points with every kind of operation'],
  ['exactness', 'Python client: payloads and ids come back digit for digit'],
  ['too-large', 'Python client: a body over the limit is told so'],
  ['filters', 'Python client: filters of every kind, without and with indexes'],
  ['scores', 'Python client: scores of every distance and datatype'],
  ['search-parameters', 'Python client: the parameters of a query'],
  ['search-batches', 'Python client: query_batch_points, and the older search routes'],
  ['snapshots', 'Python client: snapshots are made, listed, downloaded and deleted'],
  ['restores', 'Python client: snapshots are restored from a file, a URL and an upload'],
];

interface Outcome {
  readonly section: string;
  readonly error: string | null;
}

let served: ServedFolder | undefined;
let proxy: JudgingProxy | undefined;
let outcomes: ReadonlyMap<string, string | null> = new Map();
let rest = '';

before(async () => {
  if (skip !== false) return;
  served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: key } });
  proxy = await judgingProxy(served.server.url);
  const output = await runFlows({
    FLOWS_URL: proxy.url,
    FLOWS_SERVER_URL: served.server.url,
    FLOWS_API_KEY: key,
    FLOWS_SNAPSHOTS: path.join(served.data, 'snapshots'),
    PYTHONDONTWRITEBYTECODE: '1',
  });
  const lines = output.split('\n');
  outcomes = new Map(
    lines
      .filter((line) => line.startsWith('{"section":'))
      .map((line) => JSON.parse(line) as Outcome)
      .map(({ section, error }) => [section, error]),
  );
  rest = lines.filter((line) => !line.startsWith('{"section":')).join('\n');
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await served?.[Symbol.asyncDispose](); // proves with verify --deep that the flows left a sound folder
});

for (const [section, title] of sections) {
  test(title, { skip }, () => {
    assert.ok(outcomes.has(section), `the section was not run:\n${rest}`);
    assert.equal(outcomes.get(section), null, outcomes.get(section) ?? '');
  });
}

test('Python client: every section has its test, and every answer its schema', { skip }, () => {
  assert.deepEqual(
    [...outcomes.keys()],
    sections.map(([section]) => section),
  );
  assert.deepEqual(proxy?.complaints(), []);
  assert.equal(rest.trim(), '');
});

function runFlows(env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(python, [path.join(root, 'test/clients/flows.py')], {
      env: { ...cleanEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const listen = (data: Buffer): void => {
      output += data.toString();
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('close', () => {
      resolve(output);
    });
  });
}
