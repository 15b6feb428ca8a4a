// Sharing immutable files: a hardlink, or a copy where the file system cannot link.
import { systemCode } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import type { Disk } from './disk.ts';

const linksAtOnceMax = 16;
const fallbackCodes = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EMLINK']);

export interface LinkPair {
  readonly from: string;
  readonly to: string;
}

/** Whether an error of `Disk.link` means that these two places cannot share a file, so that only a copy helps. */
export function isLinkRefused(error: unknown): boolean {
  return fallbackCodes.has(systemCode(error) ?? '');
}

/** The file at `to` has the content of `from`, durable as soon as its folder is synced. */
export async function linkOrCopy(disk: Disk, pair: LinkPair): Promise<void> {
  try {
    await disk.link(pair.from, pair.to);
  } catch (error) {
    if (!isLinkRefused(error)) throw error;
    await disk.copy(pair.from, pair.to);
  }
}

export async function linkAll(disk: Disk, pairs: readonly LinkPair[]): Promise<void> {
  await mapLimit(pairs, linksAtOnceMax, (pair) => linkOrCopy(disk, pair));
}
