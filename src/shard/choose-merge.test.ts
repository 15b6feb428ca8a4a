import assert from 'node:assert/strict';
import test from 'node:test';
import type { Merging } from '../command/indexing-config.ts';
import { chooseMerge, chooseMergeAtRest, isMergedSoon, type SegmentSize } from './choose-merge.ts';
import { seededRandom } from '../base/testing/random.ts';
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

const one: Merging = { segmentsMin: 1 };

for (const [title, segments, want] of cases) {
  test(`merge: ${title}`, () => {
    assert.deepEqual(chooseMerge(segments, shardLimits, one), want);
  });
}

test('merge: as many segments stay as the configuration wants, and none becomes larger', () => {
  const four = [size(14), size(13), size(15), size(12)];
  assert.equal(chooseMerge(four, shardLimits, { segmentsMin: 2 }), undefined);
  assert.deepEqual(chooseMerge([...four, size(16), size(15)], shardLimits, { segmentsMin: 3 }), [0, 1, 2, 3], 'the smallest');
  assert.equal(chooseMerge(four, shardLimits, { segmentsMin: 1, bytesMax: 50 * mib }), undefined);
  assert.deepEqual(chooseMerge(four, shardLimits, { segmentsMin: 1, bytesMax: 54 * mib }), [0, 1, 2, 3]);
});

const restCases: readonly (readonly [string, readonly SegmentSize[], readonly number[] | undefined, Merging?])[] = [
  ['nothing to do with no segment', [], undefined],
  ['one segment stays, its few dead rows with it', [size(100, 1_900)], undefined],
  ['all of a size become one', [size(14), size(14), size(14)], [0, 1, 2]],
  ['what streamed in becomes one', [size(60), size(14), size(14), size(5)], [0, 1, 2, 3]],
  ['more than a thirty-second is merged', [size(100), size(4)], [0, 1]],
  ['a thirty-second stays', [size(128), size(4)], undefined],
  ['only what is live counts', [size(416), size(26, 5_000)], undefined],
  ['a large one stays, the small ones beside it become one', [size(2_000), size(30), size(14), size(14)], [1, 2, 3]],
  ['a large one is taken with many small ones', [size(2_000), size(200), size(40), size(14)], [0, 1, 2, 3]],
  ['small ones are merged below the bound, the largest stay', [size(3_000), size(2_000), size(1_500), size(300)], [1, 2, 3]],
  ['of those that are too large together each stays', [size(3_000), size(2_500)], undefined],
  ['a bound of the configuration', [size(60), size(50), size(30), size(14)], [2, 3], { segmentsMin: 1, bytesMax: 50 * mib }],
  ['a bound of the configuration above the own', [size(3_000), size(2_500)], [0, 1], { segmentsMin: 1, bytesMax: 6_000 * mib }],
  ['two segments are wanted', [size(60), size(14), size(15), size(16)], [1, 2, 3], { segmentsMin: 2 }],
  ['so many are wanted as there are', [size(60), size(14), size(15), size(16)], undefined, { segmentsMin: 4 }],
  ['more are wanted than there are', [size(60), size(14)], undefined, { segmentsMin: 9 }],
];

for (const [title, segments, want, merging] of restCases) {
  test(`merge at rest: ${title}`, () => {
    assert.deepEqual(chooseMergeAtRest(segments, shardLimits, merging ?? one), want);
  });
}

test('merge at rest: whatever there is, afterwards nothing is left to do and each segment is far larger than the smaller ones together', () => {
  const random = seededRandom(3);
  for (let round = 0; round < 200; round += 1) {
    let segments: readonly SegmentSize[] = Array.from({ length: 1 + random.below(12) }, () => size(1 + random.below(120)));
    const total = bytesOf(segments);
    for (let chosen = chooseMergeAtRest(segments, shardLimits, one); chosen !== undefined; chosen = chooseMergeAtRest(segments, shardLimits, one)) {
      const taken = new Set(chosen);
      assert.ok(taken.size >= 2);
      segments = [...segments.filter((_, at) => !taken.has(at)), size(bytesOf(segments.filter((_, at) => taken.has(at))) / mib)];
    }
    assert.equal(bytesOf(segments), total);
    const ascending = segments.toSorted((a, b) => a.bytes - b.bytes);
    for (const [at, { bytes }] of ascending.entries()) assert.ok(bytes >= 32 * bytesOf(ascending.slice(0, at)), JSON.stringify(ascending));
  }
});

test('merge at rest: a trickle is written again 32 times a level at most', () => {
  let segments: readonly SegmentSize[] = [size(500)];
  let rewritten = 0;
  const added = 1_000;
  for (let at = 0; at < added; at += 1) {
    segments = [...segments, size(1)];
    const chosen = chooseMergeAtRest(segments, shardLimits, one);
    if (chosen === undefined) continue;
    const merged = size(chosen.reduce((sum, position) => sum + (segments[position]?.bytes ?? 0), 0) / mib);
    rewritten += merged.bytes / mib;
    segments = [...segments.filter((_, position) => !chosen.includes(position)), merged];
  }
  assert.ok(rewritten <= 32 * 2 * added, `${rewritten} MiB for ${added}`); // levels: to 33 MiB, to 1,089
});

test('merge: while writes come the small ones wait for a merge', () => {
  assert.deepEqual([size(1), size(14), size(63), size(65), size(2_000)].map((segment) => isMergedSoon(segment, shardLimits)), [true, true, true, false, false]);
});

function bytesOf(segments: readonly SegmentSize[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}
