import assert from 'node:assert/strict';
import test from 'node:test';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import { rowsOf } from '../payload/bitmap.ts';
import { parseFilter } from '../payload/parse-filter.ts';
import { selectRows } from '../payload/select-rows.ts';
import { ShardState } from './shard-state.ts';
import { dotSpec, pointId } from './testing/shard-fixtures.ts';
import { rowSourceOf } from './view.ts';

function newState(): ShardState {
  const state = new ShardState(plainIndexes(), { applied: 0, chain: '00'.repeat(16), time: 0n, vectors: new Map([['', dotSpec]]), payloadSchema: new Map(), opUuids: [] }, []);
  for (const id of [1, 2, 3]) state.put({ id: pointId(id), version: 1, vectors: new Map(), payload: `{"n":${id}}` });
  return state;
}

test('a view finds the points of its moment, whatever is written or deleted meanwhile', async () => {
  const state = newState();
  const view = state.view();
  state.put({ id: pointId(2), version: 2, vectors: new Map(), payload: '{"n":20}' });
  state.head.segment.markDeleted(2);
  state.rotateHead();
  state.put({ id: pointId(1), version: 3, vectors: new Map(), payload: '{"n":10}' });
  state.put({ id: pointId(4), version: 3, vectors: new Map(), payload: '{"n":4}' });
  assert.deepEqual([1, 2, 3, 4].map((id) => view.find(pointId(id))?.row), [0, 1, 2, undefined]);
  const selected = await Promise.all(view.segments.map((segment) => selectRows(rowSourceOf(segment), parseFilter({ must: [{ has_id: [1, 2, 4] }, { key: 'n', range: { lt: 9 } }] }))));
  assert.deepEqual(selected.flatMap((bits) => [...rowsOf(bits)]), [0, 1]);
  assert.equal(view.points, 3);
  const now = state.view();
  assert.deepEqual([1, 2, 3, 4].map((id) => now.find(pointId(id)) !== undefined), [true, true, false, true]);
  await Promise.all([view.release(), now.release()]);
  await state.close();
});

test('rows that carry a vector are counted for the rows of a view, not for those of now', async () => {
  const state = new ShardState(plainIndexes(), { applied: 0, chain: '00'.repeat(16), time: 0n, vectors: new Map([['', dotSpec]]), payloadSchema: new Map(), opUuids: [] }, []);
  const vectors = new Map([['', new Uint8Array(16)]]);
  for (const id of [1, 2, 3, 4]) state.put({ id: pointId(id), version: 1, vectors: id === 2 ? new Map() : vectors, payload: '{}' });
  const view = state.view();
  state.rotateHead();
  state.put({ id: pointId(3), version: 2, vectors, payload: '{}' });
  const now = state.view();
  const counted = [view, now, view].map(({ segments }) => segments.map(({ held, live }) => {
    const { bits, count } = held.carrying('', live);
    return [[...rowsOf(bits)], count];
  }));
  assert.deepEqual(counted, [[[[0, 2, 3], 3]], [[[0], 1], [[0, 3], 2]], [[[0, 2, 3], 3]]]);
  await Promise.all([view.release(), now.release()]);
  await state.close();
});

test('a segment that was replaced is closed with its last query', async () => {
  const state = newState();
  const old = state.head;
  const view = state.view();
  state.rotateHead();
  state.replace([old], []);
  assert.equal(old.isClosed, false);
  assert.equal(view.find(pointId(3))?.row, 2);
  await view.release();
  assert.equal(old.isClosed, true);
  assert.equal(state.points, 0);
  await state.close();
});
