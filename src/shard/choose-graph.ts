// Which graph to build or drop next.
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { GraphState } from '../segment/sealed-segment.ts';

export type GraphTask = 'build' | 'drop';

/** undefined: as it should be. A small segment keeps the graph that it has. */
export function graphTask(state: GraphState, { m, efConstruct, graphBytesMin }: VectorIndexing): GraphTask | undefined {
  if (!state.canBeIndexed) return undefined;
  if (m === 0) return state.facts === undefined ? undefined : 'drop';
  if (state.facts?.m === m && state.facts.efConstruct === efConstruct) return undefined;
  return state.vectors > 0 && state.sizeBytes >= graphBytesMin ? 'build' : undefined;
}
