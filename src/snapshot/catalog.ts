// The snapshots folder: which snapshots there are, and the only code that gives and takes their names.
//
// <snapshots>/<name>.snapshot                         of the whole storage; the same forms as of a collection
// <snapshots>/<collection>/shards/<id>/<name>.snapshot  of a shard
// <snapshots>/<collection>/<name>.snapshot            a snapshot folder (snapshot.json and the linked files of its shards), or an
//                                                     archive file put there by hand
// <snapshots>/<collection>/<name>.snapshot.checksum   sha256 of the archive, 64 hex characters
// <snapshots>/<collection>/.tmp-<random>              not published yet, or deleted and still being read; swept at start
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { sha256Hex, sha256Pattern } from '../base/checksum.ts';
import type { Clock } from '../base/clock.ts';
import { isDiskError, isNotFound, RequestError, systemCode } from '../base/errors.ts';
import { mapLimit } from '../base/limit.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably, syncNames, writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { layoutOf } from './archive-layout.ts';
import type { SnapshotDescription } from './description.ts';
import { FolderLeases } from './folder-lease.ts';
import { CHECKSUM_SUFFIX, creationTime, isSnapshotName, scopeFolder, scopeText, SHARDS_FOLDER, snapshotMoment, snapshotName, TEMPORARY_PREFIX, type SnapshotScope } from './snapshot-name.ts';
import { readSealedManifest } from './stored-folder.ts';

const snapshotsReadingMax = 8;
const unfinishedChecksum = `${CHECKSUM_SUFFIX}.tmp`; // of fs/atomic-file.ts

export interface StoredSnapshot {
  readonly kind: 'folder' | 'file';
  readonly name: string;
  readonly path: string;
  readonly createdAtMs: number;
  /** Of the archive. */
  readonly sizeBytes: number;
  /** Strong, without quotes. */
  readonly etag: string;
  readonly checksum: string | undefined;
}

type FolderFacts = Pick<StoredSnapshot, 'createdAtMs' | 'sizeBytes' | 'etag'>;

export interface NameReservation {
  readonly name: string;
  /** Where the snapshot will be; its parent exists. */
  readonly path: string;
  readonly atMs: number;
  release(): void;
}

export interface CatalogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly snapshotsPath: string;
  readonly peerId: number;
  /** Passes wall time; tests move their clock instead. */
  readonly wait: (timeMs: number) => Promise<void>;
}

export class SnapshotCatalog {
  readonly leases: FolderLeases;
  readonly #options: CatalogOptions;
  readonly #disk: Disk;
  readonly #changes = new Lock();
  readonly #reserved = new Set<string>();
  /** By folder; good while snapshot.json is the same file. */
  readonly #facts = new Map<string, { readonly version: string; readonly facts: FolderFacts }>();

  private constructor(options: CatalogOptions) {
    this.#options = options;
    this.#disk = options.disk;
    this.leases = new FolderLeases(options.disk);
  }

  /** Removes what a crash left unpublished or half deleted. */
  static async open(options: CatalogOptions): Promise<SnapshotCatalog> {
    const catalog = new SnapshotCatalog(options);
    await makeDirectoryDurably(options.disk, options.snapshotsPath);
    const sweep = async (folder: string): Promise<void> => {
      await catalog.#sweep(folder);
      await syncNames(options.disk, folder); // what is listed from now on stays
    };
    await sweep(options.snapshotsPath);
    for (const folder of await catalog.#foldersIn(options.snapshotsPath)) {
      await sweep(folder);
      for (const shard of await catalog.#foldersIn(path.join(folder, SHARDS_FOLDER))) await sweep(shard);
    }
    return catalog;
  }

  /**
   * In order of name. A folder that is no sound snapshot is logged and left out. One that the disk cannot read now may be
   * sound: the error of the disk is thrown, for a list without it would say that there is none.
   */
  async list(scope: SnapshotScope): Promise<readonly StoredSnapshot[]> {
    const names = (await this.#names(this.folderOf(scope))).filter(isSnapshotName).sort();
    const found = await mapLimit(names, snapshotsReadingMax, (name) => this.#look(scope, name).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      if (isDiskError(error)) throw error;
      this.#options.logger.error({ of: scopeText(scope), snapshot: name, error: String(error) }, 'snapshot is damaged and not listed');
      return undefined;
    }));
    return found.filter((snapshot) => snapshot !== undefined);
  }

  /** @throws RequestError 'not-found', also for every name that is no bare file name. */
  async get(scope: SnapshotScope, name: string): Promise<StoredSnapshot> {
    const found = await this.find(scope, name);
    if (found === undefined) throw new RequestError('not-found', `Snapshot ${name} not found`);
    return found;
  }

  /** Whether something lies under the name, sound or not. */
  async has(scope: SnapshotScope, name: string): Promise<boolean> {
    const stat = isSnapshotName(name) ? await this.#disk.findStat(path.join(this.folderOf(scope), name)) : undefined;
    return stat !== undefined && (stat.isDirectory || stat.isFile);
  }

  async find(scope: SnapshotScope, name: string): Promise<StoredSnapshot | undefined> {
    return isSnapshotName(name) ? await this.#look(scope, name) : undefined;
  }

