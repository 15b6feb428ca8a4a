// A strict JSON parser over bytes that can stop after any slice of work and go on later: request bodies too big for one
// JSON.parse, and every body that the fast extractor gave up on. It accepts and yields what JSON.parse does, with these
// differences: nesting beyond nestingMax and numbers beyond numberBytesMax are refused; integers outside ±(2^53-1) are bigints
// except directly in an array at a vector place; arrays of liftedCountMin or more numbers there are Float32Arrays; payload
// objects are handed to `rules.payload` as text.
//
// Invariants: `#at` is the next unread byte and at most one token beyond the slice's end; line feeds are counted as they are
// skipped, so an error knows its line without a second pass. Line and column are serde_json's: both 1-based, the column counts
// bytes and points at the offending byte (0: the line feed before it).
//
// It does not check UTF-8: the caller has done that for the whole body.
import { needsBigInt } from '../base/exact-json.ts';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { elementPlace, liftedCountMin, memberPlace, nestingMax, numberBytesMax, type JsonPlace } from './json-places.ts';
import { characterStart } from './json-text.ts';

export interface JsonRules {
  /** Place of the root: `plain` for a body, `never` where nothing is to be lifted. */
  readonly root: JsonPlace;
  /** The value for a payload object with this text. */
  payload(text: string): unknown;
  /** The value for a string; the text itself where strings mean nothing more. */
  string(text: string): unknown;
}

/** An open container. Frames are reused: a new object for every `[` would be most of the work on a body of small things. */
interface Frame {
  place: JsonPlace;
  isArray: boolean;
  /** What is built; of no meaning below a payload, where nothing is. */
  array: unknown[];
  object: Record<string, unknown>;
  key: string;
  /** An array at a vector place so far without anything but numbers. */
  numbersOnly: boolean;
}

type State = 'value' | 'first-element' | 'element' | 'first-key' | 'key' | 'colon' | 'after' | 'string';

const tab = 0x09, lineFeed = 0x0a, carriageReturn = 0x0d, space = 0x20, quote = 0x22, plus = 0x2b, comma = 0x2c, minus = 0x2d, dot = 0x2e;
const digit0 = 0x30, digit9 = 0x39, colon = 0x3a, openBracket = 0x5b, backslash = 0x5c, closeBracket = 0x5d, openBrace = 0x7b, closeBrace = 0x7d;
const letterE = 0x45, letterSmallE = 0x65, letterU = 0x75;
const end = -1;
const sampleBytes = 100;
const shortEscapes = new Set(Buffer.from('"\\/bfnrt'));
const literals: ReadonlyMap<number, { readonly rest: Buffer; readonly value: unknown }> = new Map([
  [0x6e, { rest: Buffer.from('ull'), value: null }],
  [0x74, { rest: Buffer.from('rue'), value: true }],
  [0x66, { rest: Buffer.from('alse'), value: false }],
]);
const powersOfTen = Array.from({ length: 16 }, (_, exponent) => Number(`1e${exponent}`));
const noArray: unknown[] = [];
const noObject: Record<string, unknown> = {};

export class JsonReader {
  readonly #bytes: Buffer;
  readonly #rules: JsonRules;
  readonly #frames: Frame[] = [];
  #depth = 0;
  /** The innermost open container. */
  #top: Frame | undefined;
  #at = 0;
  #state: State = 'value';
  #root: unknown;
  #line = 1;
  #lineStart = 0;
  /** A string in progress: where its unread piece starts, and the text of the pieces before. */
  #pieceStart = 0;
  #pieceEscaped = false;
  #stringText = '';
  #stringIsKey = false;
  /** Depth of the payload in progress; 0 outside payloads. */
  #payloadDepth = 0;
  #payloadStart = 0;
  #payloadText = '';

  /**
   * Keeps one reader alive, and with it the engine's description of readers. Without any, a collection drops that, the next reader
   * gets a new one, and after a few rounds compiled code knows too many to be fast (measured: ten times slower, for good).
   */
  static readonly kept: JsonReader = new JsonReader(Buffer.from('{"payload":{"a":"x"},"b":["y\\n",1.5]}'), {
    root: 'plain', payload: (text) => text, string: (text) => text,
  });
  static {
    JsonReader.kept.advance(sampleBytes);
  }

  constructor(bytes: Buffer, rules: JsonRules) {
    this.#bytes = bytes;
    this.#rules = rules;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#at;
  }

