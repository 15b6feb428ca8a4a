// What the `location` of a recover points to: a file or folder below the snapshots folder, or a URL.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNotFound, RequestError, systemCode } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { checkUrl } from './fetch.ts';

export type Location =
  | { readonly kind: 'archive'; readonly path: string }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'url'; readonly url: URL };

/** @throws RequestError with Qdrant's texts. Existence is tested before confinement, as there; only callers with manage rights ask. */
export async function resolveLocation(disk: Disk, text: string, snapshotsPath: string): Promise<Location> {
  if (!URL.canParse(text)) throw new RequestError('bad-request', 'Invalid snapshot location: not a URL');
  const url = new URL(text);
  if (url.protocol !== 'file:') return { kind: 'url', url: checkUrl(url) };
  if (url.host !== '') throw invalidUri(); // `localhost` has become '' in a parsed URL
  const file = pathOf(url);
  const real = await realPathOf(disk, file);
  const root = await disk.realPath(snapshotsPath);
  const inside = path.relative(root, real);
  if (inside === '' || inside.split(path.sep)[0] === '..' || path.isAbsolute(inside)) {
    throw new RequestError('forbidden', `Snapshot file path must be inside the snapshots directory "${snapshotsPath}"`);
  }
  if (inside.split(path.sep).some((part) => part.startsWith('.'))) throw absent(file); // not published, or deleted
  const stat = await disk.findStat(real);
  if (stat?.isFile === true) return { kind: 'archive', path: real };
  if (stat?.isDirectory === true && (await disk.findStat(path.join(real, 'snapshot.json'))) !== undefined) return { kind: 'folder', path: real };
  throw new RequestError('bad-request', `Snapshot file "${file}" is not a snapshot`);
}

function pathOf(url: URL): string {
  try {
    const file = fileURLToPath(url);
    if (!file.includes('\0')) return file;
  } catch (error) {
    if (systemCode(error)?.startsWith('ERR_INVALID_') !== true) throw error;
  }
  throw invalidUri();
}

async function realPathOf(disk: Disk, file: string): Promise<string> {
  try {
    return await disk.realPath(file);
  } catch (error) {
    if (isNotFound(error) || ['ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EACCES'].includes(systemCode(error) ?? '')) throw absent(file);
    throw error;
  }
}

function invalidUri(): RequestError {
  return new RequestError('bad-request', 'Invalid snapshot URI, file path must be absolute or on localhost');
}

function absent(file: string): RequestError {
  return new RequestError('bad-request', `Snapshot file "${file}" does not exist`);
}
