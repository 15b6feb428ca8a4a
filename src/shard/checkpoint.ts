// A checkpoint: the state after one entry N into files, then the manifest that names them.
//
// Order, each step durable before the next: rotate the log; capture the state between two entries; seal the heads; save changed
// deletes and indexes of sealed segments under new names; sync the log as far as the state; publish the manifest; put the sealed segments in the heads' places.
// Writes go on all the while; what they change after N is in the log and in memory only. A failure before the manifest leaves
// everything as it was, but for files that nobody names.
import { countBits } from '../payload/bitmap.ts';
import type { ShardLog } from '../log/shard-log.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { MutableSegment } from '../segment/mutable-segment.ts';
import { sealSegment } from '../segment/seal.ts';
import { openSealedSegment, saveSealedState, type SealedSegment, type SealedState } from '../segment/sealed-segment.ts';
import type { SegmentDescription } from '../segment/segment.ts';
import { carryDeletes, catchUp, type Schema } from './catch-up.ts';
import { HeldSegment } from './held-segment.ts';
import type { ShardFolder } from './shard-folder.ts';
import type { ShardManifest } from './shard-manifest.ts';
import type { ShardState } from './shard-state.ts';
import type { WriteQueue } from './write-queue.ts';

export interface CheckpointParts {
  readonly folder: ShardFolder;
  readonly state: ShardState;
  readonly queue: Pick<WriteQueue, 'betweenEntries'>;
  readonly log: Pick<ShardLog, 'rotate' | 'purgeTo' | 'sync' | 'durableSeq'>;
  readonly indexes: VectorIndexes;
  /** Live rows of each sealed segment as the current manifest has them. */
  readonly storedLive: WeakMap<HeldSegment, Uint32Array>;
}

type ManifestStart = Omit<ShardManifest, 'collectionUuid' | 'shardId' | 'generation' | 'durable' | 'segments'>;

interface CapturedHead {
  readonly held: HeldSegment<MutableSegment>;
  readonly live: Uint32Array;
  readonly deleted: Uint32Array;
  /** Vectors that were gone already. */
  readonly hidden: ReadonlySet<string>;
}

interface CapturedSealed {
  readonly held: HeldSegment<SealedSegment>;
  readonly live: Uint32Array;
  readonly state: SealedState;
}

interface Capture {
  readonly start: ManifestStart;
  readonly heads: readonly CapturedHead[];
  readonly sealed: readonly CapturedSealed[];
}

interface SealedHead {
  readonly head: CapturedHead;
  /** undefined where no row was live. */
  readonly segment: SealedSegment | undefined;
}

/** One at a time. Answers the seq of the manifest. */
export async function checkpoint(parts: CheckpointParts): Promise<number> {
  const { folder, log, queue, state } = parts;
  await log.rotate(state.applied);
  const capture = await queue.betweenEntries(() => captureState(state));
  const sealedHeads: SealedHead[] = [];
  const swap = { done: false };
  try {
    await folder.whileWriting(async () => {
      for (const head of capture.heads) sealedHeads.push({ head, segment: await sealHead(parts, head, capture.start) });
      const segments = await describe(folder, capture, sealedHeads);
      await log.sync(); // the mark is never below `applied`
      await folder.publish({ ...folder.manifest, ...capture.start, durable: log.durableSeq, segments });
    });
    for (const { held, live } of capture.sealed) parts.storedLive.set(held, live);
    await swapIn(parts, capture, sealedHeads);
    swap.done = true;
  } finally {
    if (!swap.done) for (const { segment } of sealedHeads) await segment?.close();
  }
  await log.purgeTo(folder.purgeableSeq());
  folder.sweep();
  return capture.start.applied;
}

/** The head's rows into files in the middle of an entry, which alone would fill memory. The next checkpoint names the files. */
export async function sealInsideEntry(parts: CheckpointParts): Promise<void> {
  const { folder, state } = parts;
  const { head } = state;
  state.rotateHead();
  const sealed = await folder.whileWriting(async () => {
    const description = await sealSegment({ ...folder.place, source: head.segment });
    return await openSealedSegment({ ...folder.place, description, specs: state.vectors, payloadSchema: state.payloadSchema, indexes: parts.indexes });
  });
  state.replace([head], [new HeldSegment(sealed)]);
}

function captureState(state: ShardState): Capture {
  state.rotateHead();
  state.keepMark();
  const { applied, chain, time, digest, vectors, payloadSchema } = state;
  return {
    start: { applied, chain, time, digest, vectors, payloadSchema, opUuids: state.recent.list() },
    heads: state.sealing.map((held) => ({ held, live: held.segment.liveBits(), deleted: held.segment.deletedBits(), hidden: new Set(held.hidden) })),
    sealed: state.sealed.map((held) => ({ held, live: held.segment.liveBits(), state: held.segment.capture() })),
  };
}

async function sealHead(parts: CheckpointParts, head: CapturedHead, schema: Schema): Promise<SealedSegment | undefined> {
  if (countBits(head.live) === 0) return undefined;
  const { place } = parts.folder;
  const sealed = await sealSegment({ ...place, source: head.held.segment, deleted: head.deleted });
  const description = { ...sealed, files: sealed.files.filter(({ of, kind }) => of === undefined || kind === 'pidx' || !head.hidden.has(of)) };
  return await openSealedSegment({ ...place, description, specs: schema.vectors, payloadSchema: schema.payloadSchema, indexes: parts.indexes });
}

/** Every segment with a live row, with its deletes and indexes in files. */
async function describe(folder: ShardFolder, capture: Capture, sealedHeads: readonly SealedHead[]): Promise<readonly SegmentDescription[]> {
  const segments: SegmentDescription[] = [];
  for (const { held, state } of capture.sealed) {
    if (state.deletedCount < held.segment.rowCount) segments.push(await saveSealedState({ ...folder.place, segment: held.segment, state }));
  }
  for (const { segment } of sealedHeads) {
    if (segment !== undefined) segments.push(await saveSealedState({ ...folder.place, segment, state: segment.capture() }));
  }
  return segments;
}

async function swapIn(parts: CheckpointParts, capture: Capture, sealedHeads: readonly SealedHead[]): Promise<void> {
  const { state, storedLive } = parts;
  const empty = capture.sealed.filter((sealed) => sealed.state.deletedCount === sealed.held.segment.rowCount).map(({ held }) => held);
  const schemas = new Map<SealedSegment, Schema>();
  for (const { segment } of sealedHeads) {
    if (segment !== undefined) schemas.set(segment, await catchUp(segment, capture.start, state));
  }
  await parts.queue.betweenEntries(async () => {
    const added: HeldSegment<SealedSegment>[] = [];
    for (const { head, segment } of sealedHeads) {
      if (segment === undefined) continue;
      await catchUp(segment, schemas.get(segment) ?? capture.start, state);
      carryDeletes({ from: head.live, to: head.held.segment.liveBits() }, segment, (row) => row);
      const held = new HeldSegment(segment);
      storedLive.set(held, head.live);
      added.push(held);
    }
    state.replace([...sealedHeads.map(({ head }) => head.held), ...empty], added);
  });
}
