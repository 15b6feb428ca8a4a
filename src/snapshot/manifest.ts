// snapshot.json: what a snapshot is. Everything else about it (member names, order, sizes, every byte of tar) follows from here.
// JSON without white space, fields in the order written below; hashed as text, so the text is kept, not made again.
//
// { format, format_version, min_reader_version, created_by {product, version}, created_at (ISO, UTC, ms), kind, partial?, peer_id,
//   collections: [{ name, uuid, config, payload_schema: [{field, type, params?}], aliases[], shard_map, shards[] }],
//   totals {points, files, bytes} }
// shard_map { shard_number, sharding_method, routing {hash, version}, shards: [{id, key?, replication_factor?, replicas: [peer]}] }
// shards[]  { id, complete, log {generation, seq, chain}, time, points, content_root, manifest {size, sha256}, segments[], log_files[], absent[]? }
// segments[] { uuid, points, deleted, min_seq, max_seq, files: [{kind, vector?, format_version, size, sha256}] }
// log_files[] { first_seq, last_seq, size, sha256 }
// `time` is the 64-bit hybrid time of the entry at log.seq as decimal text. `payload_schema` is a list, because field paths may be
// any text, `__proto__` included.
// Under custom sharding shard_map.shards names every shard of the collection, also those of other nodes (without replicas), and `key`
// is the JSON text of the key: 7 and "7" are two. Under automatic sharding it names those of the file.
// kind: `collection` all shards of one; `shard` one shard of one; `storage` all collections of a node, each shard folder below the
// number of its collection. `partial` (kind `shard` only): the receiver has the files that `absent` names, the archive does not.
import { invariant } from '../base/assert.ts';
import { sha256Hex } from '../base/checksum.ts';
import { yieldToLoop } from '../base/clock.ts';
import { ROUTING } from '../collection/route.ts';
import type { FrozenCollection } from '../collection/snapshot-source.ts';
import type { FrozenShard } from '../shard/freeze.ts';

export const SNAPSHOT_FORMAT = 'nearkeep-snapshot';
/** The format this version writes, and the newest it reads. */
export const SNAPSHOT_FORMAT_VERSION = 1;
export const MANIFEST_BYTES_MAX = 64 << 20;
/** Members of an archive beside snapshot.json and its hash. */
export const MEMBERS_MAX = 100_000;

