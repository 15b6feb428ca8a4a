// manifest.json: the commit point of a shard. The files it names are exactly the state after entry `applied`; the log leads on
// from there. Replaced as a whole by one rename, so a hardlink to an older one keeps its content.
//
//  {"format":"nearkeep-shard","format_version":1,
//   "collection_uuid":…,"shard":n,"generation":n,
//   "applied":seq,"chain":32 hex,"time":"hybrid time of that entry, decimal",
//   "digest"?:{"from":seq,"value":32 hex}                              of the state after that entry; absent: none was kept
//   "durable":highest seq known durable when this was written,
//   "vectors":[{"name","size","distance","datatype"}…],
//   "payload_schema":[{"field","schema":{"type","params"?}}…]          in order of creation
//   "segments":[{"uuid","rows","min_seq","max_seq","files":[{"kind","of"?,"chunk","sha256","size"}…],"del"?:{"sha256","size","count"}}…],
//   "op_uuids":[32 hex…]                                               of the last applied entries, oldest first
//   "sha256":64 hex}                                                   of all bytes before `,"sha256"`, closed by `}`
import path from 'node:path';
import { sha256Hex, sha256Pattern } from '../base/checksum.ts';
import { CorruptionError, isNotFound } from '../base/errors.ts';
import { uuidPattern, type Seq } from '../base/ids.ts';
import { writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { SegmentDescription, SegmentFile } from '../segment/segment.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { isFieldSchema, isVectorSpec } from './entry-body.ts';
import type { Digest } from './state-digest.ts';

export const manifestName = 'manifest.json';
const format = 'nearkeep-shard';
const formatVersion = 1;
const hashMember = ',"sha256":"';
const hashTailBytes = hashMember.length + 64 + '"}'.length;
const chainPattern = /^[0-9a-f]{32}$/;
const kindPattern = /^[a-z]{2,8}$/;

export interface ShardIdentity {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
}

export interface ShardManifest extends ShardIdentity {
  readonly applied: Seq;
  readonly chain: string;
  readonly time: bigint;
  /** Of the state after `applied`; undefined where none was kept. */
  readonly digest?: Digest | undefined;
  readonly durable: Seq;
  readonly vectors: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: ReadonlyMap<string, FieldSchema>;
  readonly segments: readonly SegmentDescription[];
  readonly opUuids: readonly string[];
}

/** A manifest and its text as it stands on disk. */
export interface StoredManifest {
  readonly manifest: ShardManifest;
  readonly text: Buffer;
}

/** @internal for tests */
export function encodeManifest(manifest: ShardManifest): Buffer {
  const body = JSON.stringify({
    format,
    format_version: formatVersion,
    collection_uuid: manifest.collectionUuid,
    shard: manifest.shardId,
    generation: manifest.generation,
    applied: manifest.applied,
    chain: manifest.chain,
    time: manifest.time.toString(),
    ...(manifest.digest === undefined ? {} : { digest: { from: manifest.digest.from, value: manifest.digest.value } }),
    durable: manifest.durable,
    vectors: [...manifest.vectors].map(([name, spec]) => ({ name, size: spec.size, distance: spec.distance, datatype: spec.datatype })),
    payload_schema: [...manifest.payloadSchema].map(([field, schema]) => ({ field, schema })),
    segments: manifest.segments,
    op_uuids: manifest.opUuids,
  });
  return Buffer.from(`${body.slice(0, -1)}${hashMember}${sha256Hex(body)}"}`);
}

/** @throws CorruptionError naming `file` for anything but the bytes of encodeManifest.  @internal for tests */
export function decodeManifest(text: Buffer, file: string): ShardManifest {
  const fields = new ManifestFields(parseChecked(text, file), file);
  if (fields.text('format') !== format) throw fields.refuse(`is no shard manifest: format '${fields.text('format')}'`);
  const segments = fields.list('segments', isSegmentDescription);
  const vectors = fields.list('vectors', isNamedSpec).map(({ name, size, distance, datatype }) => [name, { size, distance, datatype }] as const);
  const schema = fields.list('payload_schema', isFieldEntry).map((entry) => [entry.field, entry.schema] as const);
  const manifest = {
    collectionUuid: fields.matching('collection_uuid', uuidPattern),
    shardId: fields.integer('shard'),
    generation: fields.integer('generation'),
    applied: fields.integer('applied'),
    chain: fields.matching('chain', chainPattern),
    time: BigInt(fields.matching('time', /^\d{1,20}$/)),
    digest: fields.optional('digest', isDigest),
    durable: fields.integer('durable'),
    vectors: new Map(vectors),
    payloadSchema: new Map(schema),
    segments,
    opUuids: fields.list('op_uuids', isOpUuid),
  };
  if (manifest.durable < manifest.applied) throw fields.refuse(`applied ${manifest.applied} lies behind the durable mark ${manifest.durable}`);
  if (manifest.digest !== undefined && manifest.digest.from > manifest.applied) throw fields.refuse(`its digest begins at ${manifest.digest.from}, behind applied ${manifest.applied}`);
  if (manifest.vectors.size !== vectors.length || manifest.payloadSchema.size !== schema.length) throw fields.refuse('names a vector or a field twice');
  return manifest;
}

/** @throws CorruptionError where the manifest is absent or damaged. */
export async function readManifest(disk: Disk, directory: string): Promise<StoredManifest> {
  const file = path.join(directory, manifestName);
  try {
    const text = await disk.readFile(file);
    return { manifest: decodeManifest(text, file), text };
  } catch (error) {
    if (isNotFound(error)) throw new CorruptionError({ file, problem: 'is missing' }, { cause: error });
    throw error;
  }
}

/** Durable when it returns; until then the old one stands. */
export async function writeManifest(disk: Disk, directory: string, manifest: ShardManifest): Promise<StoredManifest> {
  const text = encodeManifest(manifest);
  await writeFileAtomically(disk, path.join(directory, manifestName), text);
  return { manifest, text };
}

/** Names in `files/` of everything the manifest refers to. */
export function namedFiles(manifest: ShardManifest): ReadonlySet<string> {
  return new Set(manifest.segments.flatMap(segmentFileNames));
}

export function segmentFileNames(segment: SegmentDescription): readonly string[] {
  const names = segment.files.map((file) => `${file.sha256}.${file.kind}`);
  return segment.del === undefined ? names : [...names, `${segment.del.sha256}.del`];
}

/** @throws CorruptionError where the hash does not fit; then nothing of the text is believed. */
function parseChecked(text: Buffer, file: string): Readonly<Record<string, unknown>> {
  const refuse = (problem: string): CorruptionError => new CorruptionError({ file, problem });
  const tail = text.subarray(Math.max(0, text.length - hashTailBytes)).toString('latin1');
  if (text.length <= hashTailBytes || !tail.startsWith(hashMember) || !tail.endsWith('"}')) throw refuse('does not end with its sha256');
  const body = Buffer.concat([text.subarray(0, text.length - hashTailBytes), Buffer.from('}')]);
  if (sha256Hex(body) !== tail.slice(hashMember.length, -2)) throw refuse('does not match its sha256');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new CorruptionError({ file, problem: 'is no JSON' }, { cause: error });
  }
  if (!isRecord(value)) throw refuse('is no JSON object');
  const version = value['format_version'];
  if (typeof version === 'number' && version > formatVersion) {
    throw refuse(`has format version ${version}; this version of nearkeep reads up to ${formatVersion}: use the version that wrote it, or a later one`);
  }
  return value;
}

