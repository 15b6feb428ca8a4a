// When a shard seals, merges and makes its writers wait.

export interface ShardLimits {
  /** Memory of the head at which it is sealed. Small enough that an exact scan of it costs little (16 MB at 15 GB/s: 1 ms) and that
   *  a seal is written in a fraction of a second; large enough that a million vectors of 768 dimensions are 200 seals, not 20,000. */
  readonly headBytesMax: number;
  /** The same for points of few bytes, whose cost is their number. */
  readonly headRowsMax: number;
  /** Memory of rows that are only in the log. Above it writers wait for the seal that is under way. */
  readonly unsealedBytesMax: number;
  /** Log behind the last checkpoint: what a start replays, a few seconds' work at most. */
  readonly logBytesMax: number;
  /** Segments are merged up to this size: a merge rewrites it whole, and each segment beyond one costs every search a walk more. */
  readonly mergedBytesMax: number;
  /** Without a write for this long the shard has come to rest: what is left over is merged into few segments. Infinite: never. */
  readonly quietMs: number;
  /** A segment is rewritten for its dead rows from this number on, when they are more than a fifth. */
  readonly vacuumRowsMin: number;
}

export const shardLimits: ShardLimits = {
  headBytesMax: 16 << 20,
  headRowsMax: 65_536,
  unsealedBytesMax: 64 << 20,
  logBytesMax: 64 << 20,
  mergedBytesMax: 4 * 2 ** 30,
  quietMs: 500,
  vacuumRowsMin: 1_000,
};
