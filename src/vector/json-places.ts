// Where in a request body the numbers of an array may become f32, and where an object is a payload. A place is handed down from
// value to value; native/core/json-floats.cc and wasm/json-floats.ts hold the same table, and fuzz/ compares the three.
//
// Not lifting is always correct: handlers take plain arrays too. Lifting an array of ids or sparse indices would lose them (f32
// is exact only to 2^24), so every place that may hold those is `plain` or `never`.

export type JsonPlace =
  /** Members are looked up by name; arrays stay arrays. The root's place. */
  | 'plain'
  /** Arrays of numbers are lifted, at any depth: vectors, named vectors, rows of a multi-vector, sparse values. */
  | 'vector'
  /** Like `vector` for arrays, like `plain` for members: `query` may be a vector or an object that tells what to do. */
  | 'query'
  /** `positive` and `negative`: the array itself may be a list of ids, arrays inside it are vectors. */
  | 'examples'
  /** An object here is a payload; its text is kept. */
  | 'payload'
  /** An array of payloads. */
  | 'payloads'
  /** Nothing below is lifted: filters, formulas, indices, anything the client may have made up. */
  | 'never';

const plainMembers: ReadonlyMap<string, JsonPlace> = new Map([
  ['vector', 'vector'], ['vectors', 'vector'], ['nearest', 'vector'], ['target', 'vector'],
  ['query', 'query'], ['positive', 'examples'], ['negative', 'examples'],
  ['payload', 'payload'], ['payloads', 'payloads'],
  ['filter', 'never'], ['update_filter', 'never'], ['corpus', 'never'], ['formula', 'never'], ['metadata', 'never'],
]);

/** The place of the value under `key` in an object at `place`. */
export function memberPlace(place: JsonPlace, key: string): JsonPlace {
  switch (place) {
    case 'plain':
      return plainMembers.get(key) ?? 'plain';
    case 'query':
      if (key === 'values') return 'vector';
      return key === 'indices' ? 'never' : (plainMembers.get(key) ?? 'plain');
    case 'vector':
    case 'examples':
      return key === 'indices' ? 'never' : 'vector';
    case 'payload':
    case 'payloads':
    case 'never':
      return 'never';
  }
}

/** The place of the elements of an array at `place`. */
export function elementPlace(place: JsonPlace): JsonPlace {
  switch (place) {
    case 'plain':
      return 'plain';
    case 'query':
    case 'vector':
    case 'examples':
      return 'vector';
    case 'payloads':
      return 'payload';
    case 'payload':
    case 'never':
      return 'never';
  }
}

/** Shorter arrays stay arrays: a marker, a table entry and a view cost more than they save. */
export const liftedCountMin = 16;

/** Containers within containers; serde_json's limit, so bodies are refused where Qdrant refuses them. */
export const nestingMax = 127;

/** A longer number is no measurement. The limit bounds the work on one token. */
export const numberBytesMax = 64 * 1024;
