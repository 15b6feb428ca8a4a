// A merge sort that stops again and again, so that a long list does not hold the event loop.

/** One step is far below a millisecond. */
const runLength = 1024;
const mergedPerStep = 8192;

/** Sorts `items` in place, stable; between two `next()` anything may happen but a change of the items. */
export function* sortInSteps(items: Uint32Array, compare: (a: number, b: number) => number): Generator<void, void> {
  for (let from = 0; from < items.length; from += runLength) {
    items.subarray(from, from + runLength).sort(compare);
    yield;
  }
  const merged = new Uint32Array(items.length);
  for (let length = runLength; length < items.length; length *= 2) {
    for (let from = 0; from < items.length; from += 2 * length) {
      yield* merge(items, merged, from, length, compare);
    }
  }
}

/** Joins two sorted neighbours of up to `length` items by way of `merged`. */
function* merge(
  items: Uint32Array, merged: Uint32Array, from: number, length: number, compare: (a: number, b: number) => number,
): Generator<void, void> {
  const middle = Math.min(from + length, items.length);
  const end = Math.min(from + 2 * length, items.length);
  let left = from;
  let right = middle;
  for (let at = from; at < end; at += 1) {
    const takeLeft = left < middle && (right >= end || compare(items[left] as number, items[right] as number) <= 0);
    merged[at] = items[takeLeft ? left : right] as number;
    if (takeLeft) left += 1;
    else right += 1;
    if ((at - from) % mergedPerStep === mergedPerStep - 1) yield;
  }
  items.set(merged.subarray(from, end), from);
}
