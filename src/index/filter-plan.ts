// How one query is answered where there is a graph: by a scan of the allowed rows, or by a walk, which treats rows outside the filter
// in one of three ways. The number of allowed rows is counted, not estimated; then the cheapest by these costs is taken.
//
// Costs in nanoseconds, from native/core on one AVX-512 core; only their ratios matter:
//   a scan reads rows one after another; a walk reads a code at a place that nobody can foresee, and looks up each byte of a product code
//   plain: a walk with list length ef evaluates about 15 ef rows
//   predicate: the same until ef ALLOWED rows are found, so divided by their share
//   two-hop: scores allowed rows only, but reads more lists; below a share of 5 % it loses its way, above 40 % it is no cheaper
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import { countBits } from '../payload/bitmap.ts';
import type { IndexQuery } from './vector-index.ts';

const scanRowNs = 10;
const scanByteNs = 1 / 15;
const walkRowNs = 50;
const walkByteNs = 0.25;
const lookupByteNs = 1;
const rowsPerEf = 15;
const twoHop = { shareMin: 0.05, shareMax: 0.4, efMin: 64, rowsPerEf: 24, rowCost: 1.4 } as const;

export interface WalkPlan {
  readonly kind: 'walk';
  readonly ef: number;
  /** How many of the found get their true score. */
  readonly rescored: number;
  readonly filtering: 'plain' | 'predicate' | 'two-hop';
  readonly byRows: boolean;
  /** Allowed rows. */
  readonly matches: number;
}

export type QueryPlan = WalkPlan | { readonly kind: 'scan'; readonly matches: number };

export interface GraphFacts {
  readonly spec: VectorSpec;
  readonly rowCount: number;
  readonly efConstruct: number;
  readonly codes: { readonly kind: CodesConfig['kind']; readonly recordBytes: number };
}

export function planQuery(query: IndexQuery, { spec, rowCount, efConstruct, codes }: GraphFacts): QueryPlan {
  const matches = countAllowed(query.allowed, rowCount);
  const scan = { kind: 'scan', matches } as const;
  const stride = strideBytes(spec);
  if (query.exact === true || matches * stride <= (query.scanBytesMax ?? 0) || matches <= query.k) return scan;
  const { ignore, rescore, oversampling = 1 } = query.quantization ?? {};
  const wanted = Math.min(rowCount, Math.ceil(query.k * Math.max(1, oversampling)));
  const ef = Math.max(query.hnswEf ?? efConstruct, wanted);
  const rescored = rescore === false ? query.k : query.quantization?.oversampling === undefined ? undefined : wanted;
  const share = matches / rowCount;
  const codeNs = (codes.kind === 'product' ? lookupByteNs : walkByteNs) * codes.recordBytes;
  const rowNs = walkRowNs + (ignore === true ? walkByteNs * stride : codeNs);
  const walk = (filtering: WalkPlan['filtering'], efOf: number, costNs: number): { readonly plan: QueryPlan; readonly costNs: number } =>
    ({ plan: { kind: 'walk', ef: efOf, rescored: rescored ?? efOf, filtering, byRows: ignore === true, matches }, costNs });
  const choices = [{ plan: scan as QueryPlan, costNs: matches * (scanRowNs + scanByteNs * stride) }];
  if (matches === rowCount) choices.push(walk('plain', ef, rowsPerEf * ef * rowNs));
  else choices.push(walk('predicate', ef, (rowsPerEf * ef * rowNs) / share));
  if (share >= twoHop.shareMin && share < twoHop.shareMax) {
    const wide = Math.max(ef, twoHop.efMin);
    choices.push(walk('two-hop', wide, twoHop.rowsPerEf * wide * rowNs * twoHop.rowCost));
  }
  return choices.reduce((best, one) => (one.costNs < best.costNs ? one : best)).plan;
}

/** Bits behind the last row do not count. */
function countAllowed(allowed: Uint32Array, rowCount: number): number {
  const words = rowCount >>> 5;
  const rest = rowCount & 31;
  const whole = countBits(allowed.subarray(0, words));
  return rest === 0 ? whole : whole + countBits(Uint32Array.of((allowed[words] ?? 0) & ((1 << rest) - 1)));
}
