// A shard: a deterministic state machine that one log feeds. Structurally a collection's Replica. The only owner of a log and of
// segments; this file ties the parts together and decides nothing about points.
//
//   write   prepare-write.ts → write-queue.ts (turn, log, order) → apply.ts → shard-state.ts
//   read    view.ts → search.ts, scroll.ts, read-records.ts
//   disk    shard-folder.ts, maintenance.ts (checkpoint.ts, merge-job.ts), freeze.ts, adopt.ts
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { chainStart } from '../log/hash-chain.ts';
import { FileLog } from '../log/file-log.ts';
import type { AppendOptions, ClosedLogFile, Entry, LogPosition, ShardLog } from '../log/shard-log.ts';
import type { CountRequest, PointRecord, ReplicaWish, RetrieveRequest, ScoredRecord, ScrollRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions } from '../command/write.ts';
import { removeUnfinished, syncNames } from '../fs/atomic-file.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { noIndexing, type Indexing, type Merging } from '../command/indexing-config.ts';
import type { Disk } from '../fs/disk.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import type { DamagedGraphs } from '../segment/graph-file.ts';
import { openSealedSegment, type SealedSegment } from '../segment/sealed-segment.ts';
import { slices } from '../segment/slices.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { encodeOperation, NewerEntryError, type EncodedEntry } from './entry-body.ts';
import { Gauge } from './gauge.ts';
import type { HeldSegment } from './held-segment.ts';
import { Maintenance } from './maintenance.ts';
import { checkWrite, requiredIds, toEntries, toStoredEntries } from './prepare-write.ts';
import { retrieveFrom } from './read-records.ts';
import { replay } from './replay.ts';
import { countView, scrollStored, scrollView } from './scroll.ts';
import { searchView } from './search.ts';
import { filesDirectory, logsDirectory, makeShardFolder, ShardFolder, type HeldManifest } from './shard-folder.ts';
import { describeShard } from './shard-info.ts';
import { shardLimits, type ShardLimits } from './shard-limits.ts';
import { manifestName, readManifest, segmentFileNames, writeManifest, type ShardIdentity, type ShardManifest, type StoredManifest } from './shard-manifest.ts';
import type { RestoreOrigin, StoredDraft } from './shard-operation.ts';
import { ShardState } from './shard-state.ts';
import { digestFrom } from './state-digest.ts';
import type { StateMark } from './state-marks.ts';
import type { ShardInfo, ShardSearch, ShardWriteResult } from './shard-types.ts';
import type { View } from './view.ts';
import { WriteQueue, type SubmittedEntry } from './write-queue.ts';

export interface ShardOptions extends ShardIdentity {
  readonly disk: Disk;
  readonly indexes: VectorIndexes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly directory: string;
  /** Of a new shard; an existing one has its own. */
  readonly vectors: ReadonlyMap<string, VectorSpec>;
  /** Payload indexes that a new one begins with. */
  readonly payloadSchema?: ReadonlyMap<string, FieldSchema>;
  /** In a cluster: the log that others append to as well, over this node's copy. Without it the shard has one writer. */
  readonly shareLog?: (local: FileLog) => ShardLog;
  /** When segments get graphs; without it never. */
  readonly indexing?: Indexing;
  /** How far segments are merged; without it as far as the limits say. */
  readonly merging?: Merging;
  /** Of `open`; default `refuse`. With `drop` they are logged, searches scan, and the background brings what is to be. */
  readonly damagedGraphs?: DamagedGraphs;
  /** For tests that seal and merge small data. */
  readonly limits?: ShardLimits;
}

/** How long a read waits for a write that it is to show, and how often it looks. */
const appliedMsMax = 60_000;
const appliedPollMs = 2;

interface ShardContents {
  readonly stored: StoredManifest;
  readonly segments: readonly SealedSegment[];
  readonly log: FileLog;
}

/** Entries made under these specs. */
interface PreparedWrite {
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly entries: readonly EncodedEntry[];
}

/** One position of the shard, for freeze.ts: the checkpoint below it and the closed log files that lead to it. */
export interface PinnedPosition {
  readonly position: LogPosition;
  readonly time: bigint;
  readonly checkpoint: HeldManifest;
  readonly logFiles: readonly ClosedLogFile[];
  /** Live points at that position. */
  readonly points: Promise<number>;
}

