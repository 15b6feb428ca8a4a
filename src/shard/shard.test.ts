import assert from 'node:assert/strict';
import test from 'node:test';
import { yieldToLoop } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { WriteOperation } from '../command/write.ts';
import type { ReadHandle } from '../fs/disk.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { Shard } from './shard.ts';
import { allIds, allPoints, draft, everything, pointId, shardOptions, upsert, vectorOf } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const nothing = { payload: { kind: 'none' }, vectors: { kind: 'none' } } as const;
const wait = { wait: true };

async function openNew(): Promise<Shard> {
  return await Shard.create(shardOptions(new MemoryDisk(), '/shard'));
}

const refused: readonly (readonly [string, WriteOperation, RegExp, string])[] = [
  ['a wrong dimension', { kind: 'upsert', points: [draft(1), { ...draft(2), vectors: new Map([['', Float32Array.of(1, 2, 3)]]) }] }, /Vector dimension error: expected dim: 4, got 3/, 'bad-input'],
  ['a NaN', { kind: 'upsert', points: [{ ...draft(2), vectors: new Map([['', Float32Array.of(1, NaN, 3, 4)]]) }] }, /value/, 'bad-input'],
  ['an unknown vector name', { kind: 'upsert', points: [{ ...draft(2), vectors: new Map([['x', Float32Array.of(1)]]) }] }, /^Not existing vector name error: x$/, 'bad-input'],
  ['a payload that is no object', { kind: 'upsert', points: [{ ...draft(2), payload: '[1]' }] }, /Payload must be a JSON object/, 'bad-input'],
  ['vectors of a missing point', { kind: 'update-vectors', points: [{ id: pointId(1), vectors: new Map() }, { id: pointId(9), vectors: new Map() }] }, /^No point with id 9 found$/, 'not-found'],
  ['payload of a missing point', { kind: 'set-payload', selector: { kind: 'ids', ids: [pointId(1), pointId(7)] }, payload: '{}' }, /^No point with id 7 found$/, 'not-found'],
  ['dropping a vector that is not there', { kind: 'drop-vector', name: 'x' }, /^Not existing vector name error: x$/, 'bad-input'],
  ['deleting vectors of an unknown name', { kind: 'delete-vectors', selector: { kind: 'ids', ids: [pointId(1)] }, names: ['x'] }, /^Not existing vector name error: x$/, 'bad-input'],
];

for (const [what, operation, message, code] of refused) {
  test(`${what} refuses the whole write before the log sees it, also with wait=false`, async () => {
    await using shard = await openNew();
    const seq = await upsert(shard, draft(1));
    await assert.rejects(shard.write(operation, { wait: false }), (error: unknown) => error instanceof RequestError && error.code === code && message.test(error.message));
    assert.equal(shard.position().seq, seq);
    assert.deepEqual(await allIds(shard), [1]);
  });
}

test('the last of duplicate ids in one batch wins, across the cut into entries too', async () => {
  await using shard = await openNew();
  const filler = 'x'.repeat(600_000);
  const { seq } = await shard.write({ kind: 'upsert', points: [draft(1, { n: 'old' }), draft(2, { filler }), draft(3, { filler }), draft(1, { n: 'new' })] }, wait);
  assert.equal(seq, 2); // two entries of about 1 MB
  const [point] = await shard.retrieve({ ids: [pointId(1)], selectors: everything });
  assert.equal(point?.payload, '{"n":"new"}');
  assert.deepEqual(await allIds(shard), [1, 2, 3]);
});

test('payload text and vectors come back byte for byte, also from files', async () => {
  await using shard = await openNew();
  const payload = '{ "big": 9007199254740993, "e": 1.0e2,\n "ü": "\\u00e9" }';
  await shard.write({ kind: 'upsert', points: [{ ...draft(1), payload }] }, wait);
  await shard.checkpoint();
  const [point] = await allPoints(shard);
  assert.equal(point?.payload, payload);
  assert.deepEqual(point.vectors, new Map([['', vectorOf(1)]]));
});

