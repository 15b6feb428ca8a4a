// Nearest neighbours over the segments of one view: filter → bitmap, graph or scan per segment, merged by score.
//
// Of several graphs each is walked with a list shorter than asked for, by its share of the points: together they then cost little more
// than one graph over all. A list of ef is asked for k hits; where a segment has more of the merged hits than its list was for, its
// neighbours crowd the answer, and it is walked again with the whole list.
import { must } from '../base/assert.ts';
import { mapLimit } from '../base/limit.ts';
import { comparePointIds, type PointId } from '../base/ids.ts';
import type { ScoredRecord } from '../command/read.ts';
import type { Indexing, VectorIndexing } from '../command/indexing-config.ts';
import type { IndexHits, IndexQuery, IndexSettings } from '../index/vector-index.ts';
import { andInto, clearBit, countBits } from '../payload/bitmap.ts';
import type { Filter } from '../payload/filter.ts';
import { selectRows } from '../payload/select-rows.ts';
import { SealedSegment } from '../segment/sealed-segment.ts';
import { largerIsBetter, type VectorSpec } from '../vector/distance.ts';
import { checkVector, prepareQuery } from '../vector/stored-vector.ts';
import type { CountedRows } from './held-segment.ts';
import { specOf } from './prepare-write.ts';
import { readRecords } from './read-records.ts';
import type { ShardSearch } from './shard-types.ts';
import { rowSourceOf, type RowPlace, type SegmentView, type View } from './view.ts';

/** Searched at once: what one thread finds while the next walks. More would only hold more bitmaps. */
const segmentsAtOnceMax = 8;
/** Hits that become records in one go; more of them do in slices. */
const bareAtOnceMax = 1_024;

interface Hit extends RowPlace {
  readonly id: PointId;
  readonly score: number;
}

/** A query with a list shorter than asked for. */
interface ShortWalk {
  readonly segment: SegmentView;
  readonly query: IndexQuery & { readonly hnswEf: number };
  readonly efWanted: number;
}

/** To one request. */
interface Answer {
  readonly request: ShardSearch;
  readonly spec: VectorSpec;
  readonly vector: Float32Array;
  readonly k: number;
  readonly indexing: VectorIndexing;
  readonly settings: IndexSettings;
  hits: Hit[];
  readonly short: ShortWalk[];
}

interface Batch {
  readonly answers: readonly Answer[];
  /** The same by the vector that they search. */
  readonly byVector: ReadonlyMap<string, readonly Answer[]>;
  /** Of the view. */
  readonly points: number;
  readonly signal: AbortSignal | undefined;
}

/** One list for each request, best first, equal scores by id. @throws RequestError for a vector name or a dimension. */
export async function searchView(view: View, requests: readonly ShardSearch[], options: { readonly indexing: Indexing; readonly signal?: AbortSignal }): Promise<readonly (readonly ScoredRecord[])[]> {
  const { indexing, signal } = options;
  const answers = requests.map((request) => prepare(view, request, indexing(request.using)));
  const batch = { answers, byVector: groupByVector(answers), points: view.points, signal };
  await mapLimit(view.segments, segmentsAtOnceMax, (segment) => {
    signal?.throwIfAborted();
    return searchSegment(segment, batch);
  });
  await walkAgain(batch);
  const lists: (readonly ScoredRecord[])[] = [];
  for (const answer of answers) {
    const best = rank(answer);
    lists.push(best.length <= bareAtOnceMax && isBare(answer.request) ? best.map(bareRecord) : await readScored(view, best, answer.request, signal));
  }
  return lists;
}

function prepare(view: View, request: ShardSearch, indexing: VectorIndexing): Answer {
  const spec = specOf(request.using, view.vectors);
  checkVector(spec, request.using, request.vector);
  return { request, spec, vector: prepareQuery(spec, request.vector), k: request.limit + request.offset, indexing, settings: settingsOf(request, indexing), hits: [], short: [] };
}

function groupByVector(answers: readonly Answer[]): ReadonlyMap<string, readonly Answer[]> {
  const groups = new Map<string, Answer[]>();
  for (const answer of answers) {
    const { using } = answer.request;
    const group = groups.get(using);
    if (group === undefined) groups.set(using, [answer]);
    else group.push(answer);
  }
  return groups;
}

/** Whether a hit says already all that is asked for. */
function isBare({ selectors: { payload, vectors } }: ShardSearch): boolean {
  return payload.kind === 'none' && vectors.kind === 'none';
}

function bareRecord({ id, segment, row, score }: Hit): ScoredRecord {
  return { id, version: segment.held.segment.versionAt(row), score };
}

async function readScored(view: View, best: readonly Hit[], { selectors }: ShardSearch, signal: AbortSignal | undefined): Promise<readonly ScoredRecord[]> {
  const records = await readRecords(view, best, selectors, signal);
  return records.map((record, at) => ({ ...record, score: must(best[at], 'one hit for each record').score }));
}

