import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { parsePointId, type PointId } from '../base/ids.ts';
import { routePoint } from './route.ts';
import { splitOperation } from './split-operation.ts';

const id = (value: unknown): PointId => must(parsePointId(value), 'the test gives a good id');

test('the shard of an id is part of the data format: these never change', () => {
  const ids = [0, 1, 2, 1000, 2 ** 53 - 1, 2n ** 64n - 1n, '936da01f-9abd-4d9d-80c7-02af85c822a8', '00000000-0000-0000-0000-000000000000'];
  assert.deepEqual(ids.map((value) => routePoint(id(value), 5)), [1, 1, 0, 3, 2, 2, 4, 4]);
  assert.deepEqual(ids.map((value) => routePoint(id(value), 1)), ids.map(() => 0));
});

test('points spread evenly', () => {
  const counts = [0, 0, 0, 0, 0, 0, 0];
  for (let point = 0; point < 70_000; point += 1) counts[routePoint(id(point), 7)]! += 1;
  for (const count of counts) assert.ok(count > 9_500 && count < 10_500, counts.join(' '));
});

test('a split operation has every point once, on its shard', () => {
  const points = Array.from({ length: 100 }, (_, index) => ({ id: id(index), vectors: new Map(), payload: '{}' }));
  const parts = splitOperation({ kind: 'upsert', points }, 3);
  const seen: PointId[] = [];
  for (const [shard, part] of parts) {
    assert.ok(part.kind === 'upsert');
    for (const point of part.points) {
      assert.equal(routePoint(point.id, 3), shard);
      seen.push(point.id);
    }
  }
  assert.deepEqual(seen.sort((a, b) => Number(a) - Number(b)), points.map((point) => point.id));
});

test('filters and schema changes go to every shard, ids only where they live', () => {
  assert.equal(splitOperation({ kind: 'clear-payload', selector: { kind: 'filter', filter: {} } }, 4).size, 4);
  assert.equal(splitOperation({ kind: 'drop-index', field: 'a' }, 4).size, 4);
  const one = splitOperation({ kind: 'delete-points', selector: { kind: 'ids', ids: [id(7)] } }, 4);
  assert.deepEqual([...one.keys()], [routePoint(id(7), 4)]);
});
