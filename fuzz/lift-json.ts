// Fuzzes the way of a request body into values. For one random body:
//   - every path (plain parser in slices of any size, WASM in slices of any size, native) gives the same values or the same error;
//   - accepted is what JSON.parse accepts, but for nesting beyond the limit and bytes that are no UTF-8;
//   - joined again, the values are JSON.parse's, and every lifted float is Math.fround(Number(token));
//   - what is lifted is what stands at a place for it, no more and no less.
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { InvariantError } from '../src/base/assert.ts';
import { RequestError } from '../src/base/errors.ts';
import type { Random } from '../src/base/testing/random.ts';
import type { Extractor } from '../src/vector/json-extractor.ts';
import { elementPlace, liftedCountMin, memberPlace, nestingMax, type JsonPlace } from '../src/vector/json-places.ts';
import { JsonReader } from '../src/vector/json-reader.ts';
import { parseBodyWith, RawJson } from '../src/vector/lift-json.ts';
import { nativeExtractor } from '../src/vector/native-extractor.ts';
import type { SlicePace } from '../src/vector/slice-pace.ts';
import { wasmExtractorIn } from '../src/vector/wasm-extractor.ts';
import type { Fuzzer } from './all.ts';
import { mutatedBody, randomDocument } from './json-documents.ts';

const noPace: SlicePace = { between: () => undefined };

type Outcome = { readonly value: unknown } | { readonly error: string };
type Path = (bytes: Buffer, random: Random) => Promise<Outcome>;

const viaPlain: Path = (bytes) => outcomeOf(() => parseBodyWith(bytes, undefined, noPace));

/** The plain parser with slices down to single bytes. */
const viaSlices: Path = (bytes, random) => outcomeOf(() => {
  if (!isUtf8(bytes)) return parseBodyWith(bytes, undefined, noPace);
  const reader = new JsonReader(bytes, { root: 'plain', payload: (text) => new RawJson(text), string: (text) => text });
  while (!reader.advance(1 + random.below(20)));
  return Promise.resolve(reader.value);
});

const viaWasm: Path = (bytes, random) => outcomeOf(() => parseBodyWith(bytes, wasmExtractorIn(1 + random.below(random.below(2) === 0 ? 20 : 10_000)), noPace));

export const liftJsonFuzzer: Fuzzer = {
  name: 'lift-json',
  once: (random) => checkOne(random, pathsOfProduct()),
  canaries: new Map([
    ['the last bit of a float', (random) => checkOne(random, [viaPlain, via(altered((floats) => { floats[floats.length - 1] = (floats.at(-1) ?? 0) * (1 + 2 ** -22); }))])],
    ['the sign of a zero', (random) => checkOne(random, [viaPlain, via(altered((floats) => floats.forEach((value, at) => { if (value === 0) floats[at] = 0; })))])],
    ['a span that is one byte short', (random) => checkOne(random, [viaPlain, via(shortened)])],
    ['a body taken for JSON that is none', (random) => checkOne(random, [viaPlain, via(credulous)])],
  ]),
};

function pathsOfProduct(): Path[] {
  const native = nativeExtractor();
  return [viaPlain, viaSlices, viaWasm, ...(native === undefined ? [] : [via(native)])];
}

function via(extractor: Extractor): Path {
  return (bytes) => outcomeOf(() => parseBodyWith(bytes, extractor, noPace));
}

async function outcomeOf(work: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof RequestError) return { error: error.message };
    throw error;
  }
}

async function checkOne(random: Random, paths: readonly Path[]): Promise<void> {
  const bytes = random.below(2) === 0 ? mutatedBody(random) : Buffer.from(randomDocument(random));
  try {
    await checkBody(bytes, paths, random);
  } catch (error) {
    throw new InvariantError(`body ${bytes.toString('latin1').slice(0, 2000)}\nas hex ${bytes.toString('hex').slice(0, 4000)}`, { cause: error });
  }
}

