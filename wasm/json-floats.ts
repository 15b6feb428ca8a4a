// The JSON extractor of the fallback: native/core/json-floats.cc in AssemblyScript, with two differences. It stops after any slice of
// bytes and goes on later, because it runs on the event loop; and a number that f64 arithmetic cannot decide is decided by the host.
// The rules for where are those of src/vector/json-places.ts. src/vector/wasm-extractor.ts lays out the memory.

// @ts-ignore: decorator
@external("host", "exactFloat")
declare function exactFloat(from: usize, to: usize): f32;

// src/vector/json-places.ts and, the last, src/base/exact-json.ts
const nestingMax = 127;
const liftedCountMin: usize = 16;
const numberBytesMax: usize = 64 * 1024;
const exactDigitsMax: usize = 1024;

const plain: u8 = 0, vector: u8 = 1, query: u8 = 2, examples: u8 = 3, payload: u8 = 4, payloads: u8 = 5, never: u8 = 6;

// States. AFTER: behind a value. NUMBERS and AFTER_NUMBER: in an array that may hold floats and has held nothing else so far.
const VALUE = 0, FIRST_ELEMENT = 1, AFTER = 2, FIRST_KEY = 3, KEY = 4, COLON = 5, STRING = 6, NUMBERS = 7, AFTER_NUMBER = 8;
const MORE = 0, DONE = 1, GIVEN_UP = 2;

let body: usize, end: usize, at: usize;
let copied: usize; // everything before it is in the skeleton
let skeleton: usize, skeletonEnd: usize;
let floats: usize, floatsEnd: usize;
let rows: usize, rowsEnd: usize;
let texts: usize, textsEnd: usize;
let state: i32;
let until: usize, sliceBytes: usize;
let stringStart: usize, stringIsKey: bool, stringEscaped: bool;
let arrayStart: usize, arrayFloats: usize, arrayFinite: bool;
let payloadStart: usize, payloadDepth: i32;

// Frames from 1: place of the container, place of the value under the last key, whether it is an array.
let depth: i32;
const places = memory.data(128), memberPlaces = memory.data(128), arrays = memory.data(128);

const powersOfTen: StaticArray<f64> = [
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
const exactPowerMax = 22;

/** First byte that the caller may use. */
export function heapBase(): usize {
  return __heap_base;
}

/** The regions must not overlap; a skeleton is at most 5 times, floats 2 times, rows and texts 3 times the body. */
export function start(bodyAt: usize, length: usize, skeletonAt: usize, floatsAt: usize, rowsAt: usize, textsAt: usize): void {
  body = at = copied = bodyAt;
  end = bodyAt + length;
  skeleton = skeletonEnd = skeletonAt;
  floats = floatsEnd = floatsAt;
  rows = rowsEnd = rowsAt;
  texts = textsEnd = textsAt;
  state = VALUE;
  depth = payloadDepth = 0;
}

export function skeletonBytes(): usize { return skeletonEnd - skeleton; }
export function floatsBytes(): usize { return floatsEnd - floats; }
export function rowsBytes(): usize { return rowsEnd - rows; }
export function textsBytes(): usize { return textsEnd - texts; }

/** Reads about `bytes` more bytes. */
export function advance(bytes: usize): i32 {
  sliceBytes = bytes;
  until = min(end, at + bytes);
  while (at < until) {
    if (state == STRING) {
      if (!stringPiece()) return GIVEN_UP;
    } else {
      skipSpace();
      if (at < until && !step(load<u8>(at))) return GIVEN_UP;
    }
  }
  if (at < end) {
    // In pieces: copying a whole body at its end would hold the caller. What may still be lifted is not copied.
    if (payloadDepth == 0 && state != NUMBERS && state != AFTER_NUMBER) copyTo(at);
    return MORE;
  }
  if (state != AFTER || depth > 0) return GIVEN_UP;
  copyTo(end);
  return DONE;
}

function skipSpace(): void {
  for (; at < until; at++) {
    const byte = load<u8>(at);
    if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) return;
  }
}

/** Every step answers false to give up. */
function step(byte: u8): bool {
  switch (state) {
    case FIRST_ELEMENT:
      return byte == 0x5d ? close() : value(byte);
    case VALUE:
      return value(byte);
    case AFTER:
      return after(byte);
    case FIRST_KEY:
      return byte == 0x7d ? close() : openString(byte, true);
    case KEY:
      return openString(byte, true);
    case COLON:
      at++;
      state = VALUE;
      return byte == 0x3a;
    case NUMBERS:
      return number(byte);
    default:
      return afterNumber(byte);
  }
}

