// snapshot.json from outside → a manifest. Nothing is allocated by a number before that number was bounded; what the document
// says twice (totals, content roots, shard numbers) must agree, so a manifest that parses describes exactly one archive.
import { sha256Hex, sha256Pattern } from '../base/checksum.ts';
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { uuidPattern } from '../base/ids.ts';
import type { KeyedShard } from '../collection/key-places.ts';
import { ROUTING } from '../collection/route.ts';
import { isCustomSharded } from '../command/collection-config.ts';
import { nameProblem } from '../command/names.ts';
import { parseShardKeyText } from '../command/shard-key.ts';
import { FIELD_TYPES, type FieldSchema } from '../payload/field-schema.ts';
import type { FrozenSegment } from '../shard/freeze.ts';
import { badSnapshot } from './archive-error.ts';
import { parseBoundedJson } from './bounded-json.ts';
import { JsonField } from './json-field.ts';
import { copiesMax, parseConfig } from './manifest-config.ts';
import {
  contentRoot, MANIFEST_BYTES_MAX, MEMBERS_MAX, SNAPSHOT_FORMAT, SNAPSHOT_FORMAT_VERSION, shardMembers, totalsOf, type SealedManifest, type SnapshotCollection,
  type SnapshotKind, type SnapshotManifest, type SnapshotShard,
} from './manifest.ts';
import { createdAtMsMax } from './snapshot-name.ts';

const bounds = { depthMax: 32, valuesMax: 1_000_000, containersMax: 250_000 };
const shardIdMax = 2 ** 32 - 1;
const versionPattern = /^[0-9A-Za-z.+-]{1,32}$/;
/** Becomes the ending of a file name; which kinds exist is the shard's to judge. */
const fileKindPattern = /^[a-z][a-z0-9]{0,15}$/;
const anyText = /^/;

/** @throws RequestError 'bad-request': not a snapshot, of a newer format, damaged, or out of bounds. */
export async function parseManifest(text: Buffer): Promise<SealedManifest> {
  if (text.length > MANIFEST_BYTES_MAX) throw badSnapshot('snapshot.json', `has more than ${MANIFEST_BYTES_MAX} bytes`);
  const document = new JsonField(await parseBoundedJson(text, bounds, (problem, offset) => badSnapshot('snapshot.json', problem, offset)), '');
  if (document.get('format').value !== SNAPSHOT_FORMAT) throw badSnapshot('snapshot.json', 'is not the manifest of a nearkeep snapshot');
  refuseNewerFormat(document);
  const createdAt = document.get('created_at');
  const createdAtMs = Date.parse(createdAt.text(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'a UTC time'));
  if (!(createdAtMs >= 0 && createdAtMs <= createdAtMsMax)) createdAt.refuse('a UTC time from 1970 to 2242');
  const kind = document.get('kind').oneOf(['collection', 'shard', 'storage'] as const);
  const isPartial = document.find('partial')?.boolean() ?? false;
  if (isPartial && kind !== 'shard') document.get('partial').refuse('absent, for a snapshot of this kind');
  const manifest: SnapshotManifest = {
    kind,
    isPartial,
    createdAtMs,
    productVersion: document.get('created_by').get('version').text(versionPattern, 'a version'),
    peerId: document.get('peer_id').integer(),
    collections: await parseCollections(document.get('collections'), { kind, isPartial }),
  };
  checkTotals(document.get('totals'), manifest);
  return { manifest, text, sha256: sha256Hex(text) };
}

function refuseNewerFormat(document: JsonField): void {
  const version = document.get('format_version').integer(1);
  const needed = document.get('min_reader_version').integer(1, version);
  if (needed <= SNAPSHOT_FORMAT_VERSION) return;
  const creator = document.get('created_by').get('version').text(versionPattern, 'a version');
  throw new RequestError('bad-request', `Invalid snapshot: made by nearkeep ${creator} in format version ${version}, which needs a reader of version ${needed}; `
    + `this server reads up to version ${SNAPSHOT_FORMAT_VERSION}. Restore it with nearkeep ${creator} or newer`);
}

interface KindOfSnapshot {
  readonly kind: SnapshotKind;
  readonly isPartial: boolean;
}

