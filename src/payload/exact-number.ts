// Numbers of payloads and filters: a `number`, or a `bigint` for integers beyond ±(2^53-1) that fit in 64 bits. JavaScript
// compares the two kinds by value, so ranges are exact.
//
// A payload's `1.0` is the number 1 here and equals the integer 1: parsed JSON does not keep how a number was written.
import type { RangeBounds } from './filter.ts';

const i64Min = -(2n ** 63n);
const u64Max = 2n ** 64n - 1n;

/** undefined where the value is no number. An integer beyond 64 bits is a float, as Qdrant's parser reads it. */
export function numberOf(value: unknown): number | bigint | undefined {
  if (typeof value === 'number') return value;
  if (typeof value !== 'bigint') return undefined;
  return value < i64Min || value > u64Max ? Number(value) : asNumberIfSafe(value);
}

/** undefined where the value is no integer of 64 bits. */
export function integerOf(value: unknown): number | bigint | undefined {
  const number = numberOf(value);
  return typeof number === 'bigint' || Number.isSafeInteger(number) ? number : undefined;
}

export function asNumberIfSafe(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function inBounds(value: number | bigint, bounds: RangeBounds): boolean {
  return (
    (bounds.lt === undefined || value < bounds.lt) &&
    (bounds.gt === undefined || value > bounds.gt) &&
    (bounds.lte === undefined || value <= bounds.lte) &&
    (bounds.gte === undefined || value >= bounds.gte)
  );
}

export function compareNumbers(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
