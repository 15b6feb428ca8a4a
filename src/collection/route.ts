// Point → shard. The hash is part of the data format: its name and version stand in every snapshot, and changing it means
// moving points. MurmurHash3 x86 32-bit, seed 0, over the id's bytes: 8 little-endian for an integer, 16 for a UUID.
import type { PointId } from '../base/ids.ts';

export const ROUTING = { hash: 'murmur3-32', version: 1 } as const;

const idBytes = Buffer.alloc(16);

/** Index into the collection's shards, 0 … shardCount-1. */
export function routePoint(id: PointId, shardCount: number): number {
  if (shardCount === 1) return 0;
  let length = 8;
  if (typeof id === 'string') length = idBytes.write(id.replaceAll('-', ''), 'hex');
  else idBytes.writeBigUInt64LE(BigInt(id as number | bigint));
  return murmur3(idBytes, length) % shardCount;
}

/** Lengths that are multiples of four only, so there is no tail. */
function murmur3(bytes: Buffer, length: number): number {
  let h = 0;
  for (let at = 0; at < length; at += 4) {
    let k = Math.imul(bytes.readUInt32LE(at), 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    h ^= k;
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  h ^= length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
