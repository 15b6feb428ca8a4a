// What clients of downloads see where the clock of the server has gone back since the snapshot was made.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../../base/logger.ts';
import { SteppedClock } from '../../base/testing/stepped-clock.ts';
import { Engine } from '../../engine/engine.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { startRest } from './testing/rest-harness.ts';

const year = 365 * 24 * 3_600_000;

test('a snapshot from the future is not dated later than its answer, and conditions about dates send it whole', async (t) => {
  await using folder = await temporaryFolder();
  const clock = new SteppedClock(Date.now() + 3 * year);
  await using engine = await Engine.open({
    dataDirectory: path.join(folder.path, 'storage'), snapshotsDirectory: path.join(folder.path, 'snapshots'), logger: silentLogger, clock,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
  await engine.createCollection('c', { vectors: { size: 2, distance: 'Dot' } });
  const { name } = await engine.snapshots.create('c');
  clock.step(-3 * year);
  const rest = await startRest(t, { engine });
  const at = `/collections/c/snapshots/${name}`;
  const whole = await rest.send('GET', at);
  const { date = '', etag = '', 'last-modified': modified = '' } = whole.headers;
  assert.ok(Date.parse(modified) <= Date.parse(date) + 1000, `${modified} and ${date}`);
  assert.equal((await rest.send('GET', at, { headers: { 'if-modified-since': modified } })).status, 200, 'a date that is not the true one proves nothing');
  assert.equal((await rest.send('GET', at, { headers: { range: 'bytes=10-19', 'if-range': modified } })).status, 200);
  assert.equal((await rest.send('GET', at, { headers: { range: 'bytes=10-19', 'if-range': etag } })).status, 206);
  assert.equal((await rest.send('GET', at, { headers: { 'if-none-match': etag } })).status, 304);
});
