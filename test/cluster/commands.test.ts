// The commands that README.md and deploy/compose.yaml show start what they say: run as they stand, with other ports and folders.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { must } from '../../src/base/assert.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { call } from '../support/rest-client.ts';
import { root } from '../support/server-process.ts';
import { startProcesses, type NodePlace } from './process-cluster.ts';

const skip = noNats ?? false;
const portOf = (peer = ''): string => peer.slice(peer.lastIndexOf(':') + 1);
const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');

interface Command {
  readonly words: readonly string[];
  /** The same folder stands for another one in each container. */
  readonly folder: string;
}

type Replacements = readonly (readonly [from: string | RegExp, to: string])[];

/** Runs the commands at once and proves that they are one cluster. @param key sent where it is given */
async function checkCluster(commands: readonly Command[], replacementsOf: (node: NodePlace) => Replacements, key?: string): Promise<void> {
  await using nodes = await startProcesses(commands.length, { argsOf: (node) => {
    const { words, folder } = must(commands[node.at], 'one for each node');
    return words.map((word) => (word === folder ? node.data : replacementsOf(node).reduce((text, [from, to]) => text.replaceAll(from, to), word)));
  } });
  const headers = key === undefined ? {} : { 'api-key': key };
  const urls = commands.map((_, at) => nodes.node(at).url);
  const [first = '', , last = ''] = urls;
  for (const url of urls) assert.equal(Object.keys(((await call(url, 'GET', '/cluster', { headers })).result as { readonly peers: object }).peers).length, 3);
  if (key !== undefined) assert.equal((await call(first, 'GET', '/cluster')).status, 401);
  assert.equal((await call(first, 'PUT', '/collections/c', { headers, body: { vectors: { size: 2, distance: 'Dot' } } })).status, 200);
  const points = Array.from({ length: 20 }, (_, id) => ({ id, vector: [id, 1] }));
  assert.equal((await call(last, 'PUT', '/collections/c/points?wait=true', { headers, body: { points } })).status, 200);
  for (const url of urls) assert.deepEqual((await call(url, 'POST', '/collections/c/points/count', { headers, body: { exact: true } })).result, { count: 20 });
}

test('the three commands of README.md start three nodes', { skip }, async () => {
  const section = textOf('README.md').split(/^## /m).find((part) => part.startsWith('Three nodes\n')) ?? '';
  const lines = Array.from(section.matchAll(/^node bin\/nearkeep serve ([^#\n]*)/gm), ([, rest = '']) => rest.trim().split(/\s+/));
  assert.equal(lines.length, 3);
  await checkCluster(
    lines.map((words) => ({ words, folder: words[words.indexOf('--data') + 1] ?? '' })),
    ({ peers }) => [...['127.0.0.1:6335', '127.0.0.1:6345', '127.0.0.1:6355'].map((peer, at) => [peer, peers[at] ?? ''] as const), ...['6335', '6345', '6355'].map((port, at) => [new RegExp(`^${port}$`, 'g'), portOf(peers[at])] as const), [/^63[345]3$/g, '0']],
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
  const names = Object.keys(compose.services);
  const commands = Object.values(compose.services).map(({ command }) => {
    const [verb, ...words] = command.split(/\s+/);
    assert.equal(verb, 'serve');
    return { words, folder: '/data' };
  });
  await checkCluster(commands, ({ ports, peers }) => [
    ...names.map((name, at) => [`${name}:6335`, peers[at] ?? ''] as const), [/^6335$/g, String(ports.peer)],
    ['/run/secrets', folder.path], [/^0\.0\.0\.0$/g, '127.0.0.1'], [/^6333$/g, '0'],
  ], key);
});