/** One call of the index for each named vector, however many requests there are. */
async function searchSegment(segment: SegmentView, { byVector, points, signal }: Batch): Promise<void> {
  if (segment.rowCount === segment.deletedCount) return;
  const selected = new Map<Filter, Uint32Array>();
  for (const [using, answers] of byVector) {
    const queries: IndexQuery[] = [];
    const asked: Answer[] = [];
    for (const answer of answers) {
      const { request, vector, k, indexing, settings } = answer;
      const { filter } = request;
      if (request.params?.indexedOnly === true && isLargeWithoutGraph(segment, using, indexing)) continue;
      if (filter !== undefined && !selected.has(filter)) selected.set(filter, await selectRows(rowSourceOf(segment), filter, signal));
      const { bits, count } = allowedRows(segment, request, filter && selected.get(filter));
      if (count === 0) continue;
      const query = { ...settings, vector, k: Math.min(k, segment.rowCount), allowed: bits, allowedCount: count };
      const short = shortWalk(segment, answer, { points, query });
      if (short !== undefined) answer.short.push(short);
      queries.push(short?.query ?? query);
      asked.push(answer);
    }
    if (queries.length === 0) continue;
    const found = await segment.held.segment.search(using, queries, signal);
    for (const [at, answer] of asked.entries()) collect(segment, must(found[at], 'one answer for each query'), answer.hits);
  }
}

/** undefined where the query is not answered by one of several graphs, or its list is short already. The list is cut to the root of the
 *  segment's share, not to the share, and not below twice the hits: a short one loses its way more often, and hits are spread by chance. */
function shortWalk(segment: SegmentView, { request, k }: Answer, { points, query }: { readonly points: number; readonly query: IndexQuery }): ShortWalk | undefined {
  const live = segment.rowCount - segment.deletedCount;
  const { held: { segment: stored } } = segment;
  if (live === points || request.params?.exact === true || !(stored instanceof SealedSegment)) return undefined;
  const efConstruct = stored.efConstructOf(request.using);
  if (efConstruct === undefined) return undefined;
  const candidates = Math.ceil(k * Math.max(1, query.quantization?.oversampling ?? 1));
  const efWanted = Math.max(query.hnswEf ?? efConstruct, candidates);
  const hnswEf = Math.max(Math.ceil(efWanted * Math.sqrt(live / points)), 2 * candidates);
  return hnswEf < efWanted ? { segment, query: { ...query, hnswEf }, efWanted } : undefined;
}

async function walkAgain({ answers, signal }: Batch): Promise<void> {
  await mapLimit(answers.filter(({ short }) => short.length > 0), segmentsAtOnceMax, async (answer) => {
    const best = rank(answer);
    for (const { segment, query, efWanted } of answer.short) {
      const hits = best.reduce((sum, hit) => (hit.segment === segment ? sum + 1 : sum), 0);
      if (hits * efWanted <= answer.k * query.hnswEf) continue;
      const [found] = await segment.held.segment.search(answer.request.using, [{ ...query, hnswEf: efWanted }], signal);
      answer.hits = answer.hits.filter((hit) => hit.segment !== segment);
      collect(segment, must(found, 'one answer for a query'), answer.hits);
    }
  });
}

function settingsOf({ params = {} }: ShardSearch, { scanBytesMax, binaryQuery }: VectorIndexing): IndexSettings {
  const { hnswEf, exact, quantization } = params;
  return { scanBytesMax, binaryQuery, ...(hnswEf === undefined ? {} : { hnswEf }), ...(exact === undefined ? {} : { exact }), ...(quantization === undefined ? {} : { quantization }) };
}

/** `indexed_only` leaves out what waits for its graph; what is too small for one is searched. */
function isLargeWithoutGraph({ held: { segment } }: SegmentView, using: string, { graphBytesMin }: VectorIndexing): boolean {
  if (!(segment instanceof SealedSegment)) return false;
  const state = segment.graphState(using);
  return state !== undefined && state.canBeIndexed && !state.isIndexed && state.facts === undefined && state.sizeBytes >= graphBytesMin;
}

/** Of the selected rows, without a filter the live ones, those that carry the vector, without the point that the search is about. */
function allowedRows(segment: SegmentView, request: ShardSearch, selected: Uint32Array | undefined): CountedRows {
  const carrying = segment.held.carrying(request.using, segment.live);
  if (selected === undefined && request.excludeId === undefined) return carrying;
  const bits = andInto(carrying.bits.slice(), selected ?? carrying.bits);
  if (request.excludeId !== undefined) {
    for (const row of segment.held.segment.rowsById(request.excludeId)) {
      if (segment.held.segment.idAt(row) !== request.excludeId) break;
      if (row < segment.rowCount) clearBit(bits, row);
    }
  }
  return { bits, count: countBits(bits) };
}

function collect(segment: SegmentView, found: IndexHits, into: Hit[]): void {
  for (let at = 0; at < found.rows.length; at += 1) {
    const row = must(found.rows[at], 'within the length');
    into.push({ segment, row, id: segment.held.segment.idAt(row), score: must(found.scores[at], 'one score for each row') });
  }
}

/** Best first, equal scores by id; strictly better than the threshold, which is compared as the f32 that scores are. */
function rank({ hits, request, spec, k }: Answer): readonly Hit[] {
  const sign = largerIsBetter(spec.distance) ? -1 : 1;
  const threshold = request.scoreThreshold === undefined ? undefined : Math.fround(request.scoreThreshold);
  const passing = threshold === undefined ? hits : hits.filter(({ score }) => (sign < 0 ? score > threshold : score < threshold));
  return passing.toSorted((a, b) => sign * (a.score - b.score) || comparePointIds(a.id, b.id)).slice(0, k);
}
