// The metastore's record of names and aliases, as a start finds it.
import path from 'node:path';
import { must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { emptyDirectory, type NameDirectory } from './aliases.ts';
import type { Metastore } from './metastore.ts';

export const directoryKey = 'dir';

export interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
}

/** @throws CorruptionError where there are collections and no record of names: taken for an empty one, it would have all of them removed */
export async function loadDirectory({ metastore, disk, dataDirectory }: { readonly metastore: Metastore; readonly disk: Disk; readonly dataDirectory: string }): Promise<Versioned<NameDirectory>> {
  const record = await metastore.get(directoryKey);
  if (record !== undefined) return { value: record.value as NameDirectory, revision: record.revision };
  const folder = path.join(dataDirectory, 'collections');
  if ((await disk.findStat(folder)) !== undefined && (await disk.list(folder)).length > 0) {
    throw new CorruptionError({ file: dataDirectory, problem: 'collections/ holds data, but the metastore has no record of names: it was lost; put its file back, or move collections/ away' });
  }
  const revision = must(await metastore.create(directoryKey, emptyDirectory), 'an absent record can be created');
  return { value: emptyDirectory, revision };
}
