// The tutorial as a newcomer runs it, with both official clients, and its shell lines as they stand in the comments.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { judgingProxy } from '../support/judging-proxy.ts';
import { call } from '../support/rest-client.ts';
import { python, run, runTutorial, skipPython } from '../support/run-tutorial.ts';
import { root, serveFolder } from '../support/server-process.ts';

const key = 'tutorial-key';
const tutorial = path.join(root, 'examples/tutorial');
const arxiv = process.env['NEARKEEP_PAPERS'] ?? path.resolve(root, '../shared/data/arxiv');

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

test('npm run tutorial leaves nothing behind', { skip: skipPython }, async () => {
  const { status, output } = await runTutorial(['--limit', '120']);
  assert.equal(status, 0, output);
  assert.match(output, /proved +120 points equal at 2 addresses/);
});
