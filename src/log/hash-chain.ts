// h(n) = first 16 bytes of sha256(h(n-1), seq u64, op uuid, crc32 of the body u32): one number that fixes the whole history.
// It finds diverging replicas and swapped files, which checksums of single entries cannot.
import { createHash } from 'node:crypto';
import type { Seq } from '../base/ids.ts';

const chainBytes = 16;
export const chainStart = Buffer.alloc(chainBytes);

export interface ChainLink {
  readonly seq: Seq;
  readonly opUuid: Uint8Array;
  readonly bodyCrc: number;
}

export function nextChain(previous: Buffer, link: ChainLink): Buffer {
  const tail = Buffer.allocUnsafe(8 + 16 + 4);
  tail.writeBigUInt64LE(BigInt(link.seq), 0);
  tail.set(link.opUuid, 8);
  tail.writeUInt32LE(link.bodyCrc, 24);
  return createHash('sha256').update(previous).update(tail).digest().subarray(0, chainBytes);
}
