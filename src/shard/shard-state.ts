// The state that the log leads to: segments, schema, and the place in the log. Written only by apply.ts, entry by entry in the
// order of the log, and by checkpoints and merges that put a segment in another's place between two entries.
//
// Invariants:
// - An id has at most one live row over all segments.
// - Queries see whole entries: while an entry is being applied they get the view of the state before it.
import { randomUUID } from 'node:crypto';
import { invariant } from '../base/assert.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import { nextChain } from '../log/hash-chain.ts';
import type { Entry } from '../log/shard-log.ts';
import type { FieldSchema, PayloadSchema } from '../payload/field-schema.ts';
import { MutableSegment } from '../segment/mutable-segment.ts';
import type { SealedSegment } from '../segment/sealed-segment.ts';
import type { StoredPoint } from '../segment/segment.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { HeldSegment } from './held-segment.ts';
import { RecentOperations } from './recent-operations.ts';
import type { ShardManifest } from './shard-manifest.ts';
import { StateDigest, type Digest } from './state-digest.ts';
import { entriesPerMark, StateMarks, type StateMark } from './state-marks.ts';
import { View } from './view.ts';

export interface Row {
  readonly held: HeldSegment;
  readonly row: number;
}

interface StartOfState extends Pick<ShardManifest, 'applied' | 'chain' | 'time' | 'vectors' | 'payloadSchema' | 'opUuids'> {
  /** undefined: none is kept. */
  readonly digest?: Digest | undefined;
}

export class ShardState {
  readonly #indexes: VectorIndexes;
  readonly recent: RecentOperations;
  /** Replaced as a whole; a spec that is dropped and made again is another object. */
  #vectors: ReadonlyMap<string, VectorSpec>;
  #payloadSchema: PayloadSchema;
  #applied: Seq;
  #chain: Buffer;
  #time: bigint;
  readonly #digest: StateDigest | undefined;
  readonly #marks = new StateMarks();
  #head: HeldSegment<MutableSegment>;
  /** Former heads whose rows are not in sealed files yet, oldest first. */
  #sealing: readonly HeldSegment<MutableSegment>[] = [];
  /** Oldest first. */
  #sealed: readonly HeldSegment<SealedSegment>[];
  readonly #retired = new Set<HeldSegment<SealedSegment>>();
  readonly #closing = new Set<Promise<void>>();
  #whenFreed: () => void = () => undefined;
  #segments: readonly HeldSegment[] | undefined;
  #view: View | undefined;
  #insideEntry = false;

  constructor(indexes: VectorIndexes, start: StartOfState, sealed: readonly SealedSegment[]) {
    this.#indexes = indexes;
    this.recent = new RecentOperations(start.opUuids);
    this.#vectors = start.vectors;
    this.#payloadSchema = start.payloadSchema;
    this.#applied = start.applied;
    this.#chain = Buffer.from(start.chain, 'hex');
    this.#time = start.time;
    this.#digest = start.digest === undefined ? undefined : new StateDigest(start.digest);
    this.#sealed = sealed.map((segment) => new HeldSegment(segment));
    this.#head = this.#newHead();
    this.keepMark();
  }

