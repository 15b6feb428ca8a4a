import type { Disk } from '../fs/disk.ts';
import type { SegmentDescription } from './segment.ts';

/** `deleted`: bitmap of `rows` rows with at least one bit. Durable, name included, when it resolves. */
export declare function writeDeletedBits(request: {
  readonly disk: Disk; readonly filesDirectory: string; readonly rows: number; readonly deleted: Uint32Array;
}): Promise<NonNullable<SegmentDescription['del']>>;
