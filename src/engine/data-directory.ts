// The data directory of one process: its lock, its format version, its identity, and the sweep of what a crash left behind.
//
// <data>/LOCK            held by the process that has the directory open
// <data>/metastore.json  everything that counts, see collection/file-metastore.ts; record `self` is this node
// <data>/collections/    one folder a collection, see collection/shard-files.ts
// <data>/.staging-*      unfinished restores, removed at start
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { RequestError } from '../base/errors.ts';
import { makeDirectoryDurably, removeUnfinished } from '../fs/atomic-file.ts';
import type { DirectoryLock } from '../fs/directory-lock.ts';
import type { Disk } from '../fs/disk.ts';
import { metastoreFileName } from '../collection/file-metastore.ts';
import type { Metastore } from '../collection/metastore.ts';
import { memberOf } from '../cluster/own-cluster.ts';
import type { Machine } from './machine.ts';

const stagingPrefix = '.staging-';

/** Creates the directory where it is absent and locks it. @throws RequestError 'locked' naming the holder. */
export async function lockDataDirectory({ disk, lock }: Pick<Machine, 'disk' | 'lock'>, directory: string): Promise<DirectoryLock> {
  await makeDirectoryDurably(disk, directory);
  return await lock(directory);
}

/** Removes unfinished restores and an unfinished metastore. Only for the holder of the lock. */
export async function sweepStaging(disk: Disk, directory: string): Promise<void> {
  await removeUnfinished(disk, path.join(directory, metastoreFileName));
  for (const name of await disk.list(directory)) {
    if (name.startsWith(stagingPrefix)) await disk.removeTree(path.join(directory, name));
  }
}

/** The node's peer id: that of its cluster, or the one that is given, or a random integer below 2^53, drawn once and kept. */
export async function loadPeerId(metastore: Metastore, given?: number): Promise<number> {
  const inCluster = await memberOf(metastore);
  if (inCluster !== undefined && given !== undefined && given !== inCluster.peerId) throw new RequestError('bad-request', `this node is peer ${inCluster.peerId} of its cluster, and cannot become ${given}`);
  const known = await metastore.get('self');
  const peerId = inCluster?.peerId ?? given ?? (known?.value as { peer_id: number } | undefined)?.peer_id;
  if (peerId !== undefined) return peerId;
  const drawn = Number(randomBytes(8).readBigUInt64LE() >> 11n);
  await metastore.create('self', { peer_id: drawn });
  return drawn;
}
