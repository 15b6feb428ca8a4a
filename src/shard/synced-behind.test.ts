// A shard over a log that syncs behind its appends: what its manifests may say of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileLog } from '../log/file-log.ts';
import type { ClosedLogFile } from '../log/shard-log.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from './shard.ts';
import { readManifest } from './shard-manifest.ts';
import { FedLog } from './testing/fed-log.ts';
import { draft, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { verifyShard } from './verify-shard.ts';

const directory = '/shards/0';

/** Its files are rotated, and something comes before anybody does anything about it. */
class LateLog extends FedLog {
  afterRotate: () => Promise<unknown> = () => Promise.resolve();

  override async rotate(after: number): Promise<readonly ClosedLogFile[]> {
    const files = await super.rotate(after);
    await this.afterRotate();
    return files;
  }
}

test('a checkpoint of entries that came after its log was rotated stands after a power cut, whatever became of them in the log', async () => {
  const disk = new MemoryDisk();
  await disk.makeDirectory('/shards');
  await disk.syncDirectory('/');
  const logs: LateLog[] = [];
  const shareLog = (local: FileLog): FedLog => {
    local.syncBehind(true);
    const log = new LateLog(local);
    logs.push(log);
    return log;
  };
  const options = shardOptions(disk, directory, { shareLog, limits: { ...smallLimits, headRowsMax: 100 } });
  const shard = await Shard.create(options);
  await disk.syncDirectory('/shards');
  await upsert(shard, draft(1));
  for (const log of logs) log.afterRotate = () => upsert(shard, draft(2));
  await shard.checkpoint();
  await upsert(shard, draft(3));
  const { applied, durable } = (await readManifest(disk, directory)).manifest;
  assert.deepEqual([applied, durable, shard.position().seq], [2, 2, 3], 'neither less than is applied nor more than is synced');
  disk.cutPower();
  assert.deepEqual((await verifyShard({ disk, directory, deep: true })).findings, []);
  await using again = await Shard.open(options);
  assert.deepEqual([again.position().seq, again.info().points], [2, 2]);
});
