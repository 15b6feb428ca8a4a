import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crc32 } from '../base/checksum.ts';
import { must } from '../base/assert.ts';
import { parsePointId } from '../base/ids.ts';
import { emptyBits, rowsOf } from './bitmap.ts';
import { decodeFieldIndex, decodeFieldIndexInSlices } from './decode-field-index.ts';
import { matchesCondition } from './evaluate.ts';
import type { FieldIndex } from './field-index.ts';
import { FIELD_TYPES, type FieldSchema } from './field-schema.ts';
import type { Condition } from './filter.ts';
import { parseJsonPath, type JsonObject, type JsonPath } from './json-path.ts';
import { orderValues } from './testing/order-values.ts';
import { createFieldIndex } from './stored-index.ts';
import { arbitraryFieldCondition, arbitraryPaths, arbitraryPayload } from './testing/arbitrary-filter.ts';

const id = must(parsePointId(1), 'an id');
const schema: fc.Arbitrary<FieldSchema> = fc.oneof(
  fc.constantFrom(...FIELD_TYPES).map((type) => ({ type })),
  fc.constantFrom<FieldSchema>(
    { type: 'integer', params: { type: 'integer', lookup: false } },
    { type: 'integer', params: { type: 'integer', range: false } },
  ),
);
const payloads = fc.array(arbitraryPayload, { maxLength: 40 });
const path = fc.constantFrom(...arbitraryPaths);

function build(field: JsonPath, of: FieldSchema, rows: readonly JsonObject[]): readonly FieldIndex[] {
  const head = createFieldIndex(field, of);
  for (const [row, payload] of rows.entries()) head.add(row, payload);
  const sealed = decodeFieldIndex(Buffer.from(head.encode()), 'a.pidx');
  return [head, sealed, decodeFieldIndex(Buffer.from(sealed.encode()), 'b.pidx')];
}

function answer(index: FieldIndex, condition: Condition, rowCount: number): number[] | undefined {
  const into = emptyBits(rowCount);
  const isAnswered = index.select(condition, into);
  if (!isAnswered) assert.deepEqual([...rowsOf(into)], [], 'a refused condition sets nothing');
  return isAnswered ? [...rowsOf(into)] : undefined;
}

function truth(condition: Condition, rows: readonly JsonObject[]): number[] {
  return [...rows.keys()].filter((row) =>
    matchesCondition(condition, { id, payload: must(rows[row], 'a row'), hasVector: () => false }),
  );
}

test('an index answers as the reference does, or not at all', () => {
  const conditions = path.chain((field) =>
    fc.tuple(fc.constant(field), fc.array(arbitraryFieldCondition(fc.constant(field)), { minLength: 8, maxLength: 8 })),
  );
  fc.assert(
    fc.property(conditions, schema, payloads, ([field, list], of, rows) => {
      const indexes = build(field, of, rows);
      for (const condition of list) {
        const want = truth(condition, rows);
        for (const index of indexes) {
          const estimate = index.estimate(condition);
          const got = answer(index, condition, rows.length);
          assert.equal(got === undefined, estimate === undefined);
          if (got === undefined || estimate === undefined) continue;
          assert.deepEqual(got, want);
          assert.ok(estimate >= got.length && estimate <= rows.length, `estimate ${estimate} of ${got.length} in ${rows.length}`);
        }
      }
    }),
    { numRuns: 1500 },
  );
});

test('rows in order are those of orderValues, sorted by value and row', () => {
  const startFrom = fc.option(fc.constantFrom<number | bigint>(0, 1, 2 ** 53, 2n ** 53n + 1n, -1.5, 1e300), { nil: undefined });
  fc.assert(
    fc.property(path, schema, payloads, fc.constantFrom('asc', 'desc'), startFrom, (field, of, rows, direction, from) => {
      const all = rows.flatMap((payload, row) => orderValues(payload, field, of.type).map((value) => ({ row, value })));
      const isIn = (value: number | bigint): boolean =>
        from === undefined || (direction === 'asc' ? value >= from : value <= from);
      const sign = direction === 'asc' ? 1 : -1;
      const want = all
        .filter(({ value }) => isIn(value))
        .sort((a, b) => (a.value < b.value ? -sign : a.value > b.value ? sign : a.row - b.row))
        .map(({ row, value }) => `${row}:${Number(value)}`);
      for (const index of build(field, of, rows)) {
        const got = index.ordered(direction, from);
        const hasOrder = ['integer', 'float', 'datetime'].includes(of.type) && of.params?.['range'] !== false;
        assert.equal(got !== undefined, hasOrder);
        if (got !== undefined)
          assert.deepEqual(
            Array.from(got, ({ row, value }) => `${row}:${Number(value)}`),
            want,
          );
      }
    }),
    { numRuns: 800 },
  );
});

