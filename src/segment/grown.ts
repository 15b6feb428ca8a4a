// Typed arrays that grow by doubling.

/** `array` where it already has `length` elements, else a larger copy. */
export function grown<T extends Uint32Array | Float64Array>(array: T, length: number): T {
  if (length <= array.length) return array;
  const size = Math.max(length, array.length * 2);
  const larger = (array instanceof Uint32Array ? new Uint32Array(size) : new Float64Array(size)) as T; // the kind that came in
  larger.set(array);
  return larger;
}
