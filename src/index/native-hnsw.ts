// The graph beside the rows of a mapped file: built or loaded, searched, dropped.
import { invariant, must, unreachable } from '../base/assert.ts';
import { CorruptionError, systemCode } from '../base/errors.ts';
import type { Addon, GraphHandle, NativeCodes, NativeHits, RowsHandle } from '../vector/addon.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { planQuery, type QueryPlan, type WalkPlan } from './filter-plan.ts';
import type { GraphBuild, GraphConfig, GraphImages, GraphPart, GraphSlot, IndexHits, IndexQuery, WalkCounts } from './vector-index.ts';

const pieceBytes = 512 << 10;
const filteringCodes = { plain: 0, predicate: 1, 'two-hop': 2 } as const;
const codesKinds: readonly CodesConfig['kind'][] = ['internal', 'scalar', 'product', 'binary'];
const binaryEncodings = { 'one-bit': 0, 'one-and-half-bits': 1, 'two-bits': 2 } as const;
const queryBits = { default: 0, binary: 0, scalar4bits: 4, scalar8bits: 8 } as const;
const parts: readonly GraphPart[] = [0, 1];
const settingsPerQuery = 5;

let lastTicket = 0;

/** Runs `work` under a ticket that the signal cancels; rejects with the signal's reason then. */
export async function withTicket<T>(addon: Addon, signal: AbortSignal | undefined, work: (ticket: number) => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  lastTicket = signal === undefined ? lastTicket : (lastTicket + 1) >>> 0 || 1;
  const ticket = signal === undefined ? 0 : lastTicket;
  const cancel = (): void => {
    addon.cancel(ticket);
  };
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const result = await work(ticket);
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

export function splitHits(hits: NativeHits): readonly IndexHits[] {
  let from = 0;
  return Array.from(hits.counts, (count) => {
    const to = from + count;
    const one = { rows: hits.rows.subarray(from, to), scores: hits.scores.subarray(from, to) };
    from = to;
    return one;
  });
}

export interface Walk {
  readonly query: IndexQuery;
  readonly plan: WalkPlan;
}

/** Of all graphs of a process. */
export interface GraphCounts {
  built: number;
  readonly walked: WalkCounts;
}

interface LoadedGraph {
  readonly graph: GraphHandle;
  readonly efConstruct: number;
  readonly kind: CodesConfig['kind'];
  readonly memoryBytes: number;
  readonly mappedBytes: number;
  /** Of the codes of one row. */
  readonly recordBytes: number;
  /** Of mapped codes. */
  readonly codePath: string | undefined;
}

/** For the addon: its number of the codes, and their parameter. */
function nativeCodes(codes: CodesConfig): readonly [NativeCodes, number] {
  switch (codes.kind) {
    case 'internal': return [0, 0];
    case 'scalar': return [1, codes.quantile];
    case 'product': return [2, codes.compression / Float32Array.BYTES_PER_ELEMENT];
    case 'binary': return [3, binaryEncodings[codes.encoding]];
    default: return unreachable(codes);
  }
}

export interface NativeGraphOptions {
  readonly addon: Addon;
  readonly spec: VectorSpec;
  readonly handle: RowsHandle;
  readonly rowCount: number;
  readonly counts: GraphCounts;
}

function countWalk(counts: WalkCounts, { byRows, rescored, matches }: WalkPlan, evaluations: number): void {
  counts.walks += 1;
  if (byRows) counts.rowEvaluations += evaluations;
  else counts.codeEvaluations += evaluations;
  if (!byRows) counts.rescored += Math.min(rescored, matches);
}

export class NativeGraph implements GraphSlot {
  readonly #options: NativeGraphOptions;
  #counters = { queries: 0, evaluations: 0 };
  #loaded: LoadedGraph | undefined;

  constructor(options: NativeGraphOptions) {
    this.#options = options;
  }

  get isLoaded(): boolean {
    return this.#loaded !== undefined;
  }

  get codes(): CodesConfig['kind'] | undefined {
    return this.#loaded?.kind;
  }

  get codeMemoryBytes(): number {
    return this.#loaded === undefined ? 0 : this.#options.addon.graphBytes(this.#loaded.graph, 0);
  }

  get mappedBytes(): number {
    return this.#loaded?.mappedBytes ?? 0;
  }

  get counters(): { readonly queries: number; readonly evaluations: number } {
    return this.#counters;
  }

  get memoryBytes(): number {
    return this.#loaded?.memoryBytes ?? 0;
  }

  async build(config: GraphConfig, signal?: AbortSignal): Promise<GraphBuild> {
    const { addon, handle, counts } = this.#options;
    const { m, efConstruct, threadsMax } = config;
    const built = await withTicket(addon, signal, (ticket) => addon.buildGraph(handle, m, efConstruct, ...nativeCodes(config.codes), threadsMax, ticket));
    counts.built += 1;
    const { graph, outcome } = built;
    const sizeBytes = (part: GraphPart): number => (graph === undefined ? 0 : addon.graphBytes(graph, part));
    return {
      outcome,
      sizeBytes,
      pieces: function* (part) {
        for (let at = 0; graph !== undefined && at < sizeBytes(part); at += pieceBytes) {
          yield addon.readGraph(graph, part, at, Math.min(pieceBytes, sizeBytes(part) - at));
        }
      },
      install: () => { this.#install(graph, efConstruct, undefined); },
      discard: () => {
        if (graph !== undefined && this.#loaded?.graph !== graph) addon.closeGraph(graph);
      },
    };
  }

  async load(images: GraphImages): Promise<void> {
    const { addon, handle } = this.#options;
    const { codesInMemory, codeFile } = images;
    const graph = addon.emptyGraph(codesInMemory ? images.sizeBytes(0) : 0, images.sizeBytes(1));
    try {
      // Mapped codes are read here too: that is the proof of their bytes.
      for (const part of parts) await images.read(part, (bytes, offset) => { if (part === 1 || codesInMemory) addon.fillGraph(graph, part, offset, bytes); });
      await addon.checkGraph(handle, graph, codesInMemory ? '' : codeFile.path, codeFile.dataOffset, images.sizeBytes(0), codeFile.sizeBytes);
    } catch (error) {
      addon.closeGraph(graph);
      if (systemCode(error) === 'ERR_DAMAGED') throw new CorruptionError({ file: images.file, problem: (error as Error).message }, { cause: error });
      throw error;
    }
    this.#install(graph, images.efConstruct, codesInMemory ? undefined : codeFile.path);
  }

  drop(): void {
    this.#install(undefined, 0, undefined);
  }

  plan(query: IndexQuery): QueryPlan | undefined {
    const { spec, rowCount } = this.#options;
    if (this.#loaded === undefined) return undefined;
    const { efConstruct, kind, recordBytes } = this.#loaded;
    return planQuery(query, { spec, rowCount, efConstruct, codes: { kind, recordBytes } });
  }

  async walk(walks: readonly Walk[], ticket: number): Promise<readonly IndexHits[]> {
    const { addon, handle } = this.#options;
    const { graph, codePath } = must(this.#loaded, 'a walk is planned where there is a graph');
    const settings = new Float32Array(walks.length * settingsPerQuery);
    for (const [at, { query, plan }] of walks.entries()) {
      settings.set([plan.ef, plan.rescored, filteringCodes[plan.filtering], Number(plan.byRows), queryBits[query.binaryQuery ?? 'default']], at * settingsPerQuery);
    }
    const hits = await addon.searchGraph(
      handle, graph, walks.map(({ query }) => query.vector), walks.map(({ query }) => query.k), walks.map(({ query }) => query.allowed), settings, ticket,
    ).catch((error: unknown) => {
      if (codePath === undefined || systemCode(error) !== 'ERR_CODES_UNREADABLE') throw error;
      throw new CorruptionError({ file: codePath, problem: 'cannot be read any more, or was cut while it was in use' }, { cause: error });
    });
    this.#counters = { queries: this.#counters.queries + walks.length, evaluations: hits.evaluations.reduce((sum, count) => sum + count, this.#counters.evaluations) };
    for (const [at, { plan }] of walks.entries()) countWalk(this.#options.counts.walked, plan, hits.evaluations[at] ?? 0);
    return splitHits(hits);
  }

  /** The one before is freed when its last search has ended. */
  #install(graph: GraphHandle | undefined, efConstruct: number, codePath: string | undefined): void {
    const { addon } = this.#options;
    invariant(graph === undefined || this.#loaded?.graph !== graph, 'a graph is installed once');
    if (this.#loaded !== undefined) addon.closeGraph(this.#loaded.graph);
    if (graph === undefined) {
      this.#loaded = undefined;
      return;
    }
    const [code = 0, memoryBytes = 0, mappedBytes = 0, recordBytes = 0] = addon.graphFacts(graph);
    this.#loaded = { graph, efConstruct, kind: must(codesKinds[code], 'a kind of codes'), memoryBytes, mappedBytes, recordBytes, codePath };
  }
}
