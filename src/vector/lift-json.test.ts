import assert from 'node:assert/strict';
import test from 'node:test';
import { RequestError } from '../base/errors.ts';
import type { Extractor } from './json-extractor.ts';
import { parseBody, parseBodyWith, RawJson } from './lift-json.ts';
import { nativeExtractor } from './native-extractor.ts';
import { clockPace, sliceBytes, type SlicePace } from './slice-pace.ts';
import { wasmExtractor } from './wasm-extractor.ts';

const extractors: readonly Extractor[] = [nativeExtractor(), wasmExtractor].filter((extractor) => extractor !== undefined);

/** Every body goes through the plain path and through all extractors; they must answer the same. */
async function parse(text: string | Buffer): Promise<unknown> {
  const bytes = Buffer.from(text as string);
  const plain = await outcome(() => parseBodyWith(bytes, undefined, clockPace()));
  for (const extractor of extractors) assert.deepEqual(await outcome(() => parseBodyWith(bytes, extractor, clockPace())), plain);
  if (plain instanceof RequestError) throw plain;
  return plain;
}

async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    assert.ok(error instanceof RequestError, String(error));
    return error;
  }
}

async function checkRefused(body: string | Buffer, problem: string): Promise<void> {
  await assert.rejects(() => parse(body), { code: 'bad-format', message: `Format error in JSON body: ${problem}` }, `body ${body.toString()}`);
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at / 8 - 1);
const floats = (count: number): Float32Array => Float32Array.from(numbers(count));

test('vectors of 16 or more numbers become Float32Arrays at every vector place, others stay arrays', async () => {
  const v = numbers(16);
  const f = floats(16);
  assert.deepEqual(await parse(JSON.stringify({ vector: v, query: numbers(15), target: v, other: v })), { vector: f, query: numbers(15), target: f, other: v });
  const points = [{ id: 1, vector: v }, { id: 2, vector: { image: v, sparse: { indices: numbers(20), values: v }, multi: [v, v, [1]] } }];
  assert.deepEqual(await parse(JSON.stringify({ points })), {
    points: [{ id: 1, vector: f }, { id: 2, vector: { image: f, sparse: { indices: numbers(20), values: f }, multi: [f, f, [1]] } }],
  });
  assert.deepEqual(await parse(JSON.stringify({ batch: { ids: v, vectors: [v, v] } })), { batch: { ids: v, vectors: [f, f] } });
  assert.deepEqual(await parse(JSON.stringify({ batch: { vectors: { a: [v] } } })), { batch: { vectors: { a: [f] } } });
  assert.deepEqual(await parse(JSON.stringify({ query: { nearest: v }, prefetch: [{ query: v, filter: { vector: v } }] })), {
    query: { nearest: f }, prefetch: [{ query: f, filter: { vector: v } }],
  });
  assert.deepEqual(await parse(JSON.stringify({ query: { recommend: { positive: v, negative: [v, 7] } } })), { query: { recommend: { positive: v, negative: [f, 7] } } });
  assert.deepEqual(await parse(JSON.stringify({ query: { indices: v, values: v } })), { query: { indices: v, values: f } });
});

test('ids, filters, formulas, metadata and payloads keep their arrays', async () => {
  const v = numbers(20);
  for (const body of [
    { points: v }, { ids: v }, { offset: 3, has_id: v }, { filter: { must: [{ has_id: v }, { key: 'a', match: { any: v } }, { key: 'b', match: { except: v } }] } },
    { query: { formula: { sum: v } } }, { metadata: { vector: v } }, { positive: v }, { vector: { indices: v } }, { update_filter: { vector: v } },
  ]) assert.deepEqual(await parse(JSON.stringify(body)), body);
});

test('values without a finite f32 are left to validation', async () => {
  const body = `{"vector":[${[...numbers(16), '1e39'].join()}]}`;
  assert.deepEqual(await parse(body), JSON.parse(body));
  const most = `{"vector":[${[...numbers(16), '3.4028235677973362e38'].join()}]}`; // half a step below the overflow
  assert.deepEqual(await parse(most), { vector: Float32Array.from([...numbers(16), 3.4028234663852886e38]) });
});

