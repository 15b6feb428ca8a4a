// The kernels port in plain TypeScript, everything in f64: what the others are compared with.
import { bytesPerValue, largerIsBetter, strideBytes, type Datatype, type VectorSpec } from '../distance.ts';
import type { Kernels } from '../kernels.ts';

export const plainKernels: Kernels = {
  name: 'plain',
  lanes: 1,
  approximate: (spec, vector, rows) => ({
    sums: Float32Array.from(each(spec, rows), (row) => sumOf(spec, vector, row)),
    norms: Float32Array.from(each(spec, rows), (row) => row.reduce((sum, value) => sum + value * value, 0)),
  }),
  exact: (spec, vector, rows) => Float32Array.from(each(spec, rows), (row) => {
    const sum = sumOf(spec, vector, row);
    return spec.distance === 'Euclid' ? Math.sqrt(sum) : sum;
  }),
};

/** The values of packed stored rows. */
export function valuesOf(datatype: Datatype, bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / bytesPerValue(datatype) }, (_, at) => {
    if (datatype === 'float32') return view.getFloat32(at * 4, true);
    return datatype === 'float16' ? halfToNumber(view.getUint16(at * 2, true)) : view.getUint8(at);
  });
}

function each(spec: VectorSpec, rows: Uint8Array): readonly (readonly number[])[] {
  const stride = strideBytes(spec);
  return Array.from({ length: rows.length / stride }, (_, at) => valuesOf(spec.datatype, rows.subarray(at * stride, (at + 1) * stride)));
}

function sumOf(spec: VectorSpec, vector: Float32Array, row: readonly number[]): number {
  let sum = 0;
  for (const [at, b] of row.entries()) {
    const a = vector[at] ?? NaN;
    if (largerIsBetter(spec.distance)) sum += a * b;
    else if (spec.distance === 'Euclid') sum += (a - b) * (a - b);
    else sum += Math.abs(a - b);
  }
  return sum;
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