export class Shard {
  readonly shardId: number;
  readonly directory: string;
  readonly #log: ShardLog;
  readonly #state: ShardState;
  readonly #queue: WriteQueue;
  readonly #folder: ShardFolder;
  readonly #maintenance: Maintenance;
  readonly #logger: Logger;
  readonly #inFlight = new Gauge();
  readonly #damagedGraphsFound: number;
  #closing: Promise<void> | undefined;

  private constructor(options: ShardOptions, { stored, segments, log: local }: ShardContents) {
    const log = options.shareLog?.(local) ?? local;
    const { disk, directory, indexes, logger, limits = shardLimits, indexing = noIndexing, merging = { segmentsMin: 1 } } = options;
    const storedLive = new WeakMap<HeldSegment, Uint32Array>();
    const state = new ShardState(indexes, startOf(options, stored.manifest), segments);
    for (const held of state.sealed) storedLive.set(held, held.segment.liveBits());
    const folder = new ShardFolder({ disk, directory, logger }, stored);
    folder.setInUse(() => state.sealedInUse().flatMap(({ segment }) => segmentFileNames(segment.description)));
    state.onFreed(() => folder.sweep());
    const background = { afterEntry: (entry: Entry) => this.#maintenance.afterEntry(entry), makeRoom: () => this.#maintenance.makeRoomInside(), afterStall: () => this.#maintenance.afterStall() };
    const queue = new WriteQueue({ log, state, logger, background });
    this.shardId = options.shardId;
    this.directory = directory;
    this.#log = log;
    this.#state = state;
    this.#folder = folder;
    this.#logger = logger;
    this.#queue = queue;
    this.#maintenance = new Maintenance({ folder, state, queue, log, indexes, storedLive }, { limits, logger, indexing, merging });
    this.#damagedGraphsFound = logDamagedGraphs(segments, logger);
  }

  /** A new, empty shard; durable but for the name of its folder, which is the caller's to sync. */
  static async create(options: ShardOptions): Promise<Shard> {
    const { disk, directory } = options;
    await makeShardFolder(disk, directory);
    const stored = await writeManifest(disk, directory, {
      ...identityOf(options), applied: 0, chain: chainStart.toString('hex'), time: 0n, durable: 0,
      vectors: options.vectors, payloadSchema: options.payloadSchema ?? new Map(), segments: [], opUuids: [],
    });
    return new Shard(options, { stored, segments: [], log: FileLog.create({ ...options, directory: logsDirectory(directory) }) });
  }

  /** @throws CorruptionError naming file and offset; nothing of the folder is changed then. */
  static async open(options: ShardOptions): Promise<Shard> {
    const { disk, directory } = options;
    const stored = await readManifest(disk, directory);
    refuseOther(options, stored.manifest);
    await syncNames(disk, directory, filesDirectory(directory), logsDirectory(directory));
    const segments = await openSegments(options, stored.manifest);
    let shard: Shard;
    try {
      const { applied, chain, time, durable } = stored.manifest;
      const log = await FileLog.open({ ...options, directory: logsDirectory(directory), applied: { seq: applied, chain, time }, durableMark: durable });
      shard = new Shard(options, { stored, segments, log });
    } catch (error) {
      await Promise.all(segments.map((segment) => segment.close()));
      throw error;
    }
    await shard.#start();
    return shard;
  }

  vectorNames(): readonly string[] {
    return [...this.#state.vectors.keys()];
  }

  vectorSpecs(): ReadonlyMap<string, VectorSpec> {
    return this.#state.vectors;
  }

  position(): LogPosition {
    return this.#log.position();
  }

  check(operation: WriteOperation): Promise<void> {
    return this.#use(async () => {
      await this.#queue.overcomeStall(); // what is checked here may be about vectors that the stalled entry makes
      await checkWrite(operation, this.#state.vectors);
      const required = requiredIds(operation);
      if (required.length > 0) await this.#queue.takeTurn(() => this.#refuseMissing(required));
    });
  }

  write(operation: WriteOperation, options: WriteOptions): Promise<ShardWriteResult> {
    return this.#use(() => this.#write(operation, options));
  }

  /** Takes in what others append, from here on; for a shard with a shared log. */
  follow(): void {
    this.#log.follow?.((entry) => this.#queue.takeForeign(entry));
  }

  /** Entries up to here are in sealed files. */
  get checkpointed(): Seq {
    return this.#folder.manifest.applied;
  }

  /** Entries up to here are applied. */
  get applied(): Seq {
    return this.#state.applied;
  }

  /** Whether it stopped before an entry of a newer version: its state grows old until the program is a newer one. */
  get isOutdated(): boolean {
    return this.#queue.failure?.cause instanceof NewerEntryError;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** What the state was at some positions and is now, ascending: the same on every replica. None where the log is not shared. */
  get marks(): readonly StateMark[] {
    return this.#state.marks;
  }

  /** Graphs that are to be other ones are built in the background. */
  setIndexing(indexing: Indexing, merging?: Merging): void {
    if (this.#closing === undefined) this.#maintenance.setIndexing(indexing, merging);
  }

  /** Itself, once what is wished for has been applied; a generation that is not this one's has ended, or was taken back. */
  async readable({ after }: ReplicaWish, signal?: AbortSignal): Promise<this> {
    if (after?.generation === this.position().generation) await this.#waitForApplied(after.seq, signal);
    return this;
  }

  search(requests: readonly ShardSearch[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]> {
    return this.#read((view) => searchView(view, requests, { indexing: this.#maintenance.indexing, ...(signal === undefined ? {} : { signal }) }));
  }

  retrieve(request: RetrieveRequest): Promise<readonly PointRecord[]> {
    return this.#read((view) => retrieveFrom(view, request));
  }

  scroll(request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]> {
    return this.#read((view) => scrollView(view, request, signal));
  }

  /** A page by id of the points as they are stored, for `putStored` of another shard. */
  scrollStored(request: Pick<ScrollRequest, 'offset' | 'limit'>, signal?: AbortSignal): Promise<readonly StoredDraft[]> {
    return this.#read((view) => scrollStored(view, request, signal));
  }

  /** Points of a shard with the very same vectors: rows are taken as they are. Each id once; resolves when all are applied. */
  putStored(points: readonly StoredDraft[]): Promise<void> {
    return this.#use(async () => {
      const entries = await toStoredEntries(points, this.#queue.bodies);
      await this.#queue.waitForRoom();
      await this.#maintenance.waitForRoom();
      const submitted = await this.#queue.takeTurn(() => this.#submitAll(entries));
      await Promise.all(submitted.flatMap(({ stored, applied }) => [stored, applied]));
    });
  }

  count(request: CountRequest, signal?: AbortSignal): Promise<number> {
    return this.#read((view) => countView(view, request.filter, signal));
  }

  info(): ShardInfo {
    const view = this.#state.view();
    try {
      return describeShard({
        view, log: this.#log.info(), stored: this.#folder.stored, maintenance: this.#maintenance, failure: this.#queue.failure?.message,
        sealed: this.#state.sealed.map(({ segment }) => segment), damagedGraphsFound: this.#damagedGraphsFound,
      });
    } finally {
      this.#state.closeLater(view.release());
    }
  }

  /** Memory of rows that are in no file but the log. */
  get unsealedBytes(): number {
    return this.#state.unsealedBytes;
  }

  /** Everything applied so far into sealed files; a start then replays nothing of it. */
  checkpoint(): Promise<void> {
    this.#refuseClosed();
    return this.#maintenance.checkpoint();
  }

  /** Resolves when no seal, merge or removal is under way. */
  settle(): Promise<void> {
    return this.#maintenance.settle();
  }

  /** Notes that the contents came from elsewhere, as an entry of its own. */
  async noteRestore(origin: RestoreOrigin): Promise<void> {
    const { stored, applied } = await this.#queue.takeTurn(() => this.#queue.submit(encodeOperation({ kind: 'restore', origin })));
    await Promise.all([stored, applied]);
  }

  /** For freeze.ts: waits until every write so far is stored, then keeps writers out until the answer is called. From here on no
   *  manifest names a graph that was found damaged. */
  async holdWriters(): Promise<() => void> {
    await this.#maintenance.forgetDamagedGraphs();
    return await new Promise((resolve, reject) => {
      const turn = this.#queue.takeTurn(async () => {
        await this.#queue.stored();
        await new Promise<void>((release) => {
          resolve(release);
        });
      });
      turn.catch(reject);
    });
  }

  /** For freeze.ts, while writers are kept out. Release `checkpoint`. */
  async pinPosition(): Promise<PinnedPosition> {
    const checkpoint = this.#folder.hold();
    try {
      const { manifest } = checkpoint.stored;
      const logFiles = await this.#log.rotate(manifest.applied);
      const position = this.#log.position();
      const points = this.#queue.atSeq(position.seq, () => this.#state.points);
      points.catch(() => undefined); // whoever awaits it gets it too
      const time = this.#log.lastTime > manifest.time ? this.#log.lastTime : manifest.time;
      return { position, time, checkpoint, logFiles, points };
    } catch (error) {
      checkpoint.release();
      throw error;
    }
  }

  /** For freeze.ts, while the checkpoint below it is held. */
  hashLogFile(file: ClosedLogFile): Promise<string> {
    return this.#log.hash(file);
  }

  /** Idempotent; reads and writes in flight are finished and freezes released first. The log covers what is not in files yet. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #write(operation: WriteOperation, options: WriteOptions): Promise<ShardWriteResult> {
    const startMs = performance.now();
    await this.#queue.overcomeStall();
    const specs = this.#state.vectors;
    await checkWrite(operation, specs);
    const prepared = { specs, entries: await toEntries(operation, specs, this.#queue.bodies) };
    await this.#queue.waitForRoom();
    await this.#maintenance.waitForRoom();
    const leftMs = (): number | undefined => (options.timeoutMs === undefined ? undefined : Math.max(0, options.timeoutMs - (performance.now() - startMs)));
    const submitted = await this.#queue.takeTurn(() => this.#submit(operation, prepared, leftMs));
    const { generation } = this.position();
    const applied = Promise.all(submitted.map((entry) => entry.applied));
    applied.catch(() => undefined); // a failure after the answer shows in info() and refuses the next write
    const seqs = await Promise.all(submitted.map((entry) => entry.stored));
    const seq = must(seqs.at(-1), 'a write has an entry');
    if (!options.wait) return { seq, generation, status: 'acknowledged' };
    if (options.timeoutMs === undefined) {
      await applied;
      return { seq, generation, status: 'completed' };
    }
    const isApplied = await endsWithin(applied, options.timeoutMs - (performance.now() - startMs));
    return { seq, generation, status: isApplied ? 'completed' : 'wait_timeout' };
  }

  /** Does not hold up a close, and ends with it. */
  async #waitForApplied(seq: Seq, signal?: AbortSignal): Promise<void> {
    for (const untilMs = performance.now() + appliedMsMax; this.#state.applied < seq && this.#closing === undefined; await sleep(appliedPollMs)) {
      signal?.throwIfAborted();
      if (performance.now() > untilMs) throw new RequestError('timeout', `shard ${this.shardId} has applied entry ${this.#state.applied}, and not ${seq} within ${appliedMsMax / 1000} seconds`);
    }
  }

