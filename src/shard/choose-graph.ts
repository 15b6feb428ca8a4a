// Which graph to build or drop next.
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { GraphState } from '../segment/sealed-segment.ts';

export type GraphTask = 'build' | 'drop';

/** undefined: as it should be. A small segment keeps the graph that it has; damaged files go where none is to take their place. */
export function graphTask(state: GraphState, { m, efConstruct, graphBytesMin }: VectorIndexing): GraphTask | undefined {
  const { facts, damage, canBeIndexed, vectors, sizeBytes } = state;
  const isKept = facts?.m === m && facts.efConstruct === efConstruct;
  if (canBeIndexed && m > 0 && !isKept && vectors > 0 && sizeBytes >= graphBytesMin) return 'build';
  if (damage !== undefined) return 'drop';
  return canBeIndexed && m === 0 && facts !== undefined ? 'drop' : undefined;
}
