// Reading a small file that may be absent: configuration and key files.
import { isNotFound } from '../base/errors.ts';
import type { Disk } from './disk.ts';

export async function readOptionalFile(disk: Disk, path: string): Promise<Buffer | undefined> {
  try {
    return await disk.readFile(path);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