  /** The name of this second; waits for the next where it is taken, and keeps others from taking it until released. A clock that
   *  stands still, or goes back meanwhile, does not keep it: each second that was waited for is one second later. */
  async reserve(scope: SnapshotScope): Promise<NameReservation> {
    const folder = this.folderOf(scope);
    await makeDirectoryDurably(this.#disk, folder);
    for (let earliestMs = 0; ;) {
      const atMs = Math.max(snapshotMoment(this.#options.clock), earliestMs);
      const name = snapshotName(scope, this.#options.peerId, atMs);
      const target = path.join(folder, name);
      if (!this.#reserved.has(target)) {
        this.#reserved.add(target);
        if ((await this.#disk.findStat(target)) === undefined) {
          await this.#removeIfPresent(`${target}${CHECKSUM_SUFFIX}`); // of a snapshot that was deleted by hand
          return { name, path: target, atMs, release: () => this.#reserved.delete(target) };
        }
        this.#reserved.delete(target);
      }
      await this.#options.wait(1000 - (atMs % 1000));
      earliestMs = Math.floor(atMs / 1000) * 1000 + 1000;
    }
  }

  folderOf(scope: SnapshotScope): string {
    return path.join(this.#options.snapshotsPath, scopeFolder(scope));
  }

  /** Whether the name is held by a create that has not answered yet. */
  isReserved(snapshotPath: string): boolean {
    return this.#reserved.has(snapshotPath);
  }

  /** A new name for unpublished things, beside where they will be. */
  temporaryBeside(target: string): string {
    return path.join(path.dirname(target), `${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`);
  }

  /** Keeps the checksum of a snapshot that is still there. */
  storeChecksum(snapshotPath: string, checksum: string): Promise<void> {
    return this.#changes.run(async () => {
      if ((await this.#disk.findStat(snapshotPath)) === undefined) return;
      await writeFileAtomically(this.#disk, `${snapshotPath}${CHECKSUM_SUFFIX}`, Buffer.from(checksum));
    });
  }

  /** Gone from every list when this returns; files that are being read go with their last reader. */
  delete(scope: SnapshotScope, name: string): Promise<void> {
    return this.#changes.run(async () => {
      const target = isSnapshotName(name) ? path.join(this.folderOf(scope), name) : undefined;
      const stat = target === undefined ? undefined : await this.#disk.findStat(target);
      if (target === undefined || stat === undefined || !(stat.isDirectory || stat.isFile)) throw new RequestError('not-found', `Snapshot ${name} not found`);
      await this.leases.removeFolder(target, this.temporaryBeside(target));
      this.#facts.delete(target);
      await this.#removeIfPresent(`${target}${CHECKSUM_SUFFIX}`);
    });
  }

  async #look(scope: SnapshotScope, name: string): Promise<StoredSnapshot | undefined> {
    const target = path.join(this.folderOf(scope), name);
    const stat = await this.#disk.findStat(target);
    if (stat === undefined) return undefined;
    const checksum = await this.#readChecksum(target);
    if (stat.isFile) {
      const etag = checksum ?? sha256Hex(`${stat.sizeBytes} ${stat.modifiedMs}`);
      return { kind: 'file', name, path: target, createdAtMs: stat.modifiedMs, sizeBytes: stat.sizeBytes, etag, checksum };
    }
    const facts = stat.isDirectory ? await this.#folderFacts(target) : undefined;
    return facts === undefined ? undefined : { kind: 'folder', name, path: target, ...facts, checksum };
  }

  /** undefined where the folder has no snapshot.json: rubbish, not a snapshot. */
  async #folderFacts(folder: string): Promise<FolderFacts | undefined> {
    const stat = await this.#disk.findStat(path.join(folder, 'snapshot.json'));
    if (stat === undefined) return undefined;
    const version = `${stat.sizeBytes} ${stat.modifiedMs}`;
    const known = this.#facts.get(folder);
    if (known?.version === version) return known.facts;
    const sealed = await readSealedManifest((name) => this.#disk.openRead(path.join(folder, name)));
    const facts = { createdAtMs: sealed.manifest.createdAtMs, sizeBytes: layoutOf(sealed).sizeBytes, etag: sealed.sha256 };
    this.#facts.set(folder, { version, facts });
    return facts;
  }

  async #readChecksum(target: string): Promise<string | undefined> {
    const text = (await readOptionalFile(this.#disk, `${target}${CHECKSUM_SUFFIX}`))?.toString('latin1').trim();
    return text !== undefined && sha256Pattern.test(text) ? text : undefined;
  }

  async #names(folder: string): Promise<readonly string[]> {
    try {
      return await this.#disk.list(folder);
    } catch (error) {
      if (isNotFound(error) || systemCode(error) === 'ENOTDIR') return [];
      throw error;
    }
  }

  async #foldersIn(folder: string): Promise<readonly string[]> {
    const found: string[] = [];
    for (const name of await this.#names(folder)) {
      const inside = path.join(folder, name);
      if (!isSnapshotName(name) && (await this.#disk.findStat(inside))?.isDirectory === true) found.push(inside);
    }
    return found;
  }

  async #sweep(folder: string): Promise<void> {
    for (const name of await this.#disk.list(folder)) {
      if (name.startsWith(TEMPORARY_PREFIX) || name.endsWith(unfinishedChecksum)) await this.#disk.removeTree(path.join(folder, name));
    }
  }

  async #removeIfPresent(file: string): Promise<void> {
    if ((await this.#disk.findStat(file)) !== undefined) await this.#disk.remove(file);
  }
}

export function describe({ name, createdAtMs, sizeBytes, checksum }: StoredSnapshot): SnapshotDescription {
  return { name, creationTime: creationTime(createdAtMs), sizeBytes, ...(checksum === undefined ? {} : { checksum }) };
}
