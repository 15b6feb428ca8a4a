// The kernels of the fallback, in AssemblyScript with 128-bit SIMD. All memory is handed in: nothing is allocated here.
// Metrics: 0 dot, 1 squared L2, 2 L1; `exact` takes the root of 1 and knows 3, dot divided by the row's length. Datatypes: 0 float32, 1 float16, 2 uint8.
// src/vector/wasm-kernels.ts lays out the memory.

/** First byte that the caller may use. */
export function heapBase(): usize {
  return __heap_base;
}

/** IEEE 754 binary16, exactly: scaling by 2^112 corrects the exponent and normalises subnormals. */
// @ts-ignore: decorator
@inline
function halfToFloat(half: u32): f32 {
  const magnitude = half & 0x7fff;
  const bits = magnitude << 13;
  const value = magnitude >= 0x7c00 ? reinterpret<f32>(bits | 0x7f800000) : reinterpret<f32>(bits) * reinterpret<f32>(0x77800000);
  return half & 0x8000 ? -value : value;
}

// @ts-ignore: decorator
@inline
function halvesToFloats(halves: v128): v128 {
  const magnitude = v128.and(halves, i32x4.splat(0x7fff));
  const bits = i32x4.shl(magnitude, 13);
  const finite = f32x4.mul(bits, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = v128.or(bits, i32x4.splat(0x7f800000));
  const value = v128.bitselect(special, finite, i32x4.ge_s(magnitude, i32x4.splat(0x7c00)));
  return v128.or(value, i32x4.shl(v128.and(halves, i32x4.splat(0x8000)), 16));
}

// @ts-ignore: decorator
@inline
function loadFour<T>(from: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(from);
  if (sizeof<T>() == 2) return halvesToFloats(v128.load16x4_u(from));
  const bytes = v128.load32_zero(from);
  return f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes)));
}

// @ts-ignore: decorator
@inline
function loadOne<T>(from: usize): f32 {
  if (sizeof<T>() == 4) return load<f32>(from);
  if (sizeof<T>() == 2) return halfToFloat(load<u16>(from));
  return <f32>load<u8>(from);
}

// @ts-ignore: decorator
@inline
function step(metric: i32, q: v128, x: v128, sum: v128): v128 {
  if (metric == 0) return f32x4.add(sum, f32x4.mul(q, x));
  const difference = f32x4.sub(q, x);
  return f32x4.add(sum, metric == 1 ? f32x4.mul(difference, difference) : f32x4.abs(difference));
}

// @ts-ignore: decorator
@inline
function stepOne(metric: i32, q: f32, x: f32, sum: f32): f32 {
  if (metric == 0) return sum + q * x;
  const difference = q - x;
  return sum + (metric == 1 ? difference * difference : abs<f32>(difference));
}

// @ts-ignore: decorator
@inline
function total(a: v128): f32 {
  return (f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3));
}

// @ts-ignore: decorator
@inline
function scan<T>(metric: i32, query: usize, rows: usize, count: i32, dims: i32, sums: usize, norms: usize): void {
  const zero = f32x4.splat(0);
  const whole = dims & ~15;
  const fours = dims & ~3;
  for (let at = 0; at < count; at++) {
    let sum0 = zero, sum1 = zero, sum2 = zero, sum3 = zero;
    let norm0 = zero, norm1 = zero, norm2 = zero, norm3 = zero;
    let q = query;
    let i = 0;
    for (; i < whole; i += 16) {
      const x0 = loadFour<T>(rows);
      const x1 = loadFour<T>(rows + 4 * sizeof<T>());
      const x2 = loadFour<T>(rows + 8 * sizeof<T>());
      const x3 = loadFour<T>(rows + 12 * sizeof<T>());
      sum0 = step(metric, v128.load(q), x0, sum0);
      sum1 = step(metric, v128.load(q, 16), x1, sum1);
      sum2 = step(metric, v128.load(q, 32), x2, sum2);
      sum3 = step(metric, v128.load(q, 48), x3, sum3);
      if (metric == 0) {
        norm0 = step(0, x0, x0, norm0);
        norm1 = step(0, x1, x1, norm1);
        norm2 = step(0, x2, x2, norm2);
        norm3 = step(0, x3, x3, norm3);
      }
      q += 64;
      rows += 16 * sizeof<T>();
    }
    for (; i < fours; i += 4) {
      const x = loadFour<T>(rows);
      sum0 = step(metric, v128.load(q), x, sum0);
      if (metric == 0) norm0 = step(0, x, x, norm0);
      q += 16;
      rows += 4 * sizeof<T>();
    }
    let sum = total(f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3)));
    let norm = total(f32x4.add(f32x4.add(norm0, norm1), f32x4.add(norm2, norm3)));
    for (; i < dims; i++) {
      const x = loadOne<T>(rows);
      sum = stepOne(metric, load<f32>(q), x, sum);
      norm += x * x;
      q += 4;
      rows += sizeof<T>();
    }
    store<f32>(sums, sum);
    if (metric == 0) store<f32>(norms, norm);
    sums += 4;
    norms += 4;
  }
}

function scanDatatype<T>(metric: i32, query: usize, rows: usize, count: i32, dims: i32, sums: usize, norms: usize): void {
  if (metric == 0) scan<T>(0, query, rows, count, dims, sums, norms);
  else if (metric == 1) scan<T>(1, query, rows, count, dims, sums, norms);
  else scan<T>(2, query, rows, count, dims, sums, norms);
}

/** f32 sums, and for metric 0 squared lengths, of `count` packed rows. */
export function approximate(metric: i32, datatype: i32, query: usize, rows: usize, count: i32, dims: i32, sums: usize, norms: usize): void {
  if (datatype == 0) scanDatatype<f32>(metric, query, rows, count, dims, sums, norms);
  else if (datatype == 1) scanDatatype<u16>(metric, query, rows, count, dims, sums, norms);
  else scanDatatype<u8>(metric, query, rows, count, dims, sums, norms);
}

// @ts-ignore: decorator
@inline
function score<T>(metric: i32, query: usize, rows: usize, count: i32, dims: i32, scores: usize): void {
  for (let at = 0; at < count; at++) {
    let sum: f64 = 0;
    let squares: f64 = 0;
    for (let i = 0; i < dims; i++) {
      const a = <f64>load<f32>(query + (<usize>i << 2));
      const b = <f64>loadOne<T>(rows);
      const difference = a - b;
      sum += metric == 0 || metric == 3 ? a * b : metric == 1 ? difference * difference : abs<f64>(difference);
      squares += b * b;
      rows += sizeof<T>();
    }
    if (metric == 1) sum = sqrt<f64>(sum);
    if (metric == 3) sum = squares == 0 ? 0 : sum / sqrt<f64>(squares);
    store<f32>(scores + (<usize>at << 2), <f32>sum);
  }
}

/** f64 sums in the order of the components, rounded to f32 once. */
export function exact(metric: i32, datatype: i32, query: usize, rows: usize, count: i32, dims: i32, scores: usize): void {
  if (datatype == 0) score<f32>(metric, query, rows, count, dims, scores);
  else if (datatype == 1) score<u16>(metric, query, rows, count, dims, scores);
  else score<u8>(metric, query, rows, count, dims, scores);
}
