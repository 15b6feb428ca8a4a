// A frozen shard laid out as a restore stages it.
import path from 'node:path';
import { makeDirectoryDurably, writeNewFile } from '../../fs/atomic-file.ts';
import type { Disk } from '../../fs/disk.ts';
import type { ShardStaging } from '../adopt.ts';
import type { FrozenShard } from '../freeze.ts';

export async function stageCopy(disk: Disk, frozen: FrozenShard, directory: string): Promise<ShardStaging> {
  await makeDirectoryDurably(disk, path.join(directory, 'files'));
  await makeDirectoryDurably(disk, path.join(directory, 'logs'));
  await writeNewFile(disk, path.join(directory, 'manifest.json'), frozen.manifest.text);
  for (const file of frozen.files) await disk.link(file.path, path.join(directory, file.name));
  for (const folder of ['', 'files', 'logs']) await disk.syncDirectory(path.join(directory, folder));
  return { id: frozen.shardId, directory, position: frozen.position, points: frozen.points };
}
