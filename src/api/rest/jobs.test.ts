// The routes of jobs, over a real engine.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../../base/logger.ts';
import { Engine } from '../../engine/engine.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { startRest } from './testing/rest-harness.ts';

async function openEngine(folder: string): Promise<Engine> {
  const engine = await Engine.open({
    dataDirectory: path.join(folder, 'storage'),
    snapshotsDirectory: path.join(folder, 'snapshots'),
    logger: silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
  await engine.createCollection('c', { vectors: { size: 4, distance: 'Dot' } });
  return engine;
}

test('a job is listed, read, watched to its end and cannot be cancelled after it', async (t) => {
  await using folder = await temporaryFolder();
  await using engine = await openEngine(folder.path);
  const rest = await startRest(t, { engine });
  const accepted = await rest.send('POST', '/collections/c/snapshots?wait=false');
  const id = String(accepted.headers['x-nearkeep-job']);
  assert.equal(accepted.status, 202);
  const events = await rest.send('GET', `/cluster/jobs/${id}/events`);
  assert.match(String(events.headers['content-type']), /text\/event-stream/);
  const last = events.text.trim().split('\n\n').at(-1) ?? '';
  assert.match(last, /^data: \{"id":"[0-9a-f-]+","kind":"create","state":"succeeded","target":"c"/);
  const one = (await rest.send('GET', `/cluster/jobs/${id}`)).json().result as { readonly state: string; readonly snapshot: string };
  assert.equal(one.state, 'succeeded');
  assert.match(one.snapshot, /^c-\d+-.*\.snapshot$/);
  assert.equal(((await rest.send('GET', '/cluster/jobs')).json().result as { readonly jobs: unknown[] }).jobs.length, 1);
  assert.equal((await rest.send('DELETE', `/cluster/jobs/${id}`)).json().result, false);
  for (const path of ['/cluster/jobs/none', '/cluster/jobs/..%2fx', '/cluster/jobs/none/events']) {
    assert.equal((await rest.send('GET', path)).status, 404, path);
  }
  assert.equal((await rest.send('DELETE', '/cluster/jobs/none')).status, 404);
});

test('a failed restore that nobody waited for shows why', async (t) => {
  await using folder = await temporaryFolder();
  await using engine = await openEngine(folder.path);
  const rest = await startRest(t, { engine });
  const location = `file://${folder.path}/snapshots/none.snapshot`;
  const accepted = await rest.send('PUT', '/collections/c/snapshots/recover?wait=false', { json: { location } });
  assert.equal(accepted.status, 202);
  const events = await rest.send('GET', `/cluster/jobs/${String(accepted.headers['x-nearkeep-job'])}/events`);
  assert.match(events.text, /"state":"failed".*"error":\{"code":"bad-request","message":"Bad request: Snapshot file .* does not exist"\}/);
});

test('jobs need the manage right', async (t) => {
  const rest = await startRest(t, { keys: { apiKey: 'full', readOnlyApiKey: 'reader' } });
  for (const [method, path] of [
    ['GET', '/cluster/jobs'],
    ['GET', '/cluster/jobs/x'],
    ['GET', '/cluster/jobs/x/events'],
    ['DELETE', '/cluster/jobs/x'],
  ] as const) {
    assert.equal((await rest.send(method, path, { headers: { 'api-key': 'reader' } })).status, 403, path);
    assert.equal((await rest.send(method, path)).status, 401, path);
  }
});
