import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { parsePointId } from '../base/ids.ts';
import { seededRandom } from '../base/testing/random.ts';
import { sliceOf } from './slice-hash.ts';

const wide = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => wide((value << bits) | (value >> (64n - bits)));

/** SipHash-2-4 straight from its definition. */
function sipHash(key: Buffer, input: Buffer): bigint {
  const [k0, k1] = [key.readBigUInt64LE(0), key.readBigUInt64LE(8)];
  let [v0, v1, v2, v3] = [k0 ^ 0x736f6d6570736575n, k1 ^ 0x646f72616e646f6dn, k0 ^ 0x6c7967656e657261n, k1 ^ 0x7465646279746573n];
  const round = (): void => {
    v0 = wide(v0 + v1);
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = wide(v2 + v3);
    v3 = rotate(v3, 16n) ^ v2;
    v0 = wide(v0 + v3);
    v3 = rotate(v3, 21n) ^ v0;
    v2 = wide(v2 + v1);
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  const padded = Buffer.alloc((Math.floor(input.length / 8) + 1) * 8);
  input.copy(padded);
  padded[padded.length - 1] = input.length & 0xff;
  for (let at = 0; at < padded.length; at += 8) {
    const word = padded.readBigUInt64LE(at);
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  v2 ^= 0xffn;
  round();
  round();
  round();
  round();
  return v0 ^ v1 ^ v2 ^ v3;
}

test('the reference in this test has the published vector', () => {
  const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, (_, at) => at));
  assert.equal(sipHash(bytes(16), bytes(15)), 0xa129ca6149be45e5n);
});

test('a slice is SipHash-2-4 with key zero, modulo the total', () => {
  const random = seededRandom(7);
  const key = Buffer.alloc(16);
  for (let round = 0; round < 300; round += 1) {
    const total = 1 + random.below(round % 2 === 0 ? 16 : 2 ** 32 - 1);
    const integer = Buffer.alloc(8);
    for (let at = 0; at < 8; at += 1) integer[at] = random.below(256);
    if (round % 3 === 0) integer.fill(0, 2);
    const uuid = Buffer.from(Array.from({ length: 16 }, () => random.below(256)));
    const hex = uuid.toString('hex');
    assert.equal(
      sliceOf(must(parsePointId(integer.readBigUInt64LE(0)), 'an id'), total),
      Number(sipHash(key, integer) % BigInt(total)),
    );
    assert.equal(sliceOf(must(parsePointId(hex), 'an id'), total), Number(sipHash(key, uuid) % BigInt(total)));
  }
});
