// A vector on its way in and out of storage: the check of what a client sent, the stored bytes, the values read back, and the
// query that is compared with them.
//
// Stored bytes: `size` values, packed, little-endian, no header: float32 and float16 as IEEE 754 binary32 and binary16, uint8
// as one byte each.
// Loops run over indices, not iterators: on the write path of every vector that is three times faster.
// Invariant: the bytes are the same on every machine. Lengths are summed in f64 in the order of the components, each value is
// divided in f64 and rounded to f32 once; sqrt and division are exact by IEEE 754. Replicas compare these bytes.
import { invariant } from '../base/assert.ts';
import { isLittleEndian } from '../base/bytes.ts';
import { RequestError } from '../base/errors.ts';
import { strideBytes, type VectorSpec } from './distance.ts';

/**
 * A vector whose squared length is this near to 1 counts as normalised and is stored untouched: a client that reads a vector and
 * writes it back must find the same bytes. Rounding each of n values to f32 moves the squared length by less than 2^-23
 * (1.2e-7); clients that normalise in f32 are off by a few times that. The figure is Qdrant's.
 */
const unitTolerance = 1e-6;

// binary16: largest finite value 65504; from 65520 on, round-to-nearest-even gives infinity.
const halfOverflow = 65520;
const halfNormalMin = 2 ** -14;
const halfSubnormalUnit = 2 ** -24;

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);
let unitScratch: Float32Array = new Float32Array(0);

/**
 * @throws RequestError bad-input where the dimension is wrong or a value could not be stored as a finite number. `name` is the
 * vector's, '' for the unnamed one.
 */
export function checkVector(spec: VectorSpec, name: string, vector: Float32Array): void {
  const place = name === '' ? '' : ` for vector '${name}'`;
  if (vector.length !== spec.size) {
    throw new RequestError('bad-input', `Vector dimension error: expected dim: ${spec.size}, got ${vector.length}${place}`);
  }
  // Cosine vectors are shortened to length 1 before they are narrowed, so only the other distances can overflow float16.
  const limit = spec.datatype === 'float16' && spec.distance !== 'Cosine' ? halfOverflow : Infinity;
  for (let at = 0; at < vector.length; at += 1) {
    const value = vector[at] ?? NaN;
    if (Math.abs(value) < limit) continue;
    const problem = Number.isFinite(value) ? 'is too large for float16' : 'is not a finite 32-bit float';
    throw new RequestError('bad-input', `Vector value error: value at index ${at} ${problem}${place}`);
  }
}

/**
 * The bytes to store for a checked vector. Cosine vectors are normalised first (a zero vector stays as it is), except uint8:
 * there, as in Qdrant, the values are cast as they come (unit-length values would all become 0 or 1), and whoever scores a
 * uint8 Cosine vector divides by the length of the row (0 for a zero row).  @internal for tests
 */
export function toStored(spec: VectorSpec, vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(strideBytes(spec));
  writeStored(spec, vector, bytes);
  return bytes;
}

/** `toStored` into memory of the caller's, which is as long as a row. */
export function writeStored(spec: VectorSpec, vector: Float32Array, bytes: Uint8Array): void {
  invariant(vector.length === spec.size && bytes.byteLength === strideBytes(spec), 'a vector is checked before it is stored');
  const values = spec.distance === 'Cosine' && spec.datatype !== 'uint8' ? normalized(vector, scratchOf(spec.size)) : vector;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (spec.datatype) {
    case 'float32':
      invariant(isLittleEndian, 'the host is little-endian');
      bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      break;
    case 'float16':
      for (let at = 0; at < values.length; at += 1) view.setUint16(at * 2, numberToHalf(values[at] ?? 0), true);
      break;
    case 'uint8':
      for (let at = 0; at < values.length; at += 1) bytes[at] = numberToByte(values[at] ?? 0);
      break;
  }
}

/** Exact: every stored value is an f32. `bytes` may be unaligned. */
export function fromStored(spec: VectorSpec, bytes: Uint8Array): Float32Array {
  invariant(bytes.byteLength === strideBytes(spec), 'stored bytes are one row');
  if (spec.datatype === 'uint8') return Float32Array.from(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(spec.size);
  for (let at = 0; at < spec.size; at += 1) {
    values[at] = spec.datatype === 'float32' ? view.getFloat32(at * 4, true) : halfToNumber(view.getUint16(at * 2, true));
  }
  return values;
}

/**
 * The query to score stored rows with. It goes through the stored datatype like the rows (as in Qdrant), so a stored vector
 * finds itself at the best score; for Cosine it has unit length whatever the datatype.
 */
export function prepareQuery(spec: VectorSpec, vector: Float32Array): Float32Array {
  if (spec.datatype === 'float32') {
    const query = spec.distance === 'Cosine' ? normalized(vector) : vector;
    return query === vector ? vector.slice() : query; // never the caller's own array
  }
  const narrowed = fromStored(spec, toStored(spec, vector));
  return spec.distance === 'Cosine' && spec.datatype === 'uint8' ? normalized(narrowed) : narrowed;
}

/**
 * Any length but exactly 0 is normalised. (Qdrant also leaves vectors shorter than about 3.5e-4 alone, which makes their
 * cosine scores wrong.) Squares of f32 values neither overflow nor vanish in f64.
 */
function normalized(vector: Float32Array, unit: Float32Array = new Float32Array(vector.length)): Float32Array {
  let lengthSquared = 0;
  for (let at = 0; at < vector.length; at += 1) {
    const value = vector[at] ?? 0;
    lengthSquared += value * value; // not `** 2`: the power function need not be exact
  }
  if (lengthSquared === 0 || Math.abs(lengthSquared - 1) <= unitTolerance) return vector;
  const length = Math.sqrt(lengthSquared);
  for (let at = 0; at < unit.length; at += 1) unit[at] = (vector[at] ?? 0) / length;
  return unit;
}

/** Lasts until the next call. Most vectors have the size of the one before. */
function scratchOf(size: number): Float32Array {
  if (unitScratch.length !== size) unitScratch = new Float32Array(size);
  return unitScratch;
}

/** The cast of Rust's `as u8`: toward zero, saturating, NaN to 0. */
function numberToByte(value: number): number {
  if (!(value > 0)) return 0;
  return value >= 255 ? 255 : Math.trunc(value);
}

/** binary16 bits of an f32, rounded to nearest, ties to even; overflow to infinity. */
function numberToHalf(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= halfOverflow) return sign | 0x7c00;
  if (magnitude < halfNormalMin) return sign | roundToEven(magnitude / halfSubnormalUnit);
  // Dropping 13 bits: adding half of the last kept place, less one unless that place is odd, carries exactly when it must.
  const rounded = (bits & 0x7fffffff) + 0xfff + ((bits >>> 13) & 1);
  return sign | ((rounded >>> 13) - ((127 - 15) << 10));
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

function halfToNumber(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return ((bits & 0x8000) === 0 ? 1 : -1) * fraction * halfSubnormalUnit;
  const wideExponent = exponent === 0x1f ? 0xff : exponent + 127 - 15;
  scratchBits[0] = ((bits & 0x8000) << 16) | (wideExponent << 23) | (fraction << 13);
  return scratchFloat[0] ?? NaN;
}
