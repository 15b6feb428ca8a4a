// A write on its way to the log: checked whole, vectors turned into stored bytes, cut into entries.
import { must, unreachable } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { BufferPool } from '../base/buffer-pool.ts';
import type { PointId } from '../base/ids.ts';
import { vectorSpecs } from '../command/collection-config.ts';
import type { NamedVectors, PointDraft, WriteOperation } from '../command/write.ts';
import { parseJsonPath } from '../payload/json-path.ts';
import { slices } from '../segment/slices.ts';
import { strideBytes, type VectorSpec } from '../vector/distance.ts';
import { checkVector, writeStored } from '../vector/stored-vector.ts';
import { encodeOperation, encodePoints, storedRows, type EncodedEntry, type PointWrite, type RowEncoding } from './entry-body.ts';
import type { StoredDraft } from './shard-operation.ts';

/** What an entry holds besides its points, for a guess of its size. */
const entryRestBytes = 256;
/** Entries are cut here, so that a network of replicas can carry each in one message. A larger point is an entry of its own. */
const entryBytesMax = (1 << 20) - entryRestBytes;
const idBytesMax = 17;

type Specs = ReadonlyMap<string, VectorSpec>;

/** Everything that can be told without the state of points. @throws RequestError with the wire's text */
export async function checkWrite(operation: WriteOperation, specs: Specs): Promise<void> {
  switch (operation.kind) {
    case 'upsert':
      return await checkEach(operation.points, (point) => {
        checkVectors(point.vectors, specs);
        checkPayload(point.payload);
      });
    case 'update-vectors':
      return await checkEach(operation.points, (point) => checkVectors(point.vectors, specs));
    case 'delete-vectors':
      for (const name of operation.names) specOf(name, specs);
      return;
    case 'set-payload':
      checkPayload(operation.payload);
      if (operation.key !== undefined) parseJsonPath(operation.key);
      return;
    case 'overwrite-payload':
      checkPayload(operation.payload);
      return;
    case 'delete-payload':
      for (const key of operation.keys) parseJsonPath(key);
      return;
    case 'create-index':
    case 'drop-index':
      parseJsonPath(operation.field);
      return;
    case 'create-vector':
      if (specs.has(operation.name)) throw new RequestError('already-exists', `Vector '${operation.name}' already exists!`);
      return;
    case 'drop-vector':
      specOf(operation.name, specs);
      return;
    case 'delete-points':
    case 'clear-payload':
      return;
    default:
      unreachable(operation);
  }
}

async function checkEach<T>(points: readonly T[], check: (point: T) => void): Promise<void> {
  const pause = slices();
  for (const point of points) {
    check(point);
    const due = pause();
    if (due !== undefined) await due;
  }
}

/** Entries of at most about 1 MB, in order. The write must have been checked against the same specs. */
export async function toEntries(operation: WriteOperation, specs: Specs, bodies: BufferPool): Promise<readonly EncodedEntry[]> {
  switch (operation.kind) {
    case 'upsert': {
      const sizeBytes = (point: PointDraft): number => rowsBytes(point.vectors, specs) + Buffer.byteLength(point.payload);
      const pieces = cut(lastOfEach(operation.points), sizeBytes);
      return await encodePieces(pieces, { encoding: encodingUnder(specs), bodies, write: (points) => ({ ...operation, points }) });
    }
    case 'update-vectors': {
      const pieces = cut(mergedById(operation.points), ({ vectors }) => rowsBytes(vectors, specs));
      return await encodePieces(pieces, { encoding: encodingUnder(specs), bodies, write: (points) => ({ ...operation, points }) });
    }
    case 'create-vector': {
      const spec = must(vectorSpecs({ [operation.name]: operation.params }).get(operation.name), 'one vector has one spec');
      return [encodeOperation({ kind: 'create-vector', name: operation.name, spec })];
    }
    case 'create-index':
    case 'drop-index':
    case 'drop-vector':
      return [encodeOperation(operation)];
    case 'delete-points':
    case 'delete-vectors':
    case 'set-payload':
    case 'overwrite-payload':
    case 'delete-payload':
    case 'clear-payload': {
      const { selector } = operation;
      if (selector.kind === 'filter') return [encodeOperation(operation)];
      return cut([...new Set(selector.ids)], () => idBytesMax).map(({ list: ids }) => encodeOperation({ ...operation, selector: { kind: 'ids', ids } }));
    }
    default:
      return unreachable(operation);
  }
}

