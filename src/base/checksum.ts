// The two checksums of every format: crc32 for records (2-3 GB/s), sha256 for content addresses (1.2-1.6 GB/s).
import { createHash } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';

export const sha256Pattern = /^[0-9a-f]{64}$/;

export function crc32(bytes: Uint8Array, previous = 0): number {
  return zlibCrc32(bytes, previous);
}

/** Lower-case hex. For bytes already in memory; files are hashed in pieces. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