  get vectors(): ReadonlyMap<string, VectorSpec> { return this.#vectors; }
  get payloadSchema(): PayloadSchema { return this.#payloadSchema; }
  get applied(): Seq { return this.#applied; }
  get chain(): string { return this.#chain.toString('hex'); }
  get time(): bigint { return this.#time; }
  get digest(): Digest | undefined { return this.#digest?.digest; }
  get head(): HeldSegment<MutableSegment> { return this.#head; }
  get sealing(): readonly HeldSegment<MutableSegment>[] { return this.#sealing; }
  get sealed(): readonly HeldSegment<SealedSegment>[] { return this.#sealed; }
  get insideEntry(): boolean { return this.#insideEntry; }

  /** Newest first: most updates concern points written lately. */
  get segments(): readonly HeldSegment[] {
    this.#segments ??= [this.#head, ...this.#sealing.toReversed(), ...this.#sealed.toReversed()];
    return this.#segments;
  }

  get points(): number {
    return this.segments.reduce((sum, { segment }) => sum + segment.rowCount - segment.deletedCount, 0);
  }

  /** Memory of rows that only the log protects. */
  get unsealedBytes(): number {
    return [this.#head, ...this.#sealing].reduce((sum, { segment }) => sum + (segment.rowCount === 0 ? 0 : segment.memoryBytes), 0);
  }

  /** `listener` hears when the last query on a replaced segment has ended: its files are free. */
  onFreed(listener: () => void): void {
    this.#whenFreed = listener;
  }

  find(id: PointId): Row | undefined {
    for (const held of this.segments) {
      const row = held.segment.findLiveRow(id);
      if (row !== undefined) return { held, row };
    }
    return undefined;
  }

  /** The point in its newest form; an older row dies. */
  put(point: StoredPoint): void {
    const old = this.find(point.id);
    if (old !== undefined) old.held.segment.markDeleted(old.row);
    const row = this.#head.segment.append(point);
    this.#digest?.row(this.#head.segment, row);
  }

  /** A live row dies, and with it its point. */
  remove({ held, row }: Row): void {
    this.#digest?.death(held.segment.idAt(row));
    held.segment.markDeleted(row);
  }

  setVectors(vectors: ReadonlyMap<string, VectorSpec>): void {
    this.#vectors = vectors;
  }

  /** What an entry left of a vector, changed or not: a replica that was made under a later configuration has had it from the start. */
  noteVector(name: string): void {
    this.#digest?.vector(name, this.#vectors.get(name));
  }

  setFieldSchema(field: string, schema: FieldSchema | undefined): void {
    const changed = new Map(this.#payloadSchema);
    if (schema === undefined) changed.delete(field);
    else changed.set(field, schema);
    this.#payloadSchema = changed;
    this.#digest?.index(field, schema);
  }

  /** The state at kept positions and now, ascending; none without a digest. */
  get marks(): readonly StateMark[] {
    const now = this.#mark();
    return now === undefined ? [] : this.#marks.with(now);
  }

  /** Keeps the position of now for comparison. Between entries. */
  keepMark(): void {
    const now = this.#mark();
    if (now !== undefined) this.#marks.keep(now);
  }

  /** From here to `endEntry` queries get the state before it. */
  beginEntry(entry: Entry): void {
    invariant(!this.#insideEntry, 'entries are applied one at a time');
    invariant(entry.seq === this.#applied + 1, () => `entry ${entry.seq} follows ${this.#applied}`);
    this.#view ??= this.#newView();
    this.#insideEntry = true;
  }

  endEntry(entry: Entry): void {
    this.recent.add(entry.opUuid);
    this.#chain = nextChain(this.#chain, entry);
    this.#applied = entry.seq;
    this.#time = entry.time;
    this.#digest?.endEntry(entry, this.points);
    this.#insideEntry = false;
    if (entry.seq % entriesPerMark === 0) this.keepMark();
    this.#forgetView();
  }

  /** The state after the last whole entry; release it. */
  view(): View {
    this.#view ??= this.#newView();
    return this.#view.retain();
  }

  /** Puts a new head in the place of one that has rows. */
  rotateHead(): void {
    if (this.#head.segment.rowCount === 0) return;
    this.#sealing = [...this.#sealing, this.#head];
    this.#head = this.#newHead();
    this.#segments = undefined;
    this.#forgetView();
  }

  /** Puts sealed segments in the places of those whose live rows they hold; the replaced are closed with their last query. */
  replace(old: readonly HeldSegment[], added: readonly HeldSegment<SealedSegment>[]): void {
    const gone = new Set(old);
    const heads = this.#sealing.filter((held) => gone.has(held));
    const retired = this.#sealed.filter((held) => gone.has(held));
    this.#sealing = this.#sealing.filter((held) => !gone.has(held));
    this.#sealed = [...this.#sealed.filter((held) => !gone.has(held)), ...added].sort((a, b) => a.segment.maxSeq - b.segment.maxSeq);
    this.#segments = undefined;
    this.#forgetView();
    for (const held of heads) this.closeLater(held.release());
    for (const held of retired) {
      this.#retired.add(held);
      held.onClosed(() => {
        this.#retired.delete(held);
        this.#whenFreed();
      });
      this.closeLater(held.release());
    }
  }

  /** Sealed segments whose files are open: those of now, and those that a query still reads. */
  sealedInUse(): readonly HeldSegment<SealedSegment>[] {
    return [...this.#sealed, ...this.#retired];
  }

  /** `close` waits for it, and fails with it. */
  closeLater(closing: Promise<void>): void {
    this.#closing.add(closing);
    closing.then(() => this.#closing.delete(closing), () => undefined); // a failure stays, for `close`
  }

  /** Resolves when the segments that were replaced are closed, but for those that queries still read; failures are for `close`. */
  async whenReplacedAreClosed(): Promise<void> {
    await Promise.allSettled(this.#closing);
  }

  /** Resolves when every segment is closed. */
  async close(): Promise<void> {
    this.#insideEntry = false;
    const view = this.#view;
    this.#view = undefined;
    await view?.release();
    await Promise.all(this.segments.map((held) => held.release()));
    await Promise.all(this.#closing);
  }

  #mark(): StateMark | undefined {
    const { digest } = this;
    return digest === undefined ? undefined : { seq: this.#applied, chain: this.chain, digest };
  }

  #newHead(): HeldSegment<MutableSegment> {
    const { vectors: specs, payloadSchema } = this;
    return new HeldSegment(MutableSegment.create({ uuid: randomUUID(), specs, indexes: this.#indexes, payloadSchema }));
  }

  #newView(): View {
    invariant(!this.#insideEntry, 'a view shows whole entries');
    return new View(this.segments, { applied: this.#applied, vectors: this.#vectors, payloadSchema: this.#payloadSchema });
  }

  /** Inside an entry the view of before stays: it holds the segments that it shows. */
  #forgetView(): void {
    if (this.#insideEntry) return;
    if (this.#view !== undefined) this.closeLater(this.#view.release());
    this.#view = undefined;
  }
}
