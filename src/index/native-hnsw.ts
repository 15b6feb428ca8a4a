// The graph beside the rows of a mapped file: built or loaded, searched, dropped.
import { invariant, must, unreachable } from '../base/assert.ts';
import type { TurnBudget } from '../base/turn-budget.ts';
import { CorruptionError, systemCode } from '../base/errors.ts';
import type { Addon, GraphHandle, NativeBuild, NativeCodes, NativeHits, RowsHandle } from '../vector/addon.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { planQuery, type GraphBlock, type QueryPlan, type WalkPlan } from './filter-plan.ts';
import type { GraphBuild, GraphConfig, GraphImages, GraphPart, GraphSlot, IndexHits, IndexQuery, WalkCounts } from './vector-index.ts';

const pieceBytes = 512 << 10;
const filteringCodes = { plain: 0, predicate: 1, 'two-hop': 2, 'no-walk': 3 } as const;
const codesKinds: readonly CodesConfig['kind'][] = ['internal', 'scalar', 'product', 'binary'];
const binaryEncodings = { 'one-bit': 0, 'one-and-half-bits': 1, 'two-bits': 2 } as const;
const queryBits = { default: 0, binary: 0, scalar4bits: 4, scalar8bits: 8 } as const;
const parts: readonly GraphPart[] = [0, 1, 2];
/** Of a query, for the addon. */
const settingsCount = 7;

let lastTicket = 0;

/** Runs `work` under a ticket that the signal cancels; rejects with the signal's reason then. */
export async function withTicket<T>(addon: Addon, signal: AbortSignal | undefined, work: (ticket: number) => Promise<T>): Promise<T> {
  if (signal === undefined) return await work(0);
  signal.throwIfAborted();
  lastTicket = (lastTicket + 1) >>> 0 || 1;
  const ticket = lastTicket;
  const cancel = (): void => {
    addon.cancel(ticket);
  };
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const result = await work(ticket);
    signal.throwIfAborted();
    return result;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
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
  kept: number;
  readonly walked: WalkCounts;
}

interface LoadedGraph {
  readonly graph: GraphHandle;
  readonly efConstruct: number;
  readonly kind: CodesConfig['kind'];
  /** Whether there are links over all rows. */
  readonly isWhole: boolean;
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
  /** Of all graphs of a process. */
  readonly turn: TurnBudget;
}

/** As the plans expect it. */
export function walkMs(walks: readonly Walk[]): number {
  return walks.reduce((sum, { plan }) => sum + plan.costNs, 0) / 1e6;
}

function countWalk(counts: WalkCounts, { byRows }: WalkPlan, { evaluations, rescored }: { readonly evaluations: number; readonly rescored: number }): void {
  counts.walks += 1;
  if (byRows) counts.rowEvaluations += evaluations;
  else {
    counts.codeEvaluations += evaluations;
    counts.rescored += rescored;
  }
}

export class NativeGraph implements GraphSlot {
  readonly #options: NativeGraphOptions;
  readonly #counters = { queries: 0, evaluations: 0 };
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
    const { addon, counts } = this.#options;
    const codePath = config.keepsLinks === true ? this.#loaded?.codePath : undefined;
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
      install: () => { this.#install(graph, config, codePath); },
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
    const built = kept === undefined ? await this.#buildLinks(config, signal) : { outcome: 'built' as const, graph: kept };
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

  async #buildLinks({ m, efConstruct, threadsMax, codes, seed }: GraphConfig, signal: AbortSignal | undefined): Promise<NativeBuild> {
    const { addon, handle, counts } = this.#options;
    const other = seed?.graph instanceof NativeGraph && m > 0 ? seed.graph.#loaded : undefined;
    const graph = other?.isWhole === true ? other.graph : undefined;
    const built = await withTicket(addon, signal, (ticket) => addon.buildGraph(handle, m, efConstruct, ...nativeCodes(codes), threadsMax, ticket, graph, seed?.live, seed?.first));
    if (built.outcome === 'missed' && built.taken > 0) return await this.#buildLinks({ m, efConstruct, threadsMax, codes }, signal);
    counts.kept += built.taken;
    return built;
  }

  async load(images: GraphImages): Promise<void> {
    const { addon, handle } = this.#options;
    if ((images.m > 0) !== (images.sizeBytes(1) > 0)) throw new CorruptionError({ file: images.file, problem: `${images.m} links of a row do not make ${images.sizeBytes(1)} bytes` });
    const { codesInMemory, codeFile } = images;
    const graph = addon.emptyGraph(codesInMemory ? images.sizeBytes(0) : 0, images.sizeBytes(1), images.sizeBytes(2));
    try {
      // Mapped codes are read here too: that is the proof of their bytes.
      for (const part of parts) await images.read(part, (bytes, offset) => { if (part !== 0 || codesInMemory) addon.fillGraph(graph, part, offset, bytes); });
      await addon.checkGraph(handle, graph, codesInMemory ? '' : codeFile.path, codeFile.dataOffset, images.sizeBytes(0), codeFile.sizeBytes);
    } catch (error) {
      addon.closeGraph(graph);
      if (systemCode(error) === 'ERR_DAMAGED') throw new CorruptionError({ file: images.file, problem: (error as Error).message }, { cause: error });
      throw error;
    }
    this.#install(graph, images, codesInMemory ? undefined : codeFile.path);
  }

