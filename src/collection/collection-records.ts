// What a node's metastore says of its collections: the directory of names, and one record each. Owns the keys `dir` and `c.<uuid>`.
//
// Invariants:
// - Only the catalog changes them, one change after another: a compare-and-set that fails is a bug.
// - `directory` is what was last stored; a change that fails leaves it.
import path from 'node:path';
import { invariant, must } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { emptyDirectory, type NameDirectory } from './aliases.ts';
import type { Metastore } from './metastore.ts';
import type { CollectionRecord } from './shard-files.ts';

const directoryKey = 'dir';
const recordPrefix = 'c.';

interface Versioned<T> {
  readonly value: T;
  readonly revision: number;
}

export interface RecordsOptions {
  readonly metastore: Metastore;
  readonly disk: Disk;
  readonly dataDirectory: string;
}

export class CollectionRecords {
  readonly #metastore: Metastore;
  #directory: Versioned<NameDirectory>;

  private constructor(metastore: Metastore, directory: Versioned<NameDirectory>) {
    this.#metastore = metastore;
    this.#directory = directory;
  }

  /** @throws CorruptionError where there are collections and no record of names */
  static async open(options: RecordsOptions): Promise<CollectionRecords> {
    return new CollectionRecords(options.metastore, await loadDirectory(options));
  }

  get directory(): NameDirectory {
    return this.#directory.value;
  }

  async setDirectory(value: NameDirectory): Promise<void> {
    const revision = await this.#metastore.set(directoryKey, value, this.#directory.revision);
    invariant(revision !== undefined, 'only this catalog writes names on one node');
    this.#directory = { value, revision };
  }

  /** From now on nothing has a name here; what is stored stays. */
  forgetDirectory(): void {
    this.#directory = { value: emptyDirectory, revision: this.#directory.revision };
  }

  async uuids(): Promise<readonly string[]> {
    return (await this.#metastore.keys(recordPrefix)).map((key) => key.slice(recordPrefix.length));
  }

  async get(uuid: string): Promise<CollectionRecord> {
    return (await this.#versioned(uuid)).value;
  }

  async create(uuid: string, record: CollectionRecord): Promise<void> {
    await this.#metastore.create(recordKey(uuid), record);
  }

  /** Under the lock of changes, with what was read under it. */
  async set(uuid: string, record: CollectionRecord): Promise<void> {
    const { revision } = await this.#versioned(uuid);
    const next = await this.#metastore.set(recordKey(uuid), record, revision);
    invariant(next !== undefined, 'changes of a collection run one after another');
  }

  /** Nothing where there is none. */
  async remove(uuid: string): Promise<void> {
    const record = await this.#metastore.get(recordKey(uuid));
    if (record !== undefined) await this.#metastore.delete(recordKey(uuid), record.revision);
  }

  async #versioned(uuid: string): Promise<Versioned<CollectionRecord>> {
    const record = must(await this.#metastore.get(recordKey(uuid)), `collection ${uuid} has a record`);
    return { value: record.value as CollectionRecord, revision: record.revision };
  }
}

function recordKey(uuid: string): string {
  return recordPrefix + uuid;
}

/** @throws CorruptionError where there are collections and no record of names: taken for an empty one, it would have all of them removed */
async function loadDirectory({ metastore, disk, dataDirectory }: RecordsOptions): Promise<Versioned<NameDirectory>> {
  const record = await metastore.get(directoryKey);
  if (record !== undefined) return { value: record.value as NameDirectory, revision: record.revision };
  const folder = path.join(dataDirectory, 'collections');
  if ((await disk.findStat(folder)) !== undefined && (await disk.list(folder)).length > 0) {
    throw new CorruptionError({ file: dataDirectory, problem: 'collections/ holds data, but the metastore has no record of names: it was lost; put its file back, or move collections/ away' });
  }
  const revision = must(await metastore.create(directoryKey, emptyDirectory), 'an absent record can be created');
  return { value: emptyDirectory, revision };
}
