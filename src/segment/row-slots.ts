// Which rows carry a named vector. Vectors are packed: slot n of an index or a `vec` file is the n-th row that has one. A row
// without it costs a bit and not a stride of zeros, which would double collections whose points carry one of two vectors. While
// slot n is row n (the usual case) no map is held; after that, 4 bytes a vector.
import { hasBit, rowsOf, setBit } from '../payload/bitmap.ts';
import { grown } from './grown.ts';
import { GrowingBits } from './growing-bits.ts';

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
    if (this.#rows === undefined && row !== slot) this.#rows = Uint32Array.from({ length: Math.max(slot * 2, 64) }, (_, at) => at);
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

  /** Bitmap of rows; never changes afterwards. */
  bits(rowCount: number): Uint32Array {
    return this.#bits.copy(rowCount);
  }

  /** A bitmap of rows as one of slots, long enough for every slot. */
  allowedSlots(allowed: Uint32Array): Uint32Array {
    const words = (this.#length + 31) >>> 5;
    if (this.#rows === undefined && allowed.length >= words) return allowed;
    const bits = new Uint32Array(words);
    if (this.#rows === undefined) bits.set(allowed);
    else for (let slot = 0; slot < this.#length; slot += 1) if (hasBit(allowed, this.#rows[slot] ?? 0)) setBit(bits, slot);
    return bits;
  }

  toRows(slots: Uint32Array): Uint32Array {
    return this.#rows === undefined ? slots : slots.map((slot) => this.#rows?.[slot] ?? 0);
  }
}
