// The folder of one shard on disk: manifest.json, logs/, files/. Knows which files must stay and removes the others.
//
// Invariants:
// - A file goes only when the durable manifest does not name it, no freeze holds it, no open segment reads it, and nothing is
//   being written that might come to name it.
// - Log entries behind the manifest's `applied`, or behind that of a manifest that a freeze holds, stay.
import path from 'node:path';
import type { Seq } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import type { FilesPlace } from '../segment/write-file.ts';
import { Gauge } from './gauge.ts';
import { namedFiles, writeManifest, type ShardManifest, type StoredManifest } from './shard-manifest.ts';

/** The manifest of a moment, whose files and logs stay until it is released. Idempotent. */
export interface HeldManifest {
  readonly stored: StoredManifest;
  release(): void;
}

export class ShardFolder {
  readonly directory: string;
  readonly disk: Disk;
  readonly #logger: Logger;
  readonly #holds = new Set<StoredManifest>();
  #stored: StoredManifest;
  /** One whose publishing failed: a start may find it all the same. */
  #doubtful: ShardManifest | undefined;
  #writing = 0;
  #sweeping: Promise<void> | undefined;
  #sweepWanted = false;
  #closed = false;
  readonly #held = new Gauge();
  /** Names of files that open segments read. */
  #inUse: () => Iterable<string> = () => [];

  constructor(options: { readonly disk: Disk; readonly directory: string; readonly logger: Logger }, stored: StoredManifest) {
    this.directory = options.directory;
    this.disk = options.disk;
    this.#logger = options.logger;
    this.#stored = stored;
  }

  get stored(): StoredManifest { return this.#stored; }
  get manifest(): ShardManifest { return this.#stored.manifest; }
  get place(): FilesPlace { return { disk: this.disk, filesDirectory: filesDirectory(this.directory) }; }

  setInUse(inUse: () => Iterable<string>): void {
    this.#inUse = inUse;
  }

  /** The commit point: durable when it returns. The files it names are durable before. */
  async publish(manifest: ShardManifest): Promise<void> {
    this.#doubtful = manifest;
    this.#stored = await writeManifest(this.disk, this.directory, manifest);
    this.#doubtful = undefined;
  }

  /** Holds the current manifest; at once, so that it is the one the caller saw. */
  hold(): HeldManifest {
    const hold = { ...this.#stored };
    this.#holds.add(hold);
    this.#held.add(1);
    return {
      stored: hold,
      release: () => {
        if (!this.#holds.delete(hold)) return;
        this.#held.subtract(1);
        this.sweep();
      },
    };
  }

  /** Log entries up to here are in the files of every manifest that matters. */
  purgeableSeq(): Seq {
    return Math.min(this.manifest.applied, ...[...this.#holds].map(({ manifest }) => manifest.applied));
  }

  /** New files appear in `files/` only inside; none of them is taken for garbage meanwhile. What failed or was given up is removed. */
  async whileWriting<T>(work: () => Promise<T>): Promise<T> {
    while (this.#sweeping !== undefined) await this.#sweeping;
    this.#writing += 1;
    try {
      return await work();
    } catch (error) {
      this.#sweepWanted = true;
      throw error;
    } finally {
      this.#writing -= 1;
      if (this.#writing === 0 && this.#sweepWanted) this.sweep();
    }
  }

  /** Removes what nothing needs, in the background; as soon as nobody writes. A failure costs space only and is tried again. */
  sweep(): void {
    if (this.#closed) return;
    this.#sweepWanted = true;
    if (this.#writing > 0 || this.#sweeping !== undefined) return;
    this.#sweepWanted = false;
    this.#sweeping = this.#removeGarbage()
      .catch((error: unknown) => this.#logger.warn({ directory: this.directory, error: String(error) }, 'files that are no longer needed could not be removed'))
      .finally(() => {
        this.#sweeping = undefined;
        if (this.#sweepWanted) this.sweep();
      });
  }

  /** Resolves when no removal is under way. */
  async settle(): Promise<void> {
    while (this.#sweeping !== undefined) await this.#sweeping;
  }

  /** Waits for freezes to be released: their files must not go with the folder. Nothing is removed afterwards. */
  async close(): Promise<void> {
    await this.#held.waitFor(0);
    this.#closed = true;
    await this.settle();
  }

  async #removeGarbage(): Promise<void> {
    const directory = filesDirectory(this.directory);
    const found = await this.disk.list(directory);
    const manifests = [this.manifest, ...[...this.#holds].map(({ manifest }) => manifest), ...(this.#doubtful === undefined ? [] : [this.#doubtful])];
    const needed = new Set([...manifests.flatMap((manifest) => [...namedFiles(manifest)]), ...this.#inUse()]);
    for (const name of found) {
      if (!needed.has(name)) await this.disk.removeTree(path.join(directory, name));
    }
  }
}

export function filesDirectory(directory: string): string {
  return path.join(directory, 'files');
}

export function logsDirectory(directory: string): string {
  return path.join(directory, 'logs');
}

/** An empty folder of a shard, durable in its parent. */
export async function makeShardFolder(disk: Disk, directory: string): Promise<void> {
  await makeDirectoryDurably(disk, filesDirectory(directory));
  await makeDirectoryDurably(disk, logsDirectory(directory));
}
