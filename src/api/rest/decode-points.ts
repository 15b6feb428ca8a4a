// Bodies of the routes that write points → write operations.
import { must } from '../../base/assert.ts';
import type { NamedVectors, PointDraft, UpdateMode, WriteOperation, WriteOptions } from '../../command/write.ts';
import { RawJson } from '../../vector/lift-json.ts';
import {
  readFilter, readMemberSelector, readPath, readPaths, readPointId, readPointIds, readPointSelector, readNames,
  readShardSelector, readUnionSelector,
} from './decode-selectors.ts';
import { readNamedVectors, readVectorColumns } from './decode-vectors.ts';
import {
  child, defined, mapList, mapSliced, noVariant, notSupported, optional, readObject, readVariant, required, violation,
  wrongType, type WireValue,
} from './wire-value.ts';

const updateModes: readonly UpdateMode[] = ['upsert', 'insert_only', 'update_only'];

/** `{points: […]}` or `{batch: {ids, vectors, payloads?}}`. */
export async function decodeUpsert(at: WireValue): Promise<WriteOperation> {
  const mode = optional(at, 'update_mode');
  const options = defined({ updateFilter: readFilter(at, 'update_filter'), updateMode: mode && readVariant(mode, updateModes) });
  const batch = optional(at, 'batch');
  if (batch !== undefined) return { kind: 'upsert', points: await readBatch(batch), ...options };
  const points = optional(at, 'points');
  if (points === undefined) throw noVariant(at, 'PointInsertOperations');
  return { kind: 'upsert', points: await mapList(points, readPoint), ...options };
}

export async function decodeDeletePoints(at: WireValue): Promise<WriteOperation> {
  return { kind: 'delete-points', selector: await readPointSelector(at) };
}

export async function decodeUpdateVectors(at: WireValue): Promise<WriteOperation> {
  const points = await mapList(required(at, 'points'), readPointVectors);
  if (points.length === 0) violation(child(at, 'points', points), 'must specify points to update');
  return { kind: 'update-vectors', points, ...defined({ updateFilter: readFilter(at, 'update_filter') }) };
}

export async function decodeDeleteVectors(at: WireValue): Promise<WriteOperation> {
  const vector = required(at, 'vector', 'vectors');
  const names = [...new Set(readNames(vector))];
  if (names.length === 0) violation(vector, 'must specify vector names to delete');
  return { kind: 'delete-vectors', selector: await readUnionSelector(at), names };
}

export async function decodeSetPayload(at: WireValue): Promise<WriteOperation> {
  const payload = readPayload(required(at, 'payload'));
  const key = optional(at, 'key');
  return { kind: 'set-payload', selector: await readMemberSelector(at), payload, ...defined({ key: key && readPath(key).text }) };
}

export async function decodeOverwritePayload(at: WireValue): Promise<WriteOperation> {
  const payload = readPayload(required(at, 'payload'));
  const key = optional(at, 'key');
  if (key !== undefined) throw notSupported(key, 'overwriting payload below a key is');
  return { kind: 'overwrite-payload', selector: await readMemberSelector(at), payload };
}

export async function decodeDeletePayload(at: WireValue): Promise<WriteOperation> {
  const keys = readPaths(required(at, 'keys')).map(({ text }) => text);
  return { kind: 'delete-payload', selector: await readMemberSelector(at), keys };
}

export async function decodeClearPayload(at: WireValue): Promise<WriteOperation> {
  return { kind: 'clear-payload', selector: await readPointSelector(at) };
}

const batchDecoders: Readonly<Record<string, (at: WireValue) => Promise<WriteOperation>>> = {
  upsert: decodeUpsert,
  delete: decodeDeletePoints,
  set_payload: decodeSetPayload,
  overwrite_payload: decodeOverwritePayload,
  delete_payload: decodeDeletePayload,
  clear_payload: decodeClearPayload,
  update_vectors: decodeUpdateVectors,
  delete_vectors: decodeDeleteVectors,
};

/** A write, and which shards it is for. */
export type WriteRequest = { readonly operation: WriteOperation } & Pick<WriteOptions, 'shardKey'>;

/** The body of a write with its `shard_key`. */
export async function decodeWrite(at: WireValue, decode: (at: WireValue) => WriteOperation | Promise<WriteOperation>): Promise<WriteRequest> {
  return { ...readShardSelector(at), operation: await decode(at) };
}

/** `{operations: [{<name>: body}, …]}`, to be run in this order. */
export function decodeBatchUpdate(at: WireValue): Promise<readonly WriteRequest[]> {
  return mapList(required(at, 'operations'), decodeOperation);
}

function decodeOperation(at: WireValue): Promise<WriteRequest> {
  const name = Object.keys(readObject(at)).find((key) => Object.hasOwn(batchDecoders, key));
  const decode = name === undefined ? undefined : batchDecoders[name];
  if (name === undefined || decode === undefined) throw noVariant(at, 'UpdateOperation');
  return decodeWrite(required(at, name), decode);
}

function readPoint(at: WireValue): PointDraft {
  const id = readPointId(required(at, 'id'));
  const vectors = readNamedVectors(required(at, 'vector'));
  const payload = optional(at, 'payload');
  return { id, vectors, payload: payload === undefined ? '{}' : readPayload(payload) };
}

function readPointVectors(at: WireValue): { readonly id: PointDraft['id']; readonly vectors: NamedVectors } {
  const id = readPointId(required(at, 'id'));
  const vectorAt = required(at, 'vector', 'vectors');
  const vectors = readNamedVectors(vectorAt);
  if (vectors.size === 0 || vectors.get('')?.length === 0) violation(vectorAt, 'must specify vectors to update for point');
  return { id, vectors };
}

/** Columns of ids, vectors and payloads → points. Columns of different lengths are a range error, not a shorter batch. */
async function readBatch(at: WireValue): Promise<readonly PointDraft[]> {
  const ids = await readPointIds(required(at, 'ids'));
  const columns = [...(await readVectorColumns(at, ids.length))];
  const payloadsAt = optional(at, 'payloads');
  const payloads = payloadsAt && (await mapList(payloadsAt, (item) => (item.value === null ? '{}' : readPayload(item))));
  if (payloads !== undefined && payloads.length !== ids.length) {
    violation(at, `number of ids and payloads must be equal (${ids.length} != ${payloads.length})`);
  }
  if (at.violations.length > 0) return []; // the body is refused as soon as all of it is read
  return mapSliced(ids, (id, index) => ({
    id,
    vectors: new Map(columns.map(([name, column]) => [name, must(column[index], 'columns are as long as the ids')])),
    payload: payloads === undefined ? '{}' : must(payloads[index], 'columns are as long as the ids'),
  }));
}

function readPayload(at: WireValue): string {
  return at.value instanceof RawJson ? at.value.text : wrongType(at, 'a map');
}
