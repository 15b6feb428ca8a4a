// Proves a shard's folder without opening it for service and without changing a byte: of a running server's data directory whose
// lock the caller holds, or of a snapshot. Finds all damaged segment files; of a log the first damage.
import { CorruptionError, isNotFound } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import type { Disk } from '../fs/disk.ts';
import type { LogPosition } from '../log/shard-log.ts';
import { verifySegmentFiles, type Finding } from '../segment/verify-segment.ts';
import { applyEntry, refuseFailedRead } from './apply.ts';
import { MergedById } from './merged-by-id.ts';
import { replay } from './replay.ts';
import { rowStores } from './row-stores.ts';
import { openSegments } from './shard.ts';
import { filesDirectory, logsDirectory } from './shard-folder.ts';
import { namedFiles, readManifest, type ShardManifest } from './shard-manifest.ts';
import { ShardState } from './shard-state.ts';
import { readVerified, verifyLog, type VerifiedLog } from './verify-log.ts';

export interface VerifyShardRequest {
  readonly disk: Disk;
  /** Holds `manifest.json`, `logs/` and `files/`. */
  readonly directory: string;
  /** Also: the content of segment files, every entry decoded and applied, ids unique over all segments. */
  readonly deep: boolean;
  readonly signal?: AbortSignal;
}

export interface ShardVerdict {
  /** Damage; empty: all is well. */
  readonly findings: readonly Finding[];
  /** What the next start removes: harmless. Names below the shard's folder. */
  readonly leftovers: readonly string[];
  /** What was read. */
  readonly fileCount: number;
  readonly sizeBytes: number;
  /** Where the log leads to; undefined where manifest or log are damaged. */
  readonly position: LogPosition | undefined;
  /** Deep, and without damage: live points at `position`. */
  readonly points: number | undefined;
}

const idsAtOnce = 4_096;

/** @throws only what is no damage: errors of the disk, an abort */
export async function verifyShard(request: VerifyShardRequest): Promise<ShardVerdict> {
  const { disk, directory, deep, signal } = request;
  const findings: Finding[] = [];
  const stored = await collect(findings, () => readManifest(disk, directory));
  if (stored === undefined) return { findings, leftovers: [], fileCount: 1, sizeBytes: 0, position: undefined, points: undefined };
  const { manifest, text } = stored;
  const read = { fileCount: 1, sizeBytes: text.byteLength };
  for (const description of manifest.segments) {
    const found = await verifySegmentFiles({ disk, filesDirectory: filesDirectory(directory), description, deep, ...(signal === undefined ? {} : { signal }) });
    findings.push(...found);
    for (const { size } of [...description.files, ...(description.del === undefined ? [] : [description.del])]) {
      read.fileCount += 1;
      read.sizeBytes += size;
    }
  }
  const log = await collect(findings, () => verifyLog(disk, logsDirectory(directory), manifest));
  for (const { sizeBytes } of log?.files ?? []) {
    read.fileCount += 1;
    read.sizeBytes += sizeBytes;
  }
  const leftovers = [...(await unnamedFiles(request, manifest)), ...(log?.leftovers ?? []).map((name) => `logs/${name}`)];
  const points = deep && log !== undefined && findings.length === 0 ? await collect(findings, () => replayAll(request, manifest, log)) : undefined;
  return { findings, leftovers, ...read, position: log?.position, points };
}

/** The points of the state that checkpoint and log lead to. @throws CorruptionError */
async function replayAll({ disk, directory, signal }: VerifyShardRequest, manifest: ShardManifest, log: VerifiedLog): Promise<number> {
  const state = new ShardState(rowStores(), manifest, await openSegments({ disk, directory, indexes: rowStores() }, manifest));
  try {
    await replay(readVerified(disk, log, manifest.applied), logsDirectory(directory), {
      apply: (entry, operation) => applyEntry(state, entry, operation, { makeRoom: () => Promise.resolve(), afterFailedRead: refuseFailedRead }),
      makeRoom: () => {
        signal?.throwIfAborted();
        return Promise.resolve();
      },
    });
    await refuseDoubleIds(state, directory);
    return state.points;
  } finally {
    await state.close();
  }
}

async function refuseDoubleIds(state: ShardState, directory: string): Promise<void> {
  const view = state.view();
  try {
    const ordered = new MergedById(view.segments, undefined);
    let previous: PointId | undefined;
    for (let next = await ordered.take(idsAtOnce); next.length > 0; next = await ordered.take(idsAtOnce)) {
      for (const { id } of next) {
        if (id === previous) throw new CorruptionError({ file: directory, problem: `point ${id} is live in two segments` });
        previous = id;
      }
    }
  } finally {
    await view.release();
  }
}

async function unnamedFiles({ disk, directory }: VerifyShardRequest, manifest: ShardManifest): Promise<readonly string[]> {
  const named = namedFiles(manifest);
  const found = await listOptional(disk, filesDirectory(directory));
  return found.filter((name) => !named.has(name)).map((name) => `files/${name}`);
}

async function listOptional(disk: Disk, directory: string): Promise<readonly string[]> {
  try {
    return await disk.list(directory);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

async function collect<T>(findings: Finding[], work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    const { file, problem, offsetBytes } = error;
    findings.push({ file, problem, ...(offsetBytes === undefined ? {} : { offsetBytes }) });
    return undefined;
  }
}
