import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { must } from '../../base/assert.ts';
import { parsePointId, type PointId } from '../../base/ids.ts';
import type { PointRecord, ScoredRecord } from '../../command/read.ts';
import { queryBatchPieces, queryPieces, recordListPieces, recordPieces, scoredBatchPieces, scoredListPieces, scrollPieces } from './encode-points.ts';

const id = (value: unknown): PointId => must(parsePointId(value), 'a point id');
const join = (pieces: Iterable<string>): string => [...pieces].join('');
const pieceCharsMax = 16 * 1024 + 17 * 1024;

const record: PointRecord = { id: id(7), version: 3, payload: '{"a": 1.0, "big":9007199254740993}', vectors: new Map([['', Float32Array.of(0.1, 1, -2.5)]]) };

test('record: stored payload text as it is, f32 shortest, no version', () => {
  assert.equal(join(recordPieces(record)), '{"id":7,"payload":{"a": 1.0, "big":9007199254740993},"vector":[0.1,1.0,-2.5]}');
});

test('record: what was not asked for is absent', () => {
  assert.equal(join(recordPieces({ id: id(7), version: 3 })), '{"id":7}');
});

test('record: named vectors as a map, none as an empty map', () => {
  const vectors = new Map([['a"b', Float32Array.of(1)], ['', Float32Array.of(2)]]);
  assert.equal(join(recordPieces({ id: id(7), version: 3, vectors })), '{"id":7,"vector":{"a\\"b":[1.0],"":[2.0]}}');
  assert.equal(join(recordPieces({ id: id(7), version: 3, vectors: new Map() })), '{"id":7,"vector":{}}');
});

test('record: ids of 64 bits keep all digits, UUIDs are quoted', () => {
  const uuid = 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6';
  const records = [18_446_744_073_709_551_615n, uuid].map((value) => ({ id: id(value), version: 1 }));
  assert.equal(join(recordListPieces(records)), `[{"id":18446744073709551615},{"id":"${uuid}"}]`);
});

test('scroll: the next id or null, and order values', () => {
  const points = [{ id: id(1), version: 1, orderValue: 1.5 }, { id: id(2), version: 1, orderValue: -9_007_199_254_740_993n }];
  assert.equal(
    join(scrollPieces({ points, nextPageOffset: null })),
    '{"points":[{"id":1,"order_value":1.5},{"id":2,"order_value":-9007199254740993}],"next_page_offset":null}',
  );
  assert.equal(join(scrollPieces({ points: [], nextPageOffset: id(9_007_199_254_740_993n) })), '{"points":[],"next_page_offset":9007199254740993}');
});

const hit: ScoredRecord = { id: id(1), version: 12, score: Math.fround(0.87), payload: '{}' };
const hitText = '{"id":1,"version":12,"score":0.87,"payload":{}}';

test('scored: members in the order id, version, score, payload, vector', () => {
  const withVector = { ...hit, vectors: new Map([['', Float32Array.of(1)]]) };
  assert.equal(join(scoredListPieces([hit, withVector])), `[${hitText},${hitText.slice(0, -1)},"vector":[1.0]}]`);
});

test('scored: the forms of the four routes', () => {
  assert.equal(join(scoredBatchPieces([[hit], []])), `[[${hitText}],[]]`);
  assert.equal(join(queryPieces([hit])), `{"points":[${hitText}]}`);
  assert.equal(join(queryBatchPieces([[], [hit]])), `[{"points":[]},{"points":[${hitText}]}]`);
});

test('pieces: large vectors and payloads come in bounded pieces, cut between characters only', () => {
  const emoji = '😀'.repeat(50_000);
  const records = [0, 1, 2, 3].map((shift) => ({
    id: id(shift), version: 1, payload: JSON.stringify({ text: 'x'.repeat(shift) + emoji }), vectors: new Map([['', new Float32Array(65_536).fill(0.1)]]),
  }));
  const pieces = [...recordListPieces(records)];
  for (const piece of pieces) {
    assert.ok(piece.length <= pieceCharsMax, `a piece of ${piece.length} characters`);
    assert.equal(Buffer.from(piece).toString(), piece, 'each piece survives encoding on its own');
  }
  assert.deepEqual(JSON.parse(pieces.join('')), records.map((one) => ({ id: one.id, payload: JSON.parse(one.payload) as unknown, vector: Array.from({ length: 65_536 }, () => 0.1) })));
});

test('records read back as what they were', () => {
  const anyRecord = fc.record({
    id: fc.oneof(fc.maxSafeNat(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.uuid()).map(id),
    version: fc.nat(),
    score: fc.float({ noNaN: true, noDefaultInfinity: true }),
    payload: fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()).map((value) => JSON.stringify(value)),
    vectors: fc.dictionary(fc.string(), fc.float32Array({ noNaN: true, noDefaultInfinity: true, maxLength: 40 })).map((vectors) => new Map(Object.entries(vectors))),
  });
  fc.assert(fc.property(fc.array(anyRecord, { maxLength: 5 }), (records) => {
    const parsed = JSON.parse(join(scoredListPieces(records))) as { id: unknown; score: number; payload: unknown; vector: unknown }[];
    for (const [index, one] of records.entries()) {
      const back = must(parsed[index], 'as many as were given');
      assert.equal(String(back.id), typeof one.id === 'bigint' ? String(Number(one.id)) : String(one.id));
      assert.ok(Object.is(Math.fround(back.score), one.score));
      assert.deepEqual(back.payload, JSON.parse(one.payload));
      const vectors = Array.isArray(back.vector) ? { '': back.vector } : back.vector;
      assert.deepEqual(new Map(Object.entries(vectors as Record<string, number[]>).map(([name, values]) => [name, Float32Array.from(values)])), one.vectors);
    }
  }));
});
