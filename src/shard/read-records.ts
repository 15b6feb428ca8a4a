// Rows of a view → the records a read answers: payload text and vectors, read segment by segment, in the order asked for.
import { must } from '../base/assert.ts';
import type { PayloadSelector, PointRecord, RetrieveRequest, Selectors, VectorSelector } from '../command/read.ts';
import { selectPayload } from '../payload/payload-edits.ts';
import { slices } from '../segment/slices.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { fromStored } from '../vector/stored-vector.ts';
import type { HeldSegment } from './held-segment.ts';
import { specOf } from './prepare-write.ts';
import type { StoredDraft } from './shard-operation.ts';
import type { RowPlace, SegmentView, View } from './view.ts';

/** Read and turned into records at once: bounds what a page of any length holds twice. */
const rowsAtOnceMax = 1_024;

/** One record for each place, in their order. @throws RequestError for a vector name the collection lacks. */
export async function readRecords(view: View, places: readonly RowPlace[], selectors: Selectors, signal?: AbortSignal): Promise<readonly PointRecord[]> {
  const specs = selectedVectors(view, selectors.vectors);
  return await readPieces(places, (segment, rows) => readRows(segment, rows, { selectors, specs }), signal);
}

/** The points as they are stored, in the order of `places`: for a copy that changes no bit. */
export async function readStored(view: View, places: readonly RowPlace[], signal?: AbortSignal): Promise<readonly StoredDraft[]> {
  return await readPieces(places, async ({ held }, rows) => {
    const texts = await held.segment.payloads(rows);
    const columns = await readColumns(held, [...view.vectors], rows);
    return Array.from(rows, (row, at) => {
      const vectors = new Map(columns.flatMap(({ name, stored }) => {
        const bytes = stored[at];
        return bytes === undefined ? [] : [[name, bytes] as const];
      }));
      return { id: held.segment.idAt(row), vectors, payload: must(texts[at], 'one payload for each row') };
    });
  }, signal);
}

async function readPieces<T>(places: readonly RowPlace[], read: (segment: SegmentView, rows: Uint32Array) => Promise<readonly T[]>, signal?: AbortSignal): Promise<readonly T[]> {
  const all: T[] = Array.from({ length: places.length });
  for (const { segment, positions } of bySegment(places)) {
    for (let at = 0; at < positions.length; at += rowsAtOnceMax) {
      signal?.throwIfAborted();
      const piece = positions.slice(at, at + rowsAtOnceMax);
      const rows = Uint32Array.from(piece, (position) => must(places[position], 'positions are of places').row);
      const found = await read(segment, rows);
      for (const [index, position] of piece.entries()) all[position] = must(found[index], 'one answer for each row');
    }
  }
  return all;
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
  const columns = await readColumns(held, wanted.specs, rows);
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

interface ReadColumn {
  readonly name: string;
  readonly spec: VectorSpec;
  readonly stored: readonly (Uint8Array | undefined)[];
}

async function readColumns(held: HeldSegment, specs: Wanted['specs'], rows: Uint32Array): Promise<readonly ReadColumn[]> {
  const columns: ReadColumn[] = [];
  for (const [name, spec] of specs) columns.push({ name, spec, stored: await held.vectors(name, rows) });
  return columns;
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