function value(byte: u8): bool {
  if (byte == 0x22) return openString(byte, false);
  if (byte == 0x5b || byte == 0x7b) return open(byte == 0x5b);
  if (byte == 0x74) return literal("true");
  if (byte == 0x66) return literal("false");
  if (byte == 0x6e) return literal("null");
  return plainNumber();
}

function after(byte: u8): bool {
  if (depth == 0) return false;
  const isArray = load<u8>(arrays + depth) != 0;
  if (byte == <u8>(isArray ? 0x5d : 0x7d)) return close();
  at++;
  state = isArray ? VALUE : KEY;
  return byte == 0x2c;
}

// ---- containers ---------------------------------------------------------------------------------------------------------

function placeHere(): u8 {
  if (depth == 0) return plain;
  if (!load<u8>(arrays + depth)) return load<u8>(memberPlaces + depth);
  const place = load<u8>(places + depth);
  if (place == plain) return plain;
  if (place == vector || place == query || place == examples) return vector;
  return place == payloads ? payload : never;
}

function memberPlace(place: u8, from: usize, length: usize): u8 {
  if (place == vector || place == examples) return is("indices", from, length) ? never : vector;
  if (place != plain && place != query) return never;
  if (place == query && is("values", from, length)) return vector;
  if (place == query && is("indices", from, length)) return never;
  if (is("vector", from, length) || is("vectors", from, length) || is("nearest", from, length) || is("target", from, length)) return vector;
  if (is("query", from, length)) return query;
  if (is("positive", from, length) || is("negative", from, length)) return examples;
  if (is("payload", from, length)) return payload;
  if (is("payloads", from, length)) return payloads;
  if (is("filter", from, length) || is("update_filter", from, length) || is("corpus", from, length)) return never;
  return is("formula", from, length) || is("metadata", from, length) ? never : plain;
}

function is(word: string, from: usize, length: usize): bool {
  if (<usize>word.length != length) return false;
  for (let index: usize = 0; index < length; index++) {
    if (load<u8>(from + index) != word.charCodeAt(<i32>index)) return false;
  }
  return true;
}

function holdsFloats(place: u8): bool {
  return place == vector || place == query;
}

function open(isArray: bool): bool {
  if (depth == nestingMax) return false;
  if (isArray && holdsFloats(placeHere())) {
    arrayStart = at++;
    arrayFloats = floatsEnd;
    arrayFinite = true;
    state = NUMBERS;
    return true;
  }
  return push(isArray);
}

function push(isArray: bool): bool {
  const place = placeHere();
  if (place == payload && !isArray) {
    payloadDepth = depth + 1;
    payloadStart = at;
  }
  depth++;
  store<u8>(places + depth, payloadDepth != 0 ? never : place);
  store<u8>(memberPlaces + depth, never);
  store<u8>(arrays + depth, isArray ? 1 : 0);
  at++;
  state = isArray ? FIRST_ELEMENT : FIRST_KEY;
  return true;
}

function close(): bool {
  at++;
  state = AFTER;
  if (depth-- == payloadDepth) {
    payloadDepth = 0;
    liftText(0x70, payloadStart);
  }
  return true;
}

// ---- strings and literals -----------------------------------------------------------------------------------------------

function literal(word: string): bool {
  const length = <usize>word.length;
  if (end - at < length || !is(word, at, length)) return false;
  at += length;
  state = AFTER;
  return true;
}

function openString(byte: u8, isKey: bool): bool {
  at++;
  state = STRING;
  stringStart = at;
  stringIsKey = isKey;
  stringEscaped = false;
  return byte == 0x22;
}

/** Reads on to the end of the string or of the slice. */
function stringPiece(): bool {
  while (at < until) {
    const byte = load<u8>(at++);
    if (byte == 0x22) return stringIsKey ? endKey() : endString();
    if (byte < 0x20) return false;
    if (byte != 0x5c) continue;
    stringEscaped = true;
    if (at == end) return false;
    const kind = load<u8>(at++);
    if (kind == 0x75) {
      if (end - at < 4 || !isHex(load<u8>(at)) || !isHex(load<u8>(at + 1)) || !isHex(load<u8>(at + 2)) || !isHex(load<u8>(at + 3))) return false;
      at += 4;
    } else if (kind != 0x22 && kind != 0x5c && kind != 0x2f && kind != 0x62 && kind != 0x66 && kind != 0x6e && kind != 0x72 && kind != 0x74) {
      return false;
    }
  }
  return true;
}

