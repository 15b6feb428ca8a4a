// What an engine takes from the machine it runs on. Tests bring a machine whose disk fails or forgets.
import type { Disk } from '../fs/disk.ts';
import { bothLocks, lockDirectory, socketLock, type DirectoryLock } from '../fs/directory-lock.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { openVectorIndexes } from '../index/open-indexes.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { Hasher } from '../snapshot/hasher.ts';
import { loadAddon } from '../vector/addon.ts';
import { HashPool } from './hash-pool.ts';

export interface Machine {
  readonly disk: Disk;
  /** Of a directory that exists. @throws RequestError 'locked' naming the holder. */
  readonly lock: (directory: string) => Promise<DirectoryLock>;
  readonly openIndexes: () => Promise<VectorIndexes>;
  /** Reads through the same disk. The caller closes it. */
  readonly openHasher: () => Hasher & { close(): Promise<void> };
}

export const thisMachine: Machine = {
  disk: new NodeDisk((descriptor, target, offset) => loadAddon()?.readAt(descriptor, target, offset)),
  lock: async (directory) => {
    const addon = loadAddon();
    return await lockDirectory(directory, addon === undefined ? socketLock : bothLocks((file) => Promise.resolve(addon.lockFile(file)), socketLock));
  },
  openIndexes: openVectorIndexes,
  openHasher: () => new HashPool(),
};
