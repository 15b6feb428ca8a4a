// Graphs of sealed segments, built in the background: into files first, then named by the manifest and used by searches.
import type { Indexing } from '../command/indexing-config.ts';
import type { SealedSegment } from '../segment/sealed-segment.ts';
import type { NewGraph } from '../segment/vector-file.ts';
import type { CheckpointParts } from './checkpoint.ts';
import { graphTask, type GraphTask } from './choose-graph.ts';
import type { HeldSegment } from './held-segment.ts';
import type { ShardFolder } from './shard-folder.ts';

export interface GraphJob {
  readonly held: HeldSegment<SealedSegment>;
  readonly name: string;
  readonly task: GraphTask;
}

/** The largest first: it gains most, and is least likely to be merged soon. */
export function chooseGraph(candidates: readonly HeldSegment<SealedSegment>[], indexing: Indexing): GraphJob | undefined {
  let chosen: (GraphJob & { readonly sizeBytes: number }) | undefined;
  for (const held of candidates) {
    for (const [name, state] of held.segment.graphStates()) {
      const task = graphTask(state, indexing(name));
      if (task !== undefined && (chosen === undefined || state.sizeBytes > chosen.sizeBytes)) chosen = { held, name, task, sizeBytes: state.sizeBytes };
    }
  }
  return chosen;
}

/** Writes the files of a graph; nothing names them yet. undefined: there is to be none. */
export async function runGraph({ folder }: Pick<CheckpointParts, 'folder'>, { held, name, task }: GraphJob, indexing: Indexing, signal: AbortSignal): Promise<NewGraph | undefined> {
  if (task === 'drop') return undefined;
  const { m, efConstruct, threadsMax } = indexing(name);
  held.retain();
  try {
    const graph = await held.segment.buildGraph({ ...folder.place, name, config: { m, efConstruct, threadsMax, codes: { kind: 'internal' } }, signal });
    await folder.disk.syncDirectory(folder.place.filesDirectory);
    return graph;
  } finally {
    void held.release();
  }
}

/** Not while a checkpoint runs. */
export async function finishGraph({ folder, log }: Pick<CheckpointParts, 'folder' | 'log'>, { held, name }: GraphJob, graph: NewGraph | undefined): Promise<void> {
  const { segment } = held;
  segment.setGraph(name, graph);
  await publishFiles(folder, segment, log.lastSeq);
  folder.sweep();
}

async function publishFiles(folder: ShardFolder, segment: SealedSegment, durable: number): Promise<void> {
  const { manifest } = folder;
  const segments = manifest.segments.map((described) => (described.uuid === segment.uuid ? segment.description : described));
  await folder.publish({ ...manifest, durable, segments });
}

/** Every graph that the new segment should have; it is in no manifest yet. */
export async function buildGraphs(parts: Pick<CheckpointParts, 'folder'>, segment: SealedSegment, indexing: Indexing, signal: AbortSignal): Promise<void> {
  for (const [name, state] of segment.graphStates()) {
    if (graphTask(state, indexing(name)) !== 'build') continue;
    const { m, efConstruct, threadsMax } = indexing(name);
    segment.setGraph(name, await segment.buildGraph({ ...parts.folder.place, name, config: { m, efConstruct, threadsMax, codes: { kind: 'internal' } }, signal }));
  }
  await parts.folder.disk.syncDirectory(parts.folder.place.filesDirectory);
}
