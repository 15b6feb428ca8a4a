// A client that asks for a download or a stream and then takes nothing: its connection is cut after the configured time, and what it
// held, a deleted snapshot's files or a stream's own, is gone.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { yieldToLoop } from '../../base/clock.ts';
import type { PointId } from '../../base/ids.ts';
import { silentLogger } from '../../base/logger.ts';
import { Engine } from '../../engine/engine.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { startRest } from './testing/rest-harness.ts';

/** Of points in the collection: more than sockets and streams hold on the way. */
const payloadBytes = 32 << 20;
const downloadIdleMs = 1_000;

/** In the folder and in those in it; what lies deeper may be on its way out. */
function temporaryBelow(folder: string): readonly string[] {
  const names = readdirSync(folder, { withFileTypes: true }).flatMap((entry) => [entry.name, ...(entry.isDirectory() && !isTemporary(entry.name) ? readdirSync(path.join(folder, entry.name)) : [])]);
  return names.filter(isTemporary);
}

function isTemporary(name: string): boolean {
  return name.startsWith('.tmp-');
}

/** Resolves with the first bytes of the answer; nothing more is taken until `drain`. */
async function stall(port: number, at: string): Promise<{ readonly head: string; readonly drain: () => Promise<number> }> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined); // a cut connection may be a reset
  socket.write(`GET ${at} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
  const head = await new Promise<Buffer>((resolve) => {
    socket.once('data', (piece) => {
      socket.pause();
      resolve(piece);
    });
  });
  return {
    head: head.toString('latin1'),
    drain: () => new Promise((resolve) => {
      let bytes = head.length;
      socket.on('data', (piece) => (bytes += piece.length));
      socket.on('close', () => {
        resolve(bytes);
      });
      socket.resume();
    }),
  };
}

test('a client that takes nothing is cut off, and nothing of its download or stream stays', async (t) => {
  await using folder = await temporaryFolder();
  const snapshots = path.join(folder.path, 'snapshots');
  await using engine = await Engine.open({ dataDirectory: path.join(folder.path, 'storage'), snapshotsDirectory: snapshots, logger: silentLogger, recovery: { urlRecovery: undefined, boundToLoopback: true } });
  await engine.createCollection('c', { vectors: { size: 2, distance: 'Dot' } });
  const payload = JSON.stringify({ text: 'x'.repeat(1 << 19) });
  for (let id = 0; id < payloadBytes / payload.length; id += 1) {
    await engine.write('c', { kind: 'upsert', points: [{ id: id as PointId, vectors: new Map([['', Float32Array.of(id, 1)]]), payload }] }, { wait: true });
  }
  const { name, sizeBytes } = await engine.snapshots.create('c');
  assert.ok(sizeBytes > payloadBytes / 2);
  const rest = await startRest(t, { engine, settings: { downloadIdleMs } });

  const download = await stall(rest.port, `/collections/c/snapshots/${name}`);
  assert.match(download.head, /^HTTP\/1\.1 200 /);
  assert.equal((await rest.send('DELETE', `/collections/c/snapshots/${name}`)).status, 200);
  while (temporaryBelow(snapshots).length > 0) await yieldToLoop(); // its reader holds it until the cut
  assert.ok((await download.drain()) < sizeBytes, 'the archive did not come whole');

  const stream = await stall(rest.port, '/collections/c/shards/0/snapshot');
  assert.match(stream.head, /^HTTP\/1\.1 200 /);
  while (temporaryBelow(snapshots).length > 0) await yieldToLoop();
  assert.ok((await stream.drain()) < sizeBytes, 'nor did the stream');
  assert.deepEqual(readdirSync(path.join(folder.path, 'storage')).filter((each) => each.startsWith('.staging')), []);
});
