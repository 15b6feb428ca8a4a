// Random request bodies: from a grammar, and real ones with a few bytes changed.
import type { Random } from '../src/base/testing/random.ts';

export function pick<T>(random: Random, choices: readonly T[]): T {
  return choices[random.below(choices.length)] as T;
}

const keys = [
  'vector', 'vectors', 'query', 'nearest', 'target', 'positive', 'negative', 'values', 'indices', 'payload', 'payloads', 'filter', 'points', 'batch',
  'prefetch', 'ids', 'has_id', 'must', 'match', 'formula', 'metadata', 'update_filter', 'id', 'a', '', 'é', '__proto__', '1', 'constructor',
  'vec\\u0074or', 'indi\\u0063es', 'payl\\u006fad', '\\u0071\\u0075\\u0065\\u0072\\u0079', 'vect\\u00f6r', 'a_key_longer_than_any\\n', 'with\\"quote', '\\ud83d',
];

const strings = ['', 'a', 'é€😀', '\\"', '\\\\', '\\/\\b\\f\\n\\r\\t', '\\u0008f0', '\\bf0', '\\bi0', '\\b', '\\u00e9\\ud83d\\ude00', '\\udc00', '{"a":[1', '\\u2028\u2028', 'x'.repeat(70)];

/** Valid JSON most of the time: a document of the shapes that bodies have, with their keys in unusual places too. */
export function randomDocument(random: Random): string {
  const text = randomValue(random, 1 + random.below(5));
  return random.below(8) === 0 ? `${space(random)}${text}${space(random)}` : text;
}

function randomValue(random: Random, depth: number): string {
  if (random.below(12) === 0) return `{"${pick(random, keys.slice(0, 8))}":${vector(random, 12 + random.below(20))}}`;
  const kind = random.below(depth > 0 ? 12 : 5);
  if (kind < 2) return randomNumber(random);
  if (kind === 2) return `"${pick(random, strings)}"`;
  if (kind === 3) return pick(random, ['null', 'true', 'false', '[]', '{}', '[ ]', '{ }']);
  if (kind === 4) return vector(random, 3 + random.below(30));
  if (kind === 5) return randomArray(random, random.below(40), () => (random.below(20) === 0 ? randomValue(random, depth - 1) : randomNumber(random)));
  if (kind === 6) return randomArray(random, random.below(5), () => randomValue(random, depth - 1));
  if (kind === 7 && random.below(40) === 0) return nested(random);
  return `{${joined(random, random.below(5), () => `${space(random)}"${pick(random, keys)}"${space(random)}:${space(random)}${randomValue(random, depth - 1)}`)}}`;
}

function randomArray(random: Random, count: number, element: () => string): string {
  return `[${joined(random, count, element)}]`;
}

function joined(random: Random, count: number, element: () => string): string {
  const parts: string[] = [];
  for (let at = 0; at < count; at += 1) parts.push(`${space(random)}${element()}${space(random)}`);
  return parts.join(',');
}

function space(random: Random): string {
  return random.below(6) === 0 ? pick(random, [' ', '\n', '\t', '\r\n', '   ']) : '';
}

/** Around the nesting limit. */
function nested(random: Random): string {
  const depth = 118 + random.below(14);
  return random.below(2) === 0 ? '['.repeat(depth) + ']'.repeat(depth) : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
}

const scratch = new DataView(new ArrayBuffer(8));

function floatOfBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

function neighbour(value: number, steps: number): number {
  scratch.setFloat64(0, value);
  scratch.setBigUint64(0, BigInt.asUintN(64, scratch.getBigUint64(0) + BigInt(steps)));
  const moved = scratch.getFloat64(0);
  return Number.isFinite(moved) ? moved : value;
}

/** The middle between two neighbouring f32 values: where one digit decides. */
function midpoint(random: Random): number {
  const bits = random.below(0x7f7fffff);
  return (floatOfBits(bits) + floatOfBits(bits + 1)) / 2;
}

