// Several sealed segments → one without their dead rows, in the background.
//
// The merge reads the rows that live in the MANIFEST, not those of this moment: so its result fits under the manifest that
// stands when it ends, at whatever seq, once the deletes which that manifest has are carried over. Deletes that are only in the
// log are carried over in memory.
import { countBits, emptyBits } from '../payload/bitmap.ts';
import { mergeSegments } from '../segment/merge.ts';
import { openSealedSegment, saveSealedState, type SealedSegment } from '../segment/sealed-segment.ts';
import { must } from '../base/assert.ts';
import type { Indexing } from '../command/indexing-config.ts';
import { carryDeletes, catchUp, type Schema } from './catch-up.ts';
import type { CheckpointParts } from './checkpoint.ts';
import { buildGraphs } from './graph-job.ts';
import { HeldSegment } from './held-segment.ts';

export interface MergeJob {
  readonly inputs: readonly { readonly held: HeldSegment<SealedSegment>; readonly live: Uint32Array }[];
  readonly schema: Schema;
  /** With its graphs, open for the shard; undefined where no row was live. */
  readonly segment: SealedSegment | undefined;
  readonly rowMaps: readonly Int32Array[];
}

/** Writes the merged files. `picked` are segments of the current manifest, whose vectors are those of the state. */
export async function runMerge(parts: CheckpointParts, picked: readonly HeldSegment<SealedSegment>[], options: { readonly indexing: Indexing; readonly signal: AbortSignal }): Promise<MergeJob> {
  const { indexing, signal } = options;
  const { vectors, payloadSchema } = parts.folder.manifest;
  const inputs = picked.map((held) => ({ held, live: must(parts.storedLive.get(held), 'the segment is in the manifest') }));
  for (const { held } of inputs) held.retain();
  try {
    const segments = inputs.map(({ held, live }) => ({ segment: held.segment, live }));
    const { description, rowMaps } = await mergeSegments({ ...parts.folder.place, inputs: segments, specs: vectors, payloadSchema, signal });
    const job = { inputs, schema: { vectors, payloadSchema }, rowMaps };
    if (description === undefined) return { ...job, segment: undefined };
    const segment = await openSealedSegment({ ...parts.folder.place, description, specs: vectors, payloadSchema, indexes: parts.indexes });
    try {
      await buildGraphs(parts, segment, { inputs: segments, indexing, signal }); // before it takes the places of segments that may have graphs
    } catch (error) {
      await segment.close();
      throw error;
    }
    return { ...job, segment };
  } finally {
    for (const { held } of inputs) void held.release();
  }
}

/** Publishes the result and puts it in the places of its inputs. Not while a checkpoint runs. */
export async function finishMerge(parts: CheckpointParts, job: MergeJob): Promise<void> {
  const { folder, state } = parts;
  const { manifest } = folder;
  const inputs = job.inputs.map(({ held, live }, at) => ({
    held, live, stored: parts.storedLive.get(held) ?? emptyBits(held.segment.rowCount), rows: must(job.rowMaps[at], 'one map for each input'),
  }));
  const uuids = new Set(inputs.map(({ held }) => held.segment.uuid));
  const kept = manifest.segments.filter(({ uuid }) => !uuids.has(uuid));
  const { segment } = job;
  let isPublished = false;
  let isHeld = false;
  try {
    if (segment !== undefined) {
      await catchUp(segment, job.schema, manifest);
      for (const input of inputs) carryDeletes({ from: input.live, to: input.stored }, segment, (row) => input.rows[row] ?? -1);
    }
    const storedLive = segment?.liveBits() ?? emptyBits(0);
    const merged = segment !== undefined && countBits(storedLive) > 0 ? [await saveSealedState({ ...folder.place, segment, state: segment.capture() })] : [];
    await folder.publish({ ...manifest, durable: parts.log.durableSeq, segments: [...kept, ...merged] });
    isPublished = true;
    await parts.queue.betweenEntries(async () => {
      const added: HeldSegment<SealedSegment>[] = [];
      if (segment !== undefined && merged.length > 0) {
        await catchUp(segment, manifest, state);
        for (const input of inputs) carryDeletes({ from: input.stored, to: input.held.segment.liveBits() }, segment, (row) => input.rows[row] ?? -1);
        const held = new HeldSegment(segment);
        parts.storedLive.set(held, storedLive);
        added.push(held);
        isHeld = true;
      }
      state.replace(inputs.map(({ held }) => held), added);
    });
  } finally {
    // the manifest lacks the inputs, which the state still has: no merge may take them until a checkpoint has named them again
    if (!isHeld && isPublished) for (const { held } of inputs) parts.storedLive.delete(held);
    if (!isHeld) await segment?.close();
  }
  folder.sweep();
}
