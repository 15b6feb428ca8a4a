// Points → the JSON text of answers, in pieces of bounded size: a page of ten thousand large vectors is sent piece by piece and
// never held, nor made, in one go. Payload text is spliced in as it was stored; ids and f32 values are exact.
import { pointIdToJson } from '../../base/ids.ts';
import type { PointRecord, ScoredRecord, ScrollPage } from '../../command/read.ts';
import type { NamedVectors } from '../../command/write.ts';
import { floatText, vectorTexts } from './float-text.ts';

/** A piece is sent when it has grown to this; one text more may be in it. */
const pieceChars = 16 * 1024;

/** `Record`, the answer to GET of a point. */
export function recordPieces(record: PointRecord): Iterable<string> {
  return joinTexts(recordTexts(record));
}

/** `Record[]`. */
export function recordListPieces(records: readonly PointRecord[]): Iterable<string> {
  return joinTexts(listTexts(records, recordTexts));
}

/** `ScrollResult`. */
export function scrollPieces(page: ScrollPage): Iterable<string> {
  return joinTexts(scrollTexts(page));
}

/** `ScoredPoint[]`: the older search routes. */
export function scoredListPieces(points: readonly ScoredRecord[]): Iterable<string> {
  return joinTexts(listTexts(points, scoredTexts));
}

/** `ScoredPoint[][]`. */
export function scoredBatchPieces(lists: readonly (readonly ScoredRecord[])[]): Iterable<string> {
  return joinTexts(listTexts(lists, (points) => listTexts(points, scoredTexts)));
}

/** `QueryResponse`. */
export function queryPieces(points: readonly ScoredRecord[]): Iterable<string> {
  return joinTexts(queryTexts(points));
}

/** `QueryResponse[]`. */
export function queryBatchPieces(lists: readonly (readonly ScoredRecord[])[]): Iterable<string> {
  return joinTexts(listTexts(lists, queryTexts));
}

function* joinTexts(texts: Iterable<string>): Generator<string> {
  let piece = '';
  for (const text of texts) {
    piece += text;
    if (piece.length < pieceChars) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

function* listTexts<T>(items: readonly T[], textsOf: (item: T) => Iterable<string>): Generator<string> {
  yield '[';
  for (const [index, item] of items.entries()) {
    if (index > 0) yield ',';
    yield* textsOf(item);
  }
  yield ']';
}

function* scrollTexts(page: ScrollPage): Generator<string> {
  yield '{"points":';
  yield* listTexts(page.points, recordTexts);
  yield `,"next_page_offset":${page.nextPageOffset === null ? 'null' : pointIdToJson(page.nextPageOffset)}}`;
}

function* queryTexts(points: readonly ScoredRecord[]): Generator<string> {
  yield '{"points":';
  yield* listTexts(points, scoredTexts);
  yield '}';
}

function* recordTexts(record: PointRecord): Generator<string> {
  yield `{"id":${pointIdToJson(record.id)}`;
  yield* contentTexts(record);
}

function* scoredTexts(record: ScoredRecord): Generator<string> {
  yield `{"id":${pointIdToJson(record.id)},"version":${record.version},"score":${floatText(record.score)}`;
  yield* contentTexts(record);
}

/** Members that were not asked for are absent, never null. */
function* contentTexts(record: PointRecord): Generator<string> {
  if (record.payload !== undefined) {
    yield ',"payload":';
    yield* payloadTexts(record.payload);
  }
  if (record.vectors !== undefined) {
    yield ',"vector":';
    yield* vectorsTexts(record.vectors);
  }
  if (record.shardKey !== undefined) yield `,"shard_key":${record.shardKey}`;
  yield record.orderValue === undefined ? '}' : `,"order_value":${record.orderValue}}`;
}

/** The unnamed vector as a list, named ones as a map. */
function* vectorsTexts(vectors: NamedVectors): Generator<string> {
  const unnamed = vectors.get('');
  if (unnamed !== undefined && vectors.size === 1) {
    yield* vectorTexts(unnamed);
    return;
  }
  let before = '{';
  for (const [name, vector] of vectors) {
    yield `${before}${JSON.stringify(name)}:`;
    yield* vectorTexts(vector);
    before = ',';
  }
  yield before === '{' ? '{}' : '}';
}

/** Long text in parts, of which none ends inside a surrogate pair: each piece is encoded on its own. */
function* payloadTexts(payload: string): Generator<string> {
  let from = 0;
  while (from < payload.length) {
    let end = Math.min(payload.length, from + pieceChars);
    const last = payload.charCodeAt(end - 1);
    if (end < payload.length && last >= 0xd800 && last <= 0xdbff) end += 1;
    yield payload.slice(from, end);
    from = end;
  }
}

