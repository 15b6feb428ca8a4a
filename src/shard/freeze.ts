// A frozen shard: one position, and the immutable files that hold exactly that state. A borrow: whoever froze it releases it.
//
// All shards are frozen at one instant: writers are kept out of all of them together, while the logs are rotated and the
// manifests held. No seal, merge or query is waited for, and nothing is copied. The log files are read once, when writers are in again,
// for their sha256: it vouches for them as they lie on the disk, so they are compared with their checksums on the way.
import path from 'node:path';
import type { ClosedLogFile, LogPosition } from '../log/shard-log.ts';
import { FILE_KINDS, isFileKind } from '../segment/files.ts';
import { must } from '../base/assert.ts';
import { sha256Hex } from '../base/checksum.ts';
import type { SegmentDescription } from '../segment/segment.ts';
import type { PinnedPosition, Shard } from './shard.ts';
import { filesDirectory } from './shard-folder.ts';

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

/** One instant of all shards; release each. @throws what kept one of them from it, with nothing held. */
export async function freezeShards(shards: readonly Shard[]): Promise<readonly FrozenShard[]> {
  const pinned = await pinTogether(shards);
  try {
    return await Promise.all(pinned.map((each, at) => describe(must(shards[at], 'one position for each shard'), each)));
  } catch (error) {
    for (const { checkpoint } of pinned) checkpoint.release();
    throw error;
  }
}

/** Turns are taken in one order, so that two freezes cannot wait for each other. */
async function pinTogether(shards: readonly Shard[]): Promise<readonly PinnedPosition[]> {
  const letIn: (() => void)[] = [];
  try {
    for (const shard of [...shards].sort((a, b) => (a.directory < b.directory ? -1 : 1))) letIn.push(await shard.holdWriters());
    const outcomes = await Promise.allSettled(shards.map((shard) => shard.pinPosition()));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    const pinned = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    if (failed === undefined) return pinned;
    for (const { checkpoint } of pinned) checkpoint.release();
    throw failed.reason;
  } finally {
    for (const open of letIn) open();
  }
}

async function describe(shard: Shard, pinned: PinnedPosition): Promise<FrozenShard> {
  const { manifest, text } = pinned.checkpoint.stored;
  const logFiles: (ClosedLogFile & { readonly sha256: string })[] = [];
  for (const file of pinned.logFiles) logFiles.push({ ...file, sha256: await shard.hashLogFile(file) });
  return {
    shardId: shard.shardId,
    position: pinned.position,
    time: pinned.time,
    points: await pinned.points,
    manifest: { text, sha256: sha256Hex(text) },
    segments: manifest.segments.map(frozenSegment),
    logFiles: logFiles.map(({ firstSeq, lastSeq, sizeBytes, sha256 }) => ({ firstSeq, lastSeq, sizeBytes, sha256 })),
    files: [...logFiles.map(logFile), ...segmentFiles(shard.directory, manifest.segments)],
    release: () => pinned.checkpoint.release(),
  };
}

function frozenSegment({ uuid, rows, min_seq, max_seq, files, del }: SegmentDescription): FrozenSegment {
  const described = files.map(({ kind, of, size, sha256 }) => ({
    kind, ...(of === undefined || kind === 'pidx' ? {} : { vector: of }), formatVersion: formatVersion(kind), sizeBytes: size, sha256,
  }));
  const deletes = del === undefined ? [] : [{ kind: 'del', formatVersion: formatVersion('del'), sizeBytes: del.size, sha256: del.sha256 }];
  return { uuid, points: rows - (del?.count ?? 0), deleted: del?.count ?? 0, minSeq: min_seq, maxSeq: max_seq, files: [...described, ...deletes] };
}

function formatVersion(kind: string): number {
  return must(isFileKind(kind) ? FILE_KINDS[kind] : undefined, `'${kind}' is a kind of file`).formatVersion;
}

function logFile(file: ClosedLogFile & { readonly sha256: string }): FrozenFile {
  return { name: `logs/${path.basename(file.path)}`, path: file.path, sizeBytes: file.sizeBytes, sha256: file.sha256 };
}

/** Each once: segments may share a file of the same content. */
function segmentFiles(directory: string, segments: readonly SegmentDescription[]): readonly FrozenFile[] {
  const found = new Map<string, FrozenFile>();
  const add = (kind: string, file: { readonly sha256: string; readonly size: number }): void => {
    const name = `${file.sha256}.${kind}`;
    found.set(name, { name: `files/${name}`, path: path.join(filesDirectory(directory), name), sizeBytes: file.size, sha256: file.sha256 });
  };
  for (const { files, del } of segments) {
    for (const file of files) add(file.kind, file);
    if (del !== undefined) add('del', del);
  }
  return [...found.values()];
}
