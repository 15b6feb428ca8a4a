// Stored payload texts as values.
import { parseExact } from '../base/exact-json.ts';
import type { JsonObject } from '../payload/json-path.ts';

/** The text was checked to be an object when it came in. */
export function parsePayload(text: string): JsonObject {
  return parseExact(text) as JsonObject;
}
