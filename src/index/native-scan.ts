// Search on the addon's threads: exact scan over rows in native memory (the growing index) and over mapped files; over a file with a
// graph, the graph or the scan, whichever costs less for the query (filter-plan.ts).
import { invariant, must } from '../base/assert.ts';
import { CorruptionError, systemCode } from '../base/errors.ts';
import type { Addon, RowsHandle } from '../vector/addon.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { checkFile, checkQuery, checkRows, checkVector } from './check-query.ts';
import { systemClock } from '../base/clock.ts';
import { InFlight } from '../base/in-flight.ts';
import { TurnBudget } from '../base/turn-budget.ts';
import { scanCostNs } from './filter-plan.ts';
import { NativeGraph, splitHits, walkMs, withTicket, type GraphCounts, type Walk } from './native-hnsw.ts';
import { noWalks, type GrowingVectorIndex, type IndexHits, type IndexQuery, type VectorFile, type VectorIndex, type VectorIndexes } from './vector-index.ts';

interface NativeOptions {
  readonly addon: Addon;
  readonly spec: VectorSpec;
  readonly handle: RowsHandle;
  readonly rowCount: number;
  readonly turn: TurnBudget;
  /** Of a mapped file, for errors. */
  readonly path?: string;
}

/** Of a turn of the event loop, for searches so short that a thread would cost more: about five of them. */
const searchMsOfTurn = 0.5;

/** `kernel`: the name of one of `addon.kernels`. */
export function nativeIndexes(addon: Addon, kernel: string): VectorIndexes {
  const open = new Set<NativeIndex>();
  const turn = new TurnBudget(searchMsOfTurn, systemClock);
  const counts: GraphCounts = { built: 0, kept: 0, walked: { ...noWalks } };
  const opened = <T extends NativeIndex>(index: T): T => {
    open.add(index);
    return index;
  };
  return {
    kernel,
    get graphsBuilt() { return counts.built; },
    get pointsKept() { return counts.kept; },
    walked: counts.walked,
    growing: (spec) => {
      const handle = addon.growRows(kernel, spec.size, spec.distance, spec.datatype);
      return opened(new NativeGrowingIndex({ addon, spec, handle, rowCount: 0, turn }, open));
    },
    openFile: async (spec, file) => {
      checkFile(spec, file);
      const handle = await mapFile(addon, kernel, spec, file);
      return opened(new NativeFileIndex({ addon, spec, handle, rowCount: file.rowCount, turn, path: file.path }, { siblings: open, counts }));
    },
    close: async () => {
      await Promise.all(Array.from(open, (index) => index.close()));
    },
  };
}

async function mapFile(addon: Addon, kernel: string, spec: VectorSpec, file: VectorFile): Promise<RowsHandle> {
  const { path, dataOffset, rowCount, sizeBytes } = file;
  try {
    return await addon.mapRows(kernel, spec.size, spec.distance, spec.datatype, path, dataOffset, rowCount, sizeBytes);
  } catch (error) {
    if (systemCode(error) === 'ERR_SIZE') throw new CorruptionError({ file: path, problem: (error as Error).message }, { cause: error });
    throw error;
  }
}

class NativeIndex implements VectorIndex {
  readonly spec: VectorSpec;
  protected readonly addon: Addon;
  protected readonly handle: RowsHandle;
  protected rows: number;
  protected readonly turn: TurnBudget;
  readonly #path: string | undefined;
  readonly #siblings: Set<NativeIndex>;
  readonly #searches = new InFlight();
  #closing: Promise<void> | undefined;

  constructor(options: NativeOptions, siblings: Set<NativeIndex>) {
    this.addon = options.addon;
    this.spec = options.spec;
    this.handle = options.handle;
    this.rows = options.rowCount;
    this.turn = options.turn;
    this.#path = options.path;
    this.#siblings = siblings;
  }

  get rowCount(): number {
    return this.rows;
  }

  search(queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    return this.#searches.run(() => this.#search(queries, signal));
  }

  score(vector: Float32Array, rows: Uint32Array): Promise<Float32Array> {
    return this.#searches.run(async () => {
      checkVector(this.spec, vector);
      checkRows(this.rows, rows);
      try {
        return await this.addon.scoreRows(this.handle, vector, rows);
      } catch (error) {
        throw this.#explained(error);
      }
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#searches.close();
    this.addon.closeRows(this.handle);
    this.#siblings.delete(this);
  }

