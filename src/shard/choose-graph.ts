// Which graph to build or drop next.
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { BlockFacts } from '../segment/graph-file.ts';
import type { GraphState } from '../segment/sealed-segment.ts';

/** `blocks`: the codes and the links over all rows stay. */
export type GraphTask = 'build' | 'blocks' | 'drop';

/** undefined: as it should be. A small segment keeps the graph that it has. `blocks`: what the files should say of them. */
export function graphTask(state: GraphState, { m, efConstruct, graphBytesMin }: VectorIndexing, blocks: BlockFacts | undefined): GraphTask | undefined {
  const { facts } = state;
  if (!state.canBeIndexed) return undefined;
  if (m === 0 && blocks === undefined) return facts === undefined ? undefined : 'drop';
  const hasLinks = facts?.m === m && facts.efConstruct === efConstruct;
  const hasBlocks = facts?.blocks?.m === blocks?.m && facts?.blocks?.fieldsHash === blocks?.fieldsHash;
  const isHopeless = facts?.outcome === 'unfit' || (facts?.outcome === 'missed' && m > 0);
  if (hasLinks && (hasBlocks || isHopeless)) return undefined;
  if (state.vectors === 0 || state.sizeBytes < graphBytesMin) return undefined;
  return hasLinks && state.isIndexed ? 'blocks' : 'build';
}