test('wait=false answers when the entry is durable; reads see it soon after', async () => {
  await using shard = await openNew();
  const results = await Promise.all(Array.from({ length: 50 }, (_, id) => shard.write({ kind: 'upsert', points: [draft(id)] }, { wait: false })));
  assert.ok(results.every(({ status }) => status === 'acknowledged'));
  assert.deepEqual(results.map(({ seq }) => seq).sort((a, b) => a - b), Array.from({ length: 50 }, (_, at) => at + 1)); // a write that takes a pause comes behind those after it
  await upsert(shard, draft(50));
  assert.equal((await allIds(shard)).length, 51);
});

test('a write over its time answers wait_timeout and still happens', async () => {
  await using shard = await openNew();
  const points = Array.from({ length: 3_000 }, (_, id) => draft(id));
  const { status } = await shard.write({ kind: 'upsert', points }, { wait: true, timeoutMs: 0 });
  assert.equal(status, 'wait_timeout');
  await upsert(shard, draft(1));
  assert.equal(shard.info().points, 3_000);
});

test('delete by filter takes what matches at exactly its place in the order of writes', async () => {
  await using shard = await openNew();
  const filter = parseFilter({ must: [{ key: 'n', match: { value: 1 } }] });
  const many = Array.from({ length: 2_000 }, (_, id) => draft(1_000 + id, { n: 1 }));
  await shard.write({ kind: 'upsert', points: [draft(1, { n: 1 }), draft(2, { n: 2 }), ...many] }, { wait: false });
  await shard.write({ kind: 'delete-points', selector: { kind: 'filter', filter } }, { wait: false });
  await shard.write({ kind: 'upsert', points: [draft(3, { n: 1 }), draft(2, { n: 1 })] }, wait);
  assert.deepEqual(await allIds(shard), [2, 3]);
});

test('an update of a point that was written right before it finds the point', async () => {
  await using shard = await openNew();
  await shard.write({ kind: 'upsert', points: [draft(1), ...Array.from({ length: 2_000 }, (_, id) => draft(1_000 + id))] }, { wait: false });
  assert.ok(shard.info().unappliedEntries > 0);
  await shard.write({ kind: 'set-payload', selector: { kind: 'ids', ids: [pointId(2_999)] }, payload: '{"a":1}' }, wait);
  assert.equal((await allPoints(shard)).at(-1)?.payload, '{"n":2999,"a":1}');
});

test('a search: best first, ties by id, strict threshold, without the point it is about', async () => {
  await using shard = await openNew();
  const point = (id: number, x: number) => ({ id: pointId(id), vectors: new Map([['', Float32Array.of(x, 0, 0, 0)]]), payload: '{}' });
  await upsert(shard, point(4, 1), point(2, 3));
  await shard.checkpoint();
  await upsert(shard, point(3, 1), point(1, 2));
  const request = { vector: Float32Array.of(1, 0, 0, 0), using: '', offset: 0, limit: 10, selectors: nothing };
  const [all, above, without, two] = await shard.search([request, { ...request, scoreThreshold: 1 }, { ...request, excludeId: pointId(2) }, { ...request, limit: 2 }]);
  assert.deepEqual(all?.map(({ id, score }) => [id, score]), [[2, 3], [1, 2], [3, 1], [4, 1]]);
  assert.deepEqual(above?.map(({ id }) => id), [2, 1]);
  assert.deepEqual(without?.map(({ id }) => id), [1, 3, 4]);
  assert.deepEqual(two?.map(({ id }) => id), [2, 1]);
  await assert.rejects(shard.search([{ ...request, using: 'x' }]), /Not existing vector name error: x/);
  await assert.rejects(shard.search([{ ...request, vector: Float32Array.of(1) }]), /expected dim: 4, got 1/);
});