test('an integer and a float of one size are one place in the order', () => {
  const rows = [{ a: 2n ** 60n }, { a: 2 ** 60 }, { a: [2 ** 60, 2n ** 60n] }, { a: 2n ** 60n }];
  for (const index of build(parseJsonPath('a'), { type: 'float' }, rows)) {
    for (const direction of ['asc', 'desc'] as const)
      assert.deepEqual(
        Array.from(index.ordered(direction) ?? [], ({ row }) => row),
        [0, 1, 2, 3],
      );
  }
  assert.equal(orderValues(must(rows[2], 'a row'), parseJsonPath('a'), 'float').length, 1);
});

test('an order by integers has no rows of floats of the same size', () => {
  const rows = [{ a: 2n ** 53n }, { a: 2 ** 53 }, { a: [2 ** 53, 2n ** 53n] }, { a: 2 ** 53 }];
  for (const index of build(parseJsonPath('a'), { type: 'integer' }, rows)) {
    for (const direction of ['asc', 'desc'] as const)
      assert.deepEqual(
        Array.from(index.ordered(direction) ?? [], ({ row }) => row),
        [0, 2],
      );
  }
});

test('an order stays right while rows are added', () => {
  const field = parseJsonPath('n');
  const head = createFieldIndex(field, { type: 'integer' });
  const seen: string[] = [];
  for (const [row, n] of [5, 1, 9, 1, 7, 0, [8, 2]].entries()) {
    head.add(row, { n });
    seen.push(Array.from(head.ordered('asc') ?? [], ({ value }) => value).join(','));
  }
  assert.deepEqual(seen, ['5', '1,5', '1,5,9', '1,1,5,9', '1,1,5,7,9', '0,1,1,5,7,9', '0,1,1,2,5,7,8,9']);
});

const answered: readonly (readonly [FieldSchema['type'], object, boolean])[] = [
  ['keyword', { kind: 'match-value', value: 'x' }, true],
  ['keyword', { kind: 'match-value', value: 1 }, false],
  ['keyword', { kind: 'match-value', value: '\uD800' }, false],
  ['keyword', { kind: 'match-any', values: ['x', 'y'] }, true],
  ['keyword', { kind: 'match-except', values: ['x'] }, true],
  ['keyword', { kind: 'match-text', text: 'x', mode: 'text' }, false],
  ['keyword', { kind: 'range', bounds: { gt: 1 } }, false],
  ['keyword', { kind: 'is-empty', form: 'condition', wanted: true }, true],
  ['keyword', { kind: 'is-null', form: 'condition', wanted: true }, false],
  ['integer', { kind: 'match-value', value: 1 }, true],
  ['integer', { kind: 'match-except', values: [1] }, true],
  ['integer', { kind: 'range', bounds: { gt: 1 } }, true],
  ['float', { kind: 'match-value', value: 1 }, false],
  ['float', { kind: 'range', bounds: { gt: 1 } }, true],
  ['float', { kind: 'datetime-range', bounds: { gt: 1 } }, false],
  ['bool', { kind: 'match-value', value: true }, true],
  ['bool', { kind: 'match-value', value: 'true' }, false],
  ['uuid', { kind: 'match-value', value: '0b31e274-dc65-40e4-8493-67ebed4bcf10' }, true],
  ['uuid', { kind: 'match-value', value: '0B31E274-DC65-40E4-8493-67EBED4BCF10' }, false],
  ['datetime', { kind: 'datetime-range', bounds: { gt: 1 } }, true],
  ['datetime', { kind: 'range', bounds: { gt: 1 } }, false],
];

for (const [type, condition, want] of answered) {
  test(`${type} ${want ? 'answers' : 'leaves'} ${JSON.stringify(condition)}`, () => {
    const field = parseJsonPath('a');
    for (const index of build(field, { type }, [{ a: 'x' }, { a: 1 }, {}])) {
      assert.equal(index.estimate({ key: field, ...condition } as Condition) !== undefined, want);
    }
  });
}

test('rows with a value are counted by the type of the index', () => {
  const rows = [{ a: 1 }, { a: 1.5 }, { a: 'x' }, { a: [2, 'y'] }, {}, { a: null }];
  const count = (type: FieldSchema['type']): readonly number[] =>
    build(parseJsonPath('a'), { type }, rows).map(({ rowsWithValue }) => rowsWithValue);
  assert.deepEqual(count('integer'), [2, 2, 2]);
  assert.deepEqual(count('float'), [3, 3, 3]);
  assert.deepEqual(count('keyword'), [2, 2, 2]);
});

test('the schema comes back as given', () => {
  const params = { type: 'integer', lookup: true, on_disk: false, other: [1] };
  assert.deepEqual(
    build(parseJsonPath('a'), { type: 'integer', params }, []).map((index) => index.schema),
    Array(3).fill({ type: 'integer', params }),
  );
});