  /** Reads about `bytes` more bytes (at most numberBytesMax over). True: the document is complete. @throws RequestError bad-format */
  advance(bytes: number): boolean {
    this.#readTo(Math.min(this.#bytes.length, this.#at + bytes));
    if (this.#at < this.#bytes.length) {
      if (this.#payloadDepth > 0) this.#flushPayload(characterStart(this.#bytes, this.#at));
      return false;
    }
    if (this.#state !== 'after' || this.#depth > 0) this.#failAtEnd();
    return true;
  }

  /** The document's value, once `advance` has answered true. */
  get value(): unknown {
    return this.#root;
  }

  /** Nothing follows the loop: code after a long loop makes the engine give up its compiled form at every slice. */
  #readTo(until: number): void {
    while (this.#at < until) {
      if (this.#state === 'string') this.#stringPiece(until);
      else if (this.#skipSpace(until)) this.#step(until);
    }
  }

  /** False where the slice ended within the white space. */
  #skipSpace(until: number): boolean {
    for (; this.#at < until; this.#at += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === lineFeed) {
        this.#line += 1;
        this.#lineStart = this.#at + 1;
      } else if (byte !== space && byte !== tab && byte !== carriageReturn) return true;
    }
    return false;
  }

  #step(until: number): void {
    const byte = this.#bytes[this.#at] ?? end;
    switch (this.#state) {
      case 'first-element':
        if (byte === closeBracket) this.#close();
        else this.#value(byte, until);
        break;
      case 'element':
        if (byte === closeBracket) this.#fail('trailing comma', this.#at + 1);
        this.#value(byte, until);
        break;
      case 'value':
        this.#value(byte, until);
        break;
      case 'first-key':
        if (byte === closeBrace) this.#close();
        else this.#openKey(byte);
        break;
      case 'key':
        if (byte === closeBrace) this.#fail('trailing comma', this.#at + 1);
        this.#openKey(byte);
        break;
      case 'colon':
        if (byte !== colon) this.#fail('expected `:`', this.#at + 1);
        this.#at += 1;
        this.#state = 'value';
        break;
      case 'after':
        this.#afterValue(byte);
        break;
      case 'string': // has no white space to skip and is read by #stringPiece
        break;
    }
  }

  #value(byte: number, until: number): void {
    if (byte === quote) this.#openString(false);
    else if (byte === openBrace || byte === openBracket) this.#open(byte === openBracket);
    else if (byte === minus || (byte >= digit0 && byte <= digit9)) this.#add(this.#number());
    else this.#add(this.#literal(byte));
    if (this.#state === 'string') this.#stringPiece(until);
  }

