// A node's view of the metastore that is behind: it hears of every change in order, of others' late by turns, and what it reads is what
// it has heard. Of its own changes it knows when they are answered, as `KvMetastore` promises; nothing else is.
//
// Faults may be put at two moments of a change: `beforeSet` runs between what a caller read and the compare-and-set that builds on it,
// `afterSet` when every server may have the change and this node has not followed it yet.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../base/testing/random.ts';
import type { MetaRecord } from '../../collection/metastore.ts';
import type { ClusterMetastore, KvMetastore } from '../kv-metastore.ts';

export interface LateOptions {
  /** undefined: nothing comes late. */
  readonly random?: Random;
  readonly lateMsMax?: number;
  readonly beforeSet?: (key: string, value: unknown) => Promise<void>;
  readonly afterSet?: (key: string, value: unknown) => Promise<void>;
}

interface Change {
  readonly key: string;
  readonly record: MetaRecord | undefined;
  readonly revision: number;
}

interface Watcher {
  readonly prefix: string;
  readonly onChange: (key: string, record: MetaRecord | undefined) => void;
}

export class LateMetastore implements ClusterMetastore {
  readonly #store: KvMetastore;
  readonly #options: LateOptions;
  readonly #records = new Map<string, MetaRecord>();
  readonly #watchers = new Set<Watcher>();
  readonly #unheard: Change[] = [];
  #revision = 0;
  #isHearing = false;
  /** Changes of its own that are under way: nothing is heard before they are answered. */
  #changing = 0;
  /** Reads that were answered with what was no longer true. */
  oldReads = 0;
  /** Changes that were kept back for a while. */
  lateChanges = 0;

  private constructor(store: KvMetastore, options: LateOptions) {
    this.#store = store;
    this.#options = options;
  }

  static async open(store: KvMetastore, options: LateOptions): Promise<LateMetastore> {
    const view = new LateMetastore(store, options);
    store.watch('', (key, record) => {
      view.#unheard.push({ key, record, revision: store.revision });
      if (!view.#isHearing) void view.#hear();
    });
    for (const key of await store.keys('')) {
      const record = await store.get(key);
      if (record !== undefined) view.#records.set(key, record);
    }
    view.#revision = store.revision;
    return view;
  }

  /** Begins to count anew. */
  forget(): void {
    this.oldReads = 0;
    this.lateChanges = 0;
  }

  get revision(): number {
    return this.#revision;
  }

  async get(key: string): Promise<MetaRecord | undefined> {
    const found = this.#records.get(key);
    if (found?.revision !== (await this.#store.get(key))?.revision) this.oldReads += 1;
    return found;
  }

  keys(prefix: string): Promise<readonly string[]> {
    return Promise.resolve([...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort());
  }

  async create(key: string, value: unknown): Promise<number | undefined> {
    const revision = await this.#store.create(key, value);
    this.#hearAllUpTo(revision ?? this.#store.revision); // who lost is told what won
    return revision;
  }

  async set(key: string, value: unknown, revision: number): Promise<number | undefined> {
    await this.#options.beforeSet?.(key, value);
    this.#changing += 1;
    try {
      const set = await this.#store.set(key, value, revision);
      if (set !== undefined) await this.#options.afterSet?.(key, value);
      this.#hearAllUpTo(set ?? this.#store.revision);
      return set;
    } finally {
      this.#changing -= 1;
    }
  }

  async delete(key: string, revision: number): Promise<boolean> {
    const isDeleted = await this.#store.delete(key, revision);
    this.#hearAllUpTo(this.#store.revision);
    return isDeleted;
  }

  async catchUp(): Promise<void> {
    await this.#store.catchUp();
    this.#hearAllUpTo(this.#store.revision);
  }

  purgeDeleted(): Promise<void> {
    return this.#store.purgeDeleted();
  }

  watch(prefix: string, onChange: Watcher['onChange']): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** The store is whose it was. */
  close(): Promise<void> {
    this.#watchers.clear();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #hear(): Promise<void> {
    this.#isHearing = true;
    try {
      for (let next = this.#unheard[0]; next !== undefined; next = this.#unheard[0]) {
        const { random, lateMsMax = 0 } = this.#options;
        if (random !== undefined && random.below(2) === 0) {
          this.lateChanges += 1;
          await sleep(random.below(lateMsMax));
        }
        while (this.#changing > 0) await sleep(1);
        this.#hearAllUpTo(next.revision);
      }
    } finally {
      this.#isHearing = false;
    }
  }

  #hearAllUpTo(revision: number): void {
    while ((this.#unheard[0]?.revision ?? Infinity) <= revision) {
      const { key, record, revision: of } = this.#unheard.shift() as Change;
      if (of <= this.#revision) continue; // it was there at the beginning
      this.#revision = of;
      if (record === undefined) this.#records.delete(key);
      else this.#records.set(key, record);
      for (const { prefix, onChange } of this.#watchers) if (key.startsWith(prefix)) onChange(key, record);
    }
    if (this.#unheard.length === 0 && this.#revision < revision) this.#revision = revision; // a mark, which is of no record
  }
}
