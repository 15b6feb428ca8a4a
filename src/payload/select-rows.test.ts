import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { must } from '../base/assert.ts';
import { parsePointId, type PointId } from '../base/ids.ts';
import { emptyBits, hasBit, rowsOf, setBit } from './bitmap.ts';
import { ConditionCache } from './condition-cache.ts';
import { decodeFieldIndex } from './decode-field-index.ts';
import { matches } from './evaluate.ts';
import type { FieldIndex } from './field-index.ts';
import { FIELD_TYPES, type FieldType } from './field-schema.ts';
import type { Condition, Filter } from './filter.ts';
import { parseJsonPath, type JsonObject } from './json-path.ts';
import { selectRows, type RowSource } from './select-rows.ts';
import { createFieldIndex } from './stored-index.ts';
import { arbitraryFilter, arbitraryPayload, payloadToJson } from './testing/arbitrary-filter.ts';

interface Rows {
  readonly payloads: readonly JsonObject[];
  readonly live: readonly boolean[];
  readonly vectors: readonly boolean[];
  readonly indexes: readonly { readonly field: string; readonly type: FieldType; readonly sealed: boolean }[];
}

interface CountingSource extends RowSource {
  /** Rows whose payload was read. */
  readonly read: number[];
}

function idOf(row: number): PointId {
  return must(parsePointId(row === 3 ? 2n ** 64n - 1n : row), 'an id');
}

function createSource({ payloads, live, vectors, indexes }: Rows): CountingSource {
  const bitsOf = (flags: readonly boolean[]): Uint32Array => {
    const bits = emptyBits(payloads.length);
    for (const row of payloads.keys()) if (flags[row] === true) setBit(bits, row);
    return bits;
  };
  const fieldIndexes = new Map<string, FieldIndex>();
  for (const { field, type, sealed } of indexes) {
    const index = createFieldIndex(parseJsonPath(field), { type });
    for (const [row, payload] of payloads.entries()) index.add(row, payload);
    fieldIndexes.set(field, sealed ? decodeFieldIndex(Buffer.from(index.encode()), 'x') : index);
  }
  const rowOfId = new Map(Array.from(payloads.keys(), (row) => [idOf(row), row]));
  const read: number[] = [];
  return {
    rowCount: payloads.length,
    live: bitsOf(live),
    read,
    fieldIndex: (field) => fieldIndexes.get(field),
    findRow: (id) => rowOfId.get(id),
    idAt: idOf,
    vectorBits: (name) => (name === 'v' ? bitsOf(vectors) : emptyBits(payloads.length)),
    payloads: async (rows) => {
      read.push(...Array.from(rows));
      return Array.from(rows, (row) => payloadToJson(payloads[row]));
    },
  };
}

const rows: fc.Arbitrary<Rows> = fc.nat(70).chain((count) =>
  fc.record({
    payloads: fc.array(arbitraryPayload, { minLength: count, maxLength: count }),
    live: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
    vectors: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
    indexes: fc.array(
      fc.record({
        field: fc.constantFrom('a', 'b', 'c', 'a.b', 'a[]', 'b[].x', 'a[0]'),
        type: fc.constantFrom(...FIELD_TYPES),
        sealed: fc.boolean(),
      }),
      { maxLength: 5 },
    ),
  }),
);

test('a selection is what the reference says of every live row', async () => {
  await fc.assert(
    fc.asyncProperty(rows, arbitraryFilter, async (given, filter) => {
      const source = createSource(given);
      const vectors = source.vectorBits('v');
      const want = given.payloads.flatMap((payload, row) => {
        const hasVector = (name: string): boolean => name === 'v' && hasBit(vectors, row);
        return given.live[row] === true && matches(filter, { id: idOf(row), payload, hasVector }) ? [row] : [];
      });
      const live = [...source.live];
      const got = await selectRows(source, filter);
      assert.deepEqual([...rowsOf(got)], want);
      assert.equal(got.length, emptyBits(given.payloads.length).length);
      assert.deepEqual([...source.live], live, 'the source is left as it was');
      assert.equal(new Set(source.read).size, source.read.length, 'a payload is read once');
    }),
    { numRuns: 1500 },
  );
});

