// The records of a cluster's collections in its metastore, and the one way they are changed: a pure function of what is there, put in
// place by compare-and-set, worked out again where another node was first. Owns the keys `dir` and `c.<uuid>`.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { emptyDirectory, type NameDirectory } from '../collection/aliases.ts';
import type { Metastore } from '../collection/metastore.ts';
import type { ClusterCollection } from './cluster-record.ts';

export const directoryKey = 'dir';
export const recordPrefix = 'c.';

export class ClusterRecords {
  readonly #metastore: Metastore;

  constructor(metastore: Metastore) {
    this.#metastore = metastore;
  }

  /** The directory of names, which the first node of a cluster makes. */
  async open(): Promise<NameDirectory> {
    if ((await this.#metastore.get(directoryKey)) === undefined) await this.#metastore.create(directoryKey, emptyDirectory);
    return await this.directory();
  }

  async directory(): Promise<NameDirectory> {
    return ((await this.#metastore.get(directoryKey))?.value as NameDirectory | undefined) ?? emptyDirectory;
  }

  async uuids(): Promise<readonly string[]> {
    return (await this.#metastore.keys(recordPrefix)).map((key) => key.slice(recordPrefix.length));
  }

  /** undefined where it is gone. */
  async get(uuid: string): Promise<ClusterCollection | undefined> {
    return (await this.#metastore.get(recordPrefix + uuid))?.value as ClusterCollection | undefined;
  }

  async create(uuid: string, record: ClusterCollection): Promise<void> {
    await this.#metastore.create(recordPrefix + uuid, record);
  }

  /** `change` may be run more than once; the same directory means that nothing is to change. */
  async changeDirectory(change: (directory: NameDirectory) => NameDirectory): Promise<void> {
    for (;;) {
      const found = must(await this.#metastore.get(directoryKey), 'a cluster has a record of names');
      const before = found.value as NameDirectory;
      const after = change(before);
      if (after === before || (await this.#metastore.set(directoryKey, after, found.revision)) !== undefined) return;
    }
  }

  /** Likewise for a collection. @throws RequestError 'not-found' where it is gone */
  async change(uuid: string, change: (record: ClusterCollection) => ClusterCollection): Promise<void> {
    for (;;) {
      const found = await this.#metastore.get(recordPrefix + uuid);
      if (found === undefined) throw new RequestError('not-found', 'the collection was deleted meanwhile');
      const before = found.value as ClusterCollection;
      const after = change(before);
      if (after === before || (await this.#metastore.set(recordPrefix + uuid, after, found.revision)) !== undefined) return;
    }
  }

  /** Nothing where it is gone. */
  async remove(uuid: string): Promise<void> {
    for (;;) {
      const found = await this.#metastore.get(recordPrefix + uuid);
      if (found === undefined || (await this.#metastore.delete(recordPrefix + uuid, found.revision))) return;
    }
  }
}
