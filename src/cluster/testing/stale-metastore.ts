// A node's view of a shared metastore that lies as servers do under contention: what it reads may be old, what it watches comes late and
// in another order. Only compare-and-set tells the truth.
import type { Random } from '../../base/testing/random.ts';
import type { MetaRecord, Metastore } from '../../collection/metastore.ts';

const versionsKept = 8;

/** What a store has held since the nodes opened it, for the views of all of them. */
export class MetastoreHistory {
  readonly store: Metastore;
  readonly #versions: Map<string, (MetaRecord | undefined)[]>;

  private constructor(store: Metastore, versions: Map<string, (MetaRecord | undefined)[]>) {
    this.store = store;
    this.#versions = versions;
    store.watch('', (key, record) => this.#versions.set(key, [...this.versions(key), record].slice(-versionsKept)));
  }

  static async open(store: Metastore): Promise<MetastoreHistory> {
    const versions = new Map<string, (MetaRecord | undefined)[]>();
    for (const key of await store.keys('')) versions.set(key, [await store.get(key)]);
    return new MetastoreHistory(store, versions);
  }

  /** Oldest first. */
  versions(key: string): readonly (MetaRecord | undefined)[] {
    return this.#versions.get(key) ?? [undefined];
  }
}

export class StaleMetastore implements Metastore {
  readonly #history: MetastoreHistory;
  readonly #random: Random;
  /** Reads that were answered with what was no longer true. */
  staleReads = 0;

  constructor(history: MetastoreHistory, random: Random) {
    this.#history = history;
    this.#random = random;
  }

  async get(key: string): Promise<MetaRecord | undefined> {
    await this.#late();
    const versions = this.#history.versions(key);
    const found = versions[this.#random.below(versions.length)];
    if (found !== versions.at(-1)) this.staleReads += 1;
    return found;
  }

  async keys(prefix: string): Promise<readonly string[]> {
    await this.#late();
    return await this.#history.store.keys(prefix);
  }

  async create(key: string, value: unknown): Promise<number | undefined> {
    await this.#late();
    return await this.#history.store.create(key, value);
  }

  async set(key: string, value: unknown, revision: number): Promise<number | undefined> {
    await this.#late();
    return await this.#history.store.set(key, value, revision);
  }

  async delete(key: string, revision: number): Promise<boolean> {
    await this.#late();
    return await this.#history.store.delete(key, revision);
  }

  watch(prefix: string, onChange: (key: string, record: MetaRecord | undefined) => void): () => void {
    return this.#history.store.watch(prefix, (key, record) => {
      void this.#late().then(() => onChange(key, record));
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #late(): Promise<void> {
    for (let turns = this.#random.below(4); turns > 0; turns -= 1) await new Promise(setImmediate);
  }
}
