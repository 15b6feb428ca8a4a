// Leases on snapshot folders: whoever reads one keeps its files, also when the snapshot is deleted meanwhile. Deleting renames the
// folder at once, so that it is in no list, and the files go when the last reader has left.
import path from 'node:path';
import type { Disk, ReadHandle } from '../fs/disk.ts';

interface LeasedFolder {
  path: string;
  readers: number;
  /** The rename at hand; readers that find nothing wait for it and look again. */
  moving: Promise<void>;
  /** Set once the folder was deleted. */
  remove: (() => void) | undefined;
}

export interface FolderLease {
  /** Where the folder is now. */
  readonly path: string;
  open(name: string): Promise<ReadHandle>;
  /** Runs work that takes the folder's path, and runs it again where it failed because the folder was moved under it. */
  use<T>(work: (folder: string) => Promise<T>): Promise<T>;
  /** Idempotent. */
  release(): void;
}

export class FolderLeases {
  readonly #disk: Disk;
  readonly #folders = new Map<string, LeasedFolder>();
  readonly #removals = new Set<Promise<void>>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  take(folderPath: string): FolderLease {
    const folder = this.#folders.get(folderPath) ?? { path: folderPath, readers: 0, moving: Promise.resolve(), remove: undefined };
    this.#folders.set(folderPath, folder);
    folder.readers += 1;
    let held = true;
    const use = async <T>(work: (path: string) => Promise<T>): Promise<T> => {
      for (;;) {
        const tried = folder.path;
        try {
          return await work(tried);
        } catch (error) {
          await folder.moving;
          if (folder.path === tried) throw error;
        }
      }
    };
    return {
      get path() {
        return folder.path;
      },
      open: (name) => use((directory) => this.#disk.openRead(path.join(directory, name))),
      use,
      release: () => {
        if (!held) return;
        held = false;
        folder.readers -= 1;
        if (folder.readers > 0) return;
        if (folder.remove === undefined) this.#folders.delete(folder.path);
        else folder.remove();
      },
    };
  }

  /** Moves a folder to `trash` (same parent, made durable) and removes it, now or when its last reader leaves. */
  async removeFolder(folderPath: string, trash: string): Promise<void> {
    const folder = this.#folders.get(folderPath);
    const move = async (): Promise<void> => {
      await this.#disk.rename(folderPath, trash);
      if (folder === undefined) return;
      this.#folders.delete(folderPath);
      folder.path = trash;
      folder.remove = () => {
        this.#remove(trash);
      };
    };
    const moved = move();
    if (folder !== undefined) folder.moving = moved.catch(() => undefined); // readers only wait; the caller gets the error
    await moved;
    await this.#disk.syncDirectory(path.dirname(trash));
    if (folder === undefined || folder.readers === 0) await this.#disk.removeTree(trash).catch(() => undefined); // what stays is swept at the next start
  }

  /** Waits for removals under way. Folders that are still read are swept at the next start. */
  async close(): Promise<void> {
    await Promise.all(this.#removals);
  }

  #remove(trash: string): void {
    const removal = this.#disk.removeTree(trash).catch(() => undefined).finally(() => this.#removals.delete(removal)); // what stays is swept at the next start
    this.#removals.add(removal);
  }
}
