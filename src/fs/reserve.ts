// Free-space guard: refuse before writing rather than fail half way.
import { RequestError } from '../base/errors.ts';
import type { Disk } from './disk.ts';

/** Kept free for logs and manifests whatever a restore wants. */
const reserveBytes = 16 << 20;

/** @throws RequestError 'no-space' with needed and free bytes. */
export async function checkSpace(disk: Disk, path: string, neededBytes: number): Promise<void> {
  const { freeBytes } = await disk.space(path);
  const wanted = wantedBytes(neededBytes);
  if (freeBytes < wanted) throw new RequestError('no-space', `needs ${wanted} bytes, ${freeBytes} are free on ${path}`);
}

/** What must be free before so many bytes are written. */
export function wantedBytes(neededBytes: number): number {
  return Math.ceil(neededBytes * 1.05) + reserveBytes;
}
