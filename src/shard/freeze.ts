// A frozen shard: one position, and the immutable files that hold exactly that state. A borrow: whoever froze it releases it.
import type { LogPosition } from '../log/shard-log.ts';

export interface FrozenFile {
  /** Name inside the shard folder of a snapshot: `logs/<first seq>` or `files/<sha256>.<kind>`. */
  readonly name: string;
  /** Absolute path of the live file; never changes while the freeze is held. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface FrozenSegment {
  readonly uuid: string;
  readonly points: number;
  readonly deleted: number;
  readonly minSeq: number;
  readonly maxSeq: number;
  readonly files: readonly { readonly kind: string; readonly vector?: string; readonly formatVersion: number; readonly sizeBytes: number; readonly sha256: string }[];
}

export interface FrozenShard {
  readonly shardId: number;
  readonly position: LogPosition;
  /** Hybrid time of the entry at `position`. */
  readonly time: bigint;
  readonly points: number;
  /** The shard manifest, text as on disk: the state after its `applied` seq; the logs lead from there to `position`. */
  readonly manifest: { readonly text: Buffer; readonly sha256: string };
  readonly segments: readonly FrozenSegment[];
  readonly logFiles: readonly { readonly firstSeq: number; readonly lastSeq: number; readonly sizeBytes: number; readonly sha256: string }[];
  /** All files but the manifest. */
  readonly files: readonly FrozenFile[];
  /** Lets garbage collection have the files again. Idempotent. */
  release(): void;
}
