import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slices } from './envelope.ts';

async function gather(pieces: readonly string[]): Promise<Buffer[]> {
  async function* all(): AsyncGenerator<string> { yield* pieces; }
  const out: Buffer[] = [];
  for await (const slice of slices(all())) out.push(slice);
  return out;
}

test('slices joined are the text, and none is longer than 256 KiB', async () => {
  const cases = [['a'], [], [''], Array.from({ length: 50_000 }, (_, at) => `{"id":${at}},`), ['x'.repeat(1_000_000)], ['ab', '語'.repeat(300_000)], [`a${'😀'.repeat(200_000)}`]];
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
  async function* all(): AsyncGenerator<string> { yield* slow(); }
  for await (const slice of slices(all())) assert.equal(slice.byteLength, 10);
  isRunning = false;
  assert.ok(turns >= 9, `${turns} turns`);
});
