// Nearest neighbours over the segments of one view: filter → bitmap, graph or scan per segment, merged by score.
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
import { specOf } from './prepare-write.ts';
import { readRecords } from './read-records.ts';
import type { ShardSearch } from './shard-types.ts';
import { rowSourceOf, type RowPlace, type SegmentView, type View } from './view.ts';

/** Searched at once: what one thread finds while the next walks. More would only hold more bitmaps. */
const segmentsAtOnceMax = 8;

interface Prepared {
  readonly request: ShardSearch;
  readonly spec: VectorSpec;
  readonly vector: Float32Array;
  readonly k: number;
  readonly indexing: VectorIndexing;
}

interface Hit extends RowPlace {
  readonly id: PointId;
  readonly score: number;
}

/** One list for each request, best first, equal scores by id. @throws RequestError for a vector name or a dimension. */
export async function searchView(view: View, requests: readonly ShardSearch[], options: { readonly indexing: Indexing; readonly signal?: AbortSignal }): Promise<readonly (readonly ScoredRecord[])[]> {
  const { indexing, signal } = options;
  const prepared = requests.map((request) => prepare(view, request, indexing(request.using)));
  const hits = prepared.map((): Hit[] => []);
  await mapLimit(view.segments, segmentsAtOnceMax, (segment) => {
    signal?.throwIfAborted();
    return searchSegment(segment, { prepared, hits }, signal);
  });
  const answers: (readonly ScoredRecord[])[] = [];
  for (const [at, each] of prepared.entries()) {
    const best = rank(must(hits[at], 'one list for each request'), each);
    const records = await readRecords(view, best, each.request.selectors, signal);
    answers.push(records.map((record, index) => ({ ...record, score: must(best[index], 'one hit for each record').score })));
  }
  return answers;
}

function prepare(view: View, request: ShardSearch, indexing: VectorIndexing): Prepared {
  const spec = specOf(request.using, view.vectors);
  checkVector(spec, request.using, request.vector);
  return { request, spec, vector: prepareQuery(spec, request.vector), k: request.limit + request.offset, indexing };
}

/** One call of the index for each named vector, however many requests there are. */
async function searchSegment(segment: SegmentView, batch: { readonly prepared: readonly Prepared[]; readonly hits: readonly Hit[][] }, signal?: AbortSignal): Promise<void> {
  if (segment.rowCount === segment.deletedCount) return;
  const selected = new Map<Filter | undefined, Uint32Array>([[undefined, segment.live]]);
  for (const using of new Set(batch.prepared.map(({ request }) => request.using))) {
    const queries: IndexQuery[] = [];
    const lists: Hit[][] = [];
    for (const [at, { request, vector, k, indexing }] of batch.prepared.entries()) {
      if (request.using !== using || (request.params?.indexedOnly === true && isLargeWithoutGraph(segment, using, indexing))) continue;
      if (!selected.has(request.filter)) selected.set(request.filter, await selectRows(rowSourceOf(segment), must(request.filter, 'no filter selects the live rows'), signal));
      const allowed = allowedRows(segment, request, must(selected.get(request.filter), 'selected above'));
      if (countBits(allowed) === 0) continue;
      queries.push({ ...settings(request, indexing), vector, k: Math.min(k, segment.rowCount), allowed });
      lists.push(must(batch.hits[at], 'one list for each request'));
    }
    if (queries.length === 0) continue;
    const found = await segment.held.segment.search(using, queries, signal);
    for (const [at, list] of lists.entries()) collect(segment, must(found[at], 'one answer for each query'), list);
  }
}

function settings({ params = {} }: ShardSearch, { scanBytesMax, binaryQuery }: VectorIndexing): IndexSettings {
  const { hnswEf, exact, quantization } = params;
  return { scanBytesMax, binaryQuery, ...(hnswEf === undefined ? {} : { hnswEf }), ...(exact === undefined ? {} : { exact }), ...(quantization === undefined ? {} : { quantization }) };
}

/** `indexed_only` leaves out what waits for its graph; what is too small for one is searched. */
function isLargeWithoutGraph({ held: { segment } }: SegmentView, using: string, { graphBytesMin }: VectorIndexing): boolean {
  if (!(segment instanceof SealedSegment)) return false;
  const state = segment.graphStates().get(using);
  return state !== undefined && state.canBeIndexed && !state.isIndexed && state.facts === undefined && state.sizeBytes >= graphBytesMin;
}

/** Of the selected rows those that carry the vector, without the point that the search is about. */
function allowedRows(segment: SegmentView, request: ShardSearch, selected: Uint32Array): Uint32Array {
  const allowed = andInto(selected.slice(), segment.held.vectorBits(request.using));
  if (request.excludeId === undefined) return allowed;
  for (const row of segment.held.segment.rowsById(request.excludeId)) {
    if (segment.held.segment.idAt(row) !== request.excludeId) break;
    if (row < segment.rowCount) clearBit(allowed, row);
  }
  return allowed;
}

function collect(segment: SegmentView, found: IndexHits, into: Hit[]): void {
  for (const [at, row] of found.rows.entries()) {
    into.push({ segment, row, id: segment.held.segment.idAt(row), score: must(found.scores[at], 'one score for each row') });
  }
}

/** Best first, equal scores by id; strictly better than the threshold, which is compared as the f32 that scores are. */
function rank(hits: Hit[], { request, spec, k }: Prepared): readonly Hit[] {
  const sign = largerIsBetter(spec.distance) ? -1 : 1;
  const threshold = request.scoreThreshold === undefined ? undefined : Math.fround(request.scoreThreshold);
  const passing = threshold === undefined ? hits : hits.filter(({ score }) => (sign < 0 ? score > threshold : score < threshold));
  return passing.sort((a, b) => sign * (a.score - b.score) || comparePointIds(a.id, b.id)).slice(0, k);
}