  protected checkOpen(): void {
    invariant(!this.#searches.closed, 'an index is open while it is used');
  }

  async #search(queries: readonly IndexQuery[], signal: AbortSignal | undefined): Promise<readonly IndexHits[]> {
    signal?.throwIfAborted();
    for (const query of queries) checkQuery(this.spec, this.rows, query);
    if (queries.length === 0) return [];
    try {
      return await withTicket(this.addon, signal, (ticket) => this.answer(queries, ticket));
    } catch (error) {
      throw this.#explained(error);
    }
  }

  protected answer(queries: readonly IndexQuery[], ticket: number): Promise<readonly IndexHits[]> {
    return this.scan(queries, ticket);
  }

  /** Like a walk (native-hnsw.ts): a short one on the calling thread. */
  protected async scan(queries: readonly IndexQuery[], ticket: number): Promise<readonly IndexHits[]> {
    const { addon, handle, spec, rows } = this;
    const vectors = queries.map((query) => query.vector);
    const ks = queries.map((query) => Math.min(query.k, rows));
    const bitmaps = queries.map((query) => query.allowed);
    const ms = queries.reduce((sum, { allowedCount = rows }) => sum + scanCostNs(spec, allowedCount), 0) / 1e6;
    const here = this.turn.now(ms, () => addon.searchRowsHere(handle, vectors, ks, bitmaps));
    return splitHits(here ?? await addon.searchRows(handle, vectors, ks, bitmaps, ticket));
  }

  #explained(error: unknown): unknown {
    if (systemCode(error) !== 'ERR_UNREADABLE' || this.#path === undefined) return error;
    return new CorruptionError({ file: this.#path, problem: 'cannot be read any more, or was cut while it was in use' }, { cause: error });
  }
}

class NativeGrowingIndex extends NativeIndex implements GrowingVectorIndex {
  get memoryBytes(): number {
    this.checkOpen();
    return this.addon.memoryBytes(this.handle);
  }

  append(rows: Uint8Array): void {
    this.checkOpen();
    this.rows = this.addon.appendRows(this.handle, rows);
  }

  row(row: number): Uint8Array {
    this.checkOpen();
    return this.addon.copyRow(this.handle, row);
  }

  readRows(first: number, target: Uint8Array): void {
    this.checkOpen();
    this.addon.readRows(this.handle, first, target);
  }
}

class NativeFileIndex extends NativeIndex {
  readonly graph: NativeGraph;

  constructor(options: NativeOptions, shared: { readonly siblings: Set<NativeIndex>; readonly counts: GraphCounts }) {
    super(options, shared.siblings);
    this.graph = new NativeGraph({ ...options, counts: shared.counts });
  }

  override async close(): Promise<void> {
    await super.close();
    this.graph.drop();
  }

  /** Each query by graph or by scan. A walk that found too few rows is repeated as a scan: results are never short. */
  protected override async answer(queries: readonly IndexQuery[], ticket: number): Promise<readonly IndexHits[]> {
    const walks: (Walk & { readonly at: number })[] = [];
    for (const [at, query] of queries.entries()) {
      const plan = this.graph.plan(query);
      if (plan?.kind === 'walk') walks.push({ at, query, plan });
    }
    if (walks.length === 0) return await this.scan(queries, ticket);
    const turned = this.turn.next(walkMs(walks));
    if (turned !== undefined) {
      await turned;
      return await this.answer(queries, ticket); // the graph may be another one by now
    }
    const answers: (IndexHits | undefined)[] = queries.map(() => undefined);
    for (const [at, hits] of (await this.graph.walk(walks, ticket)).entries()) {
      const walk = must(walks[at], 'one answer for each walk');
      if (hits.rows.length >= Math.min(walk.query.k, walk.plan.matches)) answers[walk.at] = hits;
    }
    const left = queries.filter((_, at) => answers[at] === undefined);
    const scanned = left.length === 0 ? [] : await this.scan(left, ticket);
    const rest = scanned.values();
    return answers.map((hits) => hits ?? must(rest.next().value, 'each query has an answer'));
  }
}
