// Without the native addon the same server runs on WebAssembly: announced, and with the same answers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, root, serveFolder } from '../support/server-process.ts';

const off = { NEARKEEP_NATIVE: 'off' };

test('the fallback says what it is at start, in the log and in telemetry', async () => {
  await using served = await serveFolder({ env: off });
  assert.match(served.server.output(), /kernel +wasm, exact scan only \(no native addon; install a C\+\+ compiler and run npm rebuild\)/);
  assert.match(served.server.output(), /"kernel":"wasm"/);
  const telemetry = await call(served.server.url, 'GET', '/telemetry');
  assert.match(telemetry.text, /"kernel":"wasm"/);
});

test('the tutorial runs on the fallback', async () => {
  await using served = await serveFolder({ env: off });
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(root, 'dist/examples/tutorial/tutorial.js')], {
    cwd: root, encoding: 'utf8', env: { ...cleanEnvironment(), QDRANT_MAIN_URL: served.server.url },
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /proved +256 points equal/);
});

test('native addon and fallback answer a search with the same ids and the same scores', async () => {
  const answers: string[] = [];
  for (const env of [{}, off]) {
    await using served = await serveFolder({ env });
    const { url } = served.server;
    await call(url, 'PUT', '/collections/c', { body: { vectors: { e: { size: 17, distance: 'Euclid' }, c: { size: 17, distance: 'Cosine', datatype: 'uint8' } } } });
    const points = Array.from({ length: 300 }, (_, id) => {
      const values = Array.from({ length: 17 }, (__, at) => (id * 31 + at * 7) % 101);
      return { id, vector: { e: values.map((value) => value / 7), c: values } };
    });
    await call(url, 'PUT', '/collections/c/points?wait=true', { body: { points } });
    for (const using of ['e', 'c']) {
      const { result } = await call(url, 'POST', '/collections/c/points/query', { body: { query: points[7]?.vector.c, using, limit: 50 } });
      answers.push(JSON.stringify(result));
    }
  }
  assert.deepEqual(answers.slice(0, 2), answers.slice(2));
});
