// One shard from another node: the archive of its state of now, received and proved like any snapshot, staged for whoever adopts it.
import path from 'node:path';
import { must } from '../base/assert.ts';
import type { StagedShard } from '../collection/snapshot-source.ts';
import type { Disk } from '../fs/disk.ts';
import { badSnapshot } from './archive-error.ts';
import { placedShards } from './manifest.ts';
import { receiveArchive } from './receive.ts';
import { openStaging } from './staging.ts';
import { asBadSnapshot, checkShardManifests } from './verify.ts';

export interface ReceivedShard extends AsyncDisposable {
  readonly staged: StagedShard;
}

/** Every byte is compared and durable when this returns. Dispose it when it is adopted, or not wanted. @throws RequestError */
export async function receiveShard(place: { readonly disk: Disk; readonly stagingRoot: string }, shardId: number, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<ReceivedShard> {
  const { disk, stagingRoot } = place;
  const staging = await openStaging(disk, stagingRoot);
  try {
    const { sealed } = await receiveArchive({
      disk, staging, body, checksum: false, signal,
      accept: ({ manifest }) => {
        const shards = placedShards(manifest);
        if (manifest.kind !== 'shard' || manifest.isPartial || shards[0]?.shard.shardId !== shardId) throw badSnapshot('snapshot.json', `is not of shard ${shardId}`);
      },
    });
    await checkShardManifests(disk, staging.path, sealed);
    const { folder, shard } = must(placedShards(sealed.manifest)[0], 'a snapshot of a shard has one');
    const staged = { id: shardId, directory: path.join(staging.path, folder), position: shard.position, points: shard.points };
    return { staged, [Symbol.asyncDispose]: () => staging[Symbol.asyncDispose]() };
  } catch (error) {
    await staging[Symbol.asyncDispose]();
    throw asBadSnapshot(error, staging.path);
  }
}