function isHex(byte: u8): bool {
  return isDigit(byte) || <u8>((byte | 0x20) - 0x61) < 6;
}

function isDigit(byte: u8): bool {
  return <u8>(byte - 0x30) < 10;
}

function endString(): bool {
  state = AFTER;
  if (!stringEscaped || payloadDepth != 0) return true;
  // A string that would read as a marker.
  return !is("\\b", stringStart, 2) && !(at - 1 - stringStart >= 6 && is("\\u0008", stringStart, 6));
}

function endKey(): bool {
  state = COLON;
  const place = load<u8>(places + depth);
  if (stringEscaped) decodeKey();
  store<u8>(memberPlaces + depth, stringEscaped ? memberPlace(place, decoded, decodedBytes) : memberPlace(place, stringStart, at - 1 - stringStart));
  return true;
}

/** A key with escapes, decoded as far as it can matter: every key of the table is plain ASCII and at most keyMax long. */
const keyMax: usize = 13;
const decoded = memory.data(16);
let decodedBytes: usize;

function decodeKey(): void {
  decodedBytes = 0;
  for (let from = stringStart; from < at - 1; ) {
    let letter: u32 = load<u8>(from++);
    if (letter == 0x5c) {
      letter = load<u8>(from++);
      if (letter == 0x75) {
        letter = (hex(from) << 12) | (hex(from + 1) << 8) | (hex(from + 2) << 4) | hex(from + 3);
        from += 4;
      } else if (letter == 0x62 || letter == 0x66 || letter == 0x6e || letter == 0x72 || letter == 0x74) {
        letter = 0x80;
      }
    }
    if (letter >= 0x80 || decodedBytes == keyMax) {
      decodedBytes = 0; // some other key, like the empty one
      return;
    }
    store<u8>(decoded + decodedBytes++, <u8>letter);
  }
}

function hex(position: usize): u32 {
  const digit = <u32>load<u8>(position);
  return digit <= 0x39 ? digit - 0x30 : (digit | 0x20) - 0x61 + 10;
}

// ---- numbers ------------------------------------------------------------------------------------------------------------

let mantissa: u64, exponent: i64, kept: i32, negative: bool, exact: bool, isInteger: bool;

/** Whether the digit went into the mantissa, which holds the first 19 significant ones. */
function take(byte: u8): bool {
  if (kept < 19) {
    mantissa = mantissa * 10 + <u64>(byte - 0x30);
    if (mantissa != 0) kept++;
    return true;
  }
  if (byte != 0x30) exact = false;
  return false;
}

function digitAt(position: usize): bool {
  return position < end && isDigit(load<u8>(position));
}

/** Reads the number at `at` by JSON's grammar. */
function readDecimal(): bool {
  const from = at;
  mantissa = exponent = kept = 0;
  exact = isInteger = true;
  negative = load<u8>(at) == 0x2d;
  if (negative) at++;
  if (!digitAt(at)) return false;
  if (load<u8>(at) == 0x30) at++;
  else for (; digitAt(at); at++) if (!take(load<u8>(at))) exponent++;
  if (digitAt(at)) return false; // a leading zero
  if (at < end && load<u8>(at) == 0x2e) {
    isInteger = false;
    const fraction = ++at;
    for (; digitAt(at); at++) if (take(load<u8>(at))) exponent--;
    if (at == fraction) return false;
  }
  if (at < end && (load<u8>(at) | 0x20) == 0x65) {
    isInteger = false;
    at++;
    const negativeExponent = at < end && load<u8>(at) == 0x2d;
    if (at < end && (load<u8>(at) == 0x2d || load<u8>(at) == 0x2b)) at++;
    const digits = at;
    let power: i64 = 0;
    for (; digitAt(at); at++) if (power < 1000000) power = power * 10 + <i64>(load<u8>(at) - 0x30);
    if (at == digits) return false;
    exponent += negativeExponent ? -power : power;
  }
  return at - from <= numberBytesMax;
}