async function parseCollections(field: JsonField, of: KindOfSnapshot): Promise<readonly SnapshotCollection[]> {
  const entries = field.list(of.kind === 'storage' ? MEMBERS_MAX : 1);
  if (of.kind !== 'storage' && entries.length !== 1) return field.refuse('a list of one collection');
  const budget = { membersLeft: MEMBERS_MAX };
  const collections: SnapshotCollection[] = [];
  const names = new Set<string>();
  for (const entry of entries) {
    const collection = await parseCollection(entry, of, budget);
    for (const name of [collection.name, ...collection.aliases]) {
      if (names.has(name)) field.refuse('of collections with names and aliases of their own');
      names.add(name);
    }
    if (of.kind === 'shard' && collection.shards.length !== 1) entry.get('shards').refuse('a list of one shard');
    collections.push(collection);
  }
  return collections;
}

async function parseCollection(field: JsonField, of: KindOfSnapshot, budget: { membersLeft: number }): Promise<SnapshotCollection> {
  const config = parseConfig(field.get('config'));
  const routing = field.get('shard_map').get('routing');
  routing.get('hash').oneOf([ROUTING.hash]);
  routing.get('version').oneOf([ROUTING.version]);
  field.get('shard_map').get('shard_number').oneOf([config.params.shard_number]);
  const mapped = field.get('shard_map').get('shards').list(MEMBERS_MAX);
  const shardKeys = isCustomSharded(config) ? parseKeyedShards(mapped) : undefined;
  return {
    name: reachableName(field.get('name')),
    uuid: field.get('uuid').text(uuidPattern, 'a UUID'),
    config,
    ...(shardKeys === undefined ? {} : { shardKeys }),
    payloadSchema: parseSchema(field.get('payload_schema')),
    aliases: field.get('aliases').list(MEMBERS_MAX).map(reachableName),
    shards: await parseShards(field.get('shards'), { ids: shardKeys?.map(({ id }) => id) ?? config.params.shard_number, isPartial: of.isPartial, budget }),
  };
}

/** So that nothing is restored that no request can reach or delete. */
function reachableName(field: JsonField): string {
  const name = field.text(anyText, 'a collection name');
  return nameProblem(name) === undefined ? name : field.refuse('a collection name');
}

function parseSchema(field: JsonField): ReadonlyMap<string, FieldSchema> {
  return new Map(field.list(MEMBERS_MAX).map((entry) => {
    const params = entry.find('params');
    const schema = { type: entry.get('type').oneOf(FIELD_TYPES), ...(params === undefined ? {} : { params: params.object() }) };
    return [entry.get('field').text(anyText, 'a text'), schema];
  }));
}

/** All shards of the collection, ascending; also those that are not in the file. */
function parseKeyedShards(fields: readonly JsonField[]): readonly KeyedShard[] {
  const shards: KeyedShard[] = [];
  for (const field of fields) {
    const id = field.get('id').integer((shards.at(-1)?.id ?? -1) + 1, shardIdMax);
    const text = field.get('key');
    const key = parseShardKeyText(text.text(anyText, 'a text')) ?? text.refuse('the JSON text of a shard key');
    const factor = field.find('replication_factor')?.integer(1, copiesMax);
    shards.push({ id, key, ...(factor === undefined ? {} : { factor }) });
  }
  return shards;
}

interface ShardLimits {
  /** How many there can be, or which. */
  readonly ids: number | readonly number[];
  readonly isPartial: boolean;
  /** Over all collections of the archive. */
  readonly budget: { membersLeft: number };
}

async function parseShards(field: JsonField, { ids, isPartial, budget }: ShardLimits): Promise<readonly SnapshotShard[]> {
  const shards: SnapshotShard[] = [];
  let sliceStart = performance.now();
  const known = typeof ids === 'number' ? undefined : new Set(ids);
  for (const entry of field.list(known?.size ?? Number(ids))) {
    const segments: FrozenSegment[] = [];
    for (const segment of entry.get('segments').list(budget.membersLeft)) {
      segments.push(parseSegment(segment, budget.membersLeft));
      budget.membersLeft -= segments.at(-1)?.files.length ?? 0;
      if (budget.membersLeft < 0) field.refuse(`of at most ${MEMBERS_MAX} files`);
      if (performance.now() - sliceStart > sliceMsMax) {
        await yieldToLoop();
        sliceStart = performance.now();
      }
    }
    const shard = parseShard(entry, { segments, logFilesMax: budget.membersLeft, isPartial });
    budget.membersLeft -= shard.logFiles.length + 1;
    if (budget.membersLeft < 0) field.refuse(`of at most ${MEMBERS_MAX} files`);
    if (shard.shardId <= (shards.at(-1)?.shardId ?? -1)) entry.get('id').refuse('above the number of the shard before it');
    if (known?.has(shard.shardId) === false) entry.get('id').refuse('of a shard that shard_map names');
    shards.push(shard);
  }
  return shards;
}

