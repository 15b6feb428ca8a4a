// Proves snapshots: a folder file by file, an archive as one stream. Both end with the checksum of the archive, which is compared
// with the one stored beside. Deep: the shards are also opened and their logs replayed, in place or out of a temporary folder.
import path from 'node:path';
import { sha256Pattern } from '../base/checksum.ts';
import { byKey } from '../collection/key-places.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { verifyShard } from '../shard/verify-shard.ts';
import { layoutOf } from '../snapshot/archive-layout.ts';
import { readArchive, type ArchiveTarget } from '../snapshot/archive-read.ts';
import { fileBytes } from '../snapshot/file-bytes.ts';
import type { Hasher } from '../snapshot/hasher.ts';
import { placedShards, totalsOf, type SealedManifest } from '../snapshot/manifest.ts';
import { receiveArchive } from '../snapshot/receive.ts';
import { openStaging } from '../snapshot/staging.ts';
import { readSealedManifest } from '../snapshot/stored-folder.ts';
import { checkPlainFile, checkShardManifests, verifyFolder } from '../snapshot/verify.ts';
import type { VerifyFindings } from './verify-report.ts';

export interface SnapshotVerification {
  readonly disk: Disk;
  readonly hasher: Hasher;
  readonly deep: boolean;
  readonly findings: VerifyFindings;
}

export async function verifySnapshotFolder(verification: SnapshotVerification, folder: string): Promise<void> {
  const { disk, findings } = verification;
  findings.add({ snapshots: 1 });
  if ((await disk.findStat(path.join(folder, 'snapshot.json'))) === undefined) {
    findings.notes.push(`${folder}: has no snapshot.json, so it is no snapshot and in no list`);
    return;
  }
  const sealed = await findings.collect(path.join(folder, 'snapshot.json'), () => readSealedManifest((name) => disk.openRead(path.join(folder, name))));
  if (sealed === undefined) return;
  countSnapshot(findings, sealed);
  const before = findings.problems.length;
  const checksum = await findEachProblem(verification, folder, sealed);
  if (checksum === undefined) return;
  await compareChecksum(verification, folder, checksum);
  await findings.collect(folder, () => checkShardManifests(disk, folder, sealed));
  if (verification.deep && findings.problems.length === before) await verifyShards(verification, folder, sealed);
}

export async function verifyArchive(verification: SnapshotVerification, file: string): Promise<void> {
  const { disk } = verification;
  const checksum = await verifyArchiveStream(verification, fileBytes(disk, file), { place: file, unpackIn: path.dirname(file) });
  if (checksum !== undefined) await compareChecksum(verification, file, checksum);
}

/** Answers the checksum of an archive that is sound so far. @param at.unpackIn where a deep verification has room for a while */
export async function verifyArchiveStream(verification: SnapshotVerification, body: AsyncIterable<Uint8Array>, at: { readonly place: string; readonly unpackIn: string }): Promise<string | undefined> {
  const { findings, deep } = verification;
  findings.add({ snapshots: 1 });
  return await findings.collect(at.place, async () => {
    const { sealed, checksum } = deep ? await verifyUnpacked(verification, body, at) : await readArchive(body, discard, { checksum: true });
    countSnapshot(findings, sealed);
    return checksum;
  });
}

/** Removed at the end. */
async function verifyUnpacked(verification: SnapshotVerification, body: AsyncIterable<Uint8Array>, at: { readonly place: string; readonly unpackIn: string }): ReturnType<typeof readArchive> {
  const { disk, findings } = verification;
  await using staging = await openStaging(disk, at.unpackIn);
  const read = await receiveArchive({ disk, staging, body, checksum: true, accept: () => undefined });
  await checkShardManifests(disk, staging.path, read.sealed);
  if (read.sealed.manifest.isPartial) findings.notes.push(`${at.place}: is partial, so its shard cannot be opened without the files that it leaves out`);
  else await verifyShards({ ...verification, deep: true }, staging.path, read.sealed, at.place);
  return read;
}

const discard: ArchiveTarget = {
  begin: () => Promise.resolve(),
  open: () => Promise.resolve({ write: () => Promise.resolve(), commit: () => Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() }),
};

/** One pass where all is well; where it is not, file by file, so that every damaged one is named. */
async function findEachProblem({ disk, hasher, findings }: SnapshotVerification, folder: string, sealed: SealedManifest): Promise<string | undefined> {
  const layout = layoutOf(sealed);
  const before = findings.problems.length;
  for (const member of layout.members) await findings.collect(path.join(folder, member.name), () => checkPlainFile(disk, folder, member));
  if (findings.problems.length === before) {
    try {
      return await verifyFolder(hasher, { path: folder, layout });
    } catch (error) {
      if (!(error instanceof Error) || !(error.cause instanceof CorruptionError)) throw error;
    }
  }
  for (const { name, sizeBytes, sha256 } of layout.members) {
    const file = path.join(folder, name);
    if (findings.problems.some((problem) => problem.file === file)) continue;
    await findings.collect(file, () => hasher.hash([{ kind: 'file', path: file, sizeBytes, sha256 }]));
  }
  return undefined;
}

async function compareChecksum({ disk, findings }: SnapshotVerification, place: string, checksum: string): Promise<void> {
  const file = `${place}.checksum`;
  const stated = (await readOptionalFile(disk, file))?.toString('latin1').trim().toLowerCase();
  if (stated === undefined || stated === checksum) return;
  findings.problem(file, sha256Pattern.test(stated) ? `is ${stated}, the archive has ${checksum}` : 'is no sha256');
}

/** @param shown the place to report, where the folder itself is a temporary one */
async function verifyShards({ disk, findings }: SnapshotVerification, folder: string, { manifest }: SealedManifest, shown = folder): Promise<void> {
  for (const { folder: name, shard: { position, points } } of placedShards(manifest)) {
    const directory = path.join(folder, name);
    const verdict = await verifyShard({ disk, directory, deep: true });
    for (const { file, ...rest } of verdict.findings) findings.problems.push({ ...rest, file: path.join(shown, path.relative(folder, file)) });
    if (verdict.findings.length > 0) continue;
    const found = verdict.position;
    if (found?.seq !== position.seq || found.chain !== position.chain || verdict.points !== points) {
      findings.problem(path.join(shown, name), `leads to entry ${found?.seq ?? 'none'} with ${verdict.points ?? 'unknown'} points, snapshot.json says ${position.seq} and ${points}`);
    }
  }
}

function countSnapshot(findings: VerifyFindings, { manifest }: SealedManifest): void {
  const { points, files, bytes } = totalsOf(manifest);
  const keys = manifest.collections.reduce((sum, { shardKeys: all = [] }) => sum + byKey(all).size, 0);
  findings.add({ files, bytes, shards: placedShards(manifest).length, keys });
  findings.addPoints(points);
}
