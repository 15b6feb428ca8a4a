// Routes that search: /points/query, and the older /points/search. Several requests of one body are one search of the engine.
import { must } from '../../base/assert.ts';
import type { ReadOptions, ScoredRecord } from '../../command/read.ts';
import type { Engine } from '../../engine/engine.ts';
import { decodeBatch, decodeQuery, decodeSearch, type PlainQuery, type PointQuery } from './decode-search.ts';
import { queryBatchPieces, queryPieces, scoredBatchPieces, scoredListPieces } from './encode-points.ts';
import { readOptions } from './point-options.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { decodeBody, defined, type WireValue } from './wire-value.ts';
import { collectionOf } from './write-call.ts';

export type SearchEngine = Pick<Engine, 'search' | 'scroll'>;
type Lists = readonly (readonly ScoredRecord[])[];

interface SearchRoute {
  readonly path: string;
  /** The requests of a body. */
  readonly decode: (body: WireValue) => readonly PointQuery[] | Promise<readonly PointQuery[]>;
  readonly encode: (lists: Lists) => Iterable<string>;
}

const routes: readonly SearchRoute[] = [
  { path: '/query', decode: (body) => [decodeQuery(body)], encode: (lists) => queryPieces(onlyList(lists)) },
  { path: '/query/batch', decode: (body) => decodeBatch(body, decodeQuery), encode: queryBatchPieces },
  { path: '/search', decode: (body) => [decodeOld(body)], encode: (lists) => scoredListPieces(onlyList(lists)) },
  { path: '/search/batch', decode: (body) => decodeBatch(body, decodeOld), encode: scoredBatchPieces },
];

export function searchRoutes({ engine }: { readonly engine: SearchEngine }): readonly RestRoute[] {
  return routes.map((route) => ({
    method: 'POST', path: `/collections/:collection/points${route.path}`, access: 'read', handle: (call) => answer(engine, call, route),
  }));
}

async function answer(engine: SearchEngine, call: RestCall, route: SearchRoute): Promise<RestAnswer> {
  const options = readOptions(call);
  const queries = await decodeBody(call.body, route.decode);
  const lists = await runQueries({ engine, collection: collectionOf(call), options }, queries);
  return { kind: 'result-text', pieces: route.encode(lists) };
}

interface QueryRun {
  readonly engine: SearchEngine;
  readonly collection: string;
  readonly options: ReadOptions;
}

/** One list per query, in their order. */
async function runQueries(run: QueryRun, queries: readonly PointQuery[]): Promise<Lists> {
  const searches = queries.flatMap((query) => (query.kind === 'nearest' ? [query.search] : []));
  const found = (await run.engine.search(run.collection, searches, run.options)).values();
  const lists: (readonly ScoredRecord[])[] = [];
  for (const query of queries) {
    lists.push(query.kind === 'plain' ? await runPlain(run, query.query) : must(found.next().value, 'a search answers every request'));
  }
  return lists;
}

/** The points before the offset are read by id only. */
async function runPlain({ engine, collection, options }: QueryRun, query: PlainQuery): Promise<readonly ScoredRecord[]> {
  const { offset: skip, ...request } = query;
  const skipped = skip === 0 ? undefined : await engine.scroll(collection, { ...request, limit: skip, selectors: nothing }, options);
  if (skipped?.nextPageOffset === null) return [];
  const page = await engine.scroll(collection, { ...request, ...defined({ offset: skipped?.nextPageOffset }) }, options);
  return page.points.map((point) => ({ ...point, score: 0 }));
}

const nothing = { payload: { kind: 'none' }, vectors: { kind: 'none' } } as const;

function decodeOld(body: WireValue): PointQuery {
  return { kind: 'nearest', search: decodeSearch(body) };
}

function onlyList(lists: Lists): readonly ScoredRecord[] {
  return must(lists[0], 'one request has one list');
}
