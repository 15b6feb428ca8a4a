// How one query is answered where there is a graph: by a scan of the allowed rows, by their codes one after another, or by a walk, which
// treats rows outside the filter in one of three ways; and where all allowed rows lie in one block that has links of its own, by a walk
// through that block. The number of allowed rows is counted, not estimated; then the cheapest by these costs is taken.
//
// Costs in nanoseconds, from native/core on one AVX-512 core; only their ratios matter:
//   a scan reads rows one after another; so can codes be read, which are a quarter of the bytes or fewer, and as internal ones miss next
//   to nothing
//   a walk reads a code at a place that nobody can foresee
//   each byte of a product code is looked up, wherever it is read
//   plain: a walk with list length ef evaluates about 15 ef rows
//   predicate: the same until ef ALLOWED rows are found, so divided by their share
//   two-hop: scores allowed rows only, but reads more lists, and needs a longer list to miss as little, above all where the filter goes
//   with the vectors; below a share of 10 % it loses its way, above 40 % it is no cheaper
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import { countBits } from '../payload/bitmap.ts';
import type { IndexQuery } from './vector-index.ts';

const scanRowNs = 10;
const scanByteNs = 1 / 15;
const codeByteNs = 0.025;
const walkRowNs = 25;
const walkByteNs = 0.08;
const lookupByteNs = 1;
const rowsPerEf = 15;
const twoHop = { shareMin: 0.1, shareMax: 0.4, rowsPerEf: 24, rowCost: 1.4 } as const;
/** So many times the list of a predicate walk. */
const twoHopWidth = (share: number): number => (share < 0.2 ? 3 : 2);
/** So many times the list of a walk through all rows: rows of one value lie together, queries may lie elsewhere. */
const blockWidth = 4;

export interface WalkPlan {
  readonly kind: 'walk';
  readonly ef: number;
  /** So many of the found get their true score, at most. */
  readonly rescored: number;
  /** The farther ones do not where they would hardly change the answer. */
  readonly early: boolean;
  readonly filtering: 'plain' | 'predicate' | 'two-hop' | 'no-walk';
  readonly byRows: boolean;
  /** The place of the block to walk through; all rows without. */
  readonly block?: number;
  /** Allowed rows. */
  readonly matches: number;
  /** By the costs above. */
  readonly costNs: number;
}

export type QueryPlan = WalkPlan | { readonly kind: 'scan'; readonly matches: number; readonly costNs: number };

export interface GraphFacts {
  readonly spec: VectorSpec;
  readonly rowCount: number;
  readonly efConstruct: number;
  readonly codes: { readonly kind: CodesConfig['kind']; readonly recordBytes: number };
  /** Whether there are links over all rows. */
  readonly isWhole: boolean;
  /** The smallest block with links of its own that holds all allowed rows. Asked only where it could help. */
  readonly findBlock?: (matches: number) => GraphBlock | undefined;
}

export interface GraphBlock {
  readonly place: number;
  /** How many it holds. */
  readonly rows: number;
}

/** Of a scan of so many rows. */
export function scanCostNs(spec: VectorSpec, rows: number): number {
  return rows * (scanRowNs + scanByteNs * strideBytes(spec));
}

export function planQuery(query: IndexQuery, facts: GraphFacts): QueryPlan {
  const { spec, rowCount } = facts;
  const matches = query.allowedCount ?? countAllowed(query.allowed, rowCount);
  const stride = strideBytes(spec);
  const scan = { kind: 'scan', matches, costNs: scanCostNs(spec, matches) } as const;
  if (query.exact === true || matches * stride <= (query.scanBytesMax ?? 0) || matches <= query.k) return scan;
  const choices: QueryPlan[] = [scan];
  const block = matches === rowCount && facts.isWhole ? undefined : facts.findBlock?.(matches);
  if (!facts.isWhole && block === undefined) return scan;
  const walks = walkChoices(query, facts, matches);
  choices.push(...walks.byCodes());
  if (facts.isWhole) choices.push(...walks.through(rowCount));
  if (block !== undefined) choices.push(...walks.through(block.rows, block.place));
  return choices.reduce((best, one) => (one.costNs < best.costNs ? one : best));
}

function walkChoices(query: IndexQuery, { spec, rowCount, efConstruct, codes }: GraphFacts, matches: number): { byCodes(): readonly WalkPlan[]; through(rows: number, block?: number): readonly WalkPlan[] } {
  const stride = strideBytes(spec);
  const { ignore, rescore, oversampling = 1 } = query.quantization ?? {};
  const wanted = Math.min(rowCount, Math.ceil(query.k * Math.max(1, oversampling)));
  const list = Math.max(query.hnswEf ?? efConstruct, wanted);
  const rescored = rescore === false ? query.k : query.quantization?.oversampling === undefined ? undefined : wanted;
  const byRows = ignore === true;
  // coarser codes put the best anywhere
  const early = rescored === undefined && (byRows || codes.kind === 'internal');
  const codeNs = (ofByte: number): number => (codes.kind === 'product' ? lookupByteNs : ofByte) * codes.recordBytes;
  const rowNs = walkRowNs + (byRows ? walkByteNs * stride : codeNs(walkByteNs));
  const walk = (filtering: WalkPlan['filtering'], efOf: number, walkNs: number, block?: number): WalkPlan => {
    const scored = rescored ?? efOf;
    const costNs = walkNs + Math.min(scored, matches) * (walkRowNs + walkByteNs * stride);
    return { kind: 'walk', ef: efOf, rescored: scored, early, filtering, byRows, matches, costNs, ...(block === undefined ? {} : { block }) };
  };
  return {
    byCodes: () => (byRows ? [] : [walk('no-walk', list, matches * (scanRowNs + codeNs(codeByteNs)))]),
    through: (rows, block) => {
      const ef = block === undefined ? list : list * blockWidth;
      const evaluated = Math.min(rowsPerEf * ef, rows);
      const share = matches / rows;
      if (share === 1) return [walk('plain', ef, evaluated * rowNs, block)];
      const choices = [walk('predicate', ef, Math.min(evaluated / share, rows) * rowNs, block)];
      if (share < twoHop.shareMin || share >= twoHop.shareMax) return choices;
      const wide = ef * twoHopWidth(share);
      return [...choices, walk('two-hop', wide, twoHop.rowsPerEf * wide * rowNs * twoHop.rowCost, block)];
    },
  };
}

/** Bits behind the last row do not count. */
function countAllowed(allowed: Uint32Array, rowCount: number): number {
  const words = rowCount >>> 5;
  const rest = rowCount & 31;
  const whole = countBits(allowed.subarray(0, words));
  return rest === 0 ? whole : whole + countBits(Uint32Array.of((allowed[words] ?? 0) & ((1 << rest) - 1)));
}
