// Shards for tests: small limits, plain indexes, points made of a number.
import { silentLogger } from '../../base/logger.ts';
import { systemClock } from '../../base/clock.ts';
import type { PointId } from '../../base/ids.ts';
import type { PointRecord, Selectors } from '../../command/read.ts';
import type { PointDraft } from '../../command/write.ts';
import type { Disk } from '../../fs/disk.ts';
import { FaultyDisk, type DecideFault } from '../../fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../../fs/testing/memory-disk.ts';
import { plainIndexes } from '../../index/testing/plain-indexes.ts';
import type { VectorSpec } from '../../vector/distance.ts';
import type { Shard, ShardOptions } from '../shard.ts';
import type { ShardLimits } from '../shard-limits.ts';

export const collectionUuid = '6f0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a11';

export const dotSpec: VectorSpec = { size: 4, distance: 'Dot', datatype: 'float32' };

export const everything: Selectors = { payload: { kind: 'all' }, vectors: { kind: 'all' } };

/** Seals after a few rows, so that small tests see many segments. */
export const smallLimits: ShardLimits = {
  headBytesMax: 16 << 20, headRowsMax: 8, unsealedBytesMax: 64 << 20, logBytesMax: 64 << 20, mergedBytesMax: 512 << 20, quietMs: Infinity, vacuumRowsMin: 4,
};

export function shardOptions(disk: Disk, directory: string, changes: Partial<ShardOptions> = {}): ShardOptions {
  return {
    disk, directory, indexes: plainIndexes(), clock: systemClock, logger: silentLogger,
    collectionUuid, shardId: 0, generation: 0, vectors: new Map([['', dotSpec]]), limits: smallLimits, ...changes,
  };
}

interface Faults {
  decide: DecideFault;
}

/** A disk in memory whose faults come and go as the test sets `decide`. */
export function faultyDisk(): { readonly disk: FaultyDisk; readonly inner: MemoryDisk; readonly faults: Faults } {
  const faults: Faults = { decide: () => undefined };
  const inner = new MemoryDisk();
  return { inner, faults, disk: new FaultyDisk(inner, (operation) => faults.decide(operation)) };
}

export function pointId(value: number | bigint | string): PointId {
  return value as PointId;
}

export function draft(id: number, payload: Readonly<Record<string, unknown>> = { n: id }): PointDraft {
  return { id: pointId(id), vectors: new Map([['', vectorOf(id)]]), payload: JSON.stringify(payload) };
}

export function vectorOf(n: number): Float32Array {
  return Float32Array.of(n, n / 2, 1, -n);
}

export async function upsert(shard: Shard, ...points: readonly PointDraft[]): Promise<number> {
  return (await shard.write({ kind: 'upsert', points }, { wait: true })).seq;
}

/** Every point, by id. */
export async function allPoints(shard: Shard): Promise<readonly PointRecord[]> {
  return await shard.scroll({ limit: 1_000_000, selectors: everything });
}

export async function allIds(shard: Shard): Promise<readonly PointId[]> {
  return (await allPoints(shard)).map(({ id }) => id);
}