const numberKinds: readonly ((random: Random) => string)[] = [
  (random) => String(random.below(1000)),
  (random) => (random.next() * 2 - 1).toString(), // 17 digits, as Python prints f64
  (random) => Math.fround(random.next() * 2 - 1).toString(), // an f32 printed as f64
  (random) => (random.next() * 2 - 1).toPrecision(1 + random.below(12)).replace(/e.*/, ''),
  (random) => midpoint(random).toString(),
  (random) => neighbour(midpoint(random), random.below(5) - 2).toString(),
  (random) => `${midpoint(random).toExponential(20 + random.below(80))}`,
  (random) => `${midpoint(random).toExponential(100).replace('e', `${'0'.repeat(random.below(700))}${pick(random, ['', '1'])}e`)}`,
  (random) => floatOfBits(random.below(0x00800000)).toString(), // denormal f32
  (random) => pick(random, ['-0', '0', '-0.0', '0e0', '-0e-5', '0.0000', '1E+2', '1e-2', '3.4028235677973366e38', '3.4028235677973362e38', '1e39', '-1e400', '1e-400', '7.006492321624085e-46']),
  (random) => String(2 ** 24 + random.below(5) - 2),
  (random) => String(BigInt(2 ** 53) + BigInt(random.below(5) - 2)),
  (random) => `-${BigInt(2 ** 53) + BigInt(random.below(5) - 2)}`,
  (random) => (BigInt(Math.floor(random.next() * 2 ** 53)) * BigInt(Math.floor(random.next() * 2 ** 53))).toString(),
  (random) => `${random.below(10)}.${digits(random, 17 + random.below(9))}`,
  (random) => `${1 + random.below(9)}${digits(random, 16 + random.below(10))}`,
  (random) => `${digits(random, 1).replace('0', '1')}${digits(random, random.below(25))}e${random.below(800) - 400}`,
  (random) => `0.${'0'.repeat(random.below(60))}${digits(random, 1 + random.below(25))}`,
];

export function randomNumber(random: Random): string {
  const text = pick(random, numberKinds)(random);
  return random.below(4) === 0 && !text.startsWith('-') ? `-${text}` : text;
}

function digits(random: Random, count: number): string {
  let text = '';
  for (let at = 0; at < count; at += 1) text += String(random.below(10));
  return text;
}

function vector(random: Random, count: number): string {
  return randomArray(random, count, () => {
    let number = randomNumber(random);
    while (!Number.isFinite(Math.fround(Number(number))) && random.below(50) > 0) number = randomNumber(random);
    return number;
  });
}

const bodies: readonly ((random: Random) => string)[] = [
  (random) => `{"points":[{"id":${random.below(9)},"vector":${vector(random, 32)},"payload":{"city":"Köln","n":[${vector(random, 20)}]}},
    {"id":"550e8400-e29b-41d4-a716-446655440000","vector":{"image":${vector(random, 17)},"text":{"indices":[1,5,7],"values":${vector(random, 16)}}},"payload":null}]}`,
  (random) => `{"batch":{"ids":[1,2,18446744073709551615],"vectors":[${vector(random, 16)},${vector(random, 16)}],"payloads":[{"a":1},null,{}]}}`,
  (random) => `{"query":${vector(random, 24)},"filter":{"must":[{"key":"a","match":{"any":[1,2,3]}},{"has_id":[1,2,9007199254740993]}]},"limit":10,"with_payload":true}`,
  (random) => `{"prefetch":[{"query":${vector(random, 16)},"using":"a"},{"query":{"indices":[1,2],"values":[0.5,1]},"using":"s"}],"query":{"fusion":"rrf"}}`,
  (random) => `{"query":{"recommend":{"positive":[1,${vector(random, 16)}],"negative":[[0.1,0.2]]}},"limit":3}`,
  (random) => `{"searches":[{"vector":{"name":"a","vector":${vector(random, 16)}},"limit":1},{"vector":${vector(random, 3)},"limit":1}]}`,
  () => '{"payload":{"a":{"b":[1,2,12345678901234567890,1.0]},"a":1},"points":[1,2,3],"key":"x"}',
  (random) => `{"vector":[[${vector(random, 16)}],${vector(random, 16)}],"operations":[{"upsert":{"points":[]}},{"set_payload":{"payload":{"x":"\\u00e9"},"points":[1]}}]}`,
];

/** A real body, often with up to three bytes changed, removed or added, or cut. */
export function mutatedBody(random: Random): Buffer {
  let bytes = Buffer.from(random.below(3) === 0 ? randomDocument(random) : pick(random, bodies)(random));
  for (let changes = random.below(4); changes > 0 && bytes.length > 0; changes -= 1) {
    const at = random.below(bytes.length);
    const added = Buffer.from(pick(random, ['"', '\\', '{', '}', '[', ']', ',', ':', '0', '1', '9', '.', '-', '+', 'e', 'u', 'n', ' ', '\n', '\x01', '\\b', '\\u0008', 'é', '\ufeff']));
    const kind = random.below(5);
    if (kind === 0) bytes = bytes.subarray(0, at);
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(4))]);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + added.length)]);
    else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(random.below(256)), bytes.subarray(at + 1)]);
  }
  return bytes;
}