  drop(): void {
    this.#install(undefined);
  }

  plan(query: IndexQuery): QueryPlan | undefined {
    const { spec, rowCount, addon } = this.#options;
    if (this.#loaded === undefined) return undefined;
    const { graph, efConstruct, kind, recordBytes, isWhole } = this.#loaded;
    const findBlock = (matches: number): GraphBlock | undefined => {
      const [place, rows] = addon.findBlock(graph, query.allowed, matches) ?? [];
      return place === undefined || rows === undefined ? undefined : { place, rows };
    };
    return planQuery(query, { spec, rowCount, efConstruct, codes: { kind, recordBytes }, isWhole, findBlock });
  }

  /** On the calling thread where that costs less than the way to another one and back, else on those that search. */
  async walk(walks: readonly Walk[], ticket: number): Promise<readonly IndexHits[]> {
    const { addon, handle, turn } = this.#options;
    const { graph, codePath } = must(this.#loaded, 'a walk is planned where there is a graph');
    const settings = new Float32Array(walks.length * settingsCount);
    const vectors: Float32Array[] = [];
    const ks: number[] = [];
    const bitmaps: Uint32Array[] = [];
    for (const { query, plan } of walks) {
      const from = vectors.length * settingsCount;
      settings[from] = plan.ef;
      settings[from + 1] = plan.rescored;
      settings[from + 2] = filteringCodes[plan.filtering];
      settings[from + 3] = Number(plan.byRows);
      settings[from + 4] = queryBits[query.binaryQuery ?? 'default'];
      settings[from + 5] = plan.block ?? -1;
      settings[from + 6] = Number(plan.early);
      vectors.push(query.vector);
      ks.push(query.k);
      bitmaps.push(query.allowed);
    }
    const ms = walkMs(walks);
    try {
      const here = turn.now(ms, () => addon.searchGraphHere(handle, graph, vectors, ks, bitmaps, settings));
      return this.#answersOf(here ?? await addon.searchGraph(handle, graph, vectors, ks, bitmaps, settings, ticket), walks);
    } catch (error) {
      if (codePath === undefined || systemCode(error) !== 'ERR_CODES_UNREADABLE') throw error;
      throw new CorruptionError({ file: codePath, problem: 'cannot be read any more, or was cut while it was in use' }, { cause: error });
    }
  }

  /** Takes apart what the addon's searchGraph answers, and counts what was walked. */
  #answersOf(buffer: ArrayBuffer, walks: readonly Walk[]): readonly IndexHits[] {
    const words = new Uint32Array(buffer, 0, 3 * walks.length);
    const scoresAfter = buffer.byteLength / 2 - words.byteLength / 2;
    let offset = words.byteLength;
    return walks.map(({ plan }, at) => {
      const count = words[at] ?? 0;
      const evaluations = words[walks.length + at] ?? 0;
      this.#counters.queries += 1;
      this.#counters.evaluations += evaluations;
      countWalk(this.#options.counts.walked, plan, { evaluations, rescored: words[2 * walks.length + at] ?? 0 });
      const hits = { rows: new Uint32Array(buffer, offset, count), scores: new Float32Array(buffer, offset + scoresAfter, count) };
      offset += count * Uint32Array.BYTES_PER_ELEMENT;
      return hits;
    });
  }

  /** The one before is freed when its last search has ended. */
  #install(graph: GraphHandle | undefined, facts: { readonly efConstruct: number } = { efConstruct: 0 }, codePath?: string): void {
    const { addon } = this.#options;
    invariant(graph === undefined || this.#loaded?.graph !== graph, 'a graph is installed once');
    if (this.#loaded !== undefined) addon.closeGraph(this.#loaded.graph);
    if (graph === undefined) {
      this.#loaded = undefined;
      return;
    }
    const [code = 0, memoryBytes = 0, mappedBytes = 0, recordBytes = 0] = addon.graphFacts(graph);
    const kind = must(codesKinds[code], 'a kind of codes');
    this.#loaded = { graph, efConstruct: facts.efConstruct, kind, isWhole: addon.graphBytes(graph, 1) > 0, memoryBytes, mappedBytes, recordBytes, codePath };
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
