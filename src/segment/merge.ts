// Live rows of several sealed segments → one new one, in ascending order of (input, row). Inputs come oldest first, so rows keep
// their order of age. What is read is proved first: the vectors and payloads of every input against their sha256, for a merge
// would give damage a new, valid name. Memory: ids and offsets of the result and one piece of data; payload indexes whole.
import { randomUUID } from 'node:crypto';
import { invariant, must } from '../base/assert.ts';
import { emptyBits, rowsOf, setBit } from '../payload/bitmap.ts';
import { createFieldIndex } from '../payload/stored-index.ts';
import type { MutableFieldIndex } from '../payload/field-index.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import { writeFieldIndex } from './payload-index-file.ts';
import { isFileKind } from './files.ts';
import { IdTable } from './id-table.ts';
import { orderPieces, writeIds, writeOrder } from './ids-file.ts';
import { writePayloads } from './payload-file.ts';
import { parsePayload } from './payload-text.ts';
import { checkContent } from './read-file.ts';
import type { SealedParts, SealedSegment } from './sealed-segment.ts';
import type { SegmentDescription, SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import { rowsOfRuns } from './sorted-runs.ts';
import { vectorPieceBytes, writeVectors, type SealedColumn } from './vector-file.ts';
import type { FilesPlace } from './write-file.ts';

export interface MergeRequest extends FilesPlace {
  /** Oldest first. `live`: `segment.liveBits()` when the merge starts; later deletes are carried over by the row maps. */
  readonly inputs: readonly { readonly segment: SealedSegment; readonly live: Uint32Array }[];
  readonly specs: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: PayloadSchema;
  /** Checked between slices; an abort rejects with its reason and leaves at most files that no manifest names. */
  readonly signal?: AbortSignal;
}

export interface MergeResult {
  /** undefined where no row was live. */
  readonly description: SegmentDescription | undefined;
  /** Per input: row there → row in the new segment, -1 for dead ones. */
  readonly rowMaps: readonly Int32Array[];
}

/** An input with the rows that are taken, ascending. */
interface LentInput {
  readonly segment: SealedSegment;
  readonly parts: SealedParts;
  readonly rows: Uint32Array;
}

interface Source extends LentInput {
  /** What the first of the rows becomes. */
  readonly firstRow: number;
  /** Row → new row, or -1. */
  readonly map: Int32Array;
}

/** Payload texts of one round of reads. */
const payloadPieceBytes = 1 << 20;
const payloadPieceRows = 4096;

/** Files are durable, names included, when it resolves. @throws CorruptionError where an input is damaged. */
export async function mergeSegments(request: MergeRequest): Promise<MergeResult> {
  const lent: LentInput[] = [];
  const lendFrom = (at: number): Promise<MergeResult> => {
    const input = request.inputs[at];
    if (input === undefined) return mergeLent(request, lent);
    return input.segment.lend((parts) => {
      lent.push({ segment: input.segment, parts, rows: rowsOf(input.live) });
      return lendFrom(at + 1);
    });
  };
  return await lendFrom(0);
}

async function mergeLent(request: MergeRequest, inputs: readonly LentInput[]): Promise<MergeResult> {
  let total = 0;
  const sources: Source[] = [];
  for (const input of inputs) {
    sources.push({ ...input, firstRow: total, map: rowMap(input, total) });
    total += input.rows.length;
  }
  const rowMaps = sources.map(({ map }) => map);
  if (total === 0) return { description: undefined, rowMaps };
  for (const { segment } of sources) await checkInput(request, segment.description);
  const { files, minSeq, maxSeq } = await writeIdFiles(request, sources);
  for (const [name, spec] of request.specs) {
    if (sources.some(({ parts }) => parts.columns.has(name))) files.push(...(await mergeVectors(request, sources, { name, spec, rows: total })));
  }
  files.push(...(await mergePayloads(request, sources, total)));
  await request.disk.syncDirectory(request.filesDirectory);
  return { description: { uuid: randomUUID(), rows: total, min_seq: minSeq, max_seq: maxSeq, files }, rowMaps };
}

function rowMap({ segment, rows }: LentInput, firstRow: number): Int32Array {
  const map = new Int32Array(segment.rowCount).fill(-1);
  for (let at = 0; at < rows.length; at += 1) map[rows[at] ?? 0] = firstRow + at;
  return map;
}

/** Files that were read whole when the segment was opened have been proved then. */
async function checkInput(request: MergeRequest, description: SegmentDescription): Promise<void> {
  for (const { kind, of, sha256, size } of description.files) {
    if (!isFileKind(kind) || (kind !== 'pay' && (kind !== 'vec' || of === undefined || !request.specs.has(of)))) continue;
    await checkContent(request, { kind, sha256, size }, request.signal === undefined ? {} : { signal: request.signal });
  }
}

async function writeIdFiles(request: MergeRequest, sources: readonly Source[]): Promise<{ files: SegmentFile[]; minSeq: number; maxSeq: number }> {
  const ids = new IdTable();
  const versions = new Float64Array(sources.reduce((sum, { rows }) => sum + rows.length, 0));
  let minSeq = Number.MAX_SAFE_INTEGER;
  let maxSeq = 0;
  const pause = slices();
  for (const { segment, parts, rows } of sources) {
    for (const row of rows) {
      const version = segment.versionAt(row);
      versions[ids.length] = version;
      minSeq = Math.min(minSeq, version);
      maxSeq = Math.max(maxSeq, version);
      ids.pushFrom(parts.ids, row);
      const due = pause();
      if (due !== undefined) await due;
    }
    request.signal?.throwIfAborted();
  }
  const runs: Uint32Array[] = [];
  for (const source of sources) runs.push(await mappedOrder(source));
  const files = [await writeIds(request, ids, versions), await writeOrder(request, ids.length, orderPieces(distinct(ids, runs)))];
  return { files, minSeq, maxSeq };
}

/** The new rows of a source, in its order of ids. */
async function mappedOrder({ parts, rows, map }: Source): Promise<Uint32Array> {
  const mapped = new Uint32Array(rows.length);
  let count = 0;
  const pause = slices();
  for (const row of parts.order) {
    const to = map[row] ?? -1;
    if (to === -1) continue;
    mapped[count] = to;
    count += 1;
    const due = (count & 0xfff) === 0 ? pause() : undefined;
    if (due !== undefined) await due;
  }
  return mapped;
}

/** The rows in order, each id once: two live rows of one id would make one of them unreachable. */
function* distinct(ids: IdTable, runs: readonly Uint32Array[]): Generator<number, void, undefined> {
  let previous: number | undefined;
  for (const row of rowsOfRuns(ids, runs)) {
    invariant(previous === undefined || ids.compare(previous, row) !== 0, 'an id has one live row in a shard');
    previous = row;
    yield row;
  }
}

async function mergeVectors(request: MergeRequest, sources: readonly Source[], of: { readonly name: string; readonly spec: VectorSpec; readonly rows: number }): Promise<SegmentFile[]> {
  const bits = emptyBits(of.rows);
  const carriers: { readonly column: SealedColumn | undefined; readonly rows: Uint32Array }[] = [];
  for (const source of sources) carriers.push({ column: source.parts.columns.get(of.name), rows: await rowsWithVector(source, of.name, bits) });
  const stride = strideBytes(of.spec);
  const perPiece = Math.max(1, Math.floor(vectorPieceBytes / stride));
  const memory = Buffer.allocUnsafeSlow(Math.min(perPiece, of.rows) * stride); // a piece is written before the next is asked for
  const pieces = async function* (): AsyncGenerator<Buffer> {
    for (const { column, rows } of carriers) {
      for (let from = 0; from < rows.length; from += perPiece) {
        request.signal?.throwIfAborted();
        const part = rows.slice(from, from + perPiece);
        const piece = memory.subarray(0, part.length * stride);
        await column?.read(part, (at, bytes) => { bytes.copy(piece, at * stride); });
        yield piece;
      }
    }
  };
  return await writeVectors(request, { name: of.name, spec: of.spec, rows: of.rows, bits, pieces: pieces() });
}

/** Rows of the source that carry the vector; their bits in the new segment are set. */
async function rowsWithVector({ parts, rows, firstRow }: Source, name: string, bits: Uint32Array): Promise<Uint32Array> {
  const column = parts.columns.get(name);
  const found = new Uint32Array(column === undefined ? 0 : rows.length);
  let count = 0;
  const pause = slices();
  for (let at = 0; at < found.length; at += 1) {
    const row = rows[at] ?? 0;
    if (column?.slots.findSlot(row) !== undefined) {
      found[count] = row;
      count += 1;
      setBit(bits, firstRow + at);
    }
    const due = (at & 0xfff) === 0xfff ? pause() : undefined;
    if (due !== undefined) await due;
  }
  return found.subarray(0, count);
}

async function mergePayloads(request: MergeRequest, sources: readonly Source[], rows: number): Promise<SegmentFile[]> {
  const offsets = new Float64Array(rows + 1);
  const pause = slices();
  for (const { parts, rows: taken, firstRow } of sources) {
    for (let at = 0; at < taken.length; at += 1) {
      offsets[firstRow + at + 1] = (offsets[firstRow + at] ?? 0) + parts.payloads.lengthBytes(taken[at] ?? 0);
      const due = (at & 0xfff) === 0xfff ? pause() : undefined;
      if (due !== undefined) await due;
    }
  }
  const indexes = new Map<string, MutableFieldIndex>();
  for (const [field, schema] of request.payloadSchema) indexes.set(field, createFieldIndex(parseJsonPath(field), schema));
  const texts = async function* (): AsyncGenerator<Buffer> {
    for (const source of sources) {
      for (let from = 0; from < source.rows.length;) {
        request.signal?.throwIfAborted();
        const end = pieceEnd(offsets, source, from);
        const texts = await readTexts(source, from, end);
        await addToIndexes(indexes, texts, source.firstRow + from);
        yield Buffer.concat(texts);
        from = end;
      }
    }
  };
  const files = [await writePayloads(request, { offsets, texts: texts() })];
  for (const [field, index] of indexes) files.push(await writeFieldIndex(request, { field, rows, index }));
  return files;
}

/** Where the piece that starts at `from` ends: at least one row. */
function pieceEnd(offsets: Float64Array, { rows, firstRow }: Source, from: number): number {
  const start = offsets[firstRow + from] ?? 0;
  let end = from + 1;
  while (end < rows.length && end - from < payloadPieceRows && (offsets[firstRow + end + 1] ?? 0) - start <= payloadPieceBytes) end += 1;
  return end;
}

async function readTexts({ parts, rows }: Source, from: number, end: number): Promise<Buffer[]> {
  const texts: Buffer[] = Array.from({ length: end - from });
  await parts.payloads.read(rows.subarray(from, end), (at, text) => { texts[at] = text; });
  return texts;
}

async function addToIndexes(indexes: ReadonlyMap<string, MutableFieldIndex>, texts: readonly Buffer[], firstRow: number): Promise<void> {
  if (indexes.size === 0) return;
  const pause = slices();
  for (const [at, text] of texts.entries()) {
    const payload = parsePayload(must(text, 'each text was read').toString('utf8'));
    for (const index of indexes.values()) index.add(firstRow + at, payload);
    const due = pause();
    if (due !== undefined) await due;
  }
}