test('damaged bytes are refused', () => {
  fc.assert(
    fc.property(
      path,
      schema,
      payloads,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.nat(),
      (field, of, rows, seed, change, cut) => {
        const bytes = Buffer.from(must(build(field, of, rows)[0], 'an index').encode());
        const damaged = Buffer.from(bytes);
        const at = seed % bytes.length;
        damaged[at] = (damaged[at] ?? 0) ^ change;
        for (const wrong of [damaged, bytes.subarray(0, cut % bytes.length), Buffer.concat([bytes, Buffer.alloc(8)])]) {
          assert.throws(() => decodeFieldIndex(wrong, 'x.pidx'), { name: 'CorruptionError', file: 'x.pidx' });
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('rows and terms out of order are refused behind a right checksum too', () => {
  const encode = (type: FieldSchema['type'], rows: readonly JsonObject[]): Buffer =>
    Buffer.from(must(build(parseJsonPath('a'), { type }, rows)[0], 'an index').encode());
  const refuse = (bytes: Buffer, problem: string): void => {
    bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
    assert.throws(() => decodeFieldIndex(bytes, 'x.pidx'), { name: 'CorruptionError', problem: `payload index: ${problem}` });
  };
  const rows = encode('keyword', [{ a: 'aa' }, { a: 'aa' }]); // its last section holds the rows 0 and 1
  rows.writeUInt32LE(1, rows.length - 8);
  rows.writeUInt32LE(0, rows.length - 4);
  refuse(rows, 'rows are out of order');
  const terms = encode('keyword', [{ a: 'aa' }, { a: 'bb' }]);
  terms.write('bbaa', terms.indexOf('aabb'));
  refuse(terms, 'terms are out of order');
  const numbers = encode('float', [{ a: 1 }, { a: 2 }]);
  numbers.writeDoubleLE(3, numbers.indexOf(Buffer.from(Float64Array.of(1, 2).buffer)));
  refuse(numbers, 'values are out of order');
});

test('bytes of a right checksum and wrong content: refused, or an index that answers', () => {
  const condition = arbitraryFieldCondition(fc.constantFrom(must(arbitraryPaths[0], 'a path')));
  fc.assert(
    fc.property(schema, payloads, fc.nat(), fc.integer({ min: 1, max: 255 }), condition, (of, rows, seed, change, one) => {
      const bytes = Buffer.from(must(build(must(arbitraryPaths[0], 'a path'), of, rows)[0], 'an index').encode());
      const at = 8 + (seed % (bytes.length - 8));
      bytes[at] = (bytes[at] ?? 0) ^ change;
      bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
      try {
        const index = decodeFieldIndex(bytes, 'x.pidx');
        const into = emptyBits(rows.length);
        index.select(one, into);
        for (const { value } of index.ordered('desc') ?? []) assert.ok(typeof value === 'number' || typeof value === 'bigint');
        decodeFieldIndex(Buffer.from(index.encode()), 'y.pidx');
      } catch (error) {
        assert.equal(error instanceof Error && error.name, 'CorruptionError');
      }
    }),
    { numRuns: 2000 },
  );
});

test('in slices comes the same, and the loop turns', async () => {
  const field = parseJsonPath('a');
  for (const type of ['keyword', 'integer'] as const) {
    const head = createFieldIndex(field, { type });
    for (let row = 0; row < 30_000; row += 1)
      head.add(row, { a: type === 'keyword' ? `word ${(row * 7919) % 30_000}` : (row * 7919) % 30_000 });
    let turns = 0;
    let isDone = false;
    const turn = (): void => {
      turns += 1;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    const bytes = await head.encodeInSlices();
    const sealed = await decodeFieldIndexInSlices(Buffer.from(bytes), 'x');
    isDone = true;
    assert.ok(turns > 1, `${turns} turns`);
    assert.equal(Buffer.compare(bytes, head.encode()), 0);
    assert.equal(Buffer.compare(bytes, sealed.encode()), 0);
  }
});

test('rows must not be added while an index is encoded', async () => {
  const head = createFieldIndex(parseJsonPath('a'), { type: 'integer' });
  for (let row = 0; row < 30_000; row += 1) head.add(row, { a: row });
  const encoding = head.encodeInSlices();
  head.add(30_000, { a: 1 });
  await assert.rejects(encoding, { name: 'InvariantError' });
});

test('the sealed form is compact', () => {
  const field = parseJsonPath('a');
  const head = createFieldIndex(field, { type: 'uuid' });
  const hex = (row: number): string => row.toString(16).padStart(12, '0');
  for (let row = 0; row < 10_000; row += 1) head.add(row, { a: `0b31e274-dc65-40e4-8493-${hex(row)}` });
  const sealed = decodeFieldIndex(Buffer.from(head.encode()), 'x');
  assert.ok(sealed.memoryBytes < 10_000 * 25, `${sealed.memoryBytes} bytes`);
  assert.ok(head.memoryBytes > sealed.memoryBytes);
});