function plainNumber(): bool {
  const from = at;
  if (!readDecimal()) return false;
  state = AFTER;
  if (!isInteger || payloadDepth != 0) return true;
  if (depth > 0 && load<u8>(arrays + depth) && holdsFloats(load<u8>(places + depth))) return true;
  if (needsBigInt(from)) liftText(0x69, from);
  return true;
}

/** Whether the integer from `from` to `at` leaves ±(2^53-1). An integer of at most 19 digits is its mantissa. */
function needsBigInt(from: usize): bool {
  const count = at - from - (negative ? 1 : 0);
  if (count > 16) return count <= exactDigitsMax;
  return mantissa > 9007199254740991;
}

function number(byte: u8): bool {
  if (byte != 0x2d && !isDigit(byte)) return mixed();
  const from = at;
  if (!readDecimal()) return false;
  const float = nearestFloat(from);
  arrayFinite = arrayFinite && isFinite(float);
  store<f32>(floatsEnd, float);
  floatsEnd += 4;
  state = AFTER_NUMBER;
  return true;
}

function afterNumber(byte: u8): bool {
  at++;
  state = NUMBERS;
  return byte == 0x2c || (byte == 0x5d && endNumbers());
}

/** Back to the bracket: an array of other things, or of numbers and other things. */
function mixed(): bool {
  at = arrayStart;
  floatsEnd = arrayFloats;
  until = min(until, at + sliceBytes);
  return push(true);
}

function endNumbers(): bool {
  state = AFTER;
  if (!arrayFinite || floatsEnd - arrayFloats < liftedCountMin * 4) {
    floatsEnd = arrayFloats;
    return true;
  }
  mark(0x66, <u32>((rowsEnd - rows) / 8), arrayStart);
  store<u32>(rowsEnd, <u32>((arrayFloats - floats) / 4));
  store<u32>(rowsEnd, <u32>((floatsEnd - floats) / 4), 4);
  rowsEnd += 8;
  return true;
}

/** native/core/decimal.cc tells why the f64 arithmetic suffices where it is used. */
function nearestFloat(from: usize): f32 {
  if (!exact || exponent < -2 * exactPowerMax || exponent > 2 * exactPowerMax) return exactFloat(from, at);
  if (mantissa == 0) return negative ? -0.0 : 0.0;
  const magnitude = scaled(<f64>mantissa, <i32>exponent);
  if (!(magnitude > 1e-37) || !(magnitude < 3e38)) return exactFloat(from, at);
  const spare = reinterpret<u64>(magnitude) & 0x1fffffff;
  if (spare - (0x10000000 - 8) <= 16) return exactFloat(from, at);
  return <f32>(negative ? -magnitude : magnitude);
}

function scaled(value: f64, power: i32): f64 {
  for (; power < -exactPowerMax; power += exactPowerMax) value /= 1e22;
  for (; power > exactPowerMax; power -= exactPowerMax) value *= 1e22;
  return power < 0 ? value / powersOfTen[-power] : value * powersOfTen[power];
}

// ---- the skeleton -------------------------------------------------------------------------------------------------------

function liftText(kind: u8, from: usize): void {
  mark(kind, <u32>((textsEnd - texts) / 8), from);
  store<u32>(textsEnd, <u32>(from - body));
  store<u32>(textsEnd, <u32>(at - body), 4);
  textsEnd += 8;
}

/** Puts a marker in the place of the text from `from` to `at`. */
function mark(kind: u8, index: u32, from: usize): void {
  copyTo(from);
  store<u8>(skeletonEnd, 0x22);
  store<u8>(skeletonEnd, 0x5c, 1);
  store<u8>(skeletonEnd, 0x62, 2);
  store<u8>(skeletonEnd, kind, 3);
  let digits = 1;
  for (let rest = index / 10; rest > 0; rest /= 10) digits++;
  for (let place = digits; place > 0; place--) {
    store<u8>(skeletonEnd + 3 + place, <u8>(0x30 + (index % 10)));
    index /= 10;
  }
  store<u8>(skeletonEnd + 4 + digits, 0x22);
  skeletonEnd += 5 + digits;
  copied = at;
}

function copyTo(to: usize): void {
  memory.copy(skeletonEnd, copied, to - copied);
  skeletonEnd += to - copied;
  copied = to;
}
