// One log file: a header that says whose it is and how it was written, then entries without gaps. Named by its first seq, 20 digits.
//
//  offset  size  field
//       0     8  magic "NKEEPLOG"
//       8     4  format version: 1 each round of entries was synced before the next was written; 2 rounds were synced behind others
//      12     4  shard number
//      16    16  collection uuid
//      32     4  generation
//      36     4  crc32 of the other 60 bytes
//      40     8  first seq
//      48    16  chain hash before the first entry
import path from 'node:path';
import { crc32 } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';

export const logHeaderBytes = 64;
const magic = Buffer.from('NKEEPLOG', 'ascii');
const formatVersions = { eachRound: 1, behind: 2 } as const;
const crcOffset = 36;

/** Whose log it is; a file of another shard or generation is refused by name. */
export interface LogIdentity {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
}

export interface LogFileHeader extends LogIdentity {
  readonly firstSeq: Seq;
  readonly chain: Buffer;
  /** Entries were not synced before later ones were written: what a power cut leaves of them behind the last sync has no order. */
  readonly isSyncedBehind: boolean;
}

export function logFileName(firstSeq: Seq): string {
  return String(firstSeq).padStart(20, '0');
}

/** The first seq in a log file's name; undefined for other files. */
export function parseLogFileName(name: string): Seq | undefined {
  return /^\d{20}$/.test(name) ? Number(name) : undefined;
}

export function encodeLogHeader(header: LogFileHeader): Buffer {
  const bytes = Buffer.alloc(logHeaderBytes);
  bytes.set(magic, 0);
  bytes.writeUInt32LE(header.isSyncedBehind ? formatVersions.behind : formatVersions.eachRound, 8);
  bytes.writeUInt32LE(header.shardId, 12);
  bytes.write(header.collectionUuid.replaceAll('-', ''), 16, 'hex');
  bytes.writeUInt32LE(header.generation, 32);
  bytes.writeBigUInt64LE(BigInt(header.firstSeq), 40);
  bytes.set(header.chain, 48);
  bytes.writeUInt32LE(headerCrc(bytes), crcOffset);
  return bytes;
}

/** undefined where the bytes are no header of ours. @throws CorruptionError for a good header of another shard or version. */
export function decodeLogHeader(bytes: Buffer, file: string, identity: LogIdentity): LogFileHeader | undefined {
  if (!bytes.subarray(0, 8).equals(magic) || bytes.readUInt32LE(crcOffset) !== headerCrc(bytes)) return undefined;
  const refuse = (problem: string): never => {
    throw new CorruptionError({ file, offsetBytes: 0, problem });
  };
  const version = bytes.readUInt32LE(8);
  const isSyncedBehind = version === formatVersions.behind;
  if (!isSyncedBehind && version !== formatVersions.eachRound) refuse(`log format version ${version}, this version reads 1 and 2`);
  const uuid = bytes.toString('hex', 16, 32);
  const found = { shardId: bytes.readUInt32LE(12), generation: bytes.readUInt32LE(32) };
  if (uuid !== identity.collectionUuid.replaceAll('-', '') || found.shardId !== identity.shardId || found.generation !== identity.generation) {
    refuse(`belongs to collection ${uuid} shard ${found.shardId} generation ${found.generation}`);
  }
  const firstSeq = Number(bytes.readBigUInt64LE(40));
  if (logFileName(firstSeq) !== path.basename(file)) refuse(`starts at seq ${firstSeq}, its name says otherwise`);
  return { ...identity, firstSeq, isSyncedBehind, chain: Buffer.from(bytes.subarray(48, 64)) };
}

function headerCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(crcOffset + 4), crc32(bytes.subarray(0, crcOffset)));
}
