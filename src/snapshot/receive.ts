// An archive that streams in → staged shard folders, every byte compared on the way.
import path from 'node:path';
import type { Disk } from '../fs/disk.ts';
import { GatheringWriter } from '../fs/gathering-writer.ts';
import { PieceMemory } from '../fs/read-pieces.ts';
import { checkSpace } from '../fs/reserve.ts';
import { readArchive, type ArchiveTarget, type MemberSink, type ReadArchive, type ReadOptions } from './archive-read.ts';
import type { SealedManifest } from './manifest.ts';
import { makeShardFolders, syncStaging, type Staging } from './staging.ts';

export interface ReceiveRequest extends ReadOptions {
  readonly disk: Disk;
  readonly staging: Staging;
  readonly body: AsyncIterable<Uint8Array>;
  /** Throws where the manifest does not fit; called before anything is written. */
  readonly accept: (sealed: SealedManifest) => Promise<void> | void;
  /** Hears how much of the archive is here. */
  readonly onBytes?: (bytesDone: number, bytesTotal: number) => void;
}

/** Everything staged is verified and durable when this returns. */
export async function receiveArchive(request: ReceiveRequest): Promise<ReadArchive> {
  const read = await readArchive(request.body, stagingTarget(request), request);
  await syncStaging(request.disk, request.staging, read.sealed);
  return read;
}

function stagingTarget({ disk, staging, accept, onBytes }: ReceiveRequest): ArchiveTarget {
  let totalBytes = 0;
  const memory = new PieceMemory(); // one member at a time
  return {
    begin: async (sealed, layout) => {
      await accept(sealed);
      totalBytes = layout.sizeBytes;
      await checkSpace(disk, staging.path, layout.sizeBytes);
      await makeShardFolders(disk, staging, sealed);
    },
    open: async (member): Promise<MemberSink> => {
      const file = new GatheringWriter(await disk.create(path.join(staging.path, member.name)), memory);
      let doneBytes = member.offsetBytes;
      return {
        write: async (bytes) => {
          await file.write(bytes);
          doneBytes += bytes.length;
          onBytes?.(doneBytes, totalBytes);
        },
        commit: () => file.sync(),
        [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
      };
    },
  };
}
