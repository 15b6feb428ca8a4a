import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import Fastify from 'fastify';
import { sendAnswer, slices } from './envelope.ts';
import { frameworkLogger } from './framework-logger.ts';

async function gather(pieces: readonly string[]): Promise<Buffer[]> {
  async function* all(): AsyncGenerator<string> {
    yield* pieces;
  }
  const out: Buffer[] = [];
  for await (const slice of slices(all())) out.push(Buffer.from(slice));
  return out;
}

test('slices joined are the text, and none is longer than 256 KiB', async () => {
  const cases = [
    ['a'],
    [],
    [''],
    Array.from({ length: 50_000 }, (_, at) => `{"id":${at}},`),
    ['x'.repeat(1_000_000)],
    ['ab', '語'.repeat(300_000)],
    [`a${'😀'.repeat(200_000)}`],
  ];
  for (const pieces of cases) {
    const out = await gather(pieces);
    assert.ok(out.every((slice) => slice.byteLength <= 256 * 1024));
    assert.equal(Buffer.concat(out).toString('utf8'), pieces.join(''));
  }
});

test('long work lets the event loop run', async () => {
  let turns = 0;
  let isRunning = true;
  const count = (): void => {
    turns += 1;
    if (isRunning) setImmediate(count);
  };
  setImmediate(count);
  function* slow(): Generator<string> {
    for (let at = 0; at < 10; at += 1) {
      const start = performance.now();
      while (performance.now() - start < 6);
      yield 'x';
    }
  }
  async function* all(): AsyncGenerator<string> {
    yield* slow();
  }
  for await (const slice of slices(all())) assert.equal(slice.length, 10);
  isRunning = false;
  assert.ok(turns >= 9, `${turns} turns`);
});

async function serve(
  t: TestContext,
  pieces: () => Iterable<string>,
): Promise<{ readonly url: string; readonly logged: unknown[] }> {
  const logged: unknown[] = [];
  const ignore = (): void => undefined;
  const app = Fastify({
    loggerInstance: frameworkLogger({ info: ignore, warn: ignore, error: (fields) => logged.push(fields['error']) }),
  });
  app.get('/', async (_request, reply) => {
    await sendAnswer(reply, { kind: 'result-text', pieces: pieces() });
    return reply;
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  return { url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`, logged };
}

test('a short result is sent with its length, a long one chunked; both whole', async (t) => {
  const short = await fetch((await serve(t, () => ['[1', ',2]'])).url);
  assert.equal(short.headers.get('content-length'), String((await short.clone().arrayBuffer()).byteLength));
  assert.deepEqual(((await short.json()) as { result: unknown }).result, [1, 2]);
  const numbers = Array.from({ length: 200_000 }, (_, at) => at);
  const long = await fetch(
    (
      await serve(t, function* () {
        for (const at of numbers) yield `${at === 0 ? '[' : ','}${at}`;
        yield ']';
      })
    ).url,
  );
  assert.equal(long.headers.get('content-length'), null);
  const body = (await long.json()) as Record<string, unknown>;
  assert.deepEqual([Object.keys(body), body['status'], body['result']], [['result', 'status', 'time'], 'ok', numbers]);
});

test('a result that fails in the middle is cut, never closed as if whole, and logged once', async (t) => {
  const { url, logged } = await serve(t, function* () {
    yield `["${'x'.repeat(1_000_000)}"`;
    throw new TypeError('damaged row');
  });
  const response = await fetch(url);
  assert.equal(response.status, 200);
  await assert.rejects(response.text());
  assert.deepEqual(logged, ['damaged row']);
});

test('a result that fails at its start is an error answer', async (t) => {
  const { url } = await serve(t, function* () {
    yield '[';
    throw new TypeError('damaged row');
  });
  assert.equal((await fetch(url)).status, 500);
});
