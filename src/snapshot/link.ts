// Puts the frozen files into the folder of a snapshot: shared by hardlinks where the file system can, else copied.
import path from 'node:path';
import { isNotFound } from '../base/errors.ts';
import { makeDirectoryDurably, writeNewFile } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { isLinkRefused, linkAll, linkOrCopy, type LinkPair } from '../fs/link.ts';
import { checkSpace } from '../fs/reserve.ts';
import type { FrozenFile, FrozenShard } from '../shard/freeze.ts';
import type { Hasher } from './hasher.ts';

/** Earlier snapshots that are looked through for equal files before one is copied. */
const olderSnapshotsMax = 3;

/** A frozen shard, where it goes below the folder, and which of its files do not (a partial snapshot leaves some out). */
export interface FrozenPlace {
  readonly folder: string;
  readonly shard: FrozenShard;
  readonly absent?: readonly string[];
}

export interface LinkRequest {
  readonly disk: Disk;
  readonly hasher: Hasher;
  /** Exists and is empty. */
  readonly folder: string;
  readonly shards: readonly FrozenPlace[];
  /** Folders of earlier snapshots on the same file system, newest first. */
  readonly older: readonly string[];
  readonly signal: AbortSignal;
}

interface Placed extends LinkPair {
  readonly file: FrozenFile;
  /** Relative to a snapshot folder. */
  readonly member: string;
}

/** Everything in the folder is durable when this returns, the folder's own names aside. */
export async function linkShards(request: LinkRequest): Promise<void> {
  const { disk, folder } = request;
  const placed: Placed[] = [];
  for (const { folder: name, shard, absent } of request.shards) {
    const shardFolder = path.join(folder, name);
    if (path.dirname(name) !== '.') await makeDirectoryDurably(disk, path.dirname(shardFolder));
    for (const made of [shardFolder, path.join(shardFolder, 'logs'), path.join(shardFolder, 'files')]) await disk.makeDirectory(made);
    await writeNewFile(disk, path.join(shardFolder, 'manifest.json'), shard.manifest.text);
    const left = new Set(absent);
    for (const file of shard.files) if (!left.has(file.name)) placed.push({ file, member: `${name}/${file.name}`, from: file.path, to: path.join(shardFolder, file.name) });
  }
  await placeFiles(request, placed);
  for (const { folder: name } of request.shards) {
    for (const part of ['files', 'logs', '.']) await disk.syncDirectory(path.join(folder, name, part));
  }
  for (const parent of new Set(request.shards.map(({ folder: name }) => path.dirname(name)))) if (parent !== '.') await disk.syncDirectory(path.join(folder, parent));
}

async function placeFiles(request: LinkRequest, placed: readonly Placed[]): Promise<void> {
  const [first, ...rest] = placed;
  if (first === undefined) return;
  try {
    await request.disk.link(first.from, first.to);
  } catch (error) {
    if (!isLinkRefused(error)) throw error;
    await copyFiles(request, placed);
    return;
  }
  await linkAll(request.disk, rest);
}

/** One after another, so that the log of live shards keeps the disk; equal files of earlier snapshots are linked. */
async function copyFiles(request: LinkRequest, placed: readonly Placed[]): Promise<void> {
  const { disk, folder, signal } = request;
  await checkSpace(disk, folder, placed.reduce((sum, { file }) => sum + file.sizeBytes, 0));
  for (const entry of placed) {
    signal.throwIfAborted();
    const equal = await findEqual(request, entry);
    await linkOrCopy(disk, { from: equal ?? entry.from, to: entry.to });
  }
}

/** A file of an earlier snapshot with this content. Its bytes are proved first: damage must not spread to a new snapshot. */
async function findEqual({ disk, hasher, older, signal }: LinkRequest, { file, member }: Placed): Promise<string | undefined> {
  for (const folder of older.slice(0, olderSnapshotsMax)) {
    const candidate = path.join(folder, member);
    try {
      const stat = await disk.findStat(candidate);
      if (stat?.isFile !== true || stat.sizeBytes !== file.sizeBytes) continue;
      if ((await hasher.hash([{ kind: 'file', path: candidate, sizeBytes: file.sizeBytes }], signal)) === file.sha256) return candidate;
    } catch (error) {
      if (!isNotFound(error)) throw error; // an earlier snapshot may be deleted at any time
    }
  }
  return undefined;
}
