// Small files that are replaced as a whole, and folders that stay. A rename is durable only after its folder is synced.
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import type { Disk } from './disk.ts';

const temporarySuffix = '.tmp';

/** A replacement failed at its last steps: the old content may be there or the new. */
export class DoubtfulWriteError extends Error {
  override readonly name = 'DoubtfulWriteError';
  readonly code: string | undefined;

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.code = systemCode(cause);
  }
}

/** After it returns, a power cut leaves either the old content or the new, never a mix and never neither.
 *  @throws DoubtfulWriteError where it failed at the rename or behind it; any other error means that the old content is there. */
export async function writeFileAtomically(disk: Disk, file: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${file}${temporarySuffix}`;
  await removeUnfinished(disk, file);
  try {
    await using handle = await disk.create(temporary);
    await handle.append([bytes]);
    await handle.sync();
  } catch (error) {
    await disk.removeTree(temporary);
    throw error;
  }
  try {
    await disk.rename(temporary, file);
    await disk.syncDirectory(path.dirname(file));
  } catch (error) {
    throw new DoubtfulWriteError(error);
  }
}

/** Removes what a write of `file` that was cut off left beside it. Not while another write of it may be under way. */
export async function removeUnfinished(disk: Disk, file: string): Promise<void> {
  const temporary = `${file}${temporarySuffix}`;
  if ((await disk.findStat(temporary)) !== undefined) await disk.remove(temporary);
}

/** A new small file with its content durable; its name is, after the folder's sync, the caller's to do. */
export async function writeNewFile(disk: Disk, file: string, bytes: Uint8Array): Promise<void> {
  await using handle = await disk.create(file);
  await handle.append([bytes]);
  await handle.sync();
}

/**
 * Makes durable what the folders name now. Whoever opens what a process left may see names that it had not synced when it was killed;
 * nothing may be built on them, or removed because of them, before.
 */
export async function syncNames(disk: Disk, ...directories: readonly string[]): Promise<void> {
  for (const directory of directories) await disk.syncDirectory(directory);
}

/** Creates the folder and its missing parents, each durable in its parent. One that is there is fine, and durable then too. */
export async function makeDirectoryDurably(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.makeDirectory(directory);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return await syncParent(disk, directory);
    if (systemCode(error) !== 'ENOENT') throw error;
    await makeDirectoryDurably(disk, path.dirname(directory));
    return await makeDirectoryDurably(disk, directory);
  }
  await disk.syncDirectory(path.dirname(directory));
}

async function syncParent(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.syncDirectory(path.dirname(directory));
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'EACCES' && code !== 'EPERM') throw error; // a folder that this user may not open: no process of this user made names in it
  }
}
