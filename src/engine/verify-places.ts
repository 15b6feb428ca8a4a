// What a path holds that can be verified: a data directory, snapshots, or a folder with either in it.
import path from 'node:path';
import { RequestError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';

export type VerifyPlace =
  | { readonly kind: 'data'; readonly path: string }
  | { readonly kind: 'snapshot-folder'; readonly path: string }
  | { readonly kind: 'archive'; readonly path: string };

const snapshotSuffix = '.snapshot';

/** In order of path. @throws RequestError where nothing is there, or nothing that we know: an empty folder is never sound. */
export async function findPlaces(disk: Disk, target: string): Promise<readonly VerifyPlace[]> {
  const stat = await disk.findStat(target);
  if (stat === undefined) throw new RequestError('not-found', `${target} does not exist`);
  if (stat.isFile) return [{ kind: 'archive', path: target }];
  const places = stat.isDirectory ? await placesIn(disk, target) : [];
  if (places.length === 0) throw new RequestError('bad-input', `${target} is neither a data directory nor a snapshot, and holds none`);
  return places;
}

async function placesIn(disk: Disk, target: string): Promise<readonly VerifyPlace[]> {
  if (await holds(disk, target, 'snapshot.json')) return [{ kind: 'snapshot-folder', path: target }];
  const folders = await foldersIn(disk, target);
  if (await isDataDirectory(disk, target)) {
    const beside = await Promise.all(folders.filter((folder) => path.basename(folder) !== 'collections').map((folder) => snapshotsIn(disk, folder)));
    return [{ kind: 'data', path: target }, ...beside.flat()];
  }
  const below = await Promise.all(folders.map(async (folder) => (await isDataDirectory(disk, folder)) ? await placesIn(disk, folder) : []));
  return [...below.flat(), ...(await snapshotsIn(disk, target, 2))];
}

async function isDataDirectory(disk: Disk, folder: string): Promise<boolean> {
  for (const name of ['metastore.json', 'LOCK', 'collections']) if (await holds(disk, folder, name)) return true;
  return false;
}

/** `<name>.snapshot` here and `depth` folders further down: <snapshots>/<collection>/. */
async function snapshotsIn(disk: Disk, folder: string, depth = 1): Promise<readonly VerifyPlace[]> {
  const found: VerifyPlace[] = [];
  for (const name of (await disk.list(folder)).sort()) {
    const inside = path.join(folder, name);
    const stat = name.startsWith('.') ? undefined : await disk.findStat(inside);
    if (stat === undefined) continue;
    if (name.endsWith(snapshotSuffix) && stat.isFile) found.push({ kind: 'archive', path: inside });
    else if (name.endsWith(snapshotSuffix) && stat.isDirectory) found.push({ kind: 'snapshot-folder', path: inside });
    else if (stat.isDirectory && depth > 0 && !(await isDataDirectory(disk, inside))) found.push(...(await snapshotsIn(disk, inside, depth - 1)));
  }
  return found;
}

async function foldersIn(disk: Disk, folder: string): Promise<readonly string[]> {
  const folders: string[] = [];
  for (const name of (await disk.list(folder)).sort()) {
    if (!name.startsWith('.') && (await disk.findStat(path.join(folder, name)))?.isDirectory === true) folders.push(path.join(folder, name));
  }
  return folders;
}

async function holds(disk: Disk, folder: string, name: string): Promise<boolean> {
  return (await disk.findStat(path.join(folder, name))) !== undefined;
}
