// The graph beside the rows of a mapped file: built or loaded, searched, dropped.
import { invariant, must } from '../base/assert.ts';
import { CorruptionError, systemCode } from '../base/errors.ts';
import type { Addon, GraphHandle, NativeHits, RowsHandle } from '../vector/addon.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { planQuery, type GraphBlock, type QueryPlan, type WalkPlan } from './filter-plan.ts';
import type { GraphBuild, GraphConfig, GraphImages, GraphPart, GraphSlot, IndexHits, IndexQuery } from './vector-index.ts';

const pieceBytes = 512 << 10;
const filteringCodes = { plain: 0, predicate: 1, 'two-hop': 2, 'no-walk': 3 } as const;
const parts: readonly GraphPart[] = [0, 1, 2];
/** Of a query, for the addon. */
const settingsCount = 5;

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

export interface NativeGraphOptions {
  readonly addon: Addon;
  readonly spec: VectorSpec;
  readonly handle: RowsHandle;
  readonly rowCount: number;
  readonly counts: { built: number };
}

export class NativeGraph implements GraphSlot {
  readonly #options: NativeGraphOptions;
  #loaded: { readonly graph: GraphHandle; readonly efConstruct: number } | undefined;

  constructor(options: NativeGraphOptions) {
    this.#options = options;
  }

  get isLoaded(): boolean {
    return this.#loaded !== undefined;
  }

  get memoryBytes(): number {
    const graph = this.#loaded?.graph;
    const { addon } = this.#options;
    return graph === undefined ? 0 : parts.reduce<number>((sum, part) => sum + addon.graphBytes(graph, part), addon.blockIndexBytes(graph));
  }

  async build(config: GraphConfig, signal?: AbortSignal): Promise<GraphBuild> {
    const { addon, counts } = this.#options;
    const { outcome, graph } = await this.#build(config, signal);
    counts.built += 1;
    const sizeBytes = (part: GraphPart): number => (graph === undefined ? 0 : addon.graphBytes(graph, part));
    return {
      outcome,
      sizeBytes,
      pieces: function* (part) {
        for (let at = 0; graph !== undefined && at < sizeBytes(part); at += pieceBytes) {
          yield addon.readGraph(graph, part, at, Math.min(pieceBytes, sizeBytes(part) - at));
        }
      },
      install: () => { this.#install(graph, config); },
      discard: () => {
        if (graph !== undefined && this.#loaded?.graph !== graph) addon.closeGraph(graph);
      },
    };
  }

  async #build(config: GraphConfig, signal: AbortSignal | undefined): Promise<{ readonly outcome: GraphBuild['outcome']; readonly graph?: GraphHandle }> {
    const { addon, handle } = this.#options;
    const { m, efConstruct, threadsMax, blocks, keepsLinks } = config;
    const lists = blocks?.lists ?? [];
    if (m === 0 && lists.length === 0) return { outcome: 'empty' };
    const kept = keepsLinks === true ? must(this.#loaded, 'links are kept where there are some').graph : undefined;
    const built = kept === undefined ? await withTicket(addon, signal, (ticket) => addon.buildGraph(handle, m, efConstruct, threadsMax, ticket)) : { outcome: 'built' as const, graph: kept };
    const { outcome, graph: links } = built;
    if (links === undefined || (lists.length === 0 && kept === undefined)) return built;
    try {
      const rows = joined(lists);
      const graph = await withTicket(addon, signal, (ticket) => addon.buildBlocks(handle, links, blocks?.m ?? m, efConstruct, threadsMax, rows.values, rows.starts, ticket));
      if (m !== 0 || addon.graphBytes(graph, 2) > 0) return { outcome, graph };
      addon.closeGraph(graph);
      return { outcome: 'missed' };
    } finally {
      if (kept === undefined) addon.closeGraph(links);
    }
  }

  async load(images: GraphImages): Promise<void> {
    const { addon, handle } = this.#options;
    if ((images.m > 0) !== (images.sizeBytes(1) > 0)) throw new CorruptionError({ file: images.file, problem: `${images.m} links of a row do not make ${images.sizeBytes(1)} bytes` });
    const graph = addon.emptyGraph(images.sizeBytes(0), images.sizeBytes(1), images.sizeBytes(2));
    try {
      for (const part of parts) await images.read(part, (bytes, offset) => { addon.fillGraph(graph, part, offset, bytes); });
      await addon.checkGraph(handle, graph);
    } catch (error) {
      addon.closeGraph(graph);
      if (systemCode(error) === 'ERR_DAMAGED') throw new CorruptionError({ file: images.file, problem: (error as Error).message }, { cause: error });
      throw error;
    }
    this.#install(graph, images);
  }

  drop(): void {
    this.#install(undefined);
  }

  plan(query: IndexQuery): QueryPlan | undefined {
    const { spec, rowCount, addon } = this.#options;
    if (this.#loaded === undefined) return undefined;
    const { graph, efConstruct } = this.#loaded;
    const findBlock = (): GraphBlock | undefined => {
      const [place, rows] = addon.findBlock(graph, query.allowed) ?? [];
      return place === undefined || rows === undefined ? undefined : { place, rows };
    };
    return planQuery(query, { spec, rowCount, efConstruct, isWhole: addon.graphBytes(graph, 1) > 0, findBlock });
  }

  async walk(walks: readonly Walk[], ticket: number): Promise<readonly IndexHits[]> {
    const { addon, handle } = this.#options;
    const { graph } = must(this.#loaded, 'a walk is planned where there is a graph');
    const settings = new Float32Array(walks.length * settingsCount);
    for (const [at, { plan }] of walks.entries()) settings.set([plan.ef, plan.rescored, filteringCodes[plan.filtering], Number(plan.byRows), plan.block ?? -1], at * settingsCount);
    const hits = await addon.searchGraph(
      handle, graph, walks.map(({ query }) => query.vector), walks.map(({ query }) => query.k), walks.map(({ query }) => query.allowed), settings, ticket,
    );
    return splitHits(hits);
  }

  /** The one before is freed when its last search has ended. */
  #install(graph: GraphHandle | undefined, facts: { readonly efConstruct: number } = { efConstruct: 0 }): void {
    const { addon } = this.#options;
    invariant(graph === undefined || this.#loaded?.graph !== graph, 'a graph is installed once');
    if (this.#loaded !== undefined) addon.closeGraph(this.#loaded.graph);
    this.#loaded = graph === undefined ? undefined : { graph, efConstruct: facts.efConstruct };
  }
}

/** Lists as one array, and where each starts and the last one ends. */
function joined(lists: readonly Uint32Array[]): { readonly values: Uint32Array; readonly starts: Uint32Array } {
  const starts = new Uint32Array(lists.length + 1);
  for (const [at, list] of lists.entries()) starts[at + 1] = (starts[at] ?? 0) + list.length;
  const values = new Uint32Array(starts[lists.length] ?? 0);
  for (const [at, list] of lists.entries()) values.set(list, starts[at]);
  return { values, starts };
}