function parseShard(field: JsonField, of: { readonly segments: readonly FrozenSegment[]; readonly logFilesMax: number; readonly isPartial: boolean }): SnapshotShard {
  const { segments, logFilesMax, isPartial } = of;
  field.get('complete').oneOf([true]);
  const log = field.get('log');
  const seq = log.get('seq').integer();
  const shard = {
    shardId: field.get('id').integer(0, shardIdMax),
    position: { generation: log.get('generation').integer(0, shardIdMax), seq, chain: log.get('chain').text(/^[0-9a-f]{32}$/, 'a chain hash') },
    time: parseTime(field.get('time')),
    points: field.get('points').integer(),
    manifest: parseDigest(field.get('manifest')),
    segments,
    logFiles: parseLogFiles(field.get('log_files'), { seq, logFilesMax }),
  };
  const root = contentRoot(shardMembers(shard));
  if (field.get('content_root').value !== root) field.get('content_root').refuse('the hash over the shard\'s files');
  return { ...shard, contentRoot: root, ...(isPartial ? { absent: parseAbsent(field.get('absent'), shard) } : {}) };
}

/** Files of segments only, each one of the shard's. */
function parseAbsent(field: JsonField, shard: Pick<SnapshotShard, 'manifest' | 'logFiles' | 'segments'>): readonly string[] {
  const files = new Set(shardMembers(shard).map(({ name }) => name).filter((name) => name.startsWith('files/')));
  const absent = field.list(MEMBERS_MAX).map((entry) => entry.text(anyText, 'a text'));
  if (!absent.every((name) => files.delete(name))) field.refuse('a list of the shard\'s files, each once');
  return absent;
}

function parseTime(field: JsonField): bigint {
  const time = BigInt(field.text(/^\d{1,20}$/, 'a 64-bit time'));
  return time < 2n ** 64n ? time : field.refuse('a 64-bit time');
}

function parseDigest(field: JsonField): { sizeBytes: number; sha256: string } {
  return { sizeBytes: field.get('size').integer(), sha256: field.get('sha256').text(sha256Pattern, 'a sha256') };
}

function parseSegment(field: JsonField, filesMax: number): FrozenSegment {
  const points = field.get('points').integer();
  return {
    uuid: field.get('uuid').text(uuidPattern, 'a UUID'),
    points,
    deleted: field.get('deleted').integer(),
    minSeq: field.get('min_seq').integer(),
    maxSeq: field.get('max_seq').integer(),
    files: field.get('files').list(filesMax).map((file) => ({
      kind: file.get('kind').text(fileKindPattern, 'a file kind'),
      ...(file.find('vector') === undefined ? {} : { vector: file.get('vector').text(anyText, 'a text') }),
      formatVersion: file.get('format_version').integer(),
      ...parseDigest(file),
    })),
  };
}

/** Logs follow one another without a gap and end at the frozen position. */
function parseLogFiles(field: JsonField, limits: { readonly seq: number; readonly logFilesMax: number }): SnapshotShard['logFiles'] {
  const files = field.list(Math.max(0, limits.logFilesMax)).map((file) => {
    const firstSeq = file.get('first_seq').integer();
    return { firstSeq, lastSeq: file.get('last_seq').integer(Math.max(0, firstSeq - 1)), ...parseDigest(file) };
  });
  for (const [index, file] of files.entries()) {
    const before = files[index - 1];
    if (before !== undefined && (before.lastSeq + 1 !== file.firstSeq || before.firstSeq === file.firstSeq)) field.refuse('log files without a gap');
  }
  const last = files.at(-1);
  if (last !== undefined && last.lastSeq !== limits.seq) field.refuse('log files that end at log.seq');
  return files;
}

/** Also refuses sums that leave the safe integers, so that offsets into the archive are exact. */
function checkTotals(field: JsonField, manifest: SnapshotManifest): void {
  const totals = totalsOf(manifest);
  if (!Number.isSafeInteger(totals.bytes) || !Number.isSafeInteger(totals.points)) field.refuse('sums below 2^53');
  field.get('points').oneOf([totals.points]);
  field.get('files').oneOf([totals.files]);
  field.get('bytes').oneOf([totals.bytes]);
}
