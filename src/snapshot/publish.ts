// The moment a snapshot begins to exist: its description is written last, and one rename gives it its name.
import path from 'node:path';
import { writeNewFile } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { MANIFEST_HASH_NAME, MANIFEST_NAME } from './archive-layout.ts';
import type { SealedManifest } from './manifest.ts';

/** @param folder holds every file that the manifest names, durable. */
export async function publish(disk: Disk, sealed: SealedManifest, place: { readonly folder: string; readonly target: string }): Promise<void> {
  await writeDescription(disk, sealed, place.folder);
  await disk.rename(place.folder, place.target);
  try {
    await disk.syncDirectory(path.dirname(place.target)); // without it a power cut can lose a snapshot that was answered
  } catch (error) {
    await disk.rename(place.target, place.folder); // one that is not answered must not be listed
    throw error;
  }
}

/** The folder is a snapshot then, but for its name. */
export async function writeDescription(disk: Disk, sealed: SealedManifest, folder: string): Promise<void> {
  await writeNewFile(disk, path.join(folder, MANIFEST_HASH_NAME), Buffer.from(sealed.sha256));
  await writeNewFile(disk, path.join(folder, MANIFEST_NAME), sealed.text);
  await disk.syncDirectory(folder);
}
