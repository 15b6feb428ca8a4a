// A segment together with who uses it: it is closed when the shard has let it go and the last query on it has ended. Also hides
// the vectors that were dropped after its rows became unchangeable, so that a later vector of the same name finds none there.
import { invariant } from '../base/assert.ts';
import { andInto, countBits, emptyBits } from '../payload/bitmap.ts';
import type { Segment } from '../segment/segment.ts';

/** A bitmap of rows, and how many there are. */
export interface CountedRows {
  readonly bits: Uint32Array;
  readonly count: number;
}

export class HeldSegment<T extends Segment = Segment> {
  readonly segment: T;
  readonly #hidden: Set<string>;
  #live: { readonly rowCount: number; readonly deletedCount: number; readonly bits: Uint32Array } | undefined;
  /** By vector, of the live rows last asked for. */
  readonly #carrying = new Map<string, { readonly live: Uint32Array; readonly rows: CountedRows }>();
  #users = 1; // the shard itself
  #closing: Promise<void> | undefined;
  #whenClosed: (() => void) | undefined;

  constructor(segment: T, hidden: Iterable<string> = []) {
    this.segment = segment;
    this.#hidden = new Set(hidden);
  }

  get hidden(): ReadonlySet<string> {
    return this.#hidden;
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** Called once, when the last user has gone. */
  onClosed(listener: () => void): void {
    this.#whenClosed = listener;
  }

  hide(name: string): void {
    this.#hidden.add(name);
    this.#carrying.delete(name);
  }

  /** `segment.liveBits()`, copied only where a row was added or died since: every entry asks for it. */
  liveBits(): Uint32Array {
    const { rowCount, deletedCount } = this.segment;
    if (this.#live?.rowCount !== rowCount || this.#live.deletedCount !== deletedCount) this.#live = { rowCount, deletedCount, bits: this.segment.liveBits() };
    return this.#live.bits;
  }

  vectorBits(name: string): Uint32Array {
    return this.#hidden.has(name) ? emptyBits(this.segment.rowCount) : this.segment.vectorBits(name);
  }

  /** Of `live`, what `liveBits` answered, the rows that carry the vector; not to be changed. Every search asks for it. */
  carrying(name: string, live: Uint32Array): CountedRows {
    const known = this.#carrying.get(name);
    if (known?.live === live) return known.rows;
    const bits = andInto(live.slice(), this.vectorBits(name));
    const rows = { bits, count: countBits(bits) };
    this.#carrying.set(name, { live, rows });
    return rows;
  }

  async vectors(name: string, rows: ArrayLike<number>): Promise<(Uint8Array | undefined)[]> {
    return this.#hidden.has(name) ? Array.from({ length: rows.length }, () => undefined) : await this.segment.vectors(name, rows);
  }

  retain(): void {
    invariant(this.#users > 0, 'a closed segment finds no new users');
    this.#users += 1;
  }

  /** Resolves when the segment is closed, or at once while others use it. */
  async release(): Promise<void> {
    invariant(this.#users > 0, 'a segment is released once by each user');
    this.#users -= 1;
    if (this.#users === 0) this.#closing = this.segment.close().finally(() => this.#whenClosed?.());
    await this.#closing;
  }
}
