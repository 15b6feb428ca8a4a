// A snapshot folder of this node → staged shard folders, without a copy: the files are immutable, so they are linked, and logs are
// replayed into new ones, never appended to.
import path from 'node:path';
import { isNotFound } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import type { Disk } from '../fs/disk.ts';
import { isLinkRefused, linkOrCopy } from '../fs/link.ts';
import { checkSpace } from '../fs/reserve.ts';
import { badSnapshot } from './archive-error.ts';
import { layoutOf, type ArchiveLayout, type ArchiveMember } from './archive-layout.ts';
import type { FolderLease } from './folder-lease.ts';
import type { Hasher } from './hasher.ts';
import type { JobHandle } from './jobs.ts';
import type { SealedManifest } from './manifest.ts';
import { makeShardFolders, syncStaging, type Staging } from './staging.ts';
import { checkPlainFile, verifyFolder } from './verify.ts';

const linksAtOnceMax = 16;

export interface ShareRequest {
  readonly disk: Disk;
  readonly hasher: Hasher;
  readonly lease: FolderLease;
  readonly sealed: SealedManifest;
  readonly staging: Staging;
  readonly job: Pick<JobHandle, 'signal' | 'progress'>;
}

/** Everything staged is verified and durable when this returns. Answers the checksum of the archive. */
export async function shareFolder(request: ShareRequest): Promise<string> {
  const { disk, hasher, sealed, staging, job } = request;
  const layout = layoutOf(sealed);
  job.progress({ phase: 'verifying', bytesTotal: layout.sizeBytes });
  await makeShardFolders(disk, staging, sealed);
  await checkSpaceOfCopy(request, layout);
  await mapLimit(layout.members, linksAtOnceMax, (member) => shareFile(request, member));
  const checksum = await verifyFolder(hasher, { path: staging.path, layout, job });
  await syncStaging(disk, staging, sealed);
  return checksum;
}

/** Room is needed only where the two folders cannot share files: one link is tried to find out. */
async function checkSpaceOfCopy({ disk, lease, staging }: ShareRequest, layout: ArchiveLayout): Promise<void> {
  const probe = path.join(staging.path, 'probe');
  try {
    await lease.use((folder) => disk.link(path.join(folder, 'snapshot.json'), probe));
    await disk.remove(probe);
  } catch (error) {
    if (!isLinkRefused(error)) throw error;
    await checkSpace(disk, staging.path, layout.sizeBytes);
  }
}

async function shareFile({ disk, lease, staging, job }: ShareRequest, member: ArchiveMember): Promise<void> {
  job.signal.throwIfAborted();
  try {
    await lease.use(async (folder) => {
      await checkPlainFile(disk, folder, member);
      await linkOrCopy(disk, { from: path.join(folder, member.name), to: path.join(staging.path, member.name) });
    });
  } catch (error) {
    throw isNotFound(error) ? badSnapshot(member.name, 'is missing') : error;
  }
}
