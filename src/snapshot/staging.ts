// Where a restore gathers its files before anything of it counts: a folder of its own on the data directory's file system.
//
// <data>/.staging-<random>/<shard>/{manifest.json,logs/,files/}; a start sweeps what a crash leaves of it.
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { Disk } from '../fs/disk.ts';
import { placedShards, type SealedManifest } from './manifest.ts';

const stagingPrefix = '.staging-';

/** Disposing removes it with all that was not taken from it. */
export interface Staging extends AsyncDisposable {
  readonly path: string;
}

export async function openStaging(disk: Disk, root: string): Promise<Staging> {
  const folder = path.join(root, `${stagingPrefix}${randomBytes(8).toString('hex')}`);
  await disk.makeDirectory(folder);
  return { path: folder, [Symbol.asyncDispose]: () => disk.removeTree(folder).catch(() => undefined) }; // a start sweeps what is left
}

export async function makeShardFolders(disk: Disk, staging: Staging, { manifest }: SealedManifest): Promise<void> {
  if (manifest.kind === 'storage') for (const index of manifest.collections.keys()) await disk.makeDirectory(path.join(staging.path, String(index)));
  for (const { folder: name } of placedShards(manifest)) {
    const shard = path.join(staging.path, name);
    for (const folder of [shard, path.join(shard, 'logs'), path.join(shard, 'files')]) await disk.makeDirectory(folder);
  }
}

/** The names of everything staged, from the files up to the staging folder itself. */
export async function syncStaging(disk: Disk, staging: Staging, { manifest }: SealedManifest): Promise<void> {
  for (const { folder } of placedShards(manifest)) {
    for (const part of ['files', 'logs', '.']) await disk.syncDirectory(path.join(staging.path, folder, part));
  }
  if (manifest.kind === 'storage') for (const index of manifest.collections.keys()) await disk.syncDirectory(path.join(staging.path, String(index)));
  await disk.syncDirectory(staging.path);
  await disk.syncDirectory(path.dirname(staging.path));
}