async function checkBody(bytes: Buffer, paths: readonly Path[], random: Random): Promise<void> {
  const outcomes: Outcome[] = [];
  for (const path of paths) outcomes.push(await path(bytes, random));
  const [first] = outcomes as [Outcome];
  for (const other of outcomes) assert.equal(canonical(other), canonical(first));

  const text = bytes.toString('utf8');
  const expected = isUtf8(bytes) ? jsonOf(text) : undefined;
  if ('error' in first) {
    assert.ok(expected === undefined || (deepest(text) > nestingMax && first.error.includes('recursion limit')), `refused: ${first.error}`);
    assert.match(first.error, /^Format error in JSON body: .+ at line \d+ column \d+$/);
    return;
  }
  assert.ok(expected !== undefined && deepest(text) <= nestingMax, 'accepted what JSON.parse refuses');
  checkValue(first.value, expected.value, 'plain', text);
}

function jsonOf(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Levels of nesting, by brackets outside strings. */
function deepest(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/gs)) {
    if (token === '[' || token === '{') most = Math.max(most, (depth += 1));
    else if (token === ']' || token === '}') depth -= 1;
  }
  return most;
}

/** `plain` is what JSON.parse says, `text` the whole body. */
function checkValue(value: unknown, plain: unknown, place: JsonPlace, text: string): void {
  const isObject = typeof plain === 'object' && plain !== null && !Array.isArray(plain);
  const holdsFloats = place === 'vector' || place === 'query';
  const lifts = holdsFloats && Array.isArray(plain) && plain.length >= liftedCountMin && plain.every((number) => typeof number === 'number' && Number.isFinite(Math.fround(number)));
  assert.equal(value instanceof Float32Array, lifts, 'a vector is lifted where it should be, and nowhere else');
  assert.equal(value instanceof RawJson, place === 'payload' && isObject, 'a payload is kept where it should be, and nowhere else');
  if (value instanceof Float32Array) assert.equal(canonical([...value]), canonical((plain as number[]).map(Math.fround)));
  else if (value instanceof RawJson) {
    assert.ok(text.includes(value.text), 'a payload is a part of the body');
    assert.equal(canonical(JSON.parse(value.text)), canonical(plain));
    checkValue(value.value(), plain, 'never', text);
  } else if (typeof value === 'bigint') {
    assert.ok(Number(value) === plain && !Number.isSafeInteger(plain) && text.includes(value.toString()), `bigint ${value}`);
  } else if (Array.isArray(plain)) {
    assert.ok(Array.isArray(value) && value.length === plain.length);
    for (const [at, element] of plain.entries()) {
      assert.ok(!(holdsFloats && typeof value[at] === 'bigint'), 'numbers in vectors are no bigints');
      checkValue(value[at], element, elementPlace(place), text);
    }
  } else if (isObject) {
    const [members, plainMembers] = [value as Record<string, unknown>, plain as Record<string, unknown>];
    assert.deepEqual(Object.keys(members), Object.keys(plainMembers));
    assert.equal(Object.getPrototypeOf(members), Object.prototype);
    for (const key of Object.keys(plainMembers)) checkValue(members[key], plainMembers[key], memberPlace(place, key), text);
  } else assert.ok(Object.is(value, plain), `${canonical(value)} is not ${canonical(plain)}`);
}

/** Text that differs wherever two values differ in any bit: -0, kinds of arrays, lone surrogates. */
function canonical(value: unknown): string {
  if (value instanceof Float32Array) return `floats ${Buffer.from(value.slice().buffer).toString('hex')}`;
  if (value instanceof RawJson) return `raw ${JSON.stringify(value.text)}`;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value === 'object' && value !== null) return `{${Object.keys(value).map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, unknown>)[key])}`).join()}}`;
  return String(JSON.stringify(value));
}

// ---- broken on purpose -------------------------------------------------------------------------------------------------

const sound = wasmExtractorIn(1 << 20);

function altered(alter: (floats: Float32Array) => void): Extractor {
  return async (bytes, pace) => {
    const lifted = await sound(bytes, pace);
    if (lifted !== undefined && lifted.floats.length > 0) alter(lifted.floats);
    return lifted;
  };
}

const shortened: Extractor = async (bytes, pace) => {
  const lifted = await sound(bytes, pace);
  if (lifted !== undefined && lifted.texts.length > 0) lifted.texts[lifted.texts.length - 1] = (lifted.texts.at(-1) ?? 0) - 1;
  return lifted;
};

/** Lets control characters pass. */
const credulous: Extractor = (bytes, pace) => sound(Buffer.from(bytes.map((byte) => Math.max(byte, 0x20))), pace);
