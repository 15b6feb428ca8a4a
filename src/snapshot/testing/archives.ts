// What most snapshot tests start from: an archive in memory, and bodies in chunks.
import path from 'node:path';
import { NodeDisk } from '../../fs/node-disk.ts';
import { layoutOf, type ArchiveLayout } from '../archive-layout.ts';
import { archiveBytes } from '../archive-write.ts';
import { manifestOf, type SealedManifest } from '../manifest.ts';
import { FakeSource } from './fake-source.ts';

export const createdAtMs = Date.UTC(2026, 1, 3, 4, 5, 6, 789);

export interface TestArchive {
  readonly source: FakeSource;
  readonly sealed: SealedManifest;
  readonly layout: ArchiveLayout;
  readonly bytes: Buffer;
}

/** An archive of a made-up collection `c`, whole in memory. */
export async function makeArchive(folder: string, options: Parameters<FakeSource['add']>[1] = {}): Promise<TestArchive> {
  const source = new FakeSource(path.join(folder, 'live'));
  await source.add('c', options);
  const frozen = await source.freeze('c');
  const sealed = await manifestOf([frozen], { createdAtMs, productVersion: '0.1.0', peerId: 42, kind: 'collection' });
  const paths = new Map<string, string>(frozen.shards.flatMap(({ shardId, files }) => files.map((file) => [`${shardId}/${file.name}`, file.path] as const)));
  const texts = new Map<string, Buffer>([['snapshot.json', sealed.text], ['snapshot.json.sha256', Buffer.from(sealed.sha256)]]);
  for (const { shardId, manifest } of frozen.shards) texts.set(`${shardId}/manifest.json`, manifest.text);
  const layout = layoutOf(sealed);
  const disk = new NodeDisk();
  const open = async (name: string): ReturnType<NodeDisk['openRead']> => {
    const text = texts.get(name);
    return text === undefined ? disk.openRead(paths.get(name) ?? name) : memoryHandle(text);
  };
  const pieces: Buffer[] = [];
  for await (const piece of archiveBytes({ open }, layout, { start: 0, end: layout.sizeBytes - 1 })) pieces.push(piece);
  frozen.release();
  return { source, sealed, layout, bytes: Buffer.concat(pieces) };
}

function memoryHandle(bytes: Buffer): Awaited<ReturnType<NodeDisk['openRead']>> {
  return {
    sizeBytes: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A body in chunks of a size that fits nothing. */
export async function* inChunks(bytes: Buffer, chunkBytes = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}
