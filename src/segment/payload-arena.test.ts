import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PayloadArena } from './payload-arena.ts';

test('texts come back exactly, also across chunks, and pieces are all their bytes', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.tuple(fc.nat(300_000), fc.constantFrom('x', 'é', '漢', '🂡')).map(([length, unit]) => unit.repeat(length)),
  );
  fc.assert(fc.property(fc.array(text, { maxLength: 12 }), (texts) => {
    const arena = new PayloadArena();
    for (const one of texts) arena.push(one);
    assert.deepEqual(texts.map((_, row) => arena.text(row)), texts);
    assert.equal(Buffer.concat([...arena.pieces()]).toString('utf8'), texts.join(''));
    assert.deepEqual(texts.map((_, row) => arena.lengthBytes(row)), texts.map((one) => Buffer.byteLength(one)));
    assert.equal(arena.offsets().length, texts.length + 1);
    assert.equal(arena.offsets().at(-1), arena.sizeBytes);
  }), { numRuns: 15 });
});

test('a chunk that is exactly full goes on in the next', () => {
  const arena = new PayloadArena();
  const whole = 'a'.repeat(1 << 20);
  for (const one of [whole, '', 'b', whole]) arena.push(one);
  assert.deepEqual([0, 1, 2, 3].map((row) => arena.text(row)), [whole, '', 'b', whole]);
});
