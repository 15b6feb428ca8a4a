// The slice of a point: SipHash-2-4 with a zero key over the id, modulo the number of slices. A public contract of the API:
// clients split a collection by it. Input: 8 little-endian bytes of an integer id, or the 16 bytes of a UUID.
// 64-bit words are pairs of 32-bit halves: about ten times as fast as bigint, and every live row is hashed.
import type { PointId } from '../base/ids.ts';

// v0..v3 as [low, high, …]; the constants of SipHash with key 0.
const initial = Uint32Array.of(0x70736575, 0x736f6d65, 0x6e646f6d, 0x646f7261, 0x6e657261, 0x6c796765, 0x79746573, 0x74656462);
const state = new Uint32Array(8);

/** 0 … total-1. `total`: 1 … 2^32-1. */
export function sliceOf(id: PointId, total: number): number {
  state.set(initial);
  const lengthBytes = typeof id === 'string' ? compressUuid(id) : compressInteger(id as number | bigint);
  compress(0, lengthBytes << 24);
  state[4] = (state[4] ?? 0) ^ 0xff;
  for (let round = 0; round < 4; round += 1) sipRound();
  const low = (word(0) ^ word(2) ^ word(4) ^ word(6)) >>> 0;
  const high = (word(1) ^ word(3) ^ word(5) ^ word(7)) >>> 0;
  const upper = ((high % total) * 0x10000 + (low >>> 16)) % total;
  return (upper * 0x10000 + (low & 0xffff)) % total;
}

function compressInteger(id: number | bigint): number {
  if (typeof id === 'number') compress(id % 2 ** 32, Math.floor(id / 2 ** 32));
  else compress(Number(id & 0xffffffffn), Number(id >> 32n));
  return 8;
}

function compressUuid(id: string): number {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  compress(bytes.readUInt32LE(0), bytes.readUInt32LE(4));
  compress(bytes.readUInt32LE(8), bytes.readUInt32LE(12));
  return 16;
}

function compress(low: number, high: number): void {
  state[6] = word(6) ^ low;
  state[7] = word(7) ^ high;
  sipRound();
  sipRound();
  state[0] = word(0) ^ low;
  state[1] = word(1) ^ high;
}

function sipRound(): void {
  add(0, 2);
  rotate(2, 13);
  xor(2, 0);
  rotate(0, 32);
  add(4, 6);
  rotate(6, 16);
  xor(6, 4);
  add(0, 6);
  rotate(6, 21);
  xor(6, 0);
  add(4, 2);
  rotate(2, 17);
  xor(2, 4);
  rotate(4, 32);
}

function word(at: number): number {
  return state[at] ?? 0;
}

function add(into: number, from: number): void {
  const low = word(into) + word(from);
  state[into] = low;
  state[into + 1] = word(into + 1) + word(from + 1) + (low > 0xffffffff ? 1 : 0);
}

function xor(into: number, from: number): void {
  state[into] = word(into) ^ word(from);
  state[into + 1] = word(into + 1) ^ word(from + 1);
}

function rotate(at: number, bits: number): void {
  const low = word(at);
  const high = word(at + 1);
  if (bits === 32) {
    state[at] = high;
    state[at + 1] = low;
    return;
  }
  state[at] = (low << bits) | (high >>> (32 - bits));
  state[at + 1] = (high << bits) | (low >>> (32 - bits));
}