export interface FileDigest {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export type SnapshotKind = 'collection' | 'shard' | 'storage';

export interface SnapshotShard extends Omit<FrozenShard, 'files' | 'manifest' | 'release'> {
  /** The shard's own manifest.json. */
  readonly manifest: FileDigest;
  /** sha256 over the sorted `<sha256> <size>` lines of the shard's members: equal roots hold equal bytes. */
  readonly contentRoot: string;
  /** Members that a partial snapshot leaves out: the receiver has them. */
  readonly absent?: readonly string[];
}

export interface SnapshotCollection extends Omit<FrozenCollection, 'shards' | 'release'> {
  readonly shards: readonly SnapshotShard[];
}

export interface SnapshotManifest {
  readonly createdAtMs: number;
  readonly productVersion: string;
  readonly peerId: number;
  readonly kind: SnapshotKind;
  readonly isPartial: boolean;
  readonly collections: readonly SnapshotCollection[];
}

/** A collection with custom sharding that had no keys: there is nothing of it that the archive lacks. */
export function isWithoutShards({ shardKeys }: SnapshotCollection): boolean {
  return shardKeys?.length === 0;
}

/** A shard with its folder in the archive. */
export interface PlacedShard {
  readonly folder: string;
  readonly collection: SnapshotCollection;
  readonly shard: SnapshotShard;
}

/** In the order of the archive. */
export function placedShards({ kind, collections }: Pick<SnapshotManifest, 'kind' | 'collections'>): readonly PlacedShard[] {
  return collections.flatMap((collection, index) => collection.shards.map((shard) => ({ folder: shardFolder(kind, index, shard.shardId), collection, shard })));
}

export function shardFolder(kind: SnapshotKind, collectionIndex: number, shardId: number): string {
  return kind === 'storage' ? `${collectionIndex}/${shardId}` : String(shardId);
}

/** A manifest with the exact bytes it was read from or is written as. */
export interface SealedManifest {
  readonly manifest: SnapshotManifest;
  readonly text: Buffer;
  readonly sha256: string;
}

/** A file of a shard, named as inside the shard's folder. */
export interface ShardMember extends FileDigest {
  readonly name: string;
}

/** Manifest, logs by first seq, files by name: the order of the archive. */
export function shardMembers(shard: Pick<SnapshotShard, 'manifest' | 'logFiles' | 'segments'>): readonly ShardMember[] {
  const logs = [...shard.logFiles].sort((a, b) => a.firstSeq - b.firstSeq)
    .map(({ firstSeq, sizeBytes, sha256 }) => ({ name: `logs/${String(firstSeq).padStart(20, '0')}`, sizeBytes, sha256 }));
  const files = new Map<string, ShardMember>(); // segments may share a file of equal content
  for (const segment of shard.segments) {
    for (const { kind, sizeBytes, sha256 } of segment.files) {
      const name = `files/${sha256}.${kind}`;
      files.set(name, { name, sizeBytes, sha256 });
    }
  }
  const names = [...files.keys()].sort();
  return [
    { name: 'manifest.json', sizeBytes: shard.manifest.sizeBytes, sha256: shard.manifest.sha256 },
    ...logs,
    ...names.flatMap((name) => files.get(name) ?? []),
  ];
}

/** Those that the archive holds. */
export function archivedMembers(shard: SnapshotShard): readonly ShardMember[] {
  if (shard.absent === undefined) return shardMembers(shard);
  const absent = new Set(shard.absent);
  return shardMembers(shard).filter(({ name }) => !absent.has(name));
}

export function contentRoot(members: readonly ShardMember[]): string {
  const lines = members.map(({ sha256, sizeBytes }) => `${sha256} ${sizeBytes}\n`);
  return sha256Hex(lines.sort().join(''));
}

export interface Totals {
  readonly points: number;
  readonly files: number;
  readonly bytes: number;
}

export function totalsOf({ collections }: Pick<SnapshotManifest, 'collections'>): Totals {
  let [points, files, bytes] = [0, 0, 0];
  for (const shard of collections.flatMap(({ shards }) => shards)) {
    points += shard.points;
    for (const member of archivedMembers(shard)) {
      files += 1;
      bytes += member.sizeBytes;
    }
  }
  return { points, files, bytes };
}

export interface ManifestFacts {
  readonly createdAtMs: number;
  readonly productVersion: string;
  readonly peerId: number;
  readonly kind: SnapshotKind;
  /** Of a partial snapshot: names in `files/` that the receiver has. */
  readonly held?: ReadonlySet<string>;
}

/** The manifest of what was frozen. The freeze must still be held by whoever links the files afterwards. */
export async function manifestOf(frozen: readonly FrozenCollection[], { held, ...facts }: ManifestFacts): Promise<SealedManifest> {
  const collections = frozen.map(({ name, uuid, config, shardKeys, payloadSchema, aliases, shards }) => ({
    name, uuid, config, ...(shardKeys === undefined ? {} : { shardKeys }), payloadSchema, aliases,
    shards: [...shards].sort((a, b) => a.shardId - b.shardId).map((shard) => describeShard(shard, held)),
  }));
  const manifest = { ...facts, isPartial: held !== undefined, collections };
  const text = Buffer.from(await serializeManifest(manifest));
  return { manifest, text, sha256: sha256Hex(text) };
}

function describeShard(frozen: FrozenShard, held: ReadonlySet<string> | undefined): SnapshotShard {
  const { shardId, position, time, points, segments, logFiles } = frozen;
  const manifest = { sizeBytes: frozen.manifest.text.length, sha256: frozen.manifest.sha256 };
  const members = shardMembers({ manifest, logFiles, segments });
  const named = new Set(members.map((member) => member.name));
  invariant(named.size === frozen.files.length + 1 && frozen.files.every((file) => named.has(file.name)), `shard ${shardId} freezes exactly the files it lists`);
  const absent = held === undefined ? {} : { absent: members.map(({ name }) => name).filter((member) => member.startsWith('files/') && held.has(member.slice('files/'.length))) };
  return { shardId, position, time, points, segments, logFiles, manifest, contentRoot: contentRoot(members), ...absent };
}

async function serializeManifest(manifest: SnapshotManifest): Promise<string> {
  const { createdAtMs, productVersion, peerId, kind, isPartial, collections } = manifest;
  const head = JSON.stringify({
    format: SNAPSHOT_FORMAT,
    format_version: SNAPSHOT_FORMAT_VERSION,
    min_reader_version: 1,
    created_by: { product: 'nearkeep', version: productVersion },
    created_at: new Date(createdAtMs).toISOString(),
    kind,
    ...(isPartial ? { partial: true } : {}),
    peer_id: peerId,
  });
  const described: string[] = [];
  for (const collection of collections) described.push(await serializeCollection(collection, peerId));
  return `${head.slice(0, -1)},"collections":[${described.join(',')}],"totals":${JSON.stringify(totalsOf(manifest))}}`;
}

async function serializeCollection(collection: SnapshotCollection, peerId: number): Promise<string> {
  const shards: string[] = [];
  for (const shard of collection.shards) {
    shards.push(JSON.stringify(shardJson(shard)));
    await yieldToLoop();
  }
  const { name, uuid, config, payloadSchema, aliases } = collection;
  const described = JSON.stringify({
    name, uuid, config,
    payload_schema: [...payloadSchema].map(([field, { type, params }]) => ({ field, type, params })),
    aliases,
    shard_map: {
      shard_number: config.params.shard_number,
      sharding_method: config.params.sharding_method ?? 'auto',
      routing: { hash: ROUTING.hash, version: ROUTING.version },
      shards: mappedShards(collection, peerId),
    },
  });
  return `${described.slice(0, -1)},"shards":[${shards.join(',')}]}`;
}

function mappedShards({ shardKeys, shards }: SnapshotCollection, peerId: number): readonly unknown[] {
  if (shardKeys === undefined) return shards.map(({ shardId }) => ({ id: shardId, replicas: [peerId] }));
  const here = new Set(shards.map(({ shardId }) => shardId));
  return [...shardKeys].sort((a, b) => a.id - b.id).map(({ id, key, factor }) => ({ id, key, replication_factor: factor, replicas: here.has(id) ? [peerId] : [] }));
}

function shardJson(shard: SnapshotShard): unknown {
  const { generation, seq, chain } = shard.position;
  return {
    id: shard.shardId,
    complete: true,
    log: { generation, seq, chain },
    time: String(shard.time),
    points: shard.points,
    content_root: shard.contentRoot,
    manifest: { size: shard.manifest.sizeBytes, sha256: shard.manifest.sha256 },
    segments: shard.segments.map(({ uuid, points, deleted, minSeq, maxSeq, files }) => ({
      uuid, points, deleted, min_seq: minSeq, max_seq: maxSeq,
      files: files.map(({ kind, vector, formatVersion, sizeBytes, sha256 }) => ({ kind, vector, format_version: formatVersion, size: sizeBytes, sha256 })),
    })),
    log_files: shard.logFiles.map(({ firstSeq, lastSeq, sizeBytes, sha256 }) => ({ first_seq: firstSeq, last_seq: lastSeq, size: sizeBytes, sha256 })),
    ...(shard.absent === undefined ? {} : { absent: shard.absent }),
  };
}