/** The same for points whose vectors are stored rows already, each id once. */
export function toStoredEntries(points: readonly StoredDraft[], bodies: BufferPool): Promise<readonly EncodedEntry[]> {
  const sizeBytes = ({ vectors, payload }: StoredDraft): number =>
    [...vectors.values()].reduce((sum, row) => sum + 2 + row.byteLength, idBytesMax + 8) + Buffer.byteLength(payload);
  return encodePieces(cut(points, sizeBytes), { encoding: storedRows, bodies, write: (list) => ({ kind: 'upsert', points: list }) });
}

/** Ids that must be there for the write to be taken; the others are simply passed over. */
export function requiredIds(operation: WriteOperation): readonly PointId[] {
  switch (operation.kind) {
    case 'update-vectors':
      return operation.points.map(({ id }) => id);
    case 'set-payload':
    case 'overwrite-payload':
    case 'delete-payload':
    case 'clear-payload':
      return operation.selector.kind === 'ids' ? operation.selector.ids : [];
    case 'upsert':
    case 'delete-points':
    case 'delete-vectors':
    case 'create-index':
    case 'drop-index':
    case 'create-vector':
    case 'drop-vector':
      return [];
    default:
      return unreachable(operation);
  }
}

function checkVectors(vectors: NamedVectors, specs: Specs): void {
  for (const [name, vector] of vectors) checkVector(specOf(name, specs), name, vector);
}

export function specOf(name: string, specs: Specs): VectorSpec {
  const spec = specs.get(name);
  if (spec === undefined) throw new RequestError('bad-input', `Not existing vector name error: ${name}`);
  return spec;
}

/** The text is known to be JSON; what is left to see is that it is an object. */
function checkPayload(text: string): void {
  if (!/^[ \t\r\n]*\{/.test(text)) throw new RequestError('bad-input', 'Payload must be a JSON object');
}

function lastOfEach<T extends { readonly id: PointId }>(points: readonly T[]): readonly T[] {
  const last = new Map<PointId, T>();
  for (const point of points) {
    last.delete(point.id);
    last.set(point.id, point);
  }
  return [...last.values()];
}

interface PointVectors {
  readonly id: PointId;
  readonly vectors: NamedVectors;
}

function mergedById(points: readonly PointVectors[]): readonly PointVectors[] {
  const merged = new Map<PointId, NamedVectors>();
  for (const { id, vectors } of points) merged.set(id, new Map([...(merged.get(id) ?? []), ...vectors]));
  return [...merged].map(([id, vectors]) => ({ id, vectors }));
}

function encodingUnder(specs: Specs): RowEncoding<Float32Array> {
  return {
    rowBytes: (name) => strideBytes(specOf(name, specs)),
    write: (name, vector, row) => writeStored(specOf(name, specs), vector, row),
  };
}

/** Vectors become stored rows in the memory of the entry that the log writes and the head copies from. */
async function encodePieces<T, V>(
  pieces: readonly Piece<T>[],
  { encoding, bodies, write }: { readonly encoding: RowEncoding<V>; readonly bodies: BufferPool; readonly write: (points: readonly T[]) => PointWrite<V> },
): Promise<readonly EncodedEntry[]> {
  const pause = slices();
  const entries: EncodedEntry[] = [];
  for (const { list, sizeBytes } of pieces) {
    entries.push(encodePoints(write(list), encoding, bodies.take(sizeBytes + entryRestBytes)));
    const due = pause();
    if (due !== undefined) await due;
  }
  return entries;
}

function rowsBytes(vectors: NamedVectors, specs: Specs): number {
  let bytes = idBytesMax + 8;
  for (const name of vectors.keys()) bytes += 2 + strideBytes(specOf(name, specs));
  return bytes;
}

interface Piece<T> {
  readonly list: readonly T[];
  readonly sizeBytes: number;
}

/** Pieces of at most `entryBytesMax`, at least one element each; an empty list is one empty piece, so that it is logged too. */
function cut<T>(list: readonly T[], sizeBytes: (element: T) => number): readonly Piece<T>[] {
  const pieces: Piece<T>[] = [];
  let from = 0;
  let pieceBytes = 0;
  for (const [at, element] of list.entries()) {
    const bytes = sizeBytes(element);
    if (pieceBytes > 0 && pieceBytes + bytes > entryBytesMax) {
      pieces.push({ list: list.slice(from, at), sizeBytes: pieceBytes });
      from = at;
      pieceBytes = 0;
    }
    pieceBytes += bytes;
  }
  return [...pieces, { list: list.slice(from), sizeBytes: pieceBytes }];
}