test('payload objects keep their text; other values at their place are parsed', async () => {
  const text = ' { "a" : 1.0, "a":12345678901234567890 , "vector":[1,2], "é":"\\u00e9\\ud800" }';
  const value = (await parse(`{"points":[{"id":1,"payload":${text}},{"payload":null},{"payload":[1]}]}`)) as { points: { payload: unknown }[] };
  const payload = value.points[0]?.payload;
  assert.ok(payload instanceof RawJson);
  assert.equal(payload.text, text.trim());
  assert.deepEqual(payload.value(), { a: 12345678901234567890n, vector: [1, 2], é: 'é\ud800' });
  assert.deepEqual(value.points.slice(1), [{ payload: null }, { payload: [1] }]);
  assert.deepEqual(await parse('{"batch":{"payloads":[{},null,{"payload":{"b":[]}}]}}'), {
    batch: { payloads: [new RawJson('{}'), null, new RawJson('{"payload":{"b":[]}}')] },
  });
  assert.deepEqual(await parse('{"vector":{"payload":{"indices":[1],"values":[2]}},"filter":{"payload":{}}}'), {
    vector: { payload: { indices: [1], values: [2] } }, filter: { payload: {} },
  });
});

test('integers beyond 2^53-1 are bigints, but for numbers in vectors', async () => {
  assert.deepEqual(await parse('{"ids":[9007199254740991,9007199254740992,18446744073709551615,-9007199254740993],"x":1e17,"y":12345678901234567.5}'), {
    ids: [9007199254740991, 9007199254740992n, 18446744073709551615n, -9007199254740993n], x: 1e17, y: Number('12345678901234567.5'),
  });
  assert.deepEqual(await parse('{"vector":[12345678901234567890,1],"query":12345678901234567890,"positive":[12345678901234567890]}'), {
    vector: [Number('12345678901234567890'), 1], query: 12345678901234567890n, positive: [12345678901234567890n],
  });
  assert.equal(await parse('18446744073709551616'), 18446744073709551616n);
  assert.equal(await parse('9'.repeat(1025)), Infinity);
});

test('advisory 23: of duplicate keys the last wins; __proto__ is a key like any other', async () => {
  assert.deepEqual(await parse(`{"vector":[${numbers(16).join()}],"b":1,"vector":[${numbers(17).join()}]}`), { vector: floats(17), b: 1 });
  const value = (await parse('{"__proto__":{"polluted":12345678901234567890},"payload":{"__proto__":1}}')) as Record<string, unknown>;
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(Object.keys(value), ['__proto__', 'payload']);
  assert.equal((value as { polluted?: unknown }).polluted, undefined);
});

test('strings: escapes, text like a marker, keys with escapes', async () => {
  const body = '{"\\u0071uery":[1],"vec\\u0074or":[' + numbers(16).join() + '],"payl\\u006fad":{"a":1},"s":"\\bf0","t":["\\u0008i0","\\"\\\\\\/\\b\\f\\n\\r\\t\\u20ac\\ud83d\\ude00"],"":"é€😀\u2028"}';
  assert.deepEqual(await parse(body), {
    query: [1], vector: floats(16), payload: new RawJson('{"a":1}'), s: '\bf0', t: ['\bi0', '"\\/\b\f\n\r\t€😀'], '': 'é€😀\u2028',
  });
  assert.deepEqual(await parse(`{"vector":{"indi\\u0063es":[${numbers(16).join()}]}}`), { vector: { indices: numbers(16) } });
});

