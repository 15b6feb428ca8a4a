// A snapshot on its way out: of a folder the archive is made as it is read, a file that was put here by hand is sent as it is.
import type { Disk } from '../fs/disk.ts';
import { PieceMemory, readPieces } from '../fs/read-pieces.ts';
import { layoutOf } from './archive-layout.ts';
import { archiveBytes } from './archive-write.ts';
import type { SnapshotCatalog, StoredSnapshot } from './catalog.ts';
import type { ArchiveDownload } from './description.ts';
import { asDamage, readSealedManifest } from './stored-folder.ts';

/** Deleting the snapshot does not disturb the download. */
export function openArchiveDownload(disk: Disk, catalog: SnapshotCatalog, stored: StoredSnapshot): Promise<ArchiveDownload> {
  return stored.kind === 'folder' ? openFolder(catalog, stored) : openFile(disk, stored);
}

async function openFolder(catalog: SnapshotCatalog, stored: StoredSnapshot): Promise<ArchiveDownload> {
  const lease = catalog.leases.take(stored.path);
  try {
    const sealed = await readSealedManifest((name) => lease.open(name));
    const layout = layoutOf(sealed);
    return {
      name: stored.name, sizeBytes: layout.sizeBytes, etag: sealed.sha256, lastModifiedMs: stored.createdAtMs,
      read: (start, end, how) => archiveBytes(lease, layout, { start, end, ...how }),
      release: () => {
        lease.release();
      },
    };
  } catch (error) {
    lease.release();
    throw asDamage(error);
  }
}

async function openFile(disk: Disk, stored: StoredSnapshot): Promise<ArchiveDownload> {
  const handle = await disk.openRead(stored.path);
  let released = false;
  return {
    name: stored.name, sizeBytes: handle.sizeBytes, etag: stored.etag, lastModifiedMs: stored.createdAtMs,
    read: (start, end, how) => readPieces(handle, { from: start, to: Math.min(end + 1, handle.sizeBytes) }, how?.isLent === true ? new PieceMemory() : undefined),
    release: () => {
      if (!released) void handle.close();
      released = true;
    },
  };
}
