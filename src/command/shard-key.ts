// Keys of custom sharding. A key is a text or an unsigned 64-bit integer; `7` and `"7"` are two keys. In memory, in records and in
// snapshots a key is its JSON text: equal keys are equal strings, and no digit of a large integer is lost.
import { parseExact } from '../base/exact-json.ts';

declare const brand: unique symbol;

/** JSON text of a key: `7`, `"eu"`. */
export type ShardKey = string & { readonly [brand]: 'ShardKey' };

/** Which shards of a collection with custom sharding a request is for; without one a read is for all. */
export type ShardKeySelector =
  /** All of these. */
  | { readonly kind: 'keys'; readonly keys: readonly ShardKey[] }
  /** The target, or where it cannot serve the fallback. */
  | { readonly kind: 'fallback'; readonly target: ShardKey; readonly fallback: ShardKey };

/** Keys stand in the metadata of their collection, which is one record. */
export const shardKeyCharsMax = 1024;
const u64Max = 2n ** 64n - 1n;
/** JSON of an integer, or of a text that has no control characters. */
const keyPattern = /^(?:0|[1-9]\d{0,19}|"(?:[^"\\]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*")$/u;

/** A key from a JSON value; undefined where it is none. */
export function parseShardKey(value: unknown): ShardKey | undefined {
  if (typeof value === 'string') return value.length > shardKeyCharsMax ? undefined : (JSON.stringify(value) as ShardKey);
  if (typeof value === 'bigint') return value < 0n || value > u64Max ? undefined : (String(value) as ShardKey);
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? (String(value) as ShardKey) : undefined;
}

/** A key from its own JSON text, as records and snapshots hold it; undefined where that is not exactly the text of a key. */
export function parseShardKeyText(text: string): ShardKey | undefined {
  if (!keyPattern.test(text) || Array.from(text).some((char) => char < ' ')) return undefined;
  const key = parseShardKey(parseExact(text));
  return key === text ? key : undefined;
}

/** The key as a JSON value. */
export function shardKeyValue(key: ShardKey): string | number | bigint {
  return parseExact(key) as string | number | bigint;
}
