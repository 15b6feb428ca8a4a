// Which graph to build or drop next.
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { BlockFacts } from '../segment/graph-file.ts';
import type { GraphState } from '../segment/sealed-segment.ts';
import { isSameCodes } from '../vector/codes-config.ts';

/** `blocks`: the codes and the links over all rows stay. `reload`: from its files, for its codes are to lie elsewhere. */
export type GraphTask = 'build' | 'blocks' | 'drop' | 'reload';

/** undefined: as it should be. A small segment keeps the graph that it has; damaged files go where none is to take their place. `blocks`:
 *  what the files should say of them. */
export function graphTask(state: GraphState, { m, efConstruct, codes, codesInMemory, graphBytesMin }: VectorIndexing, blocks: BlockFacts | undefined): GraphTask | undefined {
  const { facts, damage, canBeIndexed, vectors, sizeBytes } = state;
  const isWanted = m > 0 || blocks !== undefined;
  // a graph that cannot be is as impossible for other codes
  const hasLinks = facts?.m === m && facts.efConstruct === efConstruct && (facts.codes === undefined || isSameCodes(facts.codes, codes));
  const hasBlocks = facts?.blocks?.m === blocks?.m && facts?.blocks?.fieldsHash === blocks?.fieldsHash;
  const isHopeless = facts?.outcome === 'unfit' || (facts?.outcome === 'missed' && m > 0);
  const isKept = hasLinks && (hasBlocks || isHopeless);
  if (canBeIndexed && isWanted && !isKept && vectors > 0 && sizeBytes >= graphBytesMin) return hasLinks && state.isIndexed ? 'blocks' : 'build';
  if (damage !== undefined) return 'drop';
  if (canBeIndexed && !isWanted) return facts === undefined ? undefined : 'drop';
  return !canBeIndexed || state.codes === undefined || state.codes.isInMemory === codesInMemory ? undefined : 'reload';
}
