// Little-endian reading and writing with bounds. Every decoder of ours reads through ByteReader, so a cut file ends as
// an error of the caller's choice and never as a wrong value.
import { pointIdFromU64, type PointId } from './ids.ts';
import { invariant, must } from './assert.ts';

/** Every host this runs on; typed arrays are the bytes of files there. */
export const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

// point id: | tag u8: 0 integer, 1 UUID | u64 or 16 bytes |
const idTagInteger = 0;
const idTagUuid = 1;

/** Grows as needed; `take()` ends it. */
export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  /** `memory`: what is written to first. */
  constructor(memory: Buffer = Buffer.allocUnsafe(256)) {
    this.#buffer = memory;
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void { this.#reserve(1); this.#length = this.#buffer.writeUInt8(value, this.#length); }
  u16(value: number): void { this.#reserve(2); this.#length = this.#buffer.writeUInt16LE(value, this.#length); }
  u32(value: number): void { this.#reserve(4); this.#length = this.#buffer.writeUInt32LE(value, this.#length); }
  f64(value: number): void { this.#reserve(8); this.#length = this.#buffer.writeDoubleLE(value, this.#length); }

  u64(value: number | bigint): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigUInt64LE(BigInt(value), this.#length);
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.byteLength);
    this.#buffer.set(value, this.#length);
    this.#length += value.byteLength;
  }

  /** The next `count` bytes, for the caller to fill. To be filled before anything else is written. */
  space(count: number): Buffer {
    this.#reserve(count);
    this.#length += count;
    return this.#buffer.subarray(this.#length - count, this.#length);
  }

  /** u32 byte length, then UTF-8. */
  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.u32(length);
    this.#reserve(length);
    this.#buffer.write(value, this.#length, 'utf8');
    this.#length += length;
  }

  pointId(id: PointId): void {
    if (typeof id === 'string') {
      this.u8(idTagUuid);
      this.#reserve(16);
      this.#length += this.#buffer.write(id.replaceAll('-', ''), this.#length, 'hex');
    } else {
      this.u8(idTagInteger);
      this.u64(id as number | bigint);
    }
  }

  zeros(count: number): void {
    this.#reserve(count);
    this.#buffer.fill(0, this.#length, this.#length + count);
    this.#length += count;
  }

  /** The written bytes; the writer must not be used afterwards. */
  take(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** Reads what ByteWriter wrote. `fail` makes the error of a read past the end, so that it names the caller's file. */
export class ByteReader {
  readonly #buffer: Buffer;
  readonly #fail: (problem: string, offsetBytes: number) => Error;
  #offset: number;

  constructor(bytes: Uint8Array, fail: (problem: string, offsetBytes: number) => Error, offset = 0) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fail = fail;
    this.#offset = offset;
  }

  get offset(): number { return this.#offset; }
  get remaining(): number { return this.#buffer.length - this.#offset; }

  u8(): number { return this.#buffer.readUInt8(this.#advance(1)); }
  u16(): number { return this.#buffer.readUInt16LE(this.#advance(2)); }
  u32(): number { return this.#buffer.readUInt32LE(this.#advance(4)); }
  f64(): number { return this.#buffer.readDoubleLE(this.#advance(8)); }
  u64(): bigint { return this.#buffer.readBigUInt64LE(this.#advance(8)); }

  /** A u64 that must be a safe integer: seqs, sizes, times. */
  safeU64(): number {
    const offset = this.#offset;
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#fail('integer above 2^53-1', offset);
    return Number(value);
  }

  /** A view, not a copy. */
  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.#buffer.subarray(start, start + length);
  }

  text(): string { return this.bytes(this.u32()).toString('utf8'); }

  pointId(): PointId {
    const offset = this.#offset;
    const tag = this.u8();
    if (tag === idTagInteger) return must(pointIdFromU64(this.u64()), 'every u64 is a point id');
    if (tag !== idTagUuid) throw this.#fail(`unknown point id tag ${tag}`, offset);
    const hex = this.bytes(16).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as PointId;
  }

  #advance(count: number): number {
    invariant(count >= 0, 'lengths are not negative');
    const start = this.#offset;
    if (start + count > this.#buffer.length) throw this.#fail(`ends ${start + count - this.#buffer.length} bytes early`, start);
    this.#offset = start + count;
    return start;
  }
}
