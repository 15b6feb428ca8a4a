// Writes a mutable segment into files. Row numbers stay, so a delete that arrives meanwhile maps one to one.
import { invariant } from '../base/assert.ts';
import type { GrowingVectorIndex } from '../index/vector-index.ts';
import { countBits } from '../payload/bitmap.ts';
import { strideBytes } from '../vector/distance.ts';
import { writeDeletedBits } from './deleted-bits.ts';
import { writeFieldIndex } from './payload-index-file.ts';
import { orderPieces, writeIds, writeOrder } from './ids-file.ts';
import type { MutableParts, MutableSegment } from './mutable-segment.ts';
import { writePayloads } from './payload-file.ts';
import type { SegmentDescription, SegmentFile } from './segment.ts';
import { slices } from './slices.ts';
import type { VectorColumn } from './vector-column.ts';
import { vectorPieceBytes, writeVectors } from './vector-file.ts';
import type { FilesPlace } from './write-file.ts';

export interface SealRequest extends FilesPlace {
  /** At least one row; nothing is appended to it any more, deletes may go on. */
  readonly source: MutableSegment;
  /** Dead rows as at the checkpoint (`source.deletedBits()` then); those of the call without it. */
  readonly deleted?: Uint32Array;
}

/** The files are durable, names included, when it resolves; what a failure leaves is named by nobody. */
export async function sealSegment(request: SealRequest): Promise<SegmentDescription> {
  const { source } = request;
  const rows = source.rowCount;
  invariant(rows > 0, 'an empty segment is not sealed');
  const deleted = request.deleted ?? source.deletedBits();
  const files = await source.lend((parts) => writeParts(request, parts, rows));
  invariant(source.rowCount === rows, 'nothing is appended while a segment is sealed');
  const description = { uuid: source.uuid, rows, min_seq: source.minSeq, max_seq: source.maxSeq, files };
  if (countBits(deleted) > 0) return { ...description, del: await writeDeletedBits({ ...request, rows, deleted }) };
  await request.disk.syncDirectory(request.filesDirectory);
  return description;
}

async function writeParts(place: FilesPlace, parts: MutableParts, rows: number): Promise<SegmentFile[]> {
  const files: SegmentFile[] = [
    await writeIds(place, parts.ids, parts.versions),
    await writeOrder(place, rows, orderPieces(parts.byId.rows())),
    await writePayloads(place, { offsets: parts.payloads.offsets(), texts: parts.payloads.pieces() }),
  ];
  for (const [name, column] of parts.columns) {
    files.push(...(await writeVectors(place, { name, spec: column.index.spec, rows, bits: column.slots.bits(rows), pieces: storedVectors(column) })));
  }
  for (const [field, index] of parts.fieldIndexes) files.push(await writeFieldIndex(place, { field, rows, index }));
  return files;
}

async function* storedVectors(column: VectorColumn<GrowingVectorIndex>): AsyncGenerator<Uint8Array, void, undefined> {
  const stride = strideBytes(column.index.spec);
  const perPiece = Math.max(1, Math.floor(vectorPieceBytes / stride));
  const memory = Buffer.allocUnsafe(Math.min(perPiece, column.slots.length) * stride); // a piece is written before the next is asked for
  const pause = slices();
  for (let from = 0; from < column.slots.length; from += perPiece) {
    const count = Math.min(perPiece, column.slots.length - from);
    const piece = memory.subarray(0, count * stride);
    column.index.readRows(from, piece);
    yield piece;
    await pause();
  }
}
