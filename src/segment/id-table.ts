// Row → point id in typed arrays, in memory as in the `ids` file: 8 bytes a row while all ids are integers, 16 as soon as one
// is a UUID. An id is one or two u64: an integer its value (then 0), a UUID its upper and its lower 64 bits. Each u64 is two
// u32 words, the low one first, so that comparing needs no bigint.
import type { PointId } from '../base/ids.ts';
import { emptyBits, hasBit, setBit } from '../payload/bitmap.ts';
import { grown } from './grown.ts';

export interface IdColumns {
  /** `rows * wordsPerId` words. */
  readonly words: Uint32Array;
  readonly wordsPerId: 2 | 4;
  /** Bitmap of the rows whose id is a UUID. */
  readonly uuids: Uint32Array;
}

/** An id taken apart for comparing with many rows. */
export interface IdKey {
  readonly isUuid: boolean;
  readonly words: readonly [number, number, number, number];
}

/** Takes what is to be told apart, as 32-bit words. */
export interface WordSink {
  word(value: number): void;
}

const wordSpan = 2 ** 32;

export function idKey(id: PointId): IdKey {
  if (typeof id === 'bigint') return { isUuid: false, words: [Number(id & 0xffffffffn), Number(id >> 32n), 0, 0] };
  if (typeof id === 'number') return { isUuid: false, words: [id % wordSpan, Math.floor(id / wordSpan), 0, 0] };
  const text: string = id;
  const word = (hex: string): number => Number.parseInt(hex, 16);
  const upper = [word(text.slice(9, 13) + text.slice(14, 18)), word(text.slice(0, 8))] as const;
  const lower = [word(text.slice(28, 36)), word(text.slice(19, 23) + text.slice(24, 28))] as const;
  return { isUuid: true, words: [...upper, ...lower] };
}

export class IdTable {
  #words: Uint32Array;
  #wordsPerId: 2 | 4;
  #uuids: Uint32Array;
  #length: number;

  constructor(columns?: IdColumns, length = 0) {
    this.#words = columns?.words ?? new Uint32Array(64);
    this.#wordsPerId = columns?.wordsPerId ?? 2;
    this.#uuids = columns?.uuids ?? new Uint32Array(0);
    this.#length = length;
  }

  get length(): number {
    return this.#length;
  }

  get memoryBytes(): number {
    return this.#words.byteLength + this.#uuids.byteLength;
  }

  push(id: PointId): void {
    this.#pushKey(idKey(id));
  }

  /** The id of a row of another table; no id is made on the way. */
  pushFrom(other: IdTable, row: number): void {
    this.#pushKey({ isUuid: other.isUuid(row), words: [other.#word(row, 0), other.#word(row, 1), other.#word(row, 2), other.#word(row, 3)] });
  }

  /** The same words for an id wherever it lies. */
  tell(row: number, to: WordSink): void {
    to.word(this.isUuid(row) ? 1 : 0);
    for (let at = 0; at < 4; at += 1) to.word(this.#word(row, at));
  }

  isUuid(row: number): boolean {
    return hasBit(this.#uuids, row);
  }

  at(row: number): PointId {
    const low = this.#word(row, 0);
    const high = this.#word(row, 1);
    if (!this.isUuid(row)) return (high < 2 ** 21 ? high * wordSpan + low : (BigInt(high) << 32n) | BigInt(low)) as PointId;
    const hex = [high, low, this.#word(row, 3), this.#word(row, 2)].map((word) => word.toString(16).padStart(8, '0')).join('');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as PointId;
  }

  /** The order of comparePointIds. */
  compare(a: number, b: number): number {
    const aIsUuid = this.isUuid(a);
    if (aIsUuid !== this.isUuid(b)) return aIsUuid ? 1 : -1;
    return (
      this.#word(a, 1) - this.#word(b, 1) || this.#word(a, 0) - this.#word(b, 0) ||
      this.#word(a, 3) - this.#word(b, 3) || this.#word(a, 2) - this.#word(b, 2)
    );
  }

  /** Like `compare`, of a row with a key. */
  compareKey(row: number, key: IdKey): number {
    if (this.isUuid(row) !== key.isUuid) return key.isUuid ? -1 : 1;
    return (
      this.#word(row, 1) - key.words[1] || this.#word(row, 0) - key.words[0] ||
      this.#word(row, 3) - key.words[3] || this.#word(row, 2) - key.words[2]
    );
  }

  /** Views, cut to the length. */
  columns(): IdColumns {
    const uuids = emptyBits(this.#length);
    uuids.set(this.#uuids.subarray(0, uuids.length));
    return { words: this.#words.subarray(0, this.#length * this.#wordsPerId), wordsPerId: this.#wordsPerId, uuids };
  }

  #word(row: number, at: number): number {
    return at < this.#wordsPerId ? (this.#words[row * this.#wordsPerId + at] ?? 0) : 0;
  }

  #pushKey(key: IdKey): void {
    if (key.isUuid && this.#wordsPerId === 2) this.#widen();
    const row = this.#length;
    this.#words = grown(this.#words, (row + 1) * this.#wordsPerId);
    for (let at = 0; at < this.#wordsPerId; at += 1) this.#words[row * this.#wordsPerId + at] = key.words[at] ?? 0;
    if (key.isUuid) {
      this.#uuids = grown(this.#uuids, (row >>> 5) + 1);
      setBit(this.#uuids, row);
    }
    this.#length += 1;
  }

  #widen(): void {
    const wide = new Uint32Array(Math.max(64, this.#words.length * 2));
    for (let row = 0; row < this.#length; row += 1) {
      wide[row * 4] = this.#words[row * 2] ?? 0;
      wide[row * 4 + 1] = this.#words[row * 2 + 1] ?? 0;
    }
    this.#words = wide;
    this.#wordsPerId = 4;
  }
}
