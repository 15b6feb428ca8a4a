// f32 values as JSON text: the shortest decimal that reads back as the same f32 (Math.fround(Number(text)), which is also how
// bodies are read), laid out as Qdrant prints f32: `1.0`, `0.25`, `1e-7`, `1.5e20`. So clients compare equal to what they sent.
//
// Nearly all values of embeddings take the fast path, which writes digits as bytes: with p decimals n = round(|x|·10^p) is the
// nearest decimal, and it fits where n / 10^p rounds to x. Powers of ten up to 10^22 are exact doubles, so that division is
// what reading the text does. Values outside [1e-5, 2^24) take the slow path. Below a power of two the gap is half the gap above,
// so the nearest decimal may not fit where the next one up does: the slow path tries both, and no power of two within the fast
// path's range is such a case (the tests go through all of them).

const digitsMax = 9; // always enough for an f32
const usualDigits = 7;
const fastMin = 1e-5;
const fastMax = 2 ** 24;
const powersOfTen = Array.from({ length: 14 }, (_, exponent) => Number(`1e${exponent}`)); // 9 digits at 1e-5

const valuesPerText = 1024;
const charsMax = 16; // `-0.000012345679`, `-1.2345679e-38`
const scratch = Buffer.allocUnsafe(valuesPerText * (charsMax + 1));

const charZero = 0x30;
const charDot = 0x2e;
const charMinus = 0x2d;
const charComma = 0x2c;

/** JSON text of one f32; `null` where it is not finite. */
export function floatText(value: number): string {
  return scratch.toString('latin1', 0, writeFloat(value, 0));
}

/** JSON text of a vector, in pieces of about a thousand values. */
export function* vectorTexts(vector: Float32Array): Generator<string> {
  yield '[';
  for (let from = 0; from < vector.length; from += valuesPerText) {
    let end = 0;
    for (const [index, value] of vector.subarray(from, from + valuesPerText).entries()) {
      if (from + index > 0) scratch[end++] = charComma;
      end = writeFloat(value, end);
    }
    yield scratch.toString('latin1', 0, end);
  }
  yield ']';
}

/** Writes at `at` and answers the end. */
function writeFloat(value: number, at: number): number {
  const x = Math.abs(Math.fround(value));
  if (!(x >= fastMin && x < fastMax)) return at + scratch.write(slowText(value), at, 'latin1');
  let decimals = Math.max(0, usualDigits - integerDigits(x));
  if (fits(x, decimals)) while (decimals > 0 && fits(x, decimals - 1)) decimals -= 1;
  else while (!fits(x, decimals)) decimals += 1;
  if (value < 0) scratch[at] = charMinus;
  return writeDecimal(Math.round(x * powerOfTen(decimals)), decimals, value < 0 ? at + 1 : at);
}

/** Digits before the point; below 0.1 minus the zeros after it. */
function integerDigits(x: number): number {
  let digits = 0;
  if (x >= 1) while (x >= powerOfTen(digits)) digits += 1;
  else while (x * powerOfTen(1 - digits) < 1) digits -= 1;
  return digits;
}

function fits(x: number, decimals: number): boolean {
  const scale = powerOfTen(decimals);
  return Math.fround(Math.round(x * scale) / scale) === x;
}

function powerOfTen(exponent: number): number {
  return powersOfTen[exponent] as number;
}

/** n / 10^decimals; n below 2^31. */
function writeDecimal(n: number, decimals: number, at: number): number {
  const scale = powerOfTen(decimals);
  const whole = Math.floor(n / scale);
  let digits = 1;
  while (whole >= powerOfTen(digits)) digits += 1;
  writeDigits(whole, digits, at);
  const point = at + digits;
  scratch[point] = charDot;
  const fractionDigits = Math.max(1, decimals); // at least `.0`
  writeDigits(n - whole * scale, fractionDigits, point + 1);
  return point + 1 + fractionDigits;
}

function writeDigits(n: number, count: number, at: number): void {
  let rest = n;
  for (let index = at + count - 1; index >= at; index -= 1) {
    const next = Math.floor(rest / 10);
    scratch[index] = charZero + (rest - next * 10);
    rest = next;
  }
}

function slowText(value: number): string {
  const x = Math.fround(value);
  if (!Number.isFinite(x)) return 'null';
  if (x === 0) return Object.is(x, -0) ? '-0.0' : '0.0';
  const sign = x < 0 ? '-' : '';
  for (let count = 1; count <= digitsMax; count += 1) {
    const [mantissa = '', exponent = ''] = Math.abs(x).toExponential(count - 1).split('e');
    const n = Number(mantissa.replace('.', ''));
    const lowest = Number(exponent) - (count - 1);
    const found = [n, n + 1].find((candidate) => Math.fround(Number(`${candidate}e${lowest}`)) === Math.abs(x));
    if (found !== undefined) return sign + layOut(String(found), lowest);
  }
  return String(x);
}

/** digits · 10^exponent: plain while the point stands within 13 digits or behind 5 zeros, else with an exponent. */
function layOut(allDigits: string, lowest: number): string {
  const digits = allDigits.replace(/0+$/, '');
  const exponent = lowest + allDigits.length - digits.length;
  const point = digits.length + exponent;
  if (exponent >= 0 && point <= 13) return `${digits}${'0'.repeat(exponent)}.0`;
  if (point > 0 && point <= 13) return `${digits.slice(0, point)}.${digits.slice(point)}`;
  if (point > -6 && point <= 0) return `0.${'0'.repeat(-point)}${digits}`;
  const fraction = digits.length === 1 ? '' : `.${digits.slice(1)}`;
  return `${digits.slice(0, 1)}${fraction}e${point - 1}`;
}
