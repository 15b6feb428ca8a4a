// What a point is sorted by under `order_by`: the same values an index of the field yields.
import type { FieldType } from '../field-schema.ts';
import { elementsOf, valuesAt, type JsonObject, type JsonPath } from '../json-path.ts';
import { indexedNumber, isOfType } from '../number-store.ts';

/** Each value once, in the order of the payload; datetimes in microseconds. Empty for types without an order. */
export function orderValues(payload: JsonObject, path: JsonPath, type: FieldType): readonly (number | bigint)[] {
  if (type === 'keyword' || type === 'bool' || type === 'uuid') return [];
  const values = new Map<number | bigint, number | bigint>();
  for (const element of elementsOf(valuesAt(payload, path))) {
    const value = indexedNumber(type, element);
    if (value === undefined || !isOfType(type, value)) continue;
    // 2^60 as an integer and as a float are one value here.
    const size = Number.isInteger(value) && !Number.isSafeInteger(value) ? BigInt(value) : value;
    if (!values.has(size)) values.set(size, value);
  }
  return [...values.values()];
}
