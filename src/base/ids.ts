// Branded ids and the only code that makes them.
// A point id is an unsigned 64-bit integer or a UUID. In memory an integer is a `number` while it is a safe integer and a
// `bigint` above 2^53-1, a UUID is its hyphenated lower-case text: so equal ids are equal Map keys, and `===` compares them.

declare const brand: unique symbol;

export type PointId = (number | bigint | string) & { readonly [brand]: 'PointId' };
/** Sequence number of an entry in its log; on the wire `operation_id` and point `version`. */
export type Seq = number;

export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const looseUuidPattern = /^(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i;
const u64Max = 2n ** 64n - 1n;

/** An id from a JSON value: integer (number or bigint) or UUID text, hyphenated, simple or urn. `undefined` where it is neither. */
export function parsePointId(value: unknown): PointId | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? (value as PointId) : undefined;
  if (typeof value === 'bigint') return pointIdFromU64(value);
  if (typeof value !== 'string') return undefined;
  const match = looseUuidPattern.exec(value);
  return match === null ? undefined : (match.slice(1).join('-').toLowerCase() as PointId);
}

/** An id as it stands in a URL path: digits or a UUID. */
export function parsePointIdText(text: string): PointId | undefined {
  return /^\d{1,20}$/.test(text) ? pointIdFromU64(BigInt(text)) : parsePointId(text);
}

export function pointIdFromU64(value: bigint): PointId | undefined {
  if (value < 0n || value > u64Max) return undefined;
  return (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value) as PointId;
}

/** All integers ascending, then UUIDs by bytes: the order of a scroll. */
export function comparePointIds(a: PointId, b: PointId): number {
  const aIsUuid = typeof a === 'string';
  if (aIsUuid !== (typeof b === 'string')) return aIsUuid ? 1 : -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** JSON text of an id; integers print all their digits. */
export function pointIdToJson(id: PointId): string {
  return typeof id === 'string' ? `"${id}"` : id.toString();
}
