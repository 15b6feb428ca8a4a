// The bytes of a request body → values. Numbers of vectors become Float32Arrays, payloads keep their text, integers keep their
// digits; the rules for where are in json-places.ts.
//
// The work of a body with vectors is in their digits. A fast extractor (native, else WebAssembly) lifts vectors, big integers and
// payloads out in one pass and proves strict JSON on the way; only the small rest, the skeleton, is parsed into objects. It gives
// up on anything irregular, and then JsonReader reads the whole body: the answer and the error text are always its own, so the
// extractor is nothing but a faster way to the same values. fuzz/lift-json.slow.test.ts compares them.
//
// Nothing here holds the event loop for more than one slice, with three exceptions that the engine does in one step: growing an
// array of several million elements, converting such an array to floats where no extractor did it, and joining the pieces of a text
// of many MiB at its first use.
import { parseExact } from '../base/exact-json.ts';
import type { Extractor, Lifted } from './json-extractor.ts';
import { JsonReader, type JsonRules } from './json-reader.ts';
import { decodeText } from './json-text.ts';
import { checkUtf8 } from './json-utf8.ts';
import { nativeExtractor } from './native-extractor.ts';
import { clockPace, sliceBytes, type SlicePace } from './slice-pace.ts';
import { wasmExtractor } from './wasm-extractor.ts';

/** Below both, a skeleton goes through JSON.parse in one step: 2 to 4 ms at most. */
const skeletonAtOnceBytes = 256 * 1024;
const markersAtOnce = 2048;
/** Longer payloads are decoded in pieces before the skeleton is read. */
const payloadAtOnceBytes = 256 * 1024;

/** Below it, starting the WASM module takes longer than reading the body with the plain parser. */
const wasmBytesMin = 32 * 1024;

/** A JSON value kept as the text the client sent: proved strict JSON, with its spaces, key order, duplicates and digits. */
export class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Parsed at each call: integers outside ±(2^53-1) as bigint, of duplicate keys the last. */
  value(): unknown {
    return parseExact(this.text);
  }
}

/**
 * A JSON body as plain values, except: an array of 16 or more numbers at a vector place is a Float32Array (a view: several share
 * one buffer); integers outside ±(2^53-1) are bigints, but numbers directly in an array at a vector place never are; an object
 * at a payload place is a RawJson. `bytes` must not change until the promise settles.
 * @throws RequestError bad-format `Format error in JSON body: <problem> at line L column C`
 */
export async function parseBody(bytes: Buffer): Promise<unknown> {
  return parseBodyWith(bytes, nativeExtractor() ?? (bytes.length < wasmBytesMin ? undefined : wasmExtractor), clockPace());
}

/** parseBody over a given extractor (undefined: none) and pace.  @internal for tests */
export async function parseBodyWith(bytes: Buffer, extractor: Extractor | undefined, pace: SlicePace): Promise<unknown> {
  const checked = checkUtf8(bytes, pace);
  if (checked !== undefined) await checked;
  const lifting = extractor?.(bytes, pace);
  const lifted = lifting instanceof Promise ? await lifting : lifting;
  if (lifted === undefined) return readSliced(new JsonReader(bytes, bodyRules), pace);
  const resolve = markerResolver(bytes, lifted, bytes.length <= payloadAtOnceBytes ? noTexts : await decodeLongPayloads(bytes, lifted.texts, pace));
  if (lifted.skeleton.length <= skeletonAtOnceBytes && lifted.rows.length + lifted.texts.length <= 2 * markersAtOnce) {
    return resolveIn(JSON.parse(lifted.skeleton.toString('utf8')), resolve);
  }
  return readSliced(new JsonReader(lifted.skeleton, { root: 'never', payload: (text) => new RawJson(text), string: resolve }), pace);
}

const bodyRules: JsonRules = { root: 'plain', payload: (text) => new RawJson(text), string: (text) => text };

async function readSliced(reader: JsonReader, pace: SlicePace): Promise<unknown> {
  while (!reader.advance(sliceBytes)) await pace.between(reader.at);
  return reader.value;
}

/** What a string of the skeleton stands for: itself, or the lifted value whose marker it is. */
function markerResolver(body: Buffer, { floats, rows, texts }: Lifted, longPayloads: ReadonlyMap<number, string>): (text: string) => unknown {
  return (text) => {
    if (text.charCodeAt(0) !== 0x08) return text;
    const index = Number(text.slice(2));
    if (text[1] === 'f') return floats.subarray(rows[2 * index], rows[2 * index + 1]);
    const from = texts[2 * index];
    const to = texts[2 * index + 1];
    if (text[1] === 'i') return BigInt(body.toString('latin1', from, to));
    return new RawJson(longPayloads.get(index) ?? body.toString('utf8', from, to));
  };
}

const noTexts: ReadonlyMap<number, string> = new Map();

/** By index into `texts`. Nothing else there is that long: integers are at most exactDigitsMax. */
async function decodeLongPayloads(body: Buffer, texts: Uint32Array, pace: SlicePace): Promise<ReadonlyMap<number, string>> {
  const decoded = new Map<number, string>();
  for (let at = 0; at < texts.length; at += 2) {
    const from = texts[at] ?? 0;
    const to = texts[at + 1] ?? 0;
    if (to - from > payloadAtOnceBytes) decoded.set(at / 2, await decodeText(body, from, to, pace));
  }
  return decoded;
}

/** Replaces the markers below `value`, in place. Recursion is bounded by the nesting limit. */
function resolveIn(value: unknown, resolve: (text: string) => unknown): unknown {
  if (typeof value === 'string') return resolve(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at += 1) {
      const element: unknown = value[at];
      if (typeof element === 'string' || typeof element === 'object') value[at] = resolveIn(element, resolve);
    }
    return value;
  }
  const members = value as Record<string, unknown>;
  for (const key of Object.keys(members)) {
    const member = members[key];
    if (typeof member === 'string' || typeof member === 'object') members[key] = resolveIn(member, resolve);
  }
  return value;
}
