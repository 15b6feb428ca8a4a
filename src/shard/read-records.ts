// Rows of a view → the records a read answers: payload text and vectors, read segment by segment, in the order asked for.
import { must } from '../base/assert.ts';
import type { PayloadSelector, PointRecord, RetrieveRequest, Selectors, VectorSelector } from '../command/read.ts';
import { selectPayload } from '../payload/payload-edits.ts';
import { slices } from '../segment/slices.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { fromStored } from '../vector/stored-vector.ts';
import { specOf } from './prepare-write.ts';
import type { RowPlace, SegmentView, View } from './view.ts';

/** Read and turned into records at once: bounds what a page of any length holds twice. */
const rowsAtOnceMax = 1_024;

/** One record for each place, in their order. @throws RequestError for a vector name the collection lacks. */
export async function readRecords(view: View, places: readonly RowPlace[], selectors: Selectors, signal?: AbortSignal): Promise<readonly PointRecord[]> {
  const specs = selectedVectors(view, selectors.vectors);
  const records: PointRecord[] = Array.from({ length: places.length });
  for (const { segment, positions } of bySegment(places)) {
    for (let at = 0; at < positions.length; at += rowsAtOnceMax) {
      signal?.throwIfAborted();
      const piece = positions.slice(at, at + rowsAtOnceMax);
      const rows = Uint32Array.from(piece, (position) => must(places[position], 'positions are of places').row);
      const read = await readRows(segment, rows, { selectors, specs });
      for (const [index, position] of piece.entries()) records[position] = must(read[index], 'one record for each row');
    }
  }
  return records;
}

/** In the order of `ids`, absent ones left out. */
export async function retrieveFrom(view: View, { ids, selectors }: RetrieveRequest): Promise<readonly PointRecord[]> {
  const places: RowPlace[] = [];
  const pause = slices();
  for (const id of ids) {
    const place = view.find(id);
    if (place !== undefined) places.push(place);
    const due = pause();
    if (due !== undefined) await due;
  }
  return await readRecords(view, places, selectors);
}

interface Wanted {
  readonly selectors: Selectors;
  readonly specs: readonly (readonly [string, VectorSpec])[];
}

async function readRows(segment: SegmentView, rows: Uint32Array, wanted: Wanted): Promise<readonly PointRecord[]> {
  const { held } = segment;
  const { payload } = wanted.selectors;
  const texts = payload.kind === 'none' ? undefined : await held.segment.payloads(rows);
  const columns: { readonly name: string; readonly spec: VectorSpec; readonly stored: readonly (Uint8Array | undefined)[] }[] = [];
  for (const [name, spec] of wanted.specs) columns.push({ name, spec, stored: await held.vectors(name, rows) });
  const pause = slices();
  const records: PointRecord[] = [];
  for (const [at, row] of rows.entries()) {
    const vectors = new Map<string, Float32Array>();
    for (const { name, spec, stored } of columns) {
      const bytes = stored[at];
      if (bytes !== undefined) vectors.set(name, fromStored(spec, bytes));
    }
    records.push({
      id: held.segment.idAt(row),
      version: held.segment.versionAt(row),
      ...(texts === undefined ? {} : { payload: shownPayload(must(texts[at], 'one payload for each row'), payload) }),
      ...(wanted.selectors.vectors.kind === 'none' ? {} : { vectors }),
    });
    const due = pause();
    if (due !== undefined) await due;
  }
  return records;
}

function shownPayload(text: string, selector: PayloadSelector): string {
  return selector.kind === 'include' || selector.kind === 'exclude' ? selectPayload(text, selector) : text;
}

function selectedVectors(view: View, selector: VectorSelector): readonly (readonly [string, VectorSpec])[] {
  if (selector.kind === 'none') return [];
  if (selector.kind === 'all') return [...view.vectors];
  return selector.names.map((name) => [name, specOf(name, view.vectors)]);
}

function bySegment(places: readonly RowPlace[]): readonly { readonly segment: SegmentView; readonly positions: readonly number[] }[] {
  const groups = new Map<SegmentView, number[]>();
  for (const [position, { segment }] of places.entries()) {
    const positions = groups.get(segment);
    if (positions === undefined) groups.set(segment, [position]);
    else positions.push(position);
  }
  return [...groups].map(([segment, positions]) => ({ segment, positions }));
}
