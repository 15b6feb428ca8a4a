// Bitmaps over the rows of a segment: bit r is bit r & 31 of word r >> 5. Arrays may be longer than needed; bits behind the
// last row are 0.

/** All zero, for `rows` rows. */
export function emptyBits(rows: number): Uint32Array {
  return new Uint32Array((rows + 31) >>> 5);
}

/** The first `rows` bits set. */
export function fullBits(rows: number): Uint32Array {
  const bits = emptyBits(rows);
  bits.fill(0xffffffff);
  if ((rows & 31) !== 0) bits[bits.length - 1] = 2 ** (rows & 31) - 1;
  return bits;
}

export function setBit(bits: Uint32Array, row: number): void {
  bits[row >>> 5] = (bits[row >>> 5] ?? 0) | (1 << (row & 31));
}

export function clearBit(bits: Uint32Array, row: number): void {
  bits[row >>> 5] = (bits[row >>> 5] ?? 0) & ~(1 << (row & 31));
}

export function hasBit(bits: Uint32Array, row: number): boolean {
  return ((bits[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0;
}

/** `into` keeps only what `other` has too; words that `other` lacks count as zero. */
export function andInto(into: Uint32Array, other: Uint32Array): Uint32Array {
  for (let at = 0; at < into.length; at += 1) into[at] = (into[at] ?? 0) & (other[at] ?? 0);
  return into;
}

export function orInto(into: Uint32Array, other: Uint32Array): Uint32Array {
  for (let at = 0; at < into.length; at += 1) into[at] = (into[at] ?? 0) | (other[at] ?? 0);
  return into;
}

export function andNotInto(into: Uint32Array, other: Uint32Array): Uint32Array {
  for (let at = 0; at < into.length; at += 1) into[at] = (into[at] ?? 0) & ~(other[at] ?? 0);
  return into;
}

export function countBits(bits: Uint32Array): number {
  let count = 0;
  for (let at = 0; at < bits.length; at += 1) {
    let word = bits[at] ?? 0;
    if (word === 0) continue;
    word -= (word >>> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
    count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count;
}

/** The set rows, ascending. */
export function rowsOf(bits: Uint32Array): Uint32Array {
  const rows = new Uint32Array(countBits(bits));
  let count = 0;
  for (let at = 0; at < bits.length; at += 1) {
    let word = bits[at] ?? 0;
    while (word !== 0) {
      const lowest = word & -word;
      rows[count] = at * 32 + (31 - Math.clz32(lowest));
      count += 1;
      word ^= lowest;
    }
  }
  return rows;
}

export function isEmptyBits(bits: Uint32Array): boolean {
  return bits.every((word) => word === 0);
}
