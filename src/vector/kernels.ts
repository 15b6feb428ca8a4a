// The port to number crunching over packed rows, and the error bound that joins its two halves: `approximate` is fast and differs
// between instruction sets, `exact` is slow and the same bits everywhere. A search drops a row only where the bound proves that its
// exact score cannot be among the best. native/core/scan.cc holds the same bound for the addon's own scan.
import { invariant } from '../base/assert.ts';
import { DATATYPES, DISTANCES, dividesByLength, strideBytes, type VectorSpec } from './distance.ts';

export interface Approximation {
  /** f32 sums: dot products (divided by the length of the row where `dividesByLength`), SQUARED Euclidean distances, L1 distances. */
  readonly sums: Float32Array;
  /** Squared lengths of the rows; only for Cosine and Dot. */
  readonly norms: Float32Array;
}

/** `vector`: `size` finite values. `rows`: stored rows, packed, any alignment. Both calls run on the calling thread. */
export interface Kernels {
  readonly name: string;
  /** Partial sums kept side by side: a component takes part in at most size / lanes + 16 additions. */
  readonly lanes: number;
  approximate(spec: VectorSpec, vector: Float32Array, rows: Uint8Array): Approximation;
  /** The scores that are returned: f64 sums in the order of the components, rounded to f32 once. */
  exact(spec: VectorSpec, vector: Float32Array, rows: Uint8Array): Float32Array;
}

const unitRoundoff = 2 ** -24;
const smallest = 2 ** -149;
/** Sums above this are scored exactly at once: the bounds must not meet the largest float. */
const sureMax = 1e38;

/** Half the width of the interval around an approximate sum that holds the exact score (for Euclid its square), its rounding to
 *  f32 included; undefined where the sum says nothing (overflow, NaN, too large). */
export type ErrorBound = (sum: number, norm: number) => number | undefined;

/** n components, u = 2^-24, gamma = 1.01 (n / lanes + 16) u. Dot: gamma |q| |x| by Cauchy-Schwarz; divided by the row's length:
 *  gamma |q|, and the length is off by less than gamma. Euclid, Manhattan: relative to the sum, whose terms are positive.
 *  n 2^-149 is for underflow. */
export function errorBound(spec: VectorSpec, vector: Float32Array, lanes: number): ErrorBound {
  const gamma = 1.01 * (spec.size / lanes + 16) * unitRoundoff;
  const underflow = (spec.size + 1) * smallest;
  const isDot = spec.distance === 'Cosine' || spec.distance === 'Dot';
  const isDivided = dividesByLength(spec);
  const relative = isDot && !isDivided ? 4 * unitRoundoff : gamma + 8 * unitRoundoff;
  const perNorm = isDot ? gamma * Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)) : 0;
  const normFloor = spec.size * smallest;
  return (sum, norm) => {
    const length = !isDot ? 0 : isDivided ? 1.02 : Math.sqrt(1.01 * norm + normFloor);
    const error = relative * Math.abs(sum) + underflow + perNorm * length;
    return Math.abs(sum) + error < sureMax ? error : undefined;
  };
}

/** Known answers at start: a compiler that got a kernel wrong must not end as wrong search results. @throws InvariantError */
export function checkKnownAnswers(kernels: Kernels): void {
  const size = 67; // whole registers and a tail on every instruction set
  const vector = Float32Array.from({ length: size }, (_, at) => (at % 7) - 3);
  const values = Array.from({ length: size }, (_, at) => at % 5);
  const answers = { Dot: dotOf(vector, values), Euclid: squaresOf(vector, values), Manhattan: l1Of(vector, values) };
  for (const distance of DISTANCES) {
    if (distance === 'Cosine') continue; // the sums of Dot
    for (const datatype of DATATYPES) {
      const spec: VectorSpec = { size, distance, datatype };
      const row = datatype === 'float32' ? float32Row(values) : datatype === 'float16' ? float16Row(values) : Uint8Array.from(values);
      invariant(row.length === strideBytes(spec), 'a row has the length of its stride');
      const sum = answers[distance];
      const score = Math.fround(distance === 'Euclid' ? Math.sqrt(sum) : sum);
      const where = `kernel ${kernels.name}, ${distance}, ${datatype}`;
      // small integers: f32 sums are exact in any order
      invariant(kernels.approximate(spec, vector, row).sums[0] === sum, () => `${where}: a wrong sum; rebuild the addon or set NEARKEEP_NATIVE=off`);
      invariant(kernels.exact(spec, vector, row)[0] === score, () => `${where}: a wrong score; rebuild the addon or set NEARKEEP_NATIVE=off`);
    }
  }
}

function float32Row(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** For the integers 0 to 4 only. */
function float16Row(values: readonly number[]): Uint8Array {
  const halves = [0, 0x3c00, 0x4000, 0x4200, 0x4400];
  return new Uint8Array(Uint16Array.from(values, (value) => halves[value] ?? 0).buffer);
}

function dotOf(a: Float32Array, b: readonly number[]): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}

function squaresOf(a: Float32Array, b: readonly number[]): number {
  return a.reduce((sum, value, at) => sum + (value - (b[at] ?? 0)) ** 2, 0);
}

function l1Of(a: Float32Array, b: readonly number[]): number {
  return a.reduce((sum, value, at) => sum + Math.abs(value - (b[at] ?? 0)), 0);
}