  #afterValue(byte: number): void {
    const frame = this.#top;
    if (frame === undefined) this.#fail('trailing characters', this.#at + 1);
    if (byte === (frame.isArray ? closeBracket : closeBrace)) return this.#close();
    if (byte !== comma) this.#fail(frame.isArray ? 'expected `,` or `]`' : 'expected `,` or `}`', this.#at + 1);
    this.#at += 1;
    this.#state = frame.isArray ? 'element' : 'key';
  }

  // ---- containers ----------------------------------------------------------------------------------------------------

  #place(): JsonPlace {
    const frame = this.#top;
    if (frame === undefined) return this.#rules.root;
    return frame.isArray ? elementPlace(frame.place) : memberPlace(frame.place, frame.key);
  }

  #open(isArray: boolean): void {
    if (this.#depth === nestingMax) this.#fail('recursion limit exceeded', this.#at + 1);
    const place = this.#payloadDepth > 0 ? 'never' : this.#place();
    if (place === 'payload' && !isArray) {
      this.#payloadStart = this.#at;
      this.#payloadText = '';
      this.#payloadDepth = this.#depth + 1;
    }
    const builds = this.#payloadDepth === 0;
    const frame = (this.#frames[this.#depth] ??= { place, isArray, array: noArray, object: noObject, key: '', numbersOnly: false });
    frame.place = place;
    frame.isArray = isArray;
    frame.array = builds && isArray ? [] : noArray;
    frame.object = builds && !isArray ? {} : noObject;
    frame.numbersOnly = isArray && (place === 'vector' || place === 'query');
    this.#depth += 1;
    this.#top = frame;
    this.#at += 1;
    this.#state = isArray ? 'first-element' : 'first-key';
  }

  #close(): void {
    this.#at += 1;
    const frame = must(this.#top, 'only an open container is closed');
    this.#depth -= 1;
    this.#top = this.#depth === 0 ? undefined : this.#frames[this.#depth - 1];
    if (this.#payloadDepth === 0) {
      if (frame.isArray) this.#add(frame.numbersOnly ? floatsOf(frame.array) : frame.array);
      else this.#add(frame.object);
    } else if (this.#depth < this.#payloadDepth) {
      this.#flushPayload(this.#at);
      this.#payloadDepth = 0;
      this.#add(this.#rules.payload(this.#payloadText));
    } else this.#state = 'after';
  }

  #flushPayload(to: number): void {
    this.#payloadText += this.#bytes.toString('utf8', this.#payloadStart, to);
    this.#payloadStart = to;
  }

  /** Puts a finished value into its container; below a payload only the state moves on. */
  #add(value: unknown): void {
    this.#state = 'after';
    const frame = this.#top;
    if (frame === undefined) this.#root = value;
    else if (this.#payloadDepth > 0) return;
    else if (frame.isArray) {
      if (frame.numbersOnly && typeof value !== 'number') frame.numbersOnly = false;
      frame.array.push(value);
    } else setMember(frame.object, frame.key, value);
  }

  // ---- scalars -------------------------------------------------------------------------------------------------------

  #literal(first: number): unknown {
    const literal = literals.get(first);
    if (literal === undefined) this.#fail('expected value', this.#at + 1);
    for (const [index, byte] of literal.rest.entries()) {
      const found = this.#bytes[this.#at + 1 + index];
      if (found === undefined) this.#fail('EOF while parsing a value', this.#bytes.length);
      if (found !== byte) this.#fail('expected ident', this.#at + index + 2);
    }
    this.#at += 1 + literal.rest.length;
    return literal.value;
  }

  #number(): number | bigint {
    const start = this.#at;
    const stop = start + numberBytesMax + 1;
    const digitsStart = this.#bytes[start] === minus ? start + 1 : start;
    let at = this.#digits(digitsStart, stop);
    if (at === digitsStart) this.#failNumber(at);
    if (this.#bytes[digitsStart] === digit0 && at > digitsStart + 1) this.#fail('invalid number', digitsStart + 2);
    const integerEnd = at;
    if (this.#bytes[at] === dot) {
      at = this.#digits(at + 1, stop);
      if (at === integerEnd + 1) this.#failNumber(at);
    }
    const fractionEnd = at;
    if (this.#bytes[at] === letterSmallE || this.#bytes[at] === letterE) {
      const sign = this.#bytes[at + 1];
      const exponentStart = at + (sign === plus || sign === minus ? 2 : 1);
      at = this.#digits(exponentStart, stop);
      if (at === exponentStart) this.#failNumber(at);
    }
    if (at - start > numberBytesMax) this.#fail('number out of range', at);
    this.#at = at;
    if (this.#payloadDepth > 0) return 0;
    if (at === fractionEnd && at - start < powersOfTen.length) return this.#shortNumber(start, digitsStart, integerEnd, at);
    const text = this.#bytes.toString('latin1', start, at);
    if (at > integerEnd || this.#inVectorArray()) return Number(text);
    return needsBigInt(text.slice(digitsStart - start)) ? BigInt(text) : Number(text);
  }

  #inVectorArray(): boolean {
    const frame = this.#top;
    return frame?.isArray === true && (frame.place === 'vector' || frame.place === 'query');
  }

  /** At most 15 digits: both the digits and the power of ten are exact f64, so one division rounds correctly. */
  #shortNumber(start: number, digitsStart: number, integerEnd: number, to: number): number {
    let digits = 0;
    for (let at = digitsStart; at < to; at += 1) {
      if (at !== integerEnd) digits = digits * 10 + ((this.#bytes[at] ?? 0) - digit0);
    }
    const magnitude = integerEnd === to ? digits : digits / (powersOfTen[to - integerEnd - 1] ?? NaN);
    return digitsStart > start ? -magnitude : magnitude;
  }

  /** End of the run of digits from `from`, looking no further than `stop`. */
  #digits(from: number, stop: number): number {
    let at = from;
    for (let byte = this.#bytes[at] ?? end; at < stop && byte >= digit0 && byte <= digit9; byte = this.#bytes[at] ?? end) at += 1;
    return at;
  }

  #failNumber(at: number): never {
    if (at >= this.#bytes.length) this.#fail('EOF while parsing a value', this.#bytes.length);
    this.#fail('invalid number', at + 1);
  }

  // ---- strings -------------------------------------------------------------------------------------------------------

  #openKey(byte: number): void {
    if (byte !== quote) this.#fail('key must be a string', this.#at + 1);
    this.#openString(true);
  }

  #openString(isKey: boolean): void {
    this.#at += 1;
    this.#state = 'string';
    this.#stringIsKey = isKey;
    this.#stringText = '';
    this.#pieceStart = this.#at;
    this.#pieceEscaped = false;
  }

  /** Reads on in a string to its end or to the end of the slice. */
  #stringPiece(until: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    while (at < until) {
      const byte = bytes[at] ?? end;
      if (byte === quote) {
        this.#takePiece(at);
        this.#at = at + 1;
        return this.#endString();
      }
      if (byte === backslash) {
        at = this.#escapeEnd(at);
        this.#pieceEscaped = true;
      } else if (byte < space) this.#fail('control character (\\u0000-\\u001F) found while parsing a string', at + 1);
      else at += 1;
    }
    this.#at = at;
    if (at === bytes.length) this.#fail('EOF while parsing a string', at);
    this.#takePiece(characterStart(bytes, at));
  }

  #takePiece(to: number): void {
    if (this.#payloadDepth > 0) return;
    const piece = this.#bytes.toString('utf8', this.#pieceStart, to);
    this.#stringText += this.#pieceEscaped ? (JSON.parse(`"${piece}"`) as string) : piece;
    this.#pieceStart = to;
    this.#pieceEscaped = false;
  }

  #endString(): void {
    if (!this.#stringIsKey) return this.#add(this.#payloadDepth > 0 ? '' : this.#rules.string(this.#stringText));
    if (this.#top !== undefined) this.#top.key = this.#stringText;
    this.#state = 'colon';
  }

  /** Index after the escape whose backslash is at `at`. */
  #escapeEnd(at: number): number {
    const kind = this.#bytes[at + 1];
    if (kind === undefined) this.#fail('EOF while parsing a string', at + 1);
    if (shortEscapes.has(kind)) return at + 2;
    if (kind !== letterU) this.#fail('invalid escape', at + 2);
    if (at + 6 > this.#bytes.length) this.#fail('EOF while parsing a string', this.#bytes.length);
    if (!/^[0-9a-fA-F]{4}$/.test(this.#bytes.toString('latin1', at + 2, at + 6))) this.#fail('invalid escape', at + 6);
    return at + 6;
  }

  // ---- errors --------------------------------------------------------------------------------------------------------

  #failAtEnd(): never {
    const frame = this.#top;
    const inContainer = frame?.isArray === true ? 'a list' : 'an object';
    const wanted = { value: 'a value', element: 'a value', key: 'a value', 'first-element': 'a list', 'first-key': 'an object', colon: 'an object', string: 'a string', after: inContainer };
    this.#fail(`EOF while parsing ${wanted[this.#state]}`, this.#bytes.length);
  }

  /** `to`: index after the last byte that was looked at. Line feeds not yet counted can only lie in the last few of them. */
  #fail(problem: string, to: number): never {
    let line = this.#line;
    let lineStart = this.#lineStart;
    for (let at = Math.max(this.#at, lineStart, to - 6); at < to; at += 1) {
      if (this.#bytes[at] === lineFeed) [line, lineStart] = [line + 1, at + 1];
    }
    throw formatError(problem, line, to - lineStart);
  }
}

export function formatError(problem: string, line: number, column: number): RequestError {
  return new RequestError('bad-format', `Format error in JSON body: ${problem} at line ${line} column ${column}`);
}

function setMember(object: Record<string, unknown>, key: string, value: unknown): void {
  // Plain assignment to `__proto__` would set the prototype.
  if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
  else object[key] = value;
}

/** The array itself where it is short or where a value has no finite f32: validation decides about those. */
function floatsOf(numbers: readonly unknown[]): Float32Array | readonly unknown[] {
  if (numbers.length < liftedCountMin) return numbers;
  const floats = new Float32Array(numbers.length);
  for (let at = 0; at < floats.length; at += 1) {
    floats[at] = numbers[at] as number;
    if (!Number.isFinite(floats[at])) return numbers;
  }
  return floats;
}