  async #close(): Promise<void> {
    await this.#inFlight.waitFor(0);
    await this.#queue.close();
    await this.#maintenance.close();
    await this.#state.whenReplacedAreClosed(); // only then are their files removed
    await this.#folder.close();
    await this.#log.close();
    await this.#noteDurable();
    await this.#state.close();
  }

  /** After an orderly end not even the last entry of the log can be mistaken for one that was never stored. */
  async #noteDurable(): Promise<void> {
    const { manifest } = this.#folder;
    const durable = this.#log.durableSeq;
    if (manifest.durable === durable) return;
    try {
      await this.#folder.publish({ ...manifest, durable });
    } catch (error) {
      this.#logger.warn({ directory: this.directory, error: String(error) }, 'the manifest keeps an older durable mark');
    }
  }

  async #start(): Promise<void> {
    const file = logsDirectory(this.directory);
    const { tornTailBytes } = this.#log.info();
    const { lastSeq } = this.#log;
    if (tornTailBytes > 0) this.#logger.warn({ directory: file, tornTailBytes, lastSeq }, 'the log ended in a write that was never stored; it was cut off');
    try {
      await removeUnfinished(this.#folder.disk, path.join(this.directory, manifestName));
      await replay(this.#log.read(this.#state.applied + 1), file, {
        apply: (entry, operation) => this.#queue.replay(entry, operation),
        makeRoom: () => this.#maintenance.waitForRoom().catch((error: unknown) => this.#logger.warn({ directory: file, error: String(error) }, 'replay goes on in memory')),
      });
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#folder.sweep();
    this.#maintenance.startMerge();
  }

  /** Under the writers' turn: what is checked here is still true when the entries are applied. */
  async #submit(operation: WriteOperation, prepared: PreparedWrite, leftMs: () => number | undefined): Promise<readonly SubmittedEntry[]> {
    let { entries } = prepared;
    if (prepared.specs !== this.#state.vectors) {
      await checkWrite(operation, this.#state.vectors);
      entries = await toEntries(operation, this.#state.vectors, this.#queue.bodies);
    }
    const required = requiredIds(operation);
    if (required.length > 0) await this.#refuseMissing(required);
    const submitted = await this.#submitAll(entries, { timeoutMs: leftMs() });
    const changesVectors = operation.kind === 'create-vector' || operation.kind === 'drop-vector';
    if (changesVectors) await Promise.allSettled(submitted.map(({ applied }) => applied)); // the next writer is checked against the new ones
    return submitted;
  }

  /** Under the writers' turn. */
  async #submitAll(entries: readonly EncodedEntry[], options?: AppendOptions): Promise<readonly SubmittedEntry[]> {
    const submitted: SubmittedEntry[] = [];
    const pause = slices();
    for (const entry of entries) {
      submitted.push(this.#queue.submit(entry, options));
      const due = pause();
      if (due !== undefined) await due;
    }
    return submitted;
  }

  /** Under the writers' turn. */
  async #refuseMissing(ids: readonly PointId[]): Promise<void> {
    await this.#queue.settle();
    const pause = slices();
    for (const id of ids) {
      if (this.#state.find(id) === undefined) throw new RequestError('not-found', `No point with id ${id} found`);
      const due = pause();
      if (due !== undefined) await due;
    }
  }

  #read<T>(work: (view: View) => Promise<T>): Promise<T> {
    return this.#use(async () => {
      const view = this.#state.view();
      try {
        return await work(view);
      } finally {
        await view.release();
      }
    });
  }

  /** What is under way when the shard is closed comes to its end. */
  async #use<T>(work: () => Promise<T>): Promise<T> {
    this.#refuseClosed();
    this.#inFlight.add(1);
    try {
      return await work();
    } finally {
      this.#inFlight.subtract(1);
    }
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new RequestError('unavailable', 'the shard is closed');
  }
}

