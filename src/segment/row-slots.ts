// Which rows carry a named vector. Vectors are packed: slot n of an index or a `vec` file is the n-th row that has one. A row
// without it costs a bit and not a stride of zeros, which would double collections whose points carry one of two vectors. While
// slot n is row n (the usual case) no map is held; after that, 4 bytes a vector.
import { emptyBits, hasBit, rowsOf, setBit } from '../payload/bitmap.ts';
import { grown } from './grown.ts';
import { GrowingBits } from './growing-bits.ts';
import { slices } from './slices.ts';

export class RowSlots {
  #rows: Uint32Array | undefined;
  #length = 0;
  #bits = new GrowingBits();

  /** `bits`: rows that carry the vector, without bits behind the last row. */
  static of(bits: Uint32Array): RowSlots {
    const slots = new RowSlots();
    const rows = rowsOf(bits);
    slots.#length = rows.length;
    slots.#rows = rows.length === 0 || rows[rows.length - 1] === rows.length - 1 ? undefined : rows;
    slots.#bits = new GrowingBits(bits);
    return slots;
  }

  /** Vectors, not rows. */
  get length(): number {
    return this.#length;
  }

  get memoryBytes(): number {
    return (this.#rows?.byteLength ?? 0) + this.#bits.memoryBytes;
  }

  /** Rows come in ascending order; those that lack the vector are left out. */
  add(row: number): void {
    const slot = this.#length;
    if (this.#rows === undefined && row !== slot) {
      this.#rows = new Uint32Array(Math.max(slot * 2, 64));
      for (let at = 0; at < slot; at += 1) this.#rows[at] = at;
    }
    if (this.#rows !== undefined) {
      this.#rows = grown(this.#rows, slot + 1);
      this.#rows[slot] = row;
    }
    this.#length += 1;
    this.#bits.set(row);
  }

  rowOf(slot: number): number {
    return this.#rows === undefined ? slot : (this.#rows[slot] ?? 0);
  }

  findSlot(row: number): number | undefined {
    if (this.#rows === undefined) return row < this.#length ? row : undefined;
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#rows[middle] ?? 0) < row) low = middle + 1;
      else high = middle;
    }
    return low < this.#length && this.#rows[low] === row ? low : undefined;
  }

  /** Whether slot n is row n for all that there are now: bitmaps and hits are the same in both. */
  get areRows(): boolean {
    return this.#rows === undefined;
  }

  /** Bitmap of rows; never changes afterwards. */
  bits(rowCount: number): Uint32Array {
    return this.#bits.copy(rowCount);
  }

  /** A bitmap of rows as one of slots. Slots that are added meanwhile may lie behind its end: `padded` makes it long enough. */
  async allowedSlots(allowed: Uint32Array): Promise<Uint32Array> {
    const rows = this.#rows;
    if (rows === undefined) return allowed;
    const length = this.#length;
    const bits = emptyBits(length);
    const pause = slices();
    for (let slot = 0; slot < length; slot += 1) {
      if (hasBit(allowed, rows[slot] ?? 0)) setBit(bits, slot);
      const due = (slot & 0xffff) === 0xffff ? pause() : undefined;
      if (due !== undefined) await due;
    }
    return bits;
  }

  /** A bitmap of slots for all slots there are now. */
  padded(slots: Uint32Array): Uint32Array {
    if (slots.length * 32 >= this.#length) return slots;
    const bits = emptyBits(this.#length);
    bits.set(slots);
    return bits;
  }

  toRows(slots: Uint32Array): Uint32Array {
    return this.#rows === undefined ? slots : slots.map((slot) => this.#rows?.[slot] ?? 0);
  }
}
