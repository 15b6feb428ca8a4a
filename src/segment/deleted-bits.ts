// Deletes of a sealed segment on disk: the whole bitmap, under a new name at every change.
import { invariant } from '../base/assert.ts';
import { writeBits } from './bits-file.ts';
import type { SegmentDescription } from './segment.ts';
import type { FilesPlace } from './write-file.ts';

export interface DeletedBits extends FilesPlace {
  readonly rows: number;
  /** Bitmap of dead rows, at least one. */
  readonly deleted: Uint32Array;
}

/** Durable, name included, when it resolves. */
export async function writeDeletedBits(request: DeletedBits): Promise<NonNullable<SegmentDescription['del']>> {
  const del = await writeBits(request, { kind: 'del', rows: request.rows, bits: request.deleted });
  invariant(del.count > 0, 'a segment without deletes has no bitmap of them');
  await request.disk.syncDirectory(request.filesDirectory);
  return del;
}
