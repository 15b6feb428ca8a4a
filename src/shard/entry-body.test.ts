import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { CorruptionError } from '../base/errors.ts';
import { uuidPattern, type PointId } from '../base/ids.ts';
import type { PointSelector } from '../command/write.ts';
import { ENTRY_KINDS, type EntryKind } from '../log/shard-log.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { DATATYPES, DISTANCES } from '../vector/distance.ts';
import { decodeEntryBody, encodeEntryBody, entryBodyVersion, NewerEntryError } from './entry-body.ts';
import type { ShardOperation } from './shard-operation.ts';

const kinds = Object.keys(ENTRY_KINDS) as EntryKind[];

const plainObject = { noNullPrototype: true } as const;

const arbitraryId: fc.Arbitrary<PointId> = fc.oneof(
  fc.nat().map((id) => id as PointId),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }).map((id) => id as PointId),
  fc.uuid().filter((id) => uuidPattern.test(id)).map((id) => id as PointId),
);
const arbitraryFilter = fc.constantFrom(
  parseFilter({ must: [{ key: 'a', match: { value: 1 } }] }),
  parseFilter({ should: [{ has_id: [1, '6f0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a11', 2n ** 60n] }], must_not: [{ is_empty: { key: 'b[].c' } }] }),
);
const arbitraryName = fc.constantFrom('', 'title', 'ünïcode');
const rowBytes: Readonly<Record<string, number>> = { '': 16, title: 3, ünïcode: 8 };
const arbitraryVectors = fc.uniqueArray(arbitraryName).map((names) => new Map(names.map((name) => [name, Buffer.alloc(rowBytes[name] ?? 0, 7) as Uint8Array])));
const arbitraryText = fc.json().map((json) => `{"v": ${json}}`);
const arbitrarySelector: fc.Arbitrary<PointSelector> = fc.oneof(
  fc.array(arbitraryId).map((ids) => ({ kind: 'ids' as const, ids })),
  arbitraryFilter.map((filter) => ({ kind: 'filter' as const, filter })),
);

const arbitraryOperation: fc.Arbitrary<ShardOperation> = fc.oneof(
  fc.record({
    kind: fc.constant('upsert' as const),
    points: fc.array(fc.record({ id: arbitraryId, vectors: arbitraryVectors, payload: arbitraryText }, plainObject)),
    updateFilter: arbitraryFilter,
    updateMode: fc.constantFrom('insert_only' as const, 'update_only' as const),
  }, { ...plainObject, requiredKeys: ['kind', 'points'] }),
  fc.record({ kind: fc.constant('update-vectors' as const), points: fc.array(fc.record({ id: arbitraryId, vectors: arbitraryVectors }, plainObject)), updateFilter: arbitraryFilter }, { ...plainObject, requiredKeys: ['kind', 'points'] }),
  fc.record({ kind: fc.constantFrom('delete-points' as const, 'clear-payload' as const), selector: arbitrarySelector }, plainObject),
  fc.record({ kind: fc.constant('delete-vectors' as const), selector: arbitrarySelector, names: fc.array(arbitraryName) }, plainObject),
  fc.record({ kind: fc.constant('delete-payload' as const), selector: arbitrarySelector, keys: fc.array(fc.string()) }, plainObject),
  fc.record({ kind: fc.constant('overwrite-payload' as const), selector: arbitrarySelector, payload: arbitraryText }, plainObject),
  fc.record({ kind: fc.constant('set-payload' as const), selector: arbitrarySelector, payload: arbitraryText, key: fc.string() }, { ...plainObject, requiredKeys: ['kind', 'selector', 'payload'] }),
  fc.record({ kind: fc.constant('create-index' as const), field: fc.string(), schema: fc.constantFrom({ type: 'keyword' as const }, { type: 'integer' as const, params: { type: 'integer', range: false } }) }, plainObject),
  fc.record({ kind: fc.constant('drop-index' as const), field: fc.string() }, plainObject),
  fc.record({ kind: fc.constant('create-vector' as const), name: arbitraryName, spec: fc.record({ size: fc.integer({ min: 1, max: 65_536 }), distance: fc.constantFrom(...DISTANCES), datatype: fc.constantFrom(...DATATYPES) }, plainObject) }, plainObject),
  fc.record({ kind: fc.constant('drop-vector' as const), name: arbitraryName }, plainObject),
  fc.record({ kind: fc.constant('restore' as const), origin: fc.record({ collectionUuid: fc.uuid(), shardId: fc.nat(), generation: fc.nat(), seq: fc.nat() }, plainObject) }, plainObject),
  fc.record({ kind: fc.constantFrom('cut' as const, 'no-op' as const) }, plainObject),
);

test('decode(encode(operation)) is the operation', () => {
  fc.assert(fc.property(arbitraryOperation, (operation) => {
    const body = encodeEntryBody(operation);
    assert.deepEqual(plain(decodeEntryBody({ kind: operation.kind, version: entryBodyVersion, body }, 'log')), plain(operation));
  }));
});

test('any bytes are an operation or a CorruptionError', () => {
  fc.assert(fc.property(fc.constantFrom(...kinds), fc.uint8Array({ maxLength: 200 }), (kind, body) => {
    decodesOrRefuses(kind, body);
  }), { numRuns: 2_000 });
});

test('a flipped byte or a cut end is an operation or a CorruptionError', () => {
  fc.assert(fc.property(arbitraryOperation, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (operation, at, mask, isCut) => {
    const body = Buffer.from(encodeEntryBody(operation));
    if (body.length === 0) return;
    const offset = at % body.length;
    body[offset] = (body[offset] ?? 0) ^ mask;
    decodesOrRefuses(operation.kind, isCut ? body.subarray(0, offset) : body);
  }), { numRuns: 2_000 });
});

test('bytes behind the end and other versions are refused, with the file', () => {
  const body = encodeEntryBody({ kind: 'drop-index', field: 'a' });
  const longer = Buffer.concat([body, Buffer.alloc(1)]);
  assert.throws(() => decodeEntryBody({ kind: 'drop-index', version: entryBodyVersion, body: longer }, 'logs/1'), /logs\/1: body of an entry 'drop-index' at its byte 5: 1 bytes follow its end/);
  assert.throws(() => decodeEntryBody({ kind: 'drop-index', version: 0, body }, 'logs/1'), /logs\/1: body of an entry 'drop-index': version 0/);
  assert.throws(() => decodeEntryBody({ kind: 'drop-index', version: entryBodyVersion + 1, body }, 'logs/1'), (error) => error instanceof NewerEntryError
    && error.message === "logs/1: has an entry 'drop-index' of version 2, and this version of nearkeep applies those up to 1: start a newer one");
});

function decodesOrRefuses(kind: EntryKind, body: Uint8Array): void {
  try {
    decodeEntryBody({ kind, version: entryBodyVersion, body }, 'log');
  } catch (error) {
    assert.ok(error instanceof CorruptionError, String(error));
  }
}

/** Vectors as arrays: a view and a copy of the same bytes are the same. */
function plain(operation: ShardOperation): unknown {
  if (operation.kind !== 'upsert' && operation.kind !== 'update-vectors') return operation;
  return { ...operation, points: operation.points.map((point) => ({ ...point, vectors: [...point.vectors].map(([name, bytes]) => [name, [...bytes]]) })) };
}