test('a page starts at its offset, and order_by needs an index with ranges', async () => {
  await using shard = await openNew();
  await upsert(shard, ...[5, 3, 1, 4, 2].map((id) => draft(id, { n: [id % 2, 10] })));
  const page = await shard.scroll({ offset: pointId(2), limit: 2, selectors: nothing });
  assert.deepEqual(page, [{ id: 2, version: 1 }, { id: 3, version: 1 }]);
  const orderBy = { key: { text: 'n', steps: [{ kind: 'key', name: 'n' }] }, direction: 'asc' } as const;
  await assert.rejects(shard.scroll({ orderBy, limit: 3, selectors: nothing }), /^RequestError: No range index for `order_by` key: `n`\. Please create one/);
  await shard.write({ kind: 'create-index', field: 'n', schema: { type: 'integer', params: { type: 'integer', range: false } } }, wait);
  await assert.rejects(shard.scroll({ orderBy, limit: 3, selectors: nothing }), /No range index/);
  await shard.write({ kind: 'create-index', field: 'n', schema: { type: 'integer' } }, wait);
  const ordered = await shard.scroll({ orderBy, limit: 7, selectors: nothing });
  assert.deepEqual(ordered.map(({ id, orderValue }) => [id, orderValue]), [[2, 0], [4, 0], [1, 1], [3, 1], [5, 1], [1, 10], [2, 10]]);
});

test('points in the order of retrieve, an absent one left out, a double one twice', async () => {
  await using shard = await openNew();
  await upsert(shard, draft(1), draft(2));
  const records = await shard.retrieve({ ids: [2, 9, 1, 2].map(pointId), selectors: { payload: { kind: 'include', paths: [] }, vectors: { kind: 'names', names: [''] } } });
  assert.deepEqual(records.map(({ id }) => id), [2, 1, 2]);
  assert.deepEqual(records[1]?.vectors?.get(''), vectorOf(1));
  await assert.rejects(shard.retrieve({ ids: [pointId(1)], selectors: { payload: { kind: 'none' }, vectors: { kind: 'names', names: ['x'] } } }), /Not existing vector name error: x/);
});

test('info counts live points, those with a field, and segments', async () => {
  await using shard = await openNew();
  await shard.write({ kind: 'create-index', field: 'n', schema: { type: 'integer' } }, wait);
  await upsert(shard, draft(1), draft(2), draft(3, {}));
  await shard.checkpoint();
  await upsert(shard, draft(4));
  await shard.write({ kind: 'delete-points', selector: { kind: 'ids', ids: [pointId(1)] } }, wait);
  await shard.settle();
  const info = shard.info();
  assert.deepEqual([info.points, info.segments, info.status, info.unappliedEntries, info.payloadSchema.get('n')], [3, 2, 'green', 0, { schema: { type: 'integer' }, points: 2 }]);
  assert.ok(info.diskBytes > 0);
});

/** A memory disk on which closing the files that are open at a moment can be held up. */
class HeldClosesDisk extends MemoryDisk {
  /** How many wait. */
  held = 0;
  readonly #gates = new Set<(gate: Promise<void>) => void>();

  holdCloses(): () => void {
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    for (const hold of this.#gates) hold(gate);
    return open;
  }

  override async openRead(file: string): Promise<ReadHandle> {
    const handle = await super.openRead(file);
    const close = handle.close.bind(handle);
    let gate: Promise<void> | undefined;
    this.#gates.add((held) => {
      gate = held;
    });
    handle.close = async () => {
      if (gate !== undefined) this.held += 1;
      await gate;
      await close();
    };
    return handle;
  }
}

test('a close that follows a checkpoint at once leaves no file of the segments that it replaced', async () => {
  const disk = new HeldClosesDisk();
  const shard = await Shard.create(shardOptions(disk, '/shard'));
  await upsert(shard, draft(1), draft(2));
  await shard.checkpoint();
  await upsert(shard, draft(1), draft(2));
  const open = disk.holdCloses();
  await shard.checkpoint();
  assert.ok(disk.held > 0, 'the replaced segment is being closed');
  const closing = shard.close();
  for (let turn = 0; turn < 100; turn += 1) await yieldToLoop();
  open();
  await closing;
  const { findings, leftovers } = await verifyShard({ disk, directory: '/shard', deep: true });
  assert.deepEqual([findings, leftovers], [[], []]);
});

test('a closed shard refuses, and closing twice is closing once', async () => {
  const shard = await openNew();
  await Promise.all([upsert(shard, draft(1)), shard.close(), shard.close()]);
  await assert.rejects(upsert(shard, draft(2)), /the shard is closed/);
  await assert.rejects(allPoints(shard), /the shard is closed/);
});
