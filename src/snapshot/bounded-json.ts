// JSON from outside, with bounds that hold before memory is taken: depth, number of values, no `__proto__`, no duplicate keys,
// no white space between tokens. Iterative and in slices, so neither depth nor size of a hostile document can stop the process.
import { isUtf8 } from 'node:buffer';
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';

export interface JsonBounds {
  readonly depthMax: number;
  /** Objects, arrays and scalars together. */
  readonly valuesMax: number;
  /** Objects and arrays: each costs far more memory than text. */
  readonly containersMax: number;
}

/** Makes the error of a document that is refused; the text must not quote the document. */
export type JsonFailure = (problem: string, offsetBytes: number) => Error;

type Frame = { readonly kind: 'array'; readonly items: unknown[] } | { readonly kind: 'object'; readonly members: Record<string, unknown>; key: string };

const byteOf = (text: string): number => text.charCodeAt(0);
const [quote, backslash, comma, colon] = [byteOf('"'), byteOf('\\'), byteOf(','), byteOf(':')];
const [openObject, closeObject, openArray, closeArray] = [byteOf('{'), byteOf('}'), byteOf('['), byteOf(']')];
const numberPattern = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;
const literals = new Map<string, unknown>([['true', true], ['false', false], ['null', null]]);
const scalarBytesMax = 64;
const valuesBetweenClockReads = 1024;

/** @throws what `fail` makes, with the offset of the first byte that breaks a rule. */
export async function parseBoundedJson(bytes: Buffer, bounds: JsonBounds, fail: JsonFailure): Promise<unknown> {
  if (!isUtf8(bytes)) throw fail('is not UTF-8', 0);
  const scanner = new Scanner(bytes, bounds, fail);
  let sliceStart = performance.now();
  while (!scanner.run(valuesBetweenClockReads)) {
    if (performance.now() - sliceStart > sliceMsMax) {
      await yieldToLoop();
      sliceStart = performance.now();
    }
  }
  return scanner.result;
}

class Scanner {
  result: unknown;
  readonly #bytes: Buffer;
  readonly #bounds: JsonBounds;
  readonly #fail: JsonFailure;
  readonly #stack: Frame[] = [];
  #at = 0;
  #values = 0;
  #containers = 0;

  constructor(bytes: Buffer, bounds: JsonBounds, fail: JsonFailure) {
    this.#bytes = bytes;
    this.#bounds = bounds;
    this.#fail = fail;
  }

  /** Reads up to `count` values; true when the document is complete. */
  run(count: number): boolean {
    for (let left = count; left > 0; left -= 1) {
      this.#values += 1;
      if (this.#values > this.#bounds.valuesMax) throw this.#error('holds too many values');
      if (this.#openContainer()) continue;
      if (this.#complete(this.#emptyContainer() ?? this.#scalar())) return true;
    }
    return false;
  }

  /** Steps into an object or array that has members; false where the value at hand is none. */
  #openContainer(): boolean {
    const byte = this.#bytes[this.#at];
    if (byte !== openObject && byte !== openArray) return false;
    if (this.#stack.length >= this.#bounds.depthMax) throw this.#error('is nested too deeply');
    this.#containers += 1;
    if (this.#containers > this.#bounds.containersMax) throw this.#error('holds too many values');
    const next = this.#bytes[this.#at + 1];
    if (next === closeObject || next === closeArray) return false;
    this.#at += 1;
    if (byte === openArray) this.#stack.push({ kind: 'array', items: [] });
    else this.#stack.push({ kind: 'object', members: {}, key: this.#key({}) });
    return true;
  }

  #emptyContainer(): unknown {
    const pair = this.#bytes.toString('latin1', this.#at, this.#at + 2);
    if (pair !== '{}' && pair !== '[]') return undefined;
    this.#at += 2;
    return pair === '{}' ? {} : [];
  }

  /** Puts a finished value into its container, and closes every container that ends with it. */
  #complete(finished: unknown): boolean {
    let value = finished;
    for (;;) {
      const frame = this.#stack.at(-1);
      if (frame === undefined) {
        if (this.#at !== this.#bytes.length) throw this.#error('goes on behind its end');
        this.result = value;
        return true;
      }
      if (frame.kind === 'array') frame.items.push(value);
      else frame.members[frame.key] = value;
      const separator = this.#bytes[this.#at];
      if (separator === comma) {
        this.#at += 1;
        if (frame.kind === 'object') frame.key = this.#key(frame.members);
        return false;
      }
      if (separator !== (frame.kind === 'array' ? closeArray : closeObject)) throw this.#error('is not valid JSON without white space');
      this.#at += 1;
      value = frame.kind === 'array' ? frame.items : frame.members;
      this.#stack.pop();
    }
  }

  #key(members: Record<string, unknown>): string {
    const start = this.#at;
    if (this.#bytes[this.#at] !== quote) throw this.#error('is not valid JSON without white space');
    const key = this.#text();
    if (key === '__proto__') throw this.#fail('has a key that is not allowed', start);
    if (Object.hasOwn(members, key)) throw this.#fail('has a key twice', start);
    if (this.#bytes[this.#at] !== colon) throw this.#error('is not valid JSON without white space');
    this.#at += 1;
    return key;
  }

  #scalar(): unknown {
    if (this.#bytes[this.#at] === quote) return this.#text();
    const start = this.#at;
    while (this.#at < this.#bytes.length && this.#at - start <= scalarBytesMax && !isEnd(this.#bytes[this.#at])) this.#at += 1;
    const text = this.#bytes.toString('latin1', start, this.#at);
    if (literals.has(text)) return literals.get(text);
    if (text.length > scalarBytesMax || !numberPattern.test(text)) throw this.#fail('is not valid JSON without white space', start);
    const value = Number(text);
    if (!Number.isFinite(value)) throw this.#fail('has a number out of range', start);
    return value;
  }

  #text(): string {
    const start = this.#at;
    const end = this.#closingQuote(start + 1);
    this.#at = end + 1;
    const content = this.#bytes.subarray(start + 1, end);
    if (!content.includes(backslash) && !content.some((byte) => byte < 0x20)) return content.toString('utf8');
    try {
      return JSON.parse(this.#bytes.toString('utf8', start, end + 1)) as string;
    } catch {
      throw this.#fail('has a text with a bad escape', start);
    }
  }

  #closingQuote(from: number): number {
    for (let search = from; ;) {
      const end = this.#bytes.indexOf(quote, search);
      if (end < 0) throw this.#error('ends inside a text');
      let first = end;
      while (this.#bytes[first - 1] === backslash) first -= 1;
      if ((end - first) % 2 === 0) return end;
      search = end + 1;
    }
  }

  #error(problem: string): Error {
    return this.#fail(problem, this.#at);
  }
}

function isEnd(byte: number | undefined): boolean {
  return byte === comma || byte === closeArray || byte === closeObject;
}
