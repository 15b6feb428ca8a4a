// Reads an archive as it streams by. No tar parser: after snapshot.json has been compared with its hash, every header, every
// padding and the end are known in advance and compared byte by byte, and every member with its sha256. So an archive is either
// exactly the one its manifest describes, or refused; links, devices, foreign names and trailing bytes need no rule of their own.
import { createHash } from 'node:crypto';
import { badSnapshot } from './archive-error.ts';
import {
  BLOCK_BYTES, decodeSize, encodeHeader, END_BYTES, layoutOf, MANIFEST_NAME, paddedBytes, type ArchiveLayout, type ArchiveMember,
} from './archive-layout.ts';
import { ByteStream } from './byte-stream.ts';
import { foreignArchive } from './foreign-archive.ts';
import { MANIFEST_BYTES_MAX, type SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';

/** Takes the content of one member. */
export interface MemberSink extends AsyncDisposable {
  write(bytes: Buffer): Promise<void>;
  /** Called only after the sha256 was found to match; disposed either way. */
  commit(): Promise<void>;
}

/** Where the shards' files go. Nothing it received may be used before `readArchive` has returned. */
export interface ArchiveTarget {
  /** Called once, before any later byte is read: the place to refuse what does not fit. */
  begin(sealed: SealedManifest, layout: ArchiveLayout): Promise<void>;
  open(member: ArchiveMember): Promise<MemberSink>;
}

export interface ReadOptions {
  /** Whether the sha256 of the whole archive is wanted. */
  readonly checksum: boolean;
  readonly signal?: AbortSignal;
}

export interface ReadArchive {
  readonly sealed: SealedManifest;
  readonly layout: ArchiveLayout;
  readonly checksum: string | undefined;
}

/** @throws RequestError 'bad-request' at the first byte that is not what it must be; the rest of `body` is not read. */
export async function readArchive(body: AsyncIterable<Uint8Array>, target: ArchiveTarget, options: ReadOptions): Promise<ReadArchive> {
  const outer = options.checksum ? createHash('sha256') : undefined;
  await using stream = new ByteStream(body, (bytes) => outer?.update(bytes), options.signal);
  const { sealed, layout } = await readManifest(stream);
  await target.begin(sealed, layout);
  for (const member of layout.members.slice(2)) {
    checkHeader(await stream.exactly(BLOCK_BYTES), member, layout);
    await copyMember(stream, member, target);
  }
  await expectZeros(stream, END_BYTES);
  if ((await stream.read()) !== undefined) throw badSnapshot('archive', 'goes on behind its end', layout.sizeBytes);
  return { sealed, layout, checksum: outer?.digest('hex') };
}

/** Only what the archive says of itself; the rest of `body` is not read. @throws RequestError 'bad-request' */
export async function readArchiveManifest(body: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<SealedManifest> {
  await using stream = new ByteStream(body, () => undefined, signal);
  return (await readManifest(stream)).sealed;
}

/** The first two members. Their headers carry the manifest's own time, so they are compared once it has been parsed. */
async function readManifest(stream: ByteStream): Promise<{ sealed: SealedManifest; layout: ArchiveLayout }> {
  const firstHeader = await stream.exactly(BLOCK_BYTES);
  if (!firstHeader.subarray(0, 100).equals(encodeHeader({ name: MANIFEST_NAME, sizeBytes: 0 }, 0).subarray(0, 100))) throw foreignArchive(firstHeader);
  const sizeBytes = decodeSize(firstHeader);
  if (sizeBytes === undefined || sizeBytes > MANIFEST_BYTES_MAX) throw badSnapshot('snapshot.json', `has no size up to ${MANIFEST_BYTES_MAX} bytes`);
  const hash = createHash('sha256');
  const pieces: Buffer[] = [];
  await stream.readInto(sizeBytes, (piece) => {
    hash.update(piece);
    pieces.push(Buffer.from(piece));
  });
  await expectZeros(stream, paddedBytes(sizeBytes) - sizeBytes);
  const secondHeader = await stream.exactly(BLOCK_BYTES);
  const expected = hash.digest('hex');
  const stated = await stream.exactly(expected.length);
  await expectZeros(stream, paddedBytes(stated.length) - stated.length);
  if (stated.toString('latin1') !== expected) throw badSnapshot('snapshot.json', 'does not match its sha256');
  const sealed = await parseManifest(Buffer.concat(pieces, sizeBytes));
  const layout = layoutOf(sealed);
  for (const [index, header] of [firstHeader, secondHeader].entries()) checkHeader(header, layout.members[index], layout);
  return { sealed, layout };
}

function checkHeader(header: Buffer, member: ArchiveMember | undefined, layout: ArchiveLayout): void {
  if (member !== undefined && header.equals(encodeHeader(member, layout.modifiedSeconds))) return;
  throw badSnapshot('archive', `does not have ${member?.name ?? 'a member'} here as its manifest says`, member?.offsetBytes);
}

async function copyMember(stream: ByteStream, member: ArchiveMember, target: ArchiveTarget): Promise<void> {
  await using sink = await target.open(member);
  const hash = createHash('sha256');
  await stream.readInto(member.sizeBytes, async (piece) => {
    hash.update(piece);
    await sink.write(piece);
  });
  if (hash.digest('hex') !== member.sha256) throw badSnapshot(member.name, 'does not match its sha256', 0);
  await expectZeros(stream, paddedBytes(member.sizeBytes) - member.sizeBytes);
  await sink.commit();
}

async function expectZeros(stream: ByteStream, length: number): Promise<void> {
  await stream.readInto(length, (piece) => {
    const bad = piece.findIndex((byte) => byte !== 0);
    if (bad >= 0) throw badSnapshot('archive', 'has a byte other than zero in padding', stream.offset - piece.length + bad);
  });
}
