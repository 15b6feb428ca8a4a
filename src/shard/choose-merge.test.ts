import assert from 'node:assert/strict';
import test from 'node:test';
import { chooseMerge, type SegmentSize } from './choose-merge.ts';
import { shardLimits } from './shard-limits.ts';

const mib = 1 << 20;
const size = (megabytes: number, deleted = 0): SegmentSize => ({ rows: 10_000, deleted, bytes: megabytes * mib });

const cases: readonly (readonly [string, readonly SegmentSize[], readonly number[] | undefined])[] = [
  ['nothing to do with no segment', [], undefined],
  ['three of a size stay', [size(14), size(14), size(14)], undefined],
  ['four of a size are merged', [size(14), size(14), size(14), size(14)], [0, 1, 2, 3]],
  ['a tier takes all of its members', [size(2), size(14), size(60), size(14), size(15)], [0, 1, 2, 3, 4]],
  ['a large one stays out', [size(14), size(300), size(14), size(14), size(14)], [0, 2, 3, 4]],
  ['the next tier merges four of its own', [size(70), size(80), size(90), size(100), size(1)], [0, 1, 2, 3]],
  ['four that are too large together stay', [size(1200), size(1200), size(1200), size(1200)], undefined],
  ['more than a fifth dead is written anew, alone', [size(14), size(300, 2_001)], [1]],
  ['a fifth is not enough', [size(300, 2_000)], undefined],
  ['few dead rows are not worth it', [{ rows: 1_000, deleted: 999, bytes: mib }], undefined],
  ['a segment without a live row goes, however small', [size(14), { rows: 3, deleted: 3, bytes: 100 }], [1]],
];

for (const [title, segments, want] of cases) {
  test(`merge: ${title}`, () => {
    assert.deepEqual(chooseMerge(segments, shardLimits), want);
  });
}
