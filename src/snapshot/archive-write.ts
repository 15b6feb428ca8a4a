// The archive as bytes: any range of it, made from the manifest and the files of the snapshot folder.
import path from 'node:path';
import { CorruptionError } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import type { ReadHandle } from '../fs/disk.ts';
import { PieceMemory, readPieces } from '../fs/read-pieces.ts';
import { BLOCK_BYTES, encodeHeader, END_BYTES, paddedBytes, type ArchiveLayout, type ArchiveMember } from './archive-layout.ts';
import type { ReadPieces } from './description.ts';
import type { HashPart } from './hasher.ts';

const filesOpeningMax = 8;

/** The files behind a layout, by member name. */
export interface MemberFiles {
  open(name: string): Promise<ReadHandle>;
}

export interface ArchiveRange extends ReadPieces {
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
}

/** Clipped to the archive. All files are looked at before the first byte, so a missing or cut one
 *  is an error and not half an answer. @throws CorruptionError */
export async function* archiveBytes(files: MemberFiles, layout: ArchiveLayout, range: ArchiveRange): AsyncGenerator<Buffer> {
  const wanted = layout.members.filter((member) => member.offsetBytes <= range.end && memberEnd(member) > range.start);
  await mapLimit(wanted, filesOpeningMax, async (member) => {
    await using handle = await openChecked(files, member);
    return handle.sizeBytes;
  });
  const clip = (offsetBytes: number, bytes: Buffer): Buffer => bytes.subarray(Math.max(0, range.start - offsetBytes), Math.max(0, range.end + 1 - offsetBytes));
  const memory = range.isLent === true ? new PieceMemory() : undefined;
  for (const member of wanted) {
    yield* nonEmpty(clip(member.offsetBytes, encodeHeader(member, layout.modifiedSeconds)));
    const contentStart = member.offsetBytes + BLOCK_BYTES;
    const from = Math.max(0, range.start - contentStart);
    const to = Math.min(member.sizeBytes, range.end + 1 - contentStart);
    if (from < to) {
      await using handle = await openChecked(files, member);
      yield* readPieces(handle, { from, to }, memory);
    }
    yield* nonEmpty(clip(contentStart + member.sizeBytes, paddingOf(member)));
  }
  const endOffset = layout.sizeBytes - END_BYTES;
  yield* nonEmpty(clip(endOffset, Buffer.alloc(END_BYTES)));
}

/** The same bytes as work for a hasher, which compares each member with its own sha256 as it passes. */
export function archiveParts(folder: string, layout: ArchiveLayout): readonly HashPart[] {
  const parts = layout.members.flatMap((member): HashPart[] => [
    { kind: 'bytes', bytes: encodeHeader(member, layout.modifiedSeconds) },
    { kind: 'file', path: path.join(folder, member.name), sizeBytes: member.sizeBytes, sha256: member.sha256 },
    { kind: 'bytes', bytes: paddingOf(member) },
  ]);
  return [...parts, { kind: 'bytes', bytes: Buffer.alloc(END_BYTES) }];
}

async function openChecked(files: MemberFiles, member: ArchiveMember): Promise<ReadHandle> {
  const handle = await files.open(member.name);
  if (handle.sizeBytes === member.sizeBytes) return handle;
  await handle.close();
  throw new CorruptionError({ file: member.name, problem: `has ${handle.sizeBytes} bytes instead of ${member.sizeBytes}` });
}

function memberEnd(member: ArchiveMember): number {
  return member.offsetBytes + BLOCK_BYTES + paddedBytes(member.sizeBytes);
}

function paddingOf({ sizeBytes }: ArchiveMember): Buffer {
  return Buffer.alloc(paddedBytes(sizeBytes) - sizeBytes);
}

function* nonEmpty(bytes: Buffer): Generator<Buffer> {
  if (bytes.length > 0) yield bytes;
}
