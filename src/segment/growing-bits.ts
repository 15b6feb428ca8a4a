// A bitmap over rows that are still being added, handed out as copies that never change.
import { clearBit, emptyBits, hasBit, setBit } from '../payload/bitmap.ts';
import { grown } from './grown.ts';

export class GrowingBits {
  #bits: Uint32Array;
  #copy: Uint32Array | undefined;

  constructor(bits: Uint32Array = new Uint32Array(2)) {
    this.#bits = bits;
  }

  get memoryBytes(): number {
    return this.#bits.byteLength + (this.#copy?.byteLength ?? 0);
  }

  has(row: number): boolean {
    return hasBit(this.#bits, row);
  }

  set(row: number): void {
    this.#bits = grown(this.#bits, (row >>> 5) + 1);
    setBit(this.#bits, row);
    this.#copy = undefined;
  }

  clear(row: number): void {
    clearBit(this.#bits, row);
    this.#copy = undefined;
  }

  /** For `rowCount` rows; the same array until something changes. */
  copy(rowCount: number): Uint32Array {
    const words = (rowCount + 31) >>> 5;
    if (this.#copy === undefined || this.#copy.length < words) {
      this.#copy = emptyBits(rowCount);
      this.#copy.set(this.#bits.subarray(0, words));
    }
    return this.#copy;
  }
}
