// A shard out of a staged folder: sealed files are moved in as they are, the staged log is replayed up to the staged position,
// and a checkpoint there makes the new shard stand by itself, with its own log after it.
//
// Versions of points stay. A failure leaves no folder of the new shard; the staged folder is then no longer complete.
import path from 'node:path';
import { CorruptionError } from '../base/errors.ts';
import { FileLog } from '../log/file-log.ts';
import type { LogPosition } from '../log/shard-log.ts';
import { applyEntry, refuseFailedRead } from './apply.ts';
import { checkpoint, sealInsideEntry, type CheckpointParts } from './checkpoint.ts';
import { replay } from './replay.ts';
import { openSegments, Shard, startOf, type ShardOptions } from './shard.ts';
import { filesDirectory, logsDirectory, makeShardFolder, ShardFolder } from './shard-folder.ts';
import { shardLimits } from './shard-limits.ts';
import { namedFiles, readManifest, writeManifest, type ShardManifest } from './shard-manifest.ts';
import { ShardState } from './shard-state.ts';

export interface ShardStaging {
  readonly id: number;
  /** Holds `manifest.json`, `logs/` and `files/`: every byte verified and synced, on the file system of the new shard. */
  readonly directory: string;
  readonly position: LogPosition;
  readonly points: number;
}

export interface AdoptOptions extends ShardOptions {
  readonly staging: ShardStaging;
  /** A copy of what the shard's log says already: it goes on there, and no restore is noted. */
  readonly isCopy?: boolean;
}

/** Uses the staged folder up. @throws CorruptionError where it does not lead to the position and number of points it should. */
export async function adoptShard(options: AdoptOptions): Promise<Shard> {
  const { disk, directory, staging } = options;
  let shard: Shard | undefined;
  try {
    await makeShardFolder(disk, directory);
    const { manifest } = await readManifest(disk, staging.directory);
    await moveFiles(options, manifest);
    await leadToPosition(options, manifest);
    shard = await Shard.open(options);
    checkContents(shard, staging);
    shard.follow();
    if (options.isCopy !== true) await shard.noteRestore({ collectionUuid: manifest.collectionUuid, shardId: manifest.shardId, generation: manifest.generation, seq: staging.position.seq });
    await disk.removeTree(staging.directory);
    return shard;
  } catch (error) {
    await shard?.close();
    await disk.removeTree(directory);
    throw error;
  }
}

async function moveFiles({ disk, directory, staging }: AdoptOptions, manifest: ShardManifest): Promise<void> {
  for (const name of namedFiles(manifest)) await disk.rename(path.join(filesDirectory(staging.directory), name), path.join(filesDirectory(directory), name));
  await disk.syncDirectory(filesDirectory(directory));
}

/** The manifest of the new shard at the staged position: the staged checkpoint, then the staged log on top of it. */
async function leadToPosition(options: AdoptOptions, staged: ShardManifest): Promise<void> {
  const { disk, directory, indexes, logger, staging, limits = shardLimits } = options;
  const { collectionUuid, shardId, generation } = options;
  const stored = await writeManifest(disk, directory, { ...staged, collectionUuid, shardId, generation, durable: staged.applied });
  const log = await openStagedLog(options, staged);
  try {
    if (log.lastSeq === staged.applied) return;
    const state = new ShardState(indexes, startOf(options, stored.manifest), await openSegments(options, stored.manifest));
    try {
      const parts: CheckpointParts = {
        folder: new ShardFolder({ disk, directory, logger }, stored),
        state,
        indexes,
        queue: { betweenEntries: async (section) => await section() }, // nothing else applies entries
        log: { get durableSeq() { return state.applied; }, rotate: () => Promise.resolve([]), purgeTo: () => Promise.resolve(), sync: () => Promise.resolve() },
        storedLive: new WeakMap(),
      };
      const makeRoom = async (): Promise<void> => {
        if (state.unsealedBytes > limits.unsealedBytesMax) await sealInsideEntry(parts);
      };
      await replay(log.read(staged.applied + 1), logsDirectory(staging.directory), {
        apply: (entry, operation) => applyEntry(state, entry, operation, { makeRoom, afterFailedRead: refuseFailedRead }),
        makeRoom: async () => {
          if (state.unsealedBytes > limits.unsealedBytesMax) await checkpoint(parts);
        },
      });
      await checkpoint(parts);
      await parts.folder.close();
    } finally {
      await state.close();
    }
  } finally {
    await log.close();
  }
}

/** Under the identity it was written with. @throws CorruptionError where it does not end at the staged position */
async function openStagedLog(options: AdoptOptions, staged: ShardManifest): Promise<FileLog> {
  const { disk, clock, logger, staging } = options;
  const { collectionUuid, shardId, generation, applied, chain, time } = staged;
  const directory = logsDirectory(staging.directory);
  const log = await FileLog.open({ disk, clock, logger, directory, collectionUuid, shardId, generation, applied: { seq: applied, chain, time }, durableMark: staging.position.seq });
  const found = log.position();
  if (found.seq === staging.position.seq && found.chain === staging.position.chain) return log;
  await log.close();
  const { seq, chain: wanted } = staging.position;
  throw new CorruptionError({ file: directory, problem: `ends at seq ${found.seq} with chain hash ${found.chain}, not at ${seq} with ${wanted}` });
}

function checkContents(shard: Shard, { directory, position, points }: ShardStaging): void {
  const found = { ...shard.position(), points: shard.info().points };
  if (found.seq === position.seq && found.chain === position.chain && found.points === points) return;
  throw new CorruptionError({
    file: directory,
    problem: `led to seq ${found.seq}, chain hash ${found.chain} and ${found.points} points instead of ${position.seq}, ${position.chain} and ${points}`,
  });
}
