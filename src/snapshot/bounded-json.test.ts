import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { RequestError } from '../base/errors.ts';
import { parseBoundedJson } from './bounded-json.ts';

const bounds = { depthMax: 32, valuesMax: 100_000, containersMax: 50_000 };
const fail = (problem: string, offset: number): Error => new RequestError('bad-request', `${problem} at ${offset}`);
const parse = (text: string | Buffer, limits = bounds): Promise<unknown> => parseBoundedJson(Buffer.from(text as string), limits, fail);

test('reads what JSON.stringify wrote', async () => {
  await fc.assert(fc.asyncProperty(fc.jsonValue({ maxDepth: 6 }), async (value) => {
    const text = JSON.stringify(value);
    if (text.includes('"__proto__"')) return;
    assert.deepEqual(await parse(text), JSON.parse(text));
  }));
});

test('advisory 27: any bytes end as a value that JSON.parse agrees with, or as a refusal', async () => {
  const pieces = fc.array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '"a"', '1', '-', '0', 'e', '.', 'true', 'null', ' ', '\\u0041', '\n', '\u0001'), { maxLength: 12 });
  await fc.assert(fc.asyncProperty(pieces, async (parts) => {
    const text = parts.join('');
    const value = await parse(text).catch((error: unknown) => {
      assert.ok(error instanceof RequestError);
      return error;
    });
    if (!(value instanceof RequestError)) assert.deepEqual(value, JSON.parse(text));
  }), { numRuns: 3000 });
});

const refused: readonly (readonly [string, string | Buffer, RegExp])[] = [
  ['nothing', '', /not valid JSON.* at 0/],
  ['white space', '{ "a":1}', /white space at 1/],
  ['a duplicate key', '{"a":1,"a":2}', /a key twice at 7/],
  ['a key that reaches the prototype', '{"__proto__":{}}', /not allowed at 1/],
  ['the same key, escaped', '{"\\u005f_proto__":{}}', /not allowed at 1/],
  ['a cut text', '{"a":"x', /ends inside a text/],
  ['a quote that is escaped', '"a\\"', /ends inside a text/],
  ['a control character in a text', '"a\u0001"', /bad escape/],
  ['something behind the end', '{}x', /behind its end at 2/],
  ['mismatched brackets', '[1}', /not valid JSON/],
  ['a number that JSON lacks', '01', /not valid JSON/],
  ['a number out of range', '1e999', /out of range/],
  ['an endless number', '1'.repeat(5000), /not valid JSON/],
  ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22]), /not UTF-8/],
];
for (const [title, text, message] of refused) {
  test(`refuses ${title}`, async () => {
    await assert.rejects(parseBoundedJson(Buffer.from(text as string), bounds, fail), message);
  });
}

test('advisory 26: depth and number of values are bounded before they cost memory', async () => {
  assert.deepEqual(await parse('['.repeat(32) + ']'.repeat(32)), JSON.parse('['.repeat(32) + ']'.repeat(32)));
  await assert.rejects(parse('['.repeat(33) + ']'.repeat(33)), /nested too deeply/);
  await assert.rejects(parse('['.repeat(1_000_000)), /nested too deeply/);
  await assert.rejects(parse(`[${'{},'.repeat(100_000)}1]`), /too many values/);
  await assert.rejects(parse('[1,1,1]', { ...bounds, valuesMax: 3 }), /too many values/);
  assert.deepEqual(await parse('[[],{},1,2]', { ...bounds, containersMax: 3 }), [[], {}, 1, 2]);
  await assert.rejects(parse('[[],{},[]]', { ...bounds, containersMax: 3 }), /too many values/);
});

test('a large document does not hold the event loop', async () => {
  const text = Buffer.from(JSON.stringify(Array.from({ length: 20_000 }, (_, index) => ({ index, name: 'x'.repeat(20) }))));
  let ticks = 0;
  const ticking = setInterval(() => {
    ticks += 1;
  }, 1);
  try {
    await parseBoundedJson(text, bounds, fail);
  } finally {
    clearInterval(ticking);
  }
  assert.ok(ticks > 0, 'timers ran while the document was read');
});
