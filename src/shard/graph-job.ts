// Graphs of sealed segments, built in the background: into files first, then named by the manifest and used by searches.
import type { Indexing, VectorIndexing } from '../command/indexing-config.ts';
import type { GraphSeed } from '../index/vector-index.ts';
import { andInto, countBits } from '../payload/bitmap.ts';
import { isGraphFile } from '../segment/graph-file.ts';
import type { SealedSegment } from '../segment/sealed-segment.ts';
import type { SegmentDescription } from '../segment/segment.ts';
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
      const task = graphTask(state, indexing(name), held.segment.blockFacts(indexing(name)));
      if (task !== undefined && (chosen === undefined || state.sizeBytes > chosen.sizeBytes)) chosen = { held, name, task, sizeBytes: state.sizeBytes };
    }
  }
  return chosen;
}

/** The files stay what they are. */
export async function reloadGraph({ folder }: Pick<CheckpointParts, 'folder'>, { held, name }: GraphJob, indexing: Indexing): Promise<void> {
  held.retain();
  try {
    await held.segment.reloadGraph(folder.place, name, indexing(name).codesInMemory);
  } finally {
    void held.release();
  }
}

/** Writes the files of a graph; nothing names them yet. undefined: there is to be none. */
export async function runGraph({ folder }: Pick<CheckpointParts, 'folder'>, { held, name, task }: GraphJob, indexing: Indexing, signal: AbortSignal): Promise<NewGraph | undefined> {
  if (task === 'drop') return undefined;
  held.retain();
  try {
    const graph = await held.segment.buildGraph({ ...folder.place, name, indexing: indexing(name), keepsLinks: task === 'blocks', signal });
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
  await publishFiles(folder, segment, log.durableSeq);
  folder.sweep();
}

/** The manifest's segments without the graphs that they no longer have in use; undefined where it names none of those. */
export function segmentsWithoutDropped({ folder, state }: Pick<CheckpointParts, 'folder' | 'state'>): readonly SegmentDescription[] | undefined {
  const { segments } = folder.manifest;
  const open = new Map(state.sealed.map(({ segment }) => [segment.uuid, segment.description]));
  const kept = segments.map((described) => withoutDropped(described, open.get(described.uuid) ?? described));
  return kept.some(({ files }, at) => files.length !== segments[at]?.files.length) ? kept : undefined;
}

function withoutDropped(described: SegmentDescription, open: SegmentDescription): SegmentDescription {
  return { ...described, files: described.files.filter((file) => !isGraphFile(file) || open.files.some(({ kind, sha256 }) => kind === file.kind && sha256 === file.sha256)) };
}

async function publishFiles(folder: ShardFolder, segment: SealedSegment, durable: number): Promise<void> {
  const { manifest } = folder;
  const segments = manifest.segments.map((described) => (described.uuid === segment.uuid ? segment.description : described));
  await folder.publish({ ...manifest, durable, segments });
}

/** What a segment was merged from, in the order of its rows: the live ones of each input. */
export type MergedFrom = readonly { readonly segment: SealedSegment; readonly live: Uint32Array }[];

/** Every graph that the new segment should have; it is in no manifest yet. */
export async function buildGraphs(parts: Pick<CheckpointParts, 'folder'>, segment: SealedSegment, options: { readonly inputs: MergedFrom; readonly indexing: Indexing; readonly signal: AbortSignal }): Promise<void> {
  const { inputs, indexing, signal } = options;
  for (const [name, state] of segment.graphStates()) {
    if (graphTask(state, indexing(name), segment.blockFacts(indexing(name))) !== 'build') continue;
    const seed = await largestSeed(name, inputs, indexing(name));
    segment.setGraph(name, await segment.buildGraph({ ...parts.folder.place, name, indexing: indexing(name), keepsLinks: false, seed, signal }));
  }
  await parts.folder.disk.syncDirectory(parts.folder.place.filesDirectory);
}

/** The links of the input that gives most vectors and has such links. */
async function largestSeed(name: string, inputs: MergedFrom, { m, efConstruct }: VectorIndexing): Promise<GraphSeed | undefined> {
  let first = 0;
  let best: { readonly seed: GraphSeed; readonly count: number } | undefined;
  for (const { segment, live } of inputs) {
    const rows = andInto(live.slice(), segment.vectorBits(name));
    const count = countBits(rows);
    const seed = count > (best?.count ?? 0) ? await segment.seedOf(name, rows, { first, m, efConstruct }) : undefined;
    if (seed !== undefined) best = { seed, count };
    first += count;
  }
  return best?.seed;
}