test('error texts and positions are those of serde_json', async () => {
  await checkRefused('', 'EOF while parsing a value at line 1 column 0');
  await checkRefused(' \n ', 'EOF while parsing a value at line 2 column 1');
  await checkRefused('[x]', 'expected value at line 1 column 2');
  await checkRefused('{"a":1', 'EOF while parsing an object at line 1 column 6');
  await checkRefused('{"a"', 'EOF while parsing an object at line 1 column 4');
  await checkRefused('{"a":', 'EOF while parsing a value at line 1 column 5');
  await checkRefused('{', 'EOF while parsing an object at line 1 column 1');
  await checkRefused('[', 'EOF while parsing a list at line 1 column 1');
  await checkRefused('[1', 'EOF while parsing a list at line 1 column 2');
  await checkRefused('[1,', 'EOF while parsing a value at line 1 column 3');
  await checkRefused('{"a":1,', 'EOF while parsing a value at line 1 column 7');
  await checkRefused('"ab', 'EOF while parsing a string at line 1 column 3');
  await checkRefused('"ab\\', 'EOF while parsing a string at line 1 column 4');
  await checkRefused('{"a', 'EOF while parsing a string at line 1 column 3');
  await checkRefused('{"a":1}\n x', 'trailing characters at line 2 column 2');
  await checkRefused('{"a":1 "b"', 'expected `,` or `}` at line 1 column 8');
  await checkRefused('[1\n2]', 'expected `,` or `]` at line 2 column 1');
  await checkRefused('{"a" 1}', 'expected `:` at line 1 column 6');
  await checkRefused('{a:1}', 'key must be a string at line 1 column 2');
  await checkRefused('{"a":1,b:2}', 'key must be a string at line 1 column 8');
  await checkRefused('[1,]', 'trailing comma at line 1 column 4');
  await checkRefused('[1, ]', 'trailing comma at line 1 column 5');
  await checkRefused('{"a":1,}', 'trailing comma at line 1 column 8');
  await checkRefused('[,1]', 'expected value at line 1 column 2');
  await checkRefused('nul', 'EOF while parsing a value at line 1 column 3');
  await checkRefused('nulL', 'expected ident at line 1 column 4');
  await checkRefused('nu\n', 'expected ident at line 2 column 0');
  await checkRefused('01', 'invalid number at line 1 column 2');
  await checkRefused('-', 'EOF while parsing a value at line 1 column 1');
  await checkRefused('-x', 'invalid number at line 1 column 2');
  await checkRefused('1.', 'EOF while parsing a value at line 1 column 2');
  await checkRefused('[1.]', 'invalid number at line 1 column 4');
  await checkRefused('1e', 'EOF while parsing a value at line 1 column 2');
  await checkRefused('[1e+]', 'invalid number at line 1 column 5');
  await checkRefused('[+1]', 'expected value at line 1 column 2');
  await checkRefused('[.5]', 'expected value at line 1 column 2');
  await checkRefused('[NaN]', 'expected value at line 1 column 2');
  await checkRefused('"\\x"', 'invalid escape at line 1 column 3');
  await checkRefused('"\\u12g4"', 'invalid escape at line 1 column 7');
  await checkRefused('"\\u12', 'EOF while parsing a string at line 1 column 5');
  await checkRefused('"a\tb"', 'control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3');
  await checkRefused('"a\nb"', 'control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0');
  await checkRefused('\ufeff{}', 'expected value at line 1 column 1');
  await checkRefused(`{"vector":[${numbers(40).join()},\n 1.]}`, 'invalid number at line 2 column 4');
  await checkRefused('{"payload":{"a":[1,\n2,x]}}', 'expected value at line 2 column 3');
});

test('bytes that are no UTF-8 are refused, with their place', async () => {
  await checkRefused(Buffer.from([0x22, 0xff, 0x22]), 'invalid unicode code point at line 1 column 2');
  await checkRefused(Buffer.from([0x0a, 0x22, 0x61, 0xc3, 0x22]), 'invalid unicode code point at line 2 column 3');
  await checkRefused(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'invalid unicode code point at line 1 column 2');
  await checkRefused(Buffer.alloc(1_200_000, 0x80), 'invalid unicode code point at line 1 column 1');
  const late = Buffer.concat([Buffer.from(`"${'é'.repeat(700_000)}`), Buffer.from([0xc3])]);
  await checkRefused(late, `invalid unicode code point at line 1 column ${late.length}`);
});

