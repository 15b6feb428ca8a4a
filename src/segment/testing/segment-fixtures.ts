// Points, folders and segments for the tests of this folder.
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { must } from '../../base/assert.ts';
import { parsePointId, type PointId } from '../../base/ids.ts';
import { seededRandom, type Random } from '../../base/testing/random.ts';
import type { Disk } from '../../fs/disk.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import { plainIndexes } from '../../index/testing/plain-indexes.ts';
import type { VectorIndexes } from '../../index/vector-index.ts';
import type { PayloadSchema } from '../../payload/field-schema.ts';
import { strideBytes, type VectorSpec } from '../../vector/distance.ts';
import { MutableSegment } from '../mutable-segment.ts';
import { sealSegment } from '../seal.ts';
import { openSealedSegment, type SealedSegment } from '../sealed-segment.ts';
import type { SegmentDescription, StoredPoint } from '../segment.ts';
import type { FilesPlace } from '../write-file.ts';

export const uuid = '11111111-2222-4333-8444-555555555555';
export const indexes = plainIndexes();

/** Takes a file's bytes past the checks of this folder, as an index that maps files does. */
export function mappingIndexes(disk: Disk): VectorIndexes {
  return { ...indexes, openFile: (spec, file) => indexes.openFile(spec, file, () => disk.readFile(file.path)) };
}

export const specs: ReadonlyMap<string, VectorSpec> = new Map([
  ['', { size: 4, distance: 'Dot', datatype: 'float32' }],
  ['half', { size: 3, distance: 'Euclid', datatype: 'float16' }],
  ['octets', { size: 5, distance: 'Manhattan', datatype: 'uint8' }],
]);

export const schema: PayloadSchema = new Map([['city', { type: 'keyword' }], ['n', { type: 'integer' }]]);

/** A row that a segment should hold; `dead` ones were deleted after a later row was added, or at the end. */
export interface ModelRow extends StoredPoint {
  readonly dead: boolean;
}

export function id(value: number | bigint | string): PointId {
  return must(parsePointId(value), `${value} is a point id`);
}

export async function temporaryPlace(t: TestContext): Promise<FilesPlace> {
  const filesDirectory = await mkdtemp(path.join(os.tmpdir(), 'nearkeep-segment-'));
  t.after(() => rm(filesDirectory, { recursive: true, force: true }));
  return { disk: new NodeDisk(), filesDirectory };
}

export function emptyHead(payloadSchema: PayloadSchema = schema): MutableSegment {
  return MutableSegment.create({ uuid, specs, indexes, payloadSchema });
}

/** Appends the rows; an older row of the same id dies first, the other dead ones at the end. */
export function fill(segment: MutableSegment, rows: readonly ModelRow[]): MutableSegment {
  for (const row of rows) {
    const older = segment.findLiveRow(row.id);
    if (older !== undefined) segment.markDeleted(older);
    segment.append(row);
  }
  for (const [at, row] of rows.entries()) if (row.dead && !segment.isDeleted(at)) segment.markDeleted(at);
  return segment;
}

export async function seal(place: FilesPlace, rows: readonly ModelRow[], payloadSchema: PayloadSchema = schema): Promise<SegmentDescription> {
  const source = fill(emptyHead(payloadSchema), rows);
  const description = await sealSegment({ ...place, source });
  await source.close();
  return description;
}

export function open(place: FilesPlace, description: SegmentDescription, payloadSchema: PayloadSchema = schema): Promise<SealedSegment> {
  return openSealedSegment({ ...place, description, specs, indexes: mappingIndexes(place.disk), payloadSchema });
}

const cities = ['Berlin', 'Zürich', '東京', 'São Paulo', 'Ålesund'];

/** Random rows: integer ids below and above 2^53, UUIDs, missing vectors, odd payload texts. Ids repeat unless `unique`; then none is dead. */
export function randomRows(seed: number, count: number, options: { readonly unique?: boolean } = {}): ModelRow[] {
  const random = seededRandom(seed);
  const rows: ModelRow[] = [];
  const lastOf = new Map<PointId, number>();
  for (let at = 0; at < count; at += 1) {
    const point = randomPoint(random, { serial: options.unique === true ? at : random.below(count), version: 100 + at });
    const older = lastOf.get(point.id);
    if (older !== undefined) rows[older] = { ...must(rows[older], 'an older row'), dead: true };
    lastOf.set(point.id, at);
    rows.push({ ...point, dead: options.unique !== true && random.below(8) === 0 });
  }
  return rows;
}

function randomPoint(random: Random, of: { readonly serial: number; readonly version: number }): StoredPoint {
  const vectors = new Map<string, Uint8Array>();
  for (const [name, spec] of specs) if (random.below(4) > 0) vectors.set(name, randomVector(random, spec));
  return { id: idOf(of.serial), version: of.version, vectors, payload: randomPayload(random, of.serial) };
}

function idOf(serial: number): PointId {
  if (serial % 3 === 0) return id(serial * 7919 + 1);
  if (serial % 3 === 1) return id(2n ** 63n + BigInt(serial) * 0x1_0000_0001n);
  const hex = (serial * 2654435761 % 2 ** 32).toString(16).padStart(8, '0');
  return id(`${hex}-1234-4abc-9def-${(serial + 0xffff_0000_0000).toString(16).padStart(12, '0')}`);
}

function randomVector(random: Random, spec: VectorSpec): Uint8Array {
  if (spec.datatype === 'float32') return new Uint8Array(Float32Array.from({ length: spec.size }, () => random.next() * 2 - 1).buffer);
  // any bytes are uint8 values; halves stay finite with a small exponent
  const bytes = Uint8Array.from({ length: strideBytes(spec) }, () => random.below(256));
  return spec.datatype === 'uint8' ? bytes : bytes.map((byte, at) => (at % 2 === 1 ? byte & 0x3b : byte));
}

function randomPayload(random: Random, serial: number): string {
  const forms = [
    () => '{}',
    () => `{ "city" : "${cities[random.below(cities.length)]}",  "n":${random.below(20)} }`,
    () => `{"city":["${cities[random.below(cities.length)]}","x\\u00e9\\ud83d\\ude00"],"n":9007199254740993,"f":1.0}`,
    () => `{"z":null,"a":{"b":[1,2,{"c":"🂡"}]},"n":-${random.below(5)},"city":"${'long '.repeat(random.below(40))}"}`,
    () => `{"n":${serial},"text":"${'x'.repeat(random.below(400))}"}`,
  ];
  return must(forms[random.below(forms.length)], 'a form')();
}
