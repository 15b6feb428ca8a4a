// The background of a shard: seals full heads by checkpoints, merges sealed segments and builds their graphs, and makes writers wait
// when sealing does not keep up. One checkpoint, and one merge or graph at a time; only their last steps exclude each other.
//
// Merges of a tier go first, for they make graphs of their inputs useless. When the shard has come to rest the head is sealed, and what
// is there merged into one segment or few, so that few graphs are built and searched. While it has not, graphs, the largest segment's
// first; small segments, which a merge will take before long, wait for it. A merge at rest is given up when writes come back and its
// tiers fill up behind it.
//
// A failure leaves everything as it was. It is logged and shown until the same work succeeds, and tried again when the log has
// grown by another head, or when a writer finds no room.
import { isNoSpace, RequestError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import { must } from '../base/assert.ts';
import type { Indexing, Merging } from '../command/indexing-config.ts';
import { entrySizeBytes } from '../log/entry.ts';
import type { Entry } from '../log/shard-log.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import { isGraphFile } from '../segment/graph-file.ts';
import type { SealedSegment } from '../segment/sealed-segment.ts';
import { checkpoint, sealInsideEntry, type CheckpointParts } from './checkpoint.ts';
import { chooseMerge, chooseMergeAtRest, isCrowded, isMergedSoon, type SegmentSize } from './choose-merge.ts';
import { chooseGraph, finishGraph, reloadGraph, runGraph, segmentsWithoutDropped, type GraphJob } from './graph-job.ts';
import type { HeldSegment } from './held-segment.ts';
import { finishMerge, runMerge } from './merge-job.ts';
import type { ShardLimits } from './shard-limits.ts';

type Work = 'checkpoint' | 'merge';

const quietPollMs = 50;
/** A trickle of writes never pauses: without a sealed head for so many times `quietMs` the shard is at rest too. */
const calmFactor = 20;
/** So many segments beside its inputs end a merge at rest. */
const segmentsBehindMax = 16;

export class Maintenance {
  readonly #parts: CheckpointParts;
  readonly #limits: ShardLimits;
  readonly #logger: Logger;
  readonly #publishing = new Lock();
  readonly #failures = new Map<Work, Error>();
  readonly #aborted = new AbortController();
  #logBytes = 0;
  #checkpoint: Promise<void> | undefined;
  #merge: Promise<void> | undefined;
  #mergeMayFind = true;
  #indexing: Indexing;
  #merging: Merging;
  #lastEntryMs = -Infinity;
  /** Of the last entry: payload indexes that come or go change which graphs there should be. */
  #payloadSchema: PayloadSchema;
  #lastSealMs = -Infinity;
  /** The graph under way; given up when a merge wants its segment. */
  #graph: { readonly held: HeldSegment<SealedSegment>; readonly giveUp: AbortController } | undefined;
  /** The merge at rest under way. */
  #restMerge: { readonly inputs: readonly HeldSegment<SealedSegment>[]; readonly giveUp: AbortController } | undefined;

  constructor(parts: CheckpointParts, options: { readonly limits: ShardLimits; readonly logger: Logger; readonly indexing: Indexing; readonly merging: Merging }) {
    this.#indexing = options.indexing;
    this.#merging = options.merging;
    this.#parts = parts;
    this.#payloadSchema = parts.state.payloadSchema;
    this.#limits = options.limits;
    this.#logger = options.logger;
  }

  get isBusy(): boolean {
    return this.#checkpoint !== undefined || this.#merge !== undefined;
  }

  /** What last failed and has not succeeded since. */
  get error(): string | undefined {
    const [failure] = this.#failures.values();
    return failure?.message;
  }

  get indexing(): Indexing {
    return this.#indexing;
  }

  /** Segments are brought in line in the background. */
  setIndexing(indexing: Indexing, merging: Merging = this.#merging): void {
    this.#indexing = indexing;
    this.#merging = merging;
    this.#graph?.giveUp.abort(giveUpReason);
    this.#restMerge?.giveUp.abort(giveUpReason);
    this.#mergeMayFind = true;
    this.startMerge();
  }

  afterEntry(entry: Entry): void {
    this.#lastEntryMs = performance.now();
    this.#logBytes += entrySizeBytes(entry.body.byteLength);
    if (this.#isDue()) void this.checkpoint().catch(() => undefined); // recorded; the next trigger tries again
    const { payloadSchema } = this.#parts.state;
    if (payloadSchema !== this.#payloadSchema || (this.#merge === undefined && this.#headIsWorthSealing())) {
      this.#payloadSchema = payloadSchema;
      this.#mergeMayFind = true;
      this.startMerge();
    }
  }

  /** What failed while the entry was stalled is tried again. */
  afterStall(): void {
    if (this.#failures.size > 0) void this.checkpoint().catch(() => undefined); // recorded
  }

  /** Returns when there is room for more unsealed rows. @throws RequestError where sealing fails */
  async waitForRoom(): Promise<void> {
    while (this.#parts.state.unsealedBytes > this.#limits.unsealedBytesMax) {
      try {
        await this.checkpoint();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new RequestError(isNoSpace(error) ? 'no-space' : 'unavailable', `points could not be moved from memory into files: ${reason}`, { cause: error });
      }
    }
  }

  /** In the middle of an entry that writes many rows, and waits for no other work: that may wait for the entry to end. */
  async makeRoomInside(): Promise<void> {
    const { state } = this.#parts;
    const isFull = state.head.segment.memoryBytes > this.#limits.headBytesMax && state.unsealedBytes > this.#limits.unsealedBytesMax;
    if (!isFull || this.#failures.has('checkpoint')) return;
    try {
      await sealInsideEntry(this.#parts);
    } catch (error) {
      this.#fail('checkpoint', error); // the entry goes on in memory, it is in the log
    }
  }

  /** Makes a checkpoint; joins one that is under way. */
  checkpoint(): Promise<void> {
    this.#checkpoint ??= this.#publishing.run(() => this.#runCheckpoint()).finally(() => {
      this.#checkpoint = undefined;
      this.startMerge();
      // the last writes may have filled the next head meanwhile, and no entry may come to notice
      if (!this.#failures.has('checkpoint') && !this.#aborted.signal.aborted && this.#isDue()) void this.checkpoint().catch(() => undefined);
    });
    return this.#checkpoint;
  }

  /** Looks for segments to merge until there are none. */
  startMerge(): void {
    if (this.#merge !== undefined || this.#aborted.signal.aborted || !this.#mergeMayFind) return;
    this.#mergeMayFind = false;
    this.#merge = this.#mergeAll().finally(() => {
      this.#merge = undefined;
      this.startMerge();
    });
  }

  /** The manifest names no graph that was dropped for its damage when it resolves. */
  async forgetDamagedGraphs(): Promise<void> {
    if (segmentsWithoutDropped(this.#parts) === undefined) return; // the common case waits for nobody
    await this.#publishing.run(async () => {
      const { folder, log } = this.#parts;
      const segments = segmentsWithoutDropped(this.#parts);
      if (segments !== undefined) await folder.publish({ ...folder.manifest, durable: log.durableSeq, segments });
    });
  }

  /** Resolves when nothing is under way. */
  async settle(): Promise<void> {
    while (this.isBusy) {
      await this.#checkpoint?.catch(() => undefined); // recorded by who started it
      await this.#merge;
    }
    await this.#parts.folder.settle();
  }

  /** A merge under way is given up, a checkpoint is finished. Idempotent. */
  async close(): Promise<void> {
    this.#aborted.abort(new RequestError('unavailable', 'the shard is closed'));
    await this.settle();
  }

  /** At rest: every search scans the head, and this much of it costs more than a graph. Counted in the log: a head reserves memory
   *  ahead, so a single row of it would do. */
  #headIsWorthSealing(): boolean {
    return this.#limits.quietMs < Infinity && this.#parts.state.head.segment.rowCount > 0 && this.#logBytes >= this.#limits.headBytesMax / 16;
  }

  #isDue(): boolean {
    if (this.#checkpoint !== undefined) return false;
    const { state, storedLive } = this.#parts;
    const { head } = state;
    if (head.segment.rowCount >= this.#limits.headRowsMax || this.#logBytes >= this.#limits.logBytesMax) return true;
    if (head.segment.rowCount > 0 && head.segment.memoryBytes >= this.#limits.headBytesMax) return true;
    return state.sealed.some((held) => {
      const { rowCount: rows, deletedCount: deleted } = held.segment;
      return isCrowded({ rows, deleted }, this.#limits) && storedLive.has(held) && !this.#failures.has('checkpoint') && !this.#isCrowdedOnDisk(held);
    });
  }

  #isCrowdedOnDisk(held: HeldSegment<SealedSegment>): boolean {
    return isCrowded({ rows: held.segment.rowCount, deleted: held.segment.description.del?.count ?? 0 }, this.#limits);
  }

  async #runCheckpoint(): Promise<void> {
    const before = this.#logBytes;
    this.#logBytes = 0;
    try {
      await checkpoint(this.#parts);
      this.#lastSealMs = performance.now();
      this.#failures.delete('checkpoint');
      this.#mergeMayFind = true;
      if (this.#graph !== undefined && this.#pick()?.includes(this.#graph.held) === true) this.#graph.giveUp.abort(giveUpReason);
      if (this.#restMerge !== undefined && this.#candidates().length - this.#restMerge.inputs.length >= segmentsBehindMax) this.#restMerge.giveUp.abort(giveUpReason);
    } catch (error) {
      this.#logBytes += Math.min(before, this.#limits.logBytesMax - this.#limits.headBytesMax);
      this.#fail('checkpoint', error);
      throw error;
    }
  }

  async #mergeAll(): Promise<void> {
    const { signal } = this.#aborted;
    try {
      while (!signal.aborted && await this.#improve(signal));
      this.#failures.delete('merge');
    } catch (error) {
      if (!signal.aborted) this.#fail('merge', error);
    }
  }

  /** Does the next piece of work; false where nothing is left. */
  async #improve(signal: AbortSignal): Promise<boolean> {
    const due = this.#pick();
    if (due !== undefined) {
      await this.#mergeOnce(due, signal);
      return true;
    }
    const { quietMs } = this.#limits;
    const atRest = quietMs < Infinity ? this.#pickAtRest() : undefined;
    const hasRows = this.#parts.state.head.segment.rowCount > 0;
    const sealsHead = (this.#headIsWorthSealing() || (atRest !== undefined && hasRows)) && !this.#failures.has('checkpoint');
    const now = performance.now();
    const isQuiet = now - this.#lastEntryMs >= quietMs;
    if (sealsHead && isQuiet) { // first, so that its rows are merged with the rest
      await this.checkpoint().catch(() => undefined); // recorded
      return true;
    }
    const isCalm = isQuiet || quietMs === Infinity || now - this.#lastSealMs >= calmFactor * quietMs;
    if (atRest !== undefined && isCalm) {
      await this.#mergeAtRest(atRest, signal);
      return true;
    }
    const graph = chooseGraph(this.#candidates(), this.#indexing);
    const isSoonUseless = !isCalm && graph?.task === 'build' && isMergedSoon(sizeOf(graph.held), this.#limits);
    const waits = isSoonUseless || atRest !== undefined || sealsHead;
    if (graph !== undefined && !isSoonUseless) await this.#buildOnce(graph, signal);
    else if (waits) await sleepMs(quietPollMs, signal);
    return graph !== undefined || waits;
  }

  async #mergeAtRest(inputs: readonly HeldSegment<SealedSegment>[], signal: AbortSignal): Promise<void> {
    const giveUp = new AbortController();
    this.#restMerge = { inputs, giveUp };
    try {
      await this.#mergeOnce(inputs, AbortSignal.any([signal, giveUp.signal]));
    } catch (error) {
      if (!giveUp.signal.aborted || error !== giveUpReason) throw error;
    } finally {
      this.#restMerge = undefined;
    }
  }

  async #mergeOnce(picked: readonly HeldSegment<SealedSegment>[], signal: AbortSignal): Promise<void> {
    const { folder, state } = this.#parts;
    await folder.whileWriting(async () => {
      const job = await runMerge(this.#parts, picked, { indexing: this.#indexing, signal });
      await this.#publishing.run(() => finishMerge(this.#parts, job));
    });
    this.#logger.info({ directory: folder.directory, merged: picked.length, segments: state.sealed.length }, 'segments merged');
  }

  async #buildOnce(job: GraphJob, signal: AbortSignal): Promise<void> {
    const { folder } = this.#parts;
    const giveUp = new AbortController();
    this.#graph = { held: job.held, giveUp };
    try {
      await folder.whileWriting(async () => {
        if (job.task === 'reload') return await reloadGraph(this.#parts, job, this.#indexing);
        const graph = await runGraph(this.#parts, job, this.#indexing, AbortSignal.any([signal, giveUp.signal]));
        await this.#publishing.run(() => finishGraph(this.#parts, job, graph));
      });
      this.#logger.info({ directory: folder.directory, vector: job.name, rows: job.held.segment.rowCount, task: job.task }, 'graph of a segment');
    } catch (error) {
      if (!giveUp.signal.aborted || error !== giveUpReason) throw error;
    } finally {
      this.#graph = undefined;
    }
  }

  /** None also while the manifest's vectors are not the state's: merges and graphs need both to be the same. */
  #pick(): readonly HeldSegment<SealedSegment>[] | undefined {
    const candidates = this.#candidates();
    return chooseMerge(candidates.map(sizeOf), this.#limits, this.#merging)?.map((at) => must(candidates[at], 'positions are of candidates'));
  }

  #pickAtRest(): readonly HeldSegment<SealedSegment>[] | undefined {
    const candidates = this.#candidates();
    return chooseMergeAtRest(candidates.map(sizeOf), this.#limits, this.#merging)?.map((at) => must(candidates[at], 'positions are of candidates'));
  }

  #candidates(): readonly HeldSegment<SealedSegment>[] {
    const { folder, state, storedLive } = this.#parts;
    return state.vectors === folder.manifest.vectors ? state.sealed.filter((held) => storedLive.has(held)) : [];
  }

  #fail(work: Work, error: unknown): void {
    this.#failures.set(work, error instanceof Error ? error : new RequestError('internal', String(error)));
    this.#logger.error({ directory: this.#parts.folder.directory, work, error: String(error) }, 'background work failed; everything stays as it was and it is tried again');
  }
}

const giveUpReason = new RequestError('unavailable', 'the work is no longer wanted');

/** Resolves early when the signal is aborted. */
function sleepMs(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, durationMs);
    signal.addEventListener('abort', end);
  });
}

function sizeOf({ segment: { description } }: HeldSegment<SealedSegment>): SegmentSize {
  const bytes = description.files.reduce((sum, file) => (isGraphFile(file) ? sum : sum + file.size), 0); // graphs are not merged
  return { rows: description.rows, deleted: description.del?.count ?? 0, bytes };
}