test('what was learned by other selections changes no answer, also while rows are added and die', async () => {
  const steps = fc.array(fc.record({ filter: arbitraryFilter, rowShare: fc.constantFrom(0.3, 0.6, 1), dead: fc.nat(9) }), { minLength: 2, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(rows, steps, fc.constantFrom(0, 1500, 1 << 20), async (given, selections, bytesMax) => {
      const cache = new ConditionCache(bytesMax);
      const segment = {};
      let count = 0;
      for (const { filter, rowShare, dead } of [...selections, ...selections]) {
        count = Math.max(count, Math.round(rowShare * given.payloads.length));
        const source = createSource({ ...given, payloads: given.payloads.slice(0, count), live: given.live.slice(0, count).map((is, row) => is && row % 10 !== dead) });
        const want = await selectRows(source, filter);
        const got = await selectRows({ ...source, conditions: cache.of(segment) }, filter);
        assert.deepEqual([...rowsOf(got)], [...rowsOf(want)]);
        assert.ok(cache.bytes <= bytesMax, `${cache.bytes} bytes`);
      }
    }),
    { numRuns: 700 },
  );
});

const a = parseJsonPath('a');
const b = parseJsonPath('b');
const many = Array.from({ length: 1000 }, (_, row) => ({ a: row % 10, b: row % 7 }));
const indexed: Rows = {
  payloads: many,
  live: many.map(() => true),
  vectors: many.map((_, row) => row % 2 === 0),
  indexes: [{ field: 'a', type: 'integer', sealed: true }],
};
const is = (key: typeof a, value: number): Condition => ({ kind: 'match-value', key, value });

const reads: readonly (readonly [string, Filter, number])[] = [
  ['an indexed condition', { must: [is(a, 3)] }, 0],
  [
    'ids, vectors and slices',
    {
      must: [
        { kind: 'has-vector', name: 'v' },
        { kind: 'slice', total: 2, index: 0 },
      ],
      mustNot: [{ kind: 'has-id', ids: [idOf(2)] }],
    },
    0,
  ],
  ['an indexed and another condition', { must: [is(b, 3), is(a, 3)] }, 100],
  ['an indexed alternative', { should: [is(a, 3), is(b, 3)] }, 900],
  ['nothing left by the index', { must: [is(b, 3), is(a, 99)] }, 0],
  ['two of two, one indexed', { minShould: { conditions: [is(a, 3), is(b, 3)], minCount: 2 } }, 100],
  ['an indexed exclusion', { mustNot: [is(b, 3), { kind: 'range', key: a, bounds: { gte: 1 } }] }, 100],
  ['a filter in a filter', { must: [{ kind: 'filter', filter: { must: [is(a, 3), is(b, 3)] } }] }, 100],
  ['no index at all', { must: [is(b, 3)] }, 1000],
];

for (const [title, filter, want] of reads) {
  test(`payloads read for ${title}: ${want}`, async () => {
    const source = createSource(indexed);
    await selectRows(source, filter);
    assert.equal(source.read.length, want);
  });
}

for (const [title, filter, again, wants] of [
  ['again', { must: [is(b, 3)] }, { must: [is(b, 3)] }, 0],
  ['in another place', { must: [is(b, 3)] }, { mustNot: [is(b, 3), { kind: 'has-id', ids: [idOf(2)] }] }, 0],
  ['on other rows than before', { must: [is(b, 3), is(a, 3)] }, { must: [is(b, 3)] }, 900],
  ['with another value', { must: [is(b, 3)] }, { must: [is(b, 4)] }, 1000],
] satisfies readonly (readonly [string, Filter, Filter, number])[]) {
  test(`payloads read for a condition ${title}: ${wants}`, async () => {
    const conditions = new ConditionCache().of({});
    await selectRows({ ...createSource(indexed), conditions }, filter);
    const source = createSource(indexed);
    const got = await selectRows({ ...source, conditions }, again);
    assert.equal(source.read.length, wants);
    assert.deepEqual(got, await selectRows(createSource(indexed), again));
  });
}

test('an aborted selection ends with the reason', async () => {
  const controller = new AbortController();
  const source = createSource(indexed);
  const reading: RowSource = {
    ...source,
    payloads: async (some) => {
      controller.abort(new RangeError('enough'));
      return source.payloads(some);
    },
  };
  await assert.rejects(selectRows(reading, { must: [is(b, 3)] }, controller.signal), { name: 'RangeError', message: 'enough' });
  assert.equal(source.read.length, 256);
});

test('the loop runs on while a long selection is at work', async () => {
  const payloads = Array.from({ length: 4000 }, (_, row) => ({ b: row, filler: 'x'.repeat(2000) }));
  const source = createSource({ ...indexed, payloads, live: payloads.map(() => true), indexes: [] });
  let turns = 0;
  let isDone = false;
  const turn = (): void => {
    turns += 1;
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  const selected = await selectRows(source, { must: [is(b, 3), { kind: 'slice', total: 1, index: 0 }] });
  isDone = true;
  assert.deepEqual([...rowsOf(selected)], [3]);
  assert.ok(turns > 1, `${turns} turns`);
});
