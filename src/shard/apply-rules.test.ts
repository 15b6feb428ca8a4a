// What applying an entry means is fixed for each version of entries: the same list of entries leads to the same digest for ever.
// A digest that changes here needs another version in entry-body.ts, with the old meaning kept for the old one, and not another digest.
import assert from 'node:assert/strict';
import test from 'node:test';
import { crc32 } from '../base/checksum.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import type { Entry } from '../log/shard-log.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { allIds, dotSpec, draft, pointId, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { FedLog } from './testing/fed-log.ts';
import { applyEntry, refuseFailedRead } from './apply.ts';
import { decodeEntryBody, encodeEntryBody, entryBodyVersion, NewerEntryError } from './entry-body.ts';
import { Shard } from './shard.ts';
import type { ShardOperation } from './shard-operation.ts';
import { ShardState } from './shard-state.ts';
import { digestFrom } from './state-digest.ts';

const uuid = pointId('6f0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a11');
const row = (fill: number): Buffer => Buffer.alloc(16, fill);
const filter = parseFilter({ must: [{ key: 'n', range: { gte: 2 } }] });
const ids = (...list: readonly number[]) => ({ kind: 'ids' as const, ids: list.map((id) => pointId(id)) });

/** Every kind, and of each what makes a difference. */
const operations: readonly ShardOperation[] = [
  { kind: 'upsert', points: [1, 2, 3, 4, 5, 6].map((n) => ({ id: pointId(n), vectors: new Map([['', row(n)]]), payload: `{"n":${n},"deep":{"x":1}}` })) },
  { kind: 'upsert', points: [{ id: uuid, vectors: new Map(), payload: '{"n": 9.0}' }, { id: pointId(2n ** 60n), vectors: new Map(), payload: '{}' }] },
  { kind: 'create-vector', name: 'extra', spec: dotSpec },
  { kind: 'create-vector', name: 'extra', spec: dotSpec },
  { kind: 'upsert', points: [{ id: pointId(1), vectors: new Map([['extra', row(8)]]), payload: '{}' }, { id: pointId(7), vectors: new Map(), payload: '{}' }], updateMode: 'insert_only' },
  { kind: 'upsert', points: [{ id: pointId(1), vectors: new Map([['extra', row(9)]]), payload: '{"n":1}' }, { id: pointId(8), vectors: new Map(), payload: '{}' }], updateMode: 'update_only' },
  { kind: 'upsert', points: [1, 2].map((n) => ({ id: pointId(n), vectors: new Map([['', row(11)]]), payload: '{"n":2}' })), updateFilter: filter },
  { kind: 'update-vectors', points: [{ id: pointId(3), vectors: new Map([['extra', row(3)]]) }, { id: pointId(99), vectors: new Map() }] },
  { kind: 'create-index', field: 'n', schema: { type: 'integer' } },
  { kind: 'create-index', field: 'n', schema: { type: 'float' } },
  { kind: 'set-payload', selector: { kind: 'filter', filter }, payload: '{"m":null,"n":3}' },
  { kind: 'set-payload', selector: ids(3, 4), payload: '{"y":2}', key: 'deep' },
  { kind: 'overwrite-payload', selector: ids(5), payload: '{"only":true}' },
  { kind: 'delete-payload', selector: ids(3, 4), keys: ['deep.x', 'm'] },
  { kind: 'clear-payload', selector: ids(6) },
  { kind: 'delete-vectors', selector: ids(2, 3), names: [''] },
  { kind: 'delete-points', selector: ids(1, 77) },
  { kind: 'delete-points', selector: { kind: 'filter', filter } },
  { kind: 'drop-index', field: 'n' },
  { kind: 'drop-vector', name: 'extra' },
  { kind: 'restore', origin: { collectionUuid: '6f0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a11', shardId: 0, generation: 0, seq: 5 } },
  { kind: 'cut' },
  { kind: 'no-op' },
];

const digests: Readonly<Record<number, string>> = { 1: '0e3426cd2dedd1b8f714231a4a537e6d' };

function entryOf(operation: ShardOperation, seq: number, version: number): Entry {
  const body = encodeEntryBody(operation);
  return { kind: operation.kind, version, body, bodyCrc: crc32(body), opUuid: Buffer.alloc(16, seq), seq, time: BigInt(seq) };
}

for (let version = 1; version <= entryBodyVersion; version += 1) {
  test(`entries of version ${version} mean what they always meant`, async () => {
    const state = new ShardState(plainIndexes(), { applied: 0, chain: '00'.repeat(16), time: 0n, digest: digestFrom(0), vectors: new Map([['', dotSpec]]), payloadSchema: new Map(), opUuids: [] }, []);
    for (const [at, operation] of operations.entries()) {
      const entry = entryOf(operation, at + 1, version);
      await applyEntry(state, entry, decodeEntryBody(entry, 'the log'), { makeRoom: () => Promise.resolve(), afterFailedRead: refuseFailedRead });
    }
    assert.deepEqual(state.digest, { from: 0, value: digests[version] });
    await state.close();
  });
}

test('an entry of a newer version stops the shard before it, in words; reads go on, and nothing that follows is applied', async () => {
  let log: FedLog | undefined;
  const options = shardOptions(new MemoryDisk(), '/shard', { limits: smallLimits, shareLog: (local) => { log = new FedLog(local); return log; } });
  const shard = await Shard.create(options);
  shard.follow();
  const put = (id: number): ShardOperation => ({ kind: 'upsert', points: [{ id: pointId(id), vectors: new Map(), payload: '{}' }] });
  await log?.feed(entryOf(put(1), 1, entryBodyVersion));
  await log?.feed(entryOf({ kind: 'no-op' }, 2, entryBodyVersion + 1));
  await log?.feed(entryOf(put(3), 3, entryBodyVersion));
  const reason = new RegExp(`entry 2 is stored but could not be applied \\(the log: has an entry 'no-op' of version ${entryBodyVersion + 1}, and this version of nearkeep applies those up to ${entryBodyVersion}: start a newer one\\)$`);
  await assert.rejects(upsert(shard, draft(4)), reason);
  assert.equal(shard.isOutdated, true);
  assert.equal(shard.applied, 1);
  assert.deepEqual(await allIds(shard), [1]);
  assert.equal(shard.info().status, 'red');
  assert.match(shard.info().optimizerError ?? '', reason);
  await shard.close();
  await assert.rejects(Shard.open(options), (error) => error instanceof NewerEntryError && /\/shard\/logs: has an entry 'no-op' of version/.test(error.message));
});
