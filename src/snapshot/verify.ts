// What must hold of a snapshot before anything of it is used, beyond the bytes that archive-read.ts compares.
import path from 'node:path';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { namedFiles, readManifest } from '../shard/shard-manifest.ts';
import { badSnapshot } from './archive-error.ts';
import type { ArchiveLayout, ArchiveMember } from './archive-layout.ts';
import { archiveParts } from './archive-write.ts';
import type { Hasher } from './hasher.ts';
import type { JobHandle } from './jobs.ts';
import { placedShards, shardMembers, type SealedManifest, type SnapshotCollection } from './manifest.ts';

/** The archive brings every shard that its collection has; one node has nobody else to get a missing one from. */
export function checkComplete({ shards, shardKeys, config }: SnapshotCollection): void {
  const present = new Set(shards.map(({ shardId }) => shardId));
  const wanted = shardKeys?.map(({ id }) => id) ?? Array.from({ length: config.params.shard_number }).keys();
  for (const id of wanted) {
    if (!present.has(id)) throw new RequestError('internal', `Can't restore snapshot in local mode with missing data at shard: ${id}`);
  }
}

/** @param given lower-case hex, undefined where the caller gave none; both texts name it as the expected one. */
export function checkChecksum(given: string | undefined, computed: string | undefined, origin: 'upload' | 'recover'): void {
  if (given === undefined || given === computed) return;
  if (origin === 'upload') throw new RequestError('bad-format', `Checksum mismatch: expected ${given}, actual ${computed ?? 'none'}`);
  throw new RequestError('bad-input', `Snapshot checksum mismatch: expected ${given}, got ${computed ?? 'none'}`);
}

/** Each shard's own manifest is of this collection and shard, and names only files that the snapshot brought. */
export async function checkShardManifests(disk: Disk, folder: string, { manifest }: SealedManifest): Promise<void> {
  for (const { folder: name, collection, shard } of placedShards(manifest)) {
    const file = `${name}/manifest.json`;
    const { manifest: own } = await readManifest(disk, path.join(folder, name));
    if (own.collectionUuid !== collection.uuid || own.shardId !== shard.shardId || own.generation !== shard.position.generation) {
      throw badSnapshot(file, 'is of another shard than snapshot.json says');
    }
    const brought = new Set(shardMembers(shard).map(({ name }) => name));
    for (const named of namedFiles(own)) {
      if (!brought.has(`files/${named}`)) throw badSnapshot(file, `names ${named}, which the snapshot does not hold`);
    }
  }
}

/** Damage that was found in staged files is the archive's: a 400 that names the member, not the server's folder. */
export function asBadSnapshot(error: unknown, folder: string): unknown {
  if (!(error instanceof CorruptionError) || !error.file.startsWith(`${folder}${path.sep}`)) return error;
  return badSnapshot(path.relative(folder, error.file), error.problem, error.offsetBytes);
}

/** Every file of a staged or stored snapshot folder against its sha256. Answers the checksum of its archive.
 *  @throws RequestError 'bad-request' naming the first file that is absent or not what the manifest says. */
export async function verifyFolder(hasher: Hasher, folder: { readonly path: string; readonly layout: ArchiveLayout; readonly job?: Pick<JobHandle, 'signal' | 'progress'> }): Promise<string> {
  try {
    return await hasher.hash(archiveParts(folder.path, folder.layout), folder.job?.signal, (bytesDone) => {
      folder.job?.progress({ bytesDone });
    });
  } catch (error) {
    throw asBadSnapshot(error, folder.path);
  }
}

/** A file of a folder that may have been copied here by hand: no link that leads out of it, and of the right length. */
export async function checkPlainFile(disk: Disk, folder: string, member: ArchiveMember): Promise<void> {
  const stat = await disk.stat(path.join(folder, member.name));
  if (!stat.isFile) throw badSnapshot(member.name, 'is not a plain file');
  if (stat.sizeBytes !== member.sizeBytes) throw badSnapshot(member.name, `has ${stat.sizeBytes} bytes instead of ${member.sizeBytes}`);
}
