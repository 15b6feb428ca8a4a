// Opens the files that a description names.
import { CorruptionError } from '../base/errors.ts';
import type { VectorIndexes } from '../index/vector-index.ts';
import { emptyBits } from '../payload/bitmap.ts';
import type { FieldIndex } from '../payload/field-index.ts';
import type { FieldSchema, PayloadSchema } from '../payload/field-schema.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { readBits } from './bits-file.ts';
import { readFieldIndex } from './payload-index-file.ts';
import type { FileKind } from './files.ts';
import type { DamagedGraphs } from './graph-file.ts';
import type { IdTable } from './id-table.ts';
import { readIds, readOrder, type Versions } from './ids-file.ts';
import { PayloadReader } from './payload-file.ts';
import type { NamedFile } from './read-file.ts';
import type { SegmentDescription, SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import { SortedRuns } from './sorted-runs.ts';
import { SealedColumn, type CodesPlacement, type VectorFiles } from './vector-file.ts';
import type { FilesPlace } from './write-file.ts';

export interface OpenSegmentOptions extends FilesPlace {
  readonly description: SegmentDescription;
  /** Vectors that the collection has; others that the description lists are not opened, missing ones are on no row. */
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly indexes: VectorIndexes;
  /** Fields that the collection indexes; those without a file of that schema are built from the payloads. */
  readonly payloadSchema: PayloadSchema;
  /** Default `refuse`. With `drop` the segment describes itself without the files. */
  readonly damagedGraphs?: DamagedGraphs;
  /** Without it in memory. */
  readonly codesInMemory?: CodesPlacement;
}

export interface LoadedSegment {
  readonly ids: IdTable;
  readonly versions: Versions;
  readonly order: Uint32Array;
  readonly deleted: Uint32Array;
  readonly payloads: PayloadReader;
  readonly columns: Map<string, SealedColumn>;
  readonly fieldIndexes: Map<string, { readonly index: FieldIndex; readonly file: SegmentFile }>;
}

/** The caller closes `payloads` and `columns`. @throws CorruptionError naming the file. */
export async function loadSegment(options: OpenSegmentOptions): Promise<LoadedSegment> {
  const { description, indexes, damagedGraphs = 'refuse' } = options;
  const { rows } = description;
  const { ids, versions } = await readIds(options, getFile(options, 'ids'), rows);
  const order = await loadOrder(options, ids);
  const deleted = description.del === undefined ? emptyBits(rows) : await readBits(options, { kind: 'del', ...description.del }, rows);
  const fieldIndexes = await loadFieldIndexes(options);
  const payloads = await PayloadReader.open(options, getFile(options, 'pay'), rows);
  const columns = new Map<string, SealedColumn>();
  try {
    for (const [name, spec] of options.specs) {
      const files = findVectorFiles(options, name);
      if (files !== undefined) columns.set(name, await SealedColumn.open(options, files, { spec, rows, indexes, damagedGraphs, codesInMemory: options.codesInMemory?.(name) ?? true }));
    }
  } catch (error) {
    await payloads.close();
    for (const column of columns.values()) await column.close();
    throw error;
  }
  return { ids, versions, order, deleted, payloads, columns, fieldIndexes };
}

/** Rows in ascending order of (id, row). */
export async function loadOrder(from: Described, ids: IdTable): Promise<Uint32Array> {
  const file = findFile(from.description, 'idx', undefined);
  if (file !== undefined) return await readOrder(from, file, ids.length);
  const byId = new SortedRuns(ids);
  const pause = slices();
  for (let row = 0; row < ids.length; row += 1) {
    byId.add(row);
    const due = (row & 0x3ff) === 0x3ff ? pause() : undefined;
    if (due !== undefined) await due;
  }
  const order = new Uint32Array(ids.length);
  let count = 0;
  for (const row of byId.rows()) {
    order[count] = row;
    count += 1;
    const due = (count & 0x3ff) === 0x3ff ? pause() : undefined;
    if (due !== undefined) await due;
  }
  return order;
}

type Described = FilesPlace & { readonly description: SegmentDescription };

/** @throws CorruptionError: a description without the file is damage of whatever holds the description. */
export function getFile(from: Described, kind: FileKind, of?: string): NamedFile {
  const file = findFile(from.description, kind, of);
  if (file === undefined) throw new CorruptionError({ file: from.filesDirectory, problem: `segment ${from.description.uuid} names no '${kind}' file${of === undefined ? '' : ` of '${of}'`}` });
  return file;
}

/** undefined where the segment's rows lack the vector. */
export function findVectorFiles(from: Described, name: string): VectorFiles | undefined {
  if (findFile(from.description, 'vec', name) === undefined) return undefined;
  const graph = findFile(from.description, 'graph', name);
  const code = findFile(from.description, 'code', name);
  return { vec: getFile(from, 'vec', name), has: getFile(from, 'has', name), ...(graph === undefined ? {} : { graph: { graph, code } }) };
}

function findFile(description: SegmentDescription, kind: FileKind, of: string | undefined): NamedFile | undefined {
  const file = description.files.find((one) => one.kind === kind && one.of === of);
  return file === undefined ? undefined : { kind, sha256: file.sha256, size: file.size };
}

async function loadFieldIndexes(options: OpenSegmentOptions): Promise<LoadedSegment['fieldIndexes']> {
  const loaded: LoadedSegment['fieldIndexes'] = new Map();
  for (const file of options.description.files) {
    const wanted = file.kind === 'pidx' && file.of !== undefined ? options.payloadSchema.get(file.of) : undefined;
    if (file.of === undefined || wanted === undefined) continue;
    const index = await readFieldIndex(options, { kind: 'pidx', sha256: file.sha256, size: file.size }, options.description.rows);
    if (isSameSchema(index.schema, wanted)) loaded.set(file.of, { index, file });
  }
  return loaded;
}

function isSameSchema(a: FieldSchema, b: FieldSchema): boolean {
  return a.type === b.type && JSON.stringify(a.params) === JSON.stringify(b.params);
}
