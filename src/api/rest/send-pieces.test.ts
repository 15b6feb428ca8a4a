import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify from 'fastify';
import { sha256Hex } from '../../base/checksum.ts';
import { silentLogger } from '../../base/logger.ts';
import { frameworkLogger } from './framework-logger.ts';
import { sendPieces } from './send-pieces.ts';

const pieceBytes = 512 << 10;

interface Source {
  /** Pieces asked for so far. */
  asked: number;
  ended: boolean;
  readonly errors: unknown[];
}

/** Serves `count` pieces in one lent buffer, each filled with its number; the piece `failing` is an error instead. */
async function serve(t: TestContext, { count, failing = Infinity }: { readonly count: number; readonly failing?: number }): Promise<{ readonly source: Source; readonly port: number }> {
  const source: Source = { asked: 0, ended: false, errors: [] };
  async function* pieces(): AsyncGenerator<Buffer> {
    const lent = Buffer.alloc(pieceBytes);
    try {
      for (let at = 0; at < count; at += 1) {
        source.asked += 1;
        await new Promise(setImmediate);
        if (at === failing) throw Object.assign(new RangeError('the disk fails'), { code: 'EIO' });
        yield lent.fill(at);
      }
    } finally {
      source.ended = true;
    }
  }
  const app = Fastify({ loggerInstance: frameworkLogger({ ...silentLogger, error: (fields) => source.errors.push(fields) }) });
  app.get('/', async (_request, reply) => {
    reply.header('content-length', count * pieceBytes).header('x-name', 'a');
    await sendPieces(pieces(), reply);
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.after(() => app.close());
  return { source, port: (app.server.address() as AddressInfo).port };
}

async function get(port: number): Promise<http.IncomingMessage> {
  const request = http.get({ port, host: '127.0.0.1', agent: new http.Agent() });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return response;
}

test('a reader that pauses gets every piece as it was lent, and the source waits for it', async (t) => {
  const count = 60;
  const { source, port } = await serve(t, { count });
  const response = await get(port);
  assert.deepEqual([response.statusCode, response.headers['content-length'], response.headers['x-name']], [200, String(count * pieceBytes), 'a']);
  for (let seen = 0; seen === 0 || seen < source.asked;) { // nothing is read meanwhile: what the system holds fills up
    seen = source.asked;
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
  }
  assert.ok(source.asked < count, `${source.asked} pieces were asked for`);
  const got: Buffer[] = [];
  for await (const chunk of response) got.push(chunk as Buffer);
  const wanted = Buffer.concat(Array.from({ length: count }, (_, at) => Buffer.alloc(pieceBytes, at)));
  assert.equal(sha256Hex(Buffer.concat(got)), sha256Hex(wanted));
  assert.equal(source.ended, true);
});

test('a failure before the first byte is an answer; one behind it ends the connection and is logged', async (t) => {
  const first = await serve(t, { count: 3, failing: 0 });
  const refused = await get(first.port);
  refused.resume();
  assert.equal(refused.statusCode, 500);
  assert.equal(first.source.ended, true);
  const later = await serve(t, { count: 30, failing: 20 });
  const response = await get(later.port);
  let bytes = 0;
  await assert.rejects(async () => {
    for await (const chunk of response) bytes += (chunk as Buffer).length;
  }, /aborted/);
  assert.ok(bytes <= 20 * pieceBytes);
  assert.equal(later.source.ended, true);
  assert.match(JSON.stringify(later.source.errors), /the disk fails/);
});

test('a client that leaves lets the source go, and is no failure', async (t) => {
  const { source, port } = await serve(t, { count: 60 });
  const response = await get(port);
  response.destroy();
  while (!source.ended) await sleep(5);
  assert.ok(source.asked < 60);
  assert.deepEqual(source.errors, []);
});