function identityOf({ collectionUuid, shardId, generation }: ShardIdentity): ShardIdentity {
  return { collectionUuid, shardId, generation };
}

function refuseOther(options: ShardOptions, manifest: ShardManifest): void {
  const { collectionUuid, shardId, generation } = manifest;
  if (collectionUuid === options.collectionUuid && shardId === options.shardId && generation === options.generation) return;
  throw new CorruptionError({
    file: path.join(options.directory, manifestName),
    problem: `belongs to collection ${collectionUuid} shard ${shardId} generation ${generation}`,
  });
}

/** A digest is kept where there are replicas to compare with; where it was not, it begins. */
export function startOf({ shareLog }: Pick<ShardOptions, 'shareLog'>, manifest: ShardManifest): ConstructorParameters<typeof ShardState>[1] {
  return { ...manifest, digest: shareLog === undefined ? undefined : manifest.digest ?? digestFrom(manifest.applied) };
}

/** All or none. */
export async function openSegments(options: Pick<ShardOptions, 'disk' | 'directory' | 'indexes' | 'indexing' | 'damagedGraphs'>, manifest: ShardManifest): Promise<readonly SealedSegment[]> {
  const { disk, indexes, indexing = noIndexing, damagedGraphs = 'refuse' } = options;
  const codesInMemory = (vector: string): boolean => indexing(vector).codesInMemory;
  const place = { disk, filesDirectory: filesDirectory(options.directory), indexes, damagedGraphs, specs: manifest.vectors, payloadSchema: manifest.payloadSchema, codesInMemory };
  const opened: SealedSegment[] = [];
  try {
    for (const description of manifest.segments) opened.push(await openSealedSegment({ ...place, description }));
    return opened;
  } catch (error) {
    await Promise.all(opened.map((segment) => segment.close()));
    throw error;
  }
}

function logDamagedGraphs(segments: readonly SealedSegment[], logger: Logger): number {
  let found = 0;
  for (const segment of segments) {
    for (const [vector, { damage, vectors }] of segment.graphStates()) {
      if (damage === undefined) continue;
      const { file, offsetBytes, problem } = damage;
      logger.error({ file, offsetBytes, problem, vector, vectors }, 'graph is damaged; its vectors are scanned until another one is built');
      found += 1;
    }
  }
  return found;
}

/** false where the time is over first; a failure before that is thrown. */
async function endsWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.max(0, timeoutMs));
  });
  try {
    return await Promise.race([work.then(() => true), over]);
  } finally {
    clearTimeout(timer);
  }
}
