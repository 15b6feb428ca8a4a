// The commands that README.md and deploy/compose.yaml show start what they say: run as they stand, with other ports and folders.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { call } from '../support/rest-client.ts';
import { root, startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

const skip = noNats ?? false;
const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');

interface Command {
  readonly words: readonly string[];
  /** The same folder stands for another one in each container. */
  readonly folder: string;
}

/** Runs the commands at once and proves that they are one cluster. @param key sent where it is given */
async function checkCluster(commands: readonly Command[], replacements: readonly (readonly [from: string | RegExp, to: string])[], key?: string): Promise<void> {
  await using folder = await temporaryFolder();
  const dataOf = (at: number): string => path.join(folder.path, `node-${at}`);
  const started = await Promise.allSettled(commands.map(({ words, folder: own }, at) => startServer({
    data: dataOf(at),
    args: words.map((word) => (word === own ? dataOf(at) : replacements.reduce((text, [from, to]) => text.replaceAll(from, to), word))),
  })));
  const servers = started.flatMap((outcome): readonly ServerProcess[] => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  try {
    for (const outcome of started) assert.equal(outcome.status, 'fulfilled', outcome.status === 'rejected' ? String(outcome.reason) : '');
    const headers = key === undefined ? {} : { 'api-key': key };
    const urls = servers.map(({ url }) => url);
    const [first = '', , last = ''] = urls;
    for (const url of urls) assert.equal(Object.keys(((await call(url, 'GET', '/cluster', { headers })).result as { readonly peers: object }).peers).length, 3);
    if (key !== undefined) assert.equal((await call(first, 'GET', '/cluster')).status, 401);
    assert.equal((await call(first, 'PUT', '/collections/c', { headers, body: { vectors: { size: 2, distance: 'Dot' } } })).status, 200);
    const points = Array.from({ length: 20 }, (_, id) => ({ id, vector: [id, 1] }));
    assert.equal((await call(last, 'PUT', '/collections/c/points?wait=true', { headers, body: { points } })).status, 200);
    for (const url of urls) assert.deepEqual((await call(url, 'POST', '/collections/c/points/count', { headers, body: { exact: true } })).result, { count: 20 });
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
  for (const at of commands.keys()) verifySound(dataOf(at));
}

test('the three commands of README.md start three nodes', { skip }, async () => {
  const section = textOf('README.md').split(/^## /m).find((part) => part.startsWith('Three nodes\n')) ?? '';
  const lines = Array.from(section.matchAll(/^node bin\/nearkeep serve ([^#\n]*)/gm), ([, rest = '']) => rest.trim().split(/\s+/));
  assert.equal(lines.length, 3);
  const ports = await nodePorts(3);
  await checkCluster(
    lines.map((words) => ({ words, folder: words[words.indexOf('--data') + 1] ?? '' })),
    [...['6335', '6345', '6355'].map((port, at) => [port, String(ports[at]?.peer)] as const), [/^63[345]3$/g, '0']],
  );
});

interface Compose {
  readonly services: Readonly<Record<string, { readonly command: string; readonly build: { readonly dockerfile: string }; readonly secrets: readonly string[]; readonly volumes: readonly string[]; readonly ports: readonly string[] }>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const compose = parse(textOf('deploy/compose.yaml'), { merge: true }) as Compose;

test('deploy/compose.yaml names only what it defines', () => {
  const services = Object.entries(compose.services);
  assert.equal(services.length, 3);
  for (const [name, { command, build, secrets, volumes, ports }] of services) {
    assert.ok(existsSync(path.join(root, build.dockerfile)), build.dockerfile);
    assert.deepEqual(new Set(Array.from(command.matchAll(/\/run\/secrets\/(\S+)/g), ([, secret]) => secret)), new Set(secrets));
    for (const secret of secrets) assert.ok(Object.hasOwn(compose.secrets, secret), secret);
    assert.deepEqual(volumes, [`${name}:/data`]);
    assert.ok(Object.hasOwn(compose.volumes, name));
    assert.match(ports.join(' '), /^127\.0\.0\.1:\d+:6333$/);
    assert.ok(command.includes(`--uri http://${name}:6335 `));
  }
  assert.equal(new Set(services.map(([, { command }]) => /--peers (\S+)/.exec(command)?.[1])).size, 1);
  assert.match(textOf('deploy/Dockerfile'), /^ENTRYPOINT \["node", "\/opt\/nearkeep\/bin\/nearkeep"\]$/m);
});

test('the commands of deploy/compose.yaml start three nodes with a key', { skip }, async () => {
  await using folder = await temporaryFolder();
  const key = 'key-of-this-test';
  await writeFile(path.join(folder.path, 'cluster-secret'), 'secret-of-this-test\n');
  await writeFile(path.join(folder.path, 'api-key'), `${key}\n`);
  const ports = await nodePorts(3);
  const names = Object.keys(compose.services);
  const commands = Object.values(compose.services).map(({ command }, at) => {
    const [verb, ...words] = command.split(/\s+/);
    assert.equal(verb, 'serve');
    return { words: words.map((word, place) => (words[place - 1] === '--peer-port' ? String(ports[at]?.peer) : word)), folder: '/data' };
  });
  await checkCluster(commands, [
    ...names.map((name, at) => [`${name}:6335`, `127.0.0.1:${ports[at]?.peer}`] as const),
    ['/run/secrets', folder.path], [/^0\.0\.0\.0$/g, '127.0.0.1'], [/^6333$/g, '0'],
  ], key);
});
