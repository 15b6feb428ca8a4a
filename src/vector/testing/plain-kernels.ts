// The kernels port in plain TypeScript, everything in f64: what the others are compared with.
import { dividesByLength, largerIsBetter, strideBytes, type VectorSpec } from '../distance.ts';
import type { Kernels } from '../kernels.ts';

export const plainKernels: Kernels = {
  name: 'plain',
  lanes: 1,
  approximate: (spec, vector, rows) => ({
    sums: Float32Array.from(sumsOf(spec, vector, rows)),
    norms: Float32Array.from(each(spec, rows), (row) => row.reduce((sum, value) => sum + value * value, 0)),
  }),
  exact: (spec, vector, rows) =>
    Float32Array.from(sumsOf(spec, vector, rows), (sum) => (spec.distance === 'Euclid' ? Math.sqrt(sum) : sum)),
};

function valuesOf(spec: VectorSpec, bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float64Array((bytes.length / strideBytes(spec)) * spec.size);
  for (let at = 0; at < values.length; at += 1) {
    if (spec.datatype === 'float32') values[at] = view.getFloat32(at * 4, true);
    else values[at] = spec.datatype === 'float16' ? halfToNumber(view.getUint16(at * 2, true)) : view.getUint8(at);
  }
  return values;
}

function each(spec: VectorSpec, rows: Uint8Array): readonly Float64Array[] {
  const values = valuesOf(spec, rows);
  return Array.from({ length: rows.length / strideBytes(spec) }, (_, at) => values.subarray(at * spec.size, (at + 1) * spec.size));
}

function sumsOf(spec: VectorSpec, vector: Float32Array, rows: Uint8Array): readonly number[] {
  const isDot = largerIsBetter(spec.distance);
  return each(spec, rows).map((row) => {
    let sum = 0;
    let squares = 0;
    for (let at = 0; at < row.length; at += 1) {
      const a = vector[at] ?? NaN;
      const b = row[at] ?? NaN;
      squares += b * b;
      if (isDot) sum += a * b;
      else if (spec.distance === 'Euclid') sum += (a - b) * (a - b);
      else sum += Math.abs(a - b);
    }
    if (dividesByLength(spec)) return squares === 0 ? 0 : sum / Math.sqrt(squares);
    return sum;
  });
}

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
