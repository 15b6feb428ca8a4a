// One operation of the log → the state after it. Decides by operation, seq and state alone: no clock, no random number, no
// configuration, so the same log leads every replica and every replay to the same state.
//
// A point write is tombstone and reinsert: the old row dies in its segment, the whole new row goes into the head with the
// entry's seq as its version. Old rows are read in pieces; nothing else writes meanwhile.
//
// What reads files changes nothing, and goes through `reading`: where it fails the entry stops at that very place, and goes on from
// there when the read succeeds. So nothing is done twice or undone, whatever the entry had changed before; queries see none of it.
import { must, unreachable } from '../base/assert.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { PointId, Seq } from '../base/ids.ts';
import type { PointSelector } from '../command/write.ts';
import type { Entry } from '../log/shard-log.ts';
import { deletePayloadKeys, mergePayload } from '../payload/payload-edits.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { Filter } from '../payload/filter.ts';
import type { StoredPoint } from '../segment/segment.ts';
import { slices } from '../segment/slices.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import type { HeldSegment } from './held-segment.ts';
import { matchingIds, selectPoints, type SegmentRows } from './select-points.ts';
import type { SelectorOperation, ShardOperation, StoredDraft, StoredVectors } from './shard-operation.ts';
import type { ShardState } from './shard-state.ts';

/** Old rows read and written again at once: bounds the memory of an update over a whole collection. */
const rowsAtOnceMax = 512;

/** Entries come one at a time, in their order. An operation that was applied lately, under the same op uuid, is passed over. */
export async function applyEntry(state: ShardState, entry: Entry, operation: ShardOperation, during: During): Promise<void> {
  state.beginEntry(entry);
  if (!state.recent.has(entry.opUuid)) await applyOperation({ state, seq: entry.seq, during }, operation);
  state.endEntry(entry);
}

/** What may be needed inside an entry. */
export interface During {
  /** Called while many rows are written: may move the head's rows into files, never changes what the state says. */
  makeRoom(): Promise<void>;
  /** Resolves when the read is to be tried again; fails where it is not, which ends the entry for good. */
  afterFailedRead(error: unknown): Promise<void>;
}

/** For entries that nobody waits for: their reader starts from the beginning again. */
export function refuseFailedRead(error: unknown): Promise<never> {
  return Promise.reject(error instanceof Error ? error : new RequestError('internal', String(error)));
}

interface Place {
  readonly state: ShardState;
  readonly seq: Seq;
  readonly during: During;
}

async function reading<T>({ during }: Place, read: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await read();
    } catch (error) {
      await during.afterFailedRead(error);
    }
  }
}

async function applyOperation(place: Place, operation: ShardOperation): Promise<void> {
  const { state } = place;
  switch (operation.kind) {
    case 'upsert':
      return await upsert(place, operation);
    case 'update-vectors':
      return await updateVectors(place, operation);
    case 'delete-points':
      return await deletePoints(state, await selected(place, operation.selector));
    case 'delete-vectors':
    case 'set-payload':
    case 'overwrite-payload':
    case 'delete-payload':
    case 'clear-payload':
      return await editPoints(place, { selected: await selected(place, operation.selector), ...editOf(operation) });
    case 'create-index':
      return await createIndex(place, operation.field, operation.schema);
    case 'drop-index':
      return dropIndex(state, operation.field);
    case 'create-vector':
      return createVector(state, operation.name, operation.spec);
    case 'drop-vector':
      return dropVector(state, operation.name);
    case 'restore':
    case 'cut':
    case 'no-op':
      return;
    default:
      unreachable(operation);
  }
}

function selected(place: Place, selector: PointSelector): Promise<readonly SegmentRows[]> {
  return reading(place, () => selectPoints(place.state, selector));
}

function matching(place: Place, points: readonly { readonly id: PointId }[], filter: Filter): Promise<ReadonlySet<PointId>> {
  return reading(place, () => matchingIds(place.state, points.map(({ id }) => id), filter));
}

async function upsert(place: Place, operation: Extract<ShardOperation, { kind: 'upsert' }>): Promise<void> {
  const { state, seq } = place;
  const { updateFilter, updateMode = 'upsert' } = operation;
  for (const { vectors } of operation.points) checkStored(state, vectors);
  const existing = updateFilter === undefined || updateMode === 'insert_only' ? undefined : await matching(place, operation.points, updateFilter);
  const pause = slices();
  for (const point of operation.points) {
    if (takesUpsert(state, point, { updateMode, existing })) state.put({ ...point, version: seq });
    const due = pause();
    if (due !== undefined) await due;
  }
}

/** `existing`: ids whose points satisfy the filter; undefined where there is none to satisfy. */
function takesUpsert(state: ShardState, point: StoredDraft, rule: { readonly updateMode: string; readonly existing: ReadonlySet<unknown> | undefined }): boolean {
  if (rule.updateMode === 'upsert' && rule.existing === undefined) return true;
  const exists = state.find(point.id) !== undefined;
  if (!exists) return rule.updateMode !== 'update_only';
  return rule.updateMode !== 'insert_only' && (rule.existing === undefined || rule.existing.has(point.id));
}

async function updateVectors(place: Place, operation: Extract<ShardOperation, { kind: 'update-vectors' }>): Promise<void> {
  const { state } = place;
  const { points, updateFilter } = operation;
  const wanted = updateFilter === undefined ? undefined : await matching(place, points, updateFilter);
  const given = new Map(points.filter(({ id }) => wanted === undefined || wanted.has(id)).map(({ id, vectors }) => [id, vectors]));
  for (const vectors of given.values()) checkStored(state, vectors);
  await editPoints(place, {
    selected: await selected(place, { kind: 'ids', ids: [...given.keys()] }),
    needs: { payload: true, vectors: true },
    edit: (point) => ({ ...point, vectors: new Map([...point.vectors, ...must(given.get(point.id), 'only given points are selected')]) }),
  });
}

