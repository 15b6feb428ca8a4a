import type { Disk } from '../fs/disk.ts';
import type { SegmentDescription } from './segment.ts';

export interface Finding {
  readonly file: string;
  readonly offsetBytes?: number;
  readonly problem: string;
}

/** `deep`: the content too (decoders, unique ids, counts, JSON, index answers); else presence, size, sha256. Empty: all is well. */
export declare function verifySegmentFiles(request: {
  readonly disk: Disk; readonly filesDirectory: string; readonly description: SegmentDescription; readonly deep: boolean; readonly signal?: AbortSignal;
}): Promise<readonly Finding[]>;
