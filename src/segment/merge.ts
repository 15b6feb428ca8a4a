import type { Disk } from '../fs/disk.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import type { VectorSpec } from '../vector/distance.ts';
import type { SealedSegment } from './sealed-segment.ts';
import type { SegmentDescription } from './segment.ts';

export interface MergeRequest {
  readonly disk: Disk;
  readonly filesDirectory: string;
  /** Oldest first. `live`: `segment.liveBits()` when the merge starts; later deletes are carried over by the row maps. */
  readonly inputs: readonly { readonly segment: SealedSegment; readonly live: Uint32Array }[];
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: PayloadSchema;
  /** Checked between slices; an abort rejects with its reason and leaves at most files that no manifest names. */
  readonly signal?: AbortSignal;
}

export interface MergeResult {
  /** undefined where no row was live. */
  readonly description: SegmentDescription | undefined;
  /** Per input: row there → row in the new segment, -1 for dead ones. */
  readonly rowMaps: readonly Int32Array[];
}

export declare function mergeSegments(request: MergeRequest): Promise<MergeResult>;
