import assert from 'node:assert/strict';
import test from 'node:test';
import { crc32 } from '../base/checksum.ts';
import { silentLogger } from '../base/logger.ts';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import { Gauge } from './gauge.ts';
import { ShardState } from './shard-state.ts';
import { pointId } from './testing/shard-fixtures.ts';
import { encodeOperation } from './entry-body.ts';
import { WriteQueue } from './write-queue.ts';

test('a gauge lets waiters go when it is low enough for each', async () => {
  const gauge = new Gauge();
  const gone: string[] = [];
  gauge.add(10);
  await gauge.waitFor(10);
  const low = gauge.waitFor(2).then(() => gone.push('low'));
  const middle = gauge.waitFor(6).then(() => gone.push('middle'));
  gauge.subtract(5);
  await middle;
  assert.deepEqual(gone, ['middle']);
  gauge.subtract(5);
  await low;
  assert.deepEqual([gone, gauge.value], [['middle', 'low'], 0]);
});

test('writers wait while too much is stored but not applied', async () => {
  let seq = 0;
  const releases: (() => void)[] = [];
  const state = new ShardState(plainIndexes(), { applied: 0, chain: '00'.repeat(16), time: 0n, vectors: new Map(), payloadSchema: new Map(), opUuids: [] }, []);
  const slowLog: ConstructorParameters<typeof WriteQueue>[0]['log'] = {
    append: (draft) => new Promise((resolve) => {
      releases.push(() => { seq += 1; resolve({ ...draft, seq, time: 0n, bodyCrc: crc32(draft.body) }); });
    }),
  };
  const queue = new WriteQueue({ log: slowLog, state, logger: silentLogger, background: { afterEntry: () => undefined, makeRoom: () => Promise.resolve(), afterStall: () => undefined } });
  const payload = JSON.stringify({ filler: 'x'.repeat(1_000_000) });
  let submitted = 0;
  let isOver = false;
  const flood = (async () => {
    for (; submitted < 100; submitted += 1) {
      await queue.waitForRoom();
      const { stored, applied } = await queue.takeTurn(() => queue.submit(encodeOperation({ kind: 'upsert', points: [{ id: pointId(submitted), vectors: new Map(), payload }] })));
      void Promise.all([stored, applied]);
    }
    isOver = true;
  })();
  for (let turn = 0; turn < 1_000; turn += 1) await new Promise(setImmediate);
  assert.ok(submitted > 60 && submitted < 70, `${submitted} MB wait to be applied`);
  while (!isOver) {
    releases.shift()?.();
    await new Promise(setImmediate);
  }
  await flood;
  for (const release of releases) release();
  await queue.close();
  assert.equal(state.points, 100);
  await state.close();
});

test('an entry that fails for another reason than a read ends all applying, and what waits is told', async () => {
  let seq = 0;
  const state = new ShardState(plainIndexes(), { applied: 0, chain: '00'.repeat(16), time: 0n, vectors: new Map(), payloadSchema: new Map(), opUuids: [] }, []);
  const log: ConstructorParameters<typeof WriteQueue>[0]['log'] = { append: (draft) => Promise.resolve({ ...draft, seq: (seq += 1), time: 0n, bodyCrc: crc32(draft.body) }) };
  const queue = new WriteQueue({ log, state, logger: silentLogger, background: { afterEntry: () => undefined, makeRoom: () => Promise.resolve(), afterStall: () => undefined } });
  const submit = (vectors: ReadonlyMap<string, Uint8Array>): Promise<number> => queue.takeTurn(() => queue.submit(encodeOperation({ kind: 'upsert', points: [{ id: pointId(1), vectors, payload: '{}' }] })).applied);
  const failed = /entry 1 is stored but could not be applied \(.*'x'.*\); start again to recover/;
  const first = submit(new Map([['x', new Uint8Array(4)]]));
  const waiting = queue.atSeq(2, () => undefined);
  await assert.rejects(first, failed);
  await assert.rejects(waiting, failed);
  await assert.rejects(submit(new Map()), failed);
  await assert.rejects(queue.betweenEntries(() => undefined), failed);
  assert.match(queue.failure?.message ?? '', failed);
  assert.deepEqual([seq, state.points], [1, 0]);
  await queue.close();
  await state.close();
});
