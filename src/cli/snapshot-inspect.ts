// nearkeep snapshot inspect: what an archive says of itself, of a file or folder here or of a server's snapshot. Only its beginning
// is read; `nearkeep verify` proves the rest.
import path from 'node:path';
import { byKey } from '../collection/key-places.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { layoutOf } from '../snapshot/archive-layout.ts';
import { readArchiveManifest } from '../snapshot/archive-read.ts';
import { fileBytes } from '../snapshot/file-bytes.ts';
import type { SealedManifest } from '../snapshot/manifest.ts';
import { readSealedManifest } from '../snapshot/stored-folder.ts';
import { EXIT, ExitError, UsageError } from './exit-codes.ts';
import { scopeOf, type SnapshotCommand } from './snapshot-command.ts';
import { sizeText } from './size-text.ts';

export async function inspect(command: SnapshotCommand): Promise<void> {
  const { output } = command;
  const sealed = await readManifest(command);
  const { manifest } = sealed;
  const { sizeBytes } = layoutOf(sealed);
  const madeAt = new Date(manifest.createdAtMs).toISOString();
  output.line(`snapshot of ${manifest.kind === 'collection' ? 'a collection' : manifest.kind === 'shard' ? 'a shard' : 'the whole storage'}${manifest.isPartial ? ' (partial)' : ''}, made at ${madeAt} by nearkeep ${manifest.productVersion} on node ${manifest.peerId}, ${sizeText(sizeBytes)}`);
  const items = manifest.collections.map(({ name, uuid, config, shardKeys, payloadSchema, aliases, shards }) => {
    const points = shards.reduce((sum, shard) => sum + shard.points, 0);
    output.line(`${name}: ${points.toLocaleString('en')} points in ${shards.length} of ${shardKeys?.length ?? config.params.shard_number} shards, vectors ${JSON.stringify(config.params.vectors)}`);
    if (aliases.length > 0) output.line(`  aliases ${aliases.join(', ')}`);
    for (const [field, { type }] of payloadSchema) output.line(`  index ${field}: ${type}`);
    const keys = byKey(shardKeys ?? []);
    for (const [key, all] of keys) output.line(`  key ${key}: shard${all.length === 1 ? '' : 's'} ${all.map(({ id }) => id).join(', ')}`);
    for (const { shardId, points: count, position } of shards) output.line(`  shard ${shardId}: ${count.toLocaleString('en')} points at entry ${position.seq}`);
    return {
      name, uuid, points, config, aliases,
      ...(shardKeys === undefined ? {} : { shard_keys: [...keys].map(([key, all]) => ({ key, shards: all.map(({ id }) => id) })) }),
      payload_schema: Object.fromEntries([...payloadSchema].map(([field, schema]) => [field, schema])),
      shards: shards.map(({ shardId, points: count, position }) => ({ id: shardId, points: count, log: position })),
    };
  });
  output.result({ kind: manifest.kind, partial: manifest.isPartial, created_at: madeAt, created_by: manifest.productVersion, peer_id: manifest.peerId, size: sizeBytes, collections: items });
}

/** One argument: a place here, or `-`. Two, or one with --storage: a snapshot of a server. */
async function readManifest({ remote, values, rest, signal }: SnapshotCommand): Promise<SealedManifest> {
  const isRemote = values.url !== undefined || values.storage === true || values.shard !== undefined || rest.length === 2;
  if (!isRemote) return await readLocal(rest);
  const scope = scopeOf(values, rest);
  const [name, ...others] = scope.rest;
  if (name === undefined || others.length > 0) throw new UsageError('inspect takes a PATH, or COLLECTION and NAME');
  const { body } = await remote.open('GET', `${scope.path}/${encodeURIComponent(name)}`, { signal });
  return await readArchiveManifest(body, signal);
}

async function readLocal([file, ...others]: readonly string[]): Promise<SealedManifest> {
  if (file === undefined || others.length > 0) throw new UsageError('inspect takes a PATH, or COLLECTION and NAME');
  if (file === '-') return await readArchiveManifest(process.stdin);
  const disk = new NodeDisk();
  const stat = await disk.findStat(file);
  if (stat === undefined) throw new ExitError(`${file} does not exist`, EXIT.notFound);
  return stat.isDirectory ? await readSealedManifest((name) => disk.openRead(path.join(path.resolve(file), name))) : await readArchiveManifest(fileBytes(disk, file));
}
