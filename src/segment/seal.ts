import type { Disk } from '../fs/disk.ts';
import type { MutableSegment } from './mutable-segment.ts';
import type { SegmentDescription } from './segment.ts';

export interface SealRequest {
  readonly disk: Disk;
  readonly filesDirectory: string;
  /** At least one row; nothing is appended to it any more, deletes may go on. */
  readonly source: MutableSegment;
  /** Dead rows as at the checkpoint (`source.deletedBits()` then); those of the call without it. */
  readonly deleted?: Uint32Array;
}

/** Row numbers are kept. The files are durable, under names that only the description tells, when it resolves. */
export declare function sealSegment(request: SealRequest): Promise<SegmentDescription>;
