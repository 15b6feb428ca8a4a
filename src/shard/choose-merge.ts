// Which sealed segments are worth writing anew: one with many dead rows, or several of a like size; and when the shard has come to rest,
// everything into one. Rare on purpose: what is rewritten needs a new graph and is new to every backup.
import { must } from '../base/assert.ts';
import type { Merging } from '../command/indexing-config.ts';
import type { ShardLimits } from './shard-limits.ts';

/** Segments of one tier are within this factor in size, and so many of them become one of the next tier. */
const tierFactor = 4;
const deadShareMax = 0.2;
/** At rest a segment is merged with the smaller ones where together they have more than so much of its size: so what trickles in is
 *  written again 32 times at most on each level of 33 times the size, and 32 of 33 rows lie in the largest graph. A merge that takes the
 *  links of its largest part over costs a fifth of one that finds them anew, and each graph more costs every search a walk. */
const restFactor = 32;

export interface SegmentSize {
  readonly rows: number;
  readonly deleted: number;
  /** Of its files. */
  readonly bytes: number;
}

/** Positions in `segments` to merge into one; undefined where all is well. */
export function chooseMerge(segments: readonly SegmentSize[], limits: ShardLimits, merging: Merging): readonly number[] | undefined {
  const crowded = segments.findIndex((segment) => isCrowded(segment, limits));
  if (crowded !== -1) return [crowded];
  const tiers = new Map<number, number[]>();
  for (const [at, segment] of segments.entries()) {
    const tier = tierOf(liveBytes(segment), limits.headBytesMax);
    tiers.set(tier, [...(tiers.get(tier) ?? []), at]);
  }
  for (const [, tier] of [...tiers].sort(([a], [b]) => a - b)) {
    const chosen = fitting(tier, segments, boundsOf(segments, limits, merging));
    if (chosen.length >= tierFactor) return chosen;
  }
  return undefined;
}

/** For a shard that is not written to: positions of the smallest segments, so many that what is left is few and each far larger than
 *  all that are smaller together. */
export function chooseMergeAtRest(segments: readonly SegmentSize[], limits: ShardLimits, merging: Merging): readonly number[] | undefined {
  const bytesAt = (at: number): number => liveBytes(must(segments[at], 'positions are of segments'));
  const { bytesMax, countMax } = boundsOf(segments, limits, merging);
  const ascending = [...segments.keys()].sort((a, b) => bytesAt(a) - bytesAt(b));
  let bytes = 0;
  let count = 0;
  for (const [position, at] of ascending.slice(0, countMax).entries()) {
    if (position > 0 && bytes + bytesAt(at) > bytesMax) break;
    if (position > 0 && bytesAt(at) < restFactor * bytes) count = position + 1;
    bytes += bytesAt(at);
  }
  return count < 2 ? undefined : ascending.slice(0, count).sort((a, b) => a - b);
}

/** Small enough that while writes come its tier will be merged before long. */
export function isMergedSoon(segment: SegmentSize, limits: ShardLimits): boolean {
  return tierOf(liveBytes(segment), limits.headBytesMax) === 0;
}

/** Dead rows cost enough that the segment should be written without them. */
export function isCrowded({ rows, deleted }: { readonly rows: number; readonly deleted: number }, limits: ShardLimits): boolean {
  return deleted === rows || (deleted >= limits.vacuumRowsMin && deleted > rows * deadShareMax);
}

interface Bounds {
  readonly bytesMax: number;
  /** So many segments may become one. */
  readonly countMax: number;
}

function boundsOf(segments: readonly SegmentSize[], { mergedBytesMax }: ShardLimits, { segmentsMin, bytesMax = mergedBytesMax }: Merging): Bounds {
  return { bytesMax, countMax: Math.max(0, segments.length - segmentsMin + 1) };
}

function fitting(tier: readonly number[], segments: readonly SegmentSize[], { bytesMax, countMax }: Bounds): readonly number[] {
  const bytesAt = (at: number): number => liveBytes(must(segments[at], 'a tier has positions of segments'));
  const chosen: number[] = [];
  let bytes = 0;
  for (const at of [...tier].sort((a, b) => bytesAt(a) - bytesAt(b))) {
    if (bytes + bytesAt(at) > bytesMax || chosen.length === countMax) break;
    chosen.push(at);
    bytes += bytesAt(at);
  }
  return chosen.sort((a, b) => a - b);
}

function liveBytes({ rows, deleted, bytes }: SegmentSize): number {
  return (bytes * (rows - deleted)) / rows;
}

function tierOf(bytes: number, firstTierBytes: number): number {
  return Math.max(0, Math.floor(Math.log(bytes / firstTierBytes) / Math.log(tierFactor)));
}
