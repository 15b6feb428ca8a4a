// The canonical tar: where each member of an archive stands and what its header is. A pure function of the manifest, so the
// archive is never stored, every range of it can be made again, and a reader compares headers instead of parsing them.
//
// Members in order: snapshot.json, snapshot.json.sha256, then per shard ascending <id>/manifest.json, <id>/logs/…, <id>/files/….
// Of the whole storage: <number of the collection>/ before each.
// Each: 512 bytes of ustar header, content, zeros up to the next 512. At the end 1,024 zeros, and nothing after them.
//
//  offset  size  ustar field
//       0   100  name
//     100     8  mode "0000644\0"
//     108     8  uid "0000000\0"
//     116     8  gid "0000000\0"
//     124    12  size: 11 octal digits and \0; above 8 GiB base-256: 0x80, then big-endian
//     136    12  mtime: created_at in whole seconds, 11 octal digits and \0
//     148     8  sum of all bytes with this field as spaces: 6 octal digits, \0, space
//     156     1  type "0"
//     157   100  link name, zeros
//     257     8  "ustar\0" "00"
//     265    64  owner and group names, zeros
//     329    16  device numbers "0000000\0" twice
//     345   167  prefix and padding, zeros
import { invariant } from '../base/assert.ts';
import { sha256Hex } from '../base/checksum.ts';
import { archivedMembers, placedShards, type FileDigest, type SealedManifest } from './manifest.ts';

export const BLOCK_BYTES = 512;
export const END_BYTES = 2 * BLOCK_BYTES;
export const MANIFEST_NAME = 'snapshot.json';
export const MANIFEST_HASH_NAME = 'snapshot.json.sha256';
const octalSizeMax = 8 ** 11 - 1;

export interface ArchiveMember extends FileDigest {
  /** Relative to the snapshot folder, and the name in the archive. */
  readonly name: string;
  /** Of the header. */
  readonly offsetBytes: number;
}

export interface ArchiveLayout {
  readonly members: readonly ArchiveMember[];
  readonly sizeBytes: number;
  /** Goes into every header. */
  readonly modifiedSeconds: number;
}

export function layoutOf({ manifest, text, sha256 }: SealedManifest): ArchiveLayout {
  const members: ArchiveMember[] = [];
  let offsetBytes = 0;
  const add = (name: string, digest: FileDigest): void => {
    members.push({ name, offsetBytes, sizeBytes: digest.sizeBytes, sha256: digest.sha256 });
    offsetBytes += BLOCK_BYTES + paddedBytes(digest.sizeBytes);
  };
  add(MANIFEST_NAME, { sizeBytes: text.length, sha256 });
  add(MANIFEST_HASH_NAME, { sizeBytes: sha256.length, sha256: sha256Hex(sha256) });
  for (const { folder, shard } of placedShards(manifest)) {
    for (const member of archivedMembers(shard)) add(`${folder}/${member.name}`, member);
  }
  return { members, sizeBytes: offsetBytes + END_BYTES, modifiedSeconds: Math.floor(manifest.createdAtMs / 1000) };
}

/** Up to the next full block. */
export function paddedBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

export function encodeHeader({ name, sizeBytes }: { readonly name: string; readonly sizeBytes: number }, modifiedSeconds: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  invariant(Buffer.byteLength(name) <= 100, 'member names fit into the header');
  header.write(name, 0, 'latin1');
  header.write('0000644\0' + '0000000\0' + '0000000\0', 100, 'latin1');
  if (sizeBytes <= octalSizeMax) {
    header.write(octal(sizeBytes, 11), 124, 'latin1');
  } else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  header.write(octal(modifiedSeconds, 11), 136, 'latin1');
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  header.write('0000000\0' + '0000000\0', 329, 'latin1');
  header.write(`${octal(header.reduce((sum, byte) => sum + byte, 0), 6)}\0 `, 148, 'latin1');
  return header;
}

/** Size that a header claims; undefined where the field is in no form we write. */
export function decodeSize(header: Buffer): number | undefined {
  const text = header.toString('latin1', 124, 136);
  if (/^[0-7]{11}\0$/.test(text)) return Number.parseInt(text, 8);
  if (header[124] !== 0x80) return undefined;
  const size = header.readBigUInt64BE(128);
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : undefined;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}