test('advisory 17: nesting: 127 levels are read, one more is refused', async () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  assert.deepEqual(await parse(nested(127)), JSON.parse(nested(127)));
  await checkRefused(nested(128), 'recursion limit exceeded at line 1 column 128');
  await checkRefused('['.repeat(100_000), 'recursion limit exceeded at line 1 column 128');
  await checkRefused(`{"payload":${'{"a":'.repeat(127)}1${'}'.repeat(128)}`, `recursion limit exceeded at line 1 column ${11 + 5 * 126 + 1}`);
});

test('numbers longer than any measurement are refused, in payloads too', async () => {
  const most = '1'.repeat(64 * 1024);
  assert.equal(await parse(most), Infinity);
  await checkRefused(`${most}1`, `number out of range at line 1 column ${64 * 1024 + 1}`);
  await assert.rejects(() => parse(`{"payload":{"a":0.${most}}}`), /number out of range/);
});

// ---- big bodies --------------------------------------------------------------------------------------------------------

/** Gives way after every slice and records how much each one did. */
function countingPace(): SlicePace & { readonly steps: number[] } {
  const steps: number[] = [];
  return {
    steps,
    between: (done) => {
      steps.push(done);
      return Promise.resolve();
    },
  };
}

const bigBodies: ReadonlyMap<string, () => string> = new Map([
  ['ids', () => `{"points":[${Array.from({ length: 500_000 }, (_, at) => at).join()}]}`],
  ['one giant payload', () => `{"points":[{"id":1,"payload":{"a":"${'é'.repeat(2_000_000)}"}}]}`],
  ['tiny points', () => `{"points":[${Array.from({ length: 50_000 }, (_, id) => `{"id":${id},"vector":[1,2],"payload":{"a":${id}}}`).join()}]}`],
  ['one giant string', () => `{"a":"${'\\n€'.repeat(800_000)}"}`],
  ['white space', () => `[${' \n'.repeat(1_500_000)}]`],
  ['one giant vector', () => `{"vector":[${'0.25,'.repeat(600_000)}1]}`],
]);

for (const [name, body] of bigBodies) {
  test(`a big body is read in slices of bounded work: ${name}`, async () => {
    const bytes = Buffer.from(body());
    const expected = await parseBodyWith(bytes, undefined, clockPace());
    for (const extractor of [undefined, ...extractors]) {
      const pace = countingPace();
      assert.deepEqual(await parseBodyWith(bytes, extractor, pace), expected);
      assert.ok(pace.steps.length > 3, `${pace.steps.length} pauses`);
      const longest = Math.max(...pace.steps.map((done, at) => done - (pace.steps[at - 1] ?? 0)));
      assert.ok(longest <= 1024 * 1024, `a slice of ${longest} bytes`);
      if (extractor === undefined) assert.ok(pace.steps.length >= Math.floor(bytes.length / sliceBytes), `${pace.steps.length} pauses`);
    }
  });
}

test('a late error in a big body has its own place', async () => {
  await checkRefused(`{"points":[${'{"id":1},\n'.repeat(200_000)}{"id":01}]}`, 'invalid number at line 200001 column 8');
});

test('parseBody answers the same for bodies of any size, with the extractor of this process', async () => {
  for (const count of [1, 100, 20_000]) {
    const bytes = Buffer.from(`{"points":[${Array.from({ length: count }, (_, id) => `{"id":${id},"vector":[${numbers(16).join()}],"payload":{"n":${id}}}`).join()}]}`);
    assert.deepEqual(await parseBody(bytes), await parseBodyWith(bytes, undefined, clockPace()));
  }
});

test('the clock lets other work run between slices', async () => {
  const bytes = Buffer.from(`[${'"x",'.repeat(2_000_000)}1]`);
  let turns = 0;
  let running = true;
  const count = (): void => {
    turns += 1;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  await parseBodyWith(bytes, undefined, clockPace());
  running = false;
  assert.ok(turns > 2, `${turns} turns of the event loop`);
});
