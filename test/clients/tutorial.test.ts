// The tutorial as a newcomer runs it, with both official clients, and its shell lines as they stand in the comments.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { inTime } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { judgingProxy } from '../support/judging-proxy.ts';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, root, serveFolder } from '../support/server-process.ts';

const python = process.env['NEARKEEP_TEST_PYTHON'] ?? '';
const skipPython = python === '' ? 'no Python with the official client' : false;
const key = 'tutorial-key';
const runMsMax = 600_000;
const tutorial = path.join(root, 'examples/tutorial');
const arxiv = process.env['NEARKEEP_PAPERS'] ?? path.resolve(root, '../shared/data/arxiv');

interface Run {
  readonly status: number | null;
  readonly output: string;
}

/** @throws RangeError with its output where it does not end */
async function run(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Run> {
  const child = spawn(program, args, { cwd: root, env: { ...cleanEnvironment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const ended = new Promise<Run>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.on('close', (status) => {
      resolve({ status, output });
    });
  });
  return await inTime(ended, runMsMax, () => {
    child.kill('SIGTERM');
    return new RangeError(`${program} ${args.join(' ')} did not end within ${runMsMax} ms:\n${output}`);
  });
}

/** Runs a tutorial through the judging proxy against a server with a key. */
async function checkTutorial(program: string, file: string, more: Readonly<Record<string, string>> = {}): Promise<string> {
  await using served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: key } });
  await using proxy = await judgingProxy(served.server.url);
  const { status, output } = await run(program, [file], { QDRANT_MAIN_URL: proxy.url, QDRANT_NODES: proxy.url, QDRANT_API_KEY: key, ...more });
  assert.equal(status, 0, output);
  assert.deepEqual(proxy.complaints(), []);
  assert.ok(proxy.count() > 10, 'the client went through the proxy');
  return output;
}

test('the Python tutorial runs against a server with a key', { skip: skipPython }, async () => {
  assert.match(await checkTutorial(python, path.join(tutorial, 'tutorial.py')), /proved +256 points equal/);
});

test('the TypeScript tutorial runs against a server with a key', async () => {
  assert.match(await checkTutorial(process.execPath, path.join(root, 'dist/examples/tutorial/tutorial.js')), /proved +256 points equal/);
});

test('the Python tutorial runs with 32,768 real papers', { skip: skipPython !== false ? skipPython : existsSync(arxiv) ? false : `no papers in ${arxiv}` }, async () => {
  assert.match(await checkTutorial(python, path.join(tutorial, 'tutorial.py'), { PAPERS: arxiv }), /proved +32768 points equal/);
});

test('a wrong key ends the tutorial with an error', { skip: skipPython }, async () => {
  await using served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: key } });
  const { status, output } = await run(python, [path.join(tutorial, 'tutorial.py')], { QDRANT_MAIN_URL: served.server.url, QDRANT_API_KEY: 'no' });
  assert.notEqual(status, 0);
  assert.match(output, /Invalid API key or JWT/);
});

test('the shell lines in the comments do the same by hand', async () => {
  const lines = readFileSync(path.join(tutorial, 'tutorial.py'), 'utf8').split('\n').flatMap((line) => /^\s*# \$ (.*)$/.exec(line)?.[1] ?? []);
  assert.ok(lines.length >= 6, 'the tutorial shows its steps as shell lines');
  await using served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: key } });
  await using folder = await temporaryFolder();
  const { url } = served.server;
  const headers = { 'api-key': key };
  await call(url, 'PUT', '/collections/test_collection', { headers, body: { vectors: { size: 768, distance: 'Cosine' } } });
  const points = [1, 2, 3].map((id) => ({ id, vector: Array.from({ length: 768 }, (_, at) => Math.sin(id + at)), payload: { title: `paper ${id}` } }));
  await call(url, 'PUT', '/collections/test_collection/points?wait=true', { headers, body: { points } });
  let name = '';
  for (const line of lines) {
    if (line.startsWith('wget') && spawnSync('wget', ['--version']).status !== 0) continue;
    const { status, output } = await run('bash', ['-c', `cd '${folder.path}' && ${line}`], { NODE: url, KEY: key, NAME: name });
    assert.equal(status, 0, `${line}\n${output}`);
    if (line.includes('/snapshots"') && !line.includes('$NAME')) name = (JSON.parse(output) as { result: { name: string } }).result.name;
  }
  const restored = await call(url, 'POST', '/collections/curl_import/points/count', { headers, body: { exact: true } });
  assert.deepEqual(restored.result, { count: 3 });
});

/** `npm run tutorial` with a folder for temporary files of its own; in the end that is empty, and no process has to do with it. */
async function runTutorial(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  await using folder = await temporaryFolder();
  const before = dataFolders();
  const ran = await run(process.execPath, [path.join(root, 'scripts/tutorial.mjs'), ...args], { ...env, TMPDIR: folder.path });
  assert.deepEqual(readdirSync(folder.path), [], ran.output);
  assert.deepEqual(processesOf(folder.path), [], ran.output);
  assert.deepEqual(dataFolders(), before);
  return ran;
}

function dataFolders(): readonly string[] {
  return readdirSync(root).filter((name) => name === 'storage' || name === 'snapshots').sort();
}

/** Command lines that name the folder. */
function processesOf(folder: string): readonly string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      return line.includes(folder) ? [line] : [];
    } catch {
      return []; // it has ended since
    }
  });
}

test('npm run tutorial leaves nothing behind', { skip: skipPython }, async () => {
  const { status, output } = await runTutorial(['--limit', '120']);
  assert.equal(status, 0, output);
  assert.match(output, /proved +120 points equal at 2 addresses/);
});

for (const [client, args, skip] of [['Python', [], skipPython], ['TypeScript', ['--js'], false]] as const) {
  test(`npm run tutorial over three nodes and https restores into a second cluster and leaves nothing behind, in ${client}`, { skip: noNats ?? skip }, async () => {
    const { status, output } = await runTutorial(['--nodes', '3', ...args]);
    assert.equal(status, 0, output);
    assert.match(output, /proved +256 points equal at 8 addresses/);
  });
}

test('npm run tutorial over three nodes leaves nothing behind where it fails', { skip: noNats ?? false }, async () => {
  const { status, output } = await runTutorial(['--nodes', '3', '--js', '--papers', path.join(root, 'no-papers')]);
  assert.equal(status, 1, output);
  assert.match(output, /no-papers/);
});

test('npm run tutorial leaves nothing behind where its nodes do not start', { skip: noNats ?? false }, async () => {
  const { status, output } = await runTutorial(['--nodes', '3', '--js'], { NATS_SERVER_BIN: path.join(root, 'no-nats-server') });
  assert.equal(status, 1, output);
  assert.match(output, /the server ended with \d+ before it listened/);
});
