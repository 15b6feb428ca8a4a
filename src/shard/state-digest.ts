// A running hash over what entries did to the state: equal logs say what replicas were asked, equal digests that they did the same.
//
//  d(n) = first 16 bytes of sha256( d(n-1) | seq u64 | rules u8 | effects u32 | sum 2 × u32 | live points u64 )
//
// `rules` is the version of the entry's body and of the rules that apply it; the live points are those after the entry. An effect is
// a row as it is stored after the entry put it there, the id of a row that died, or a change of vectors or schema, as a row of
// 32-bit words. Its words are mixed to 64 bits, and the effects of an entry are added up: replicas seal and merge at times of their own, so
// one and the same entry meets its rows in another order on each, and sorting a write over a whole collection would hold all of its rows.
// Payloads and vectors are in it by their crc32: it is made against faults, not against somebody who looks for collisions.
//
// It covers what entries do. Bytes that rot at rest are found by the checksums of files, and by the next entry that reads them.
import { createHash } from 'node:crypto';
import { crc32 } from '../base/checksum.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { Entry } from '../log/shard-log.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { idKey } from '../segment/id-table.ts';
import type { MutableSegment } from '../segment/mutable-segment.ts';
import type { VectorSpec } from '../vector/distance.ts';

const digestBytes = 16;
const effects = { row: 1, death: 2, vector: 3, noVector: 4, index: 5, noIndex: 6 } as const;

/** Digests are comparable where they began at the same seq: what was before is in neither. */
export interface Digest {
  readonly from: Seq;
  /** 32 hex characters. */
  readonly value: string;
}

/** Of a state whose digest nobody has kept: it begins after entry `from`. */
export function digestFrom(from: Seq): Digest {
  return { from, value: '0'.repeat(2 * digestBytes) };
}

export class StateDigest {
  readonly #from: Seq;
  #value: Buffer;
  #effects = 0;
  /** Sums modulo 2^32. */
  #low = 0;
  #high = 0;

  constructor({ from, value }: Digest) {
    this.#from = from;
    this.#value = Buffer.from(value, 'hex');
  }

  /** After the last whole entry. */
  get digest(): Digest {
    return { from: this.#from, value: this.#value.toString('hex') };
  }

  row(segment: MutableSegment, row: number): void {
    const mix = new Mix(effects.row);
    segment.tellRow(row, mix);
    this.#add(mix);
  }

  death(id: PointId): void {
    const mix = new Mix(effects.death);
    const { isUuid, words } = idKey(id);
    mix.word(isUuid ? 1 : 0);
    for (const word of words) mix.word(word);
    this.#add(mix);
  }

  /** `spec` undefined: it is gone. */
  vector(name: string, spec: VectorSpec | undefined): void {
    this.#noteChange(spec === undefined ? effects.noVector : effects.vector, name, spec === undefined ? undefined : [spec.size, spec.distance, spec.datatype]);
  }

  /** `schema` undefined: it is gone. */
  index(field: string, schema: FieldSchema | undefined): void {
    this.#noteChange(schema === undefined ? effects.noIndex : effects.index, field, schema);
  }

  /** @param points live ones after the entry */
  endEntry({ seq, version }: Pick<Entry, 'seq' | 'version'>, points: number): void {
    const bytes = Buffer.allocUnsafe(digestBytes + 8 + 1 + 4 + 4 + 4 + 8);
    this.#value.copy(bytes, 0);
    bytes.writeBigUInt64LE(BigInt(seq), 16);
    bytes.writeUInt8(version, 24);
    bytes.writeUInt32LE(this.#effects >>> 0, 25);
    bytes.writeUInt32LE(this.#low, 29);
    bytes.writeUInt32LE(this.#high, 33);
    bytes.writeBigUInt64LE(BigInt(points), 37);
    this.#value = createHash('sha256').update(bytes).digest().subarray(0, digestBytes);
    this.#effects = 0;
    this.#low = 0;
    this.#high = 0;
  }

  #noteChange(effect: number, name: string, value: object | undefined): void {
    const mix = new Mix(effect);
    for (const text of value === undefined ? [name] : [name, JSON.stringify(value)]) {
      mix.word(text.length);
      mix.word(crc32(Buffer.from(text)));
    }
    this.#add(mix);
  }

  #add(mix: Mix): void {
    mix.finish();
    this.#effects += 1;
    this.#low = (this.#low + mix.low) >>> 0;
    this.#high = (this.#high + mix.high) >>> 0;
  }
}

/** Two lanes of MurmurHash3 x86 over 32-bit words; each step is one to one in the word and in the state. */
class Mix {
  low: number;
  high: number;
  #words = 0;

  constructor(seed: number) {
    this.low = seed;
    this.high = seed;
  }

  word(value: number): void {
    this.low = Math.imul(rotated(this.low ^ Math.imul(rotated(Math.imul(value, 0x239b961b), 15), 0xab0e9789), 19), 5) + 0x561ccd1b;
    this.high = Math.imul(rotated(this.high ^ Math.imul(rotated(Math.imul(value, 0x38b34ae5), 16), 0xa1e38b93), 17), 5) + 0x0bcaa747;
    this.#words += 1;
  }

  finish(): void {
    this.low = finished(this.low ^ this.#words);
    this.high = finished(this.high ^ this.#words);
  }
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function finished(word: number): number {
  const once = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35);
  return (twice ^ (twice >>> 16)) >>> 0;
}