class ManifestFields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #file: string;

  constructor(value: Readonly<Record<string, unknown>>, file: string) {
    this.#value = value;
    this.#file = file;
  }

  refuse(problem: string): CorruptionError {
    return new CorruptionError({ file: this.#file, problem });
  }

  text(name: string): string {
    const value = this.#value[name];
    if (typeof value !== 'string') throw this.refuse(`\`${name}\` is no text`);
    return value;
  }

  matching(name: string, pattern: RegExp): string {
    const value = this.text(name);
    if (!pattern.test(value)) throw this.refuse(`\`${name}\` has the wrong form`);
    return value;
  }

  integer(name: string): number {
    const value = this.#value[name];
    if (!isCount(value)) throw this.refuse(`\`${name}\` is no whole number`);
    return value;
  }

  optional<T>(name: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.#value[name];
    if (value !== undefined && !is(value)) throw this.refuse(`\`${name}\` has the wrong form`);
    return value;
  }

  list<T>(name: string, is: (value: unknown) => value is T): readonly T[] {
    const value = this.#value[name];
    if (!Array.isArray(value) || !value.every(is)) throw this.refuse(`\`${name}\` has an element of the wrong form`);
    return value;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && sha256Pattern.test(value);
}

function isOpUuid(value: unknown): value is string {
  return typeof value === 'string' && chainPattern.test(value); // 16 bytes like a chain hash
}

function isDigest(value: unknown): value is Digest {
  return isRecord(value) && isCount(value['from']) && typeof value['value'] === 'string' && chainPattern.test(value['value']);
}

function isNamedSpec(value: unknown): value is VectorSpec & { readonly name: string } {
  return isRecord(value) && typeof value['name'] === 'string' && isVectorSpec(value);
}

function isFieldEntry(value: unknown): value is { readonly field: string; readonly schema: FieldSchema } {
  return isRecord(value) && typeof value['field'] === 'string' && isFieldSchema(value['schema']);
}

function isSegmentFile(value: unknown): value is SegmentFile {
  return isRecord(value) && typeof value['kind'] === 'string' && kindPattern.test(value['kind']) && isCount(value['chunk'])
    && isHash(value['sha256']) && isCount(value['size']) && (value['of'] === undefined || typeof value['of'] === 'string');
}

function isSegmentDescription(value: unknown): value is SegmentDescription {
  if (!isRecord(value) || typeof value['uuid'] !== 'string' || !uuidPattern.test(value['uuid'])) return false;
  if (![value['rows'], value['min_seq'], value['max_seq']].every(isCount)) return false;
  const { files, del } = { files: value['files'], del: value['del'] };
  if (!Array.isArray(files) || !files.every(isSegmentFile)) return false;
  return del === undefined || (isRecord(del) && isHash(del['sha256']) && isCount(del['size']) && isCount(del['count']));
}