async function deletePoints(state: ShardState, dying: readonly SegmentRows[]): Promise<void> {
  const pause = slices();
  for (const { held, rows } of dying) {
    for (let at = 0; at < rows.length; at += 1) {
      state.remove({ held, row: must(rows[at], 'below the length') });
      const due = (at & 255) === 255 ? pause() : undefined;
      if (due !== undefined) await due;
    }
  }
}

interface Edit {
  /** What the edit keeps of the old row, so that the rest need not be read. */
  readonly needs: { readonly payload: boolean; readonly vectors: boolean };
  readonly edit: (point: StoredPoint) => StoredPoint;
}

function editOf(operation: Exclude<SelectorOperation, { kind: 'delete-points' }>): Edit {
  switch (operation.kind) {
    case 'delete-vectors': {
      const gone = new Set(operation.names);
      return { needs: { payload: true, vectors: true }, edit: (point) => ({ ...point, vectors: new Map([...point.vectors].filter(([name]) => !gone.has(name))) }) };
    }
    case 'set-payload': {
      const key = operation.key === undefined ? undefined : parseJsonPath(operation.key);
      return { needs: { payload: true, vectors: true }, edit: (point) => ({ ...point, payload: mergePayload(point.payload, operation.payload, key) }) };
    }
    case 'delete-payload': {
      const paths = operation.keys.map((key) => parseJsonPath(key));
      return { needs: { payload: true, vectors: true }, edit: (point) => ({ ...point, payload: deletePayloadKeys(point.payload, paths) }) };
    }
    case 'overwrite-payload':
      return { needs: { payload: false, vectors: true }, edit: (point) => ({ ...point, payload: operation.payload }) };
    case 'clear-payload':
      return { needs: { payload: false, vectors: true }, edit: (point) => ({ ...point, payload: '{}' }) };
    default:
      return unreachable(operation);
  }
}

async function editPoints(place: Place, request: Edit & { readonly selected: readonly SegmentRows[] }): Promise<void> {
  const { state, seq, during } = place;
  const pause = slices();
  for (const { held, rows } of request.selected) {
    for (let at = 0; at < rows.length; at += rowsAtOnceMax) {
      if (at > 0) await during.makeRoom();
      const piece = Uint32Array.from(Array.prototype.slice.call(rows, at, at + rowsAtOnceMax) as number[]);
      for (const point of await reading(place, () => readPoints(state, held, { rows: piece, needs: request.needs }))) {
        state.put({ ...request.edit(point), version: seq });
        const due = pause();
        if (due !== undefined) await due;
      }
    }
  }
}

async function readPoints(state: ShardState, held: HeldSegment, wanted: { readonly rows: Uint32Array; readonly needs: Edit['needs'] }): Promise<readonly StoredPoint[]> {
  const { rows, needs } = wanted;
  const payloads = needs.payload ? await held.segment.payloads(rows) : undefined;
  const columns: (readonly [string, readonly (Uint8Array | undefined)[]])[] = [];
  if (needs.vectors) {
    for (const name of state.vectors.keys()) columns.push([name, await held.vectors(name, rows)]);
  }
  return Array.from(rows, (row, at) => ({
    id: held.segment.idAt(row),
    version: held.segment.versionAt(row),
    payload: payloads === undefined ? '{}' : must(payloads[at], 'one payload for each row'),
    vectors: new Map(columns.flatMap(([name, column]) => (column[at] === undefined ? [] : [[name, column[at]]]))),
  }));
}

async function createIndex(place: Place, field: string, schema: FieldSchema): Promise<void> {
  const { state } = place;
  if (JSON.stringify(state.payloadSchema.get(field)) === JSON.stringify(schema)) return;
  dropIndex(state, field);
  for (const { segment } of state.segments) await reading(place, () => segment.addFieldIndex(field, schema));
  state.setFieldSchema(field, schema);
}

function dropIndex(state: ShardState, field: string): void {
  for (const { segment } of state.segments) segment.dropFieldIndex(field);
  state.setFieldSchema(field, undefined);
}

function createVector(state: ShardState, name: string, spec: VectorSpec): void {
  if (!state.vectors.has(name)) {
    state.head.segment.addVector(name, spec);
    state.setVectors(new Map([...state.vectors, [name, { ...spec }]]));
  }
  state.noteVector(name);
}

/** Rows lack it at once; its bytes go when the searches and merges that still read them have ended. */
function dropVector(state: ShardState, name: string): void {
  if (state.vectors.has(name)) {
    state.setVectors(new Map([...state.vectors].filter(([key]) => key !== name)));
    for (const held of state.sealing) held.hide(name); // their files are being written from it
    for (const { segment } of [state.head, ...state.sealed]) state.closeLater(segment.dropVector(name));
  }
  state.noteVector(name);
}

/** An entry is written only with vectors that fit; another one comes from bytes that are not ours. */
function checkStored(state: ShardState, vectors: StoredVectors): void {
  for (const [name, bytes] of vectors) {
    const spec = state.vectors.get(name);
    if (spec === undefined || strideBytes(spec) !== bytes.byteLength) {
      throw new CorruptionError({ file: 'the log', problem: `entry ${state.applied + 1} has a vector '${name}' of ${bytes.byteLength} bytes that the shard does not have` });
    }
  }
}
