// Which graph to build or drop next.
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { GraphConfig } from '../index/vector-index.ts';
import type { GraphState } from '../segment/sealed-segment.ts';
import { isSameCodes } from '../vector/codes-config.ts';

/** `reload`: from its files, for its codes are to lie elsewhere. */
export type GraphTask = 'build' | 'drop' | 'reload';

/** undefined: as it should be. A small segment keeps the graph that it has; damaged files go where none is to take their place. */
export function graphTask(state: GraphState, { m, efConstruct, codes, codesInMemory, graphBytesMin }: VectorIndexing): GraphTask | undefined {
  const { facts, damage, canBeIndexed, vectors, sizeBytes } = state;
  // a graph that cannot be is as impossible for other codes
  const isKept = facts?.m === m && facts.efConstruct === efConstruct && (facts.codes === undefined || isSameCodes(facts.codes, codes));
  if (canBeIndexed && m > 0 && !isKept && vectors > 0 && sizeBytes >= graphBytesMin) return 'build';
  if (damage !== undefined) return 'drop';
  if (canBeIndexed && m === 0) return facts === undefined ? undefined : 'drop';
  return !canBeIndexed || state.codes === undefined || state.codes.isInMemory === codesInMemory ? undefined : 'reload';
}

export function graphConfig({ m, efConstruct, threadsMax, codes }: VectorIndexing): GraphConfig {
  return { m, efConstruct, threadsMax, codes };
}
