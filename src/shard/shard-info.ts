// What a shard tells about itself.
import { andInto, countBits, emptyBits } from '../payload/bitmap.ts';
import { parseJsonPath, type JsonPath } from '../payload/json-path.ts';
import type { LogInfo } from '../log/shard-log.ts';
import type { Maintenance } from './maintenance.ts';
import type { GraphState, SealedSegment } from '../segment/sealed-segment.ts';
import type { StoredManifest } from './shard-manifest.ts';
import type { CodesBytes, ShardInfo } from './shard-types.ts';
import type { SegmentView, View } from './view.ts';

export interface DescribedShard {
  readonly view: View;
  readonly log: LogInfo;
  readonly stored: StoredManifest;
  readonly maintenance: Pick<Maintenance, 'isBusy' | 'error'>;
  /** Why the shard takes no writes. */
  readonly failure: string | undefined;
  readonly sealed: readonly SealedSegment[];
  readonly damagedGraphsFound: number;
}

export function describeShard(shard: DescribedShard): ShardInfo {
  const { view, log, stored, maintenance } = shard;
  const error = shard.failure ?? maintenance.error;
  const damagedGraphs = rowsByVector(shard.sealed, ({ damage }) => damage !== undefined);
  const filled = view.segments.filter(({ rowCount }) => rowCount > 0);
  return {
    points: view.points,
    indexedVectors: indexedVectors(filled, shard.sealed),
    scannedVectors: rowsByVector(shard.sealed, ({ facts }) => facts !== undefined && facts.outcome !== 'built'),
    damagedGraphs,
    damagedGraphsFound: shard.damagedGraphsFound,
    codesBytes: codesBytes(shard.sealed),
    segments: view.segments.length,
    status: error !== undefined ? 'red' : maintenance.isBusy || damagedGraphs.size > 0 ? 'yellow' : 'green',
    ...(error === undefined ? {} : { optimizerError: error }),
    payloadSchema: new Map([...view.payloadSchema].map(([field, schema]) => [field, { schema, points: pointsWith(filled, field) }])),
    unappliedEntries: Math.max(0, log.lastSeq - view.applied),
    diskBytes: diskBytes(stored) + log.sizeBytes,
  };
}

/** Live vectors that a graph links. */
function indexedVectors(views: readonly SegmentView[], sealed: readonly SealedSegment[]): number {
  let count = 0;
  for (const segment of sealed) {
    const view = views.find(({ held }) => held.segment === segment);
    for (const [name, { isIndexed }] of segment.graphStates()) {
      if (isIndexed && view !== undefined) count += countBits(andInto(view.live.slice(), view.held.vectorBits(name)));
    }
  }
  return count;
}

function rowsByVector(sealed: readonly SealedSegment[], isCounted: (state: GraphState) => boolean): ReadonlyMap<string, number> {
  const rows = new Map<string, number>();
  for (const segment of sealed) {
    for (const [name, state] of segment.graphStates()) {
      if (isCounted(state)) rows.set(name, (rows.get(name) ?? 0) + state.vectors);
    }
  }
  return rows;
}

function codesBytes(sealed: readonly SealedSegment[]): CodesBytes {
  let [memory, mapped] = [0, 0];
  for (const { codes } of sealed.flatMap((segment) => [...segment.graphStates().values()])) {
    memory += codes?.memoryBytes ?? 0;
    mapped += codes?.mappedBytes ?? 0;
  }
  return { memory, mapped };
}

function pointsWith(segments: readonly SegmentView[], field: string): number {
  const path = parseJsonPath(field);
  return segments.reduce((sum, segment) => sum + liveRowsWith(segment, path), 0);
}

/** Live points that have a value there. The index counts dead rows too, so among dead rows it is asked for its rows. */
function liveRowsWith(segment: SegmentView, path: JsonPath): number {
  const index = segment.held.segment.fieldIndex(path.text);
  if (index === undefined) return 0;
  if (segment.deletedCount === 0 && segment.held.segment.rowCount === segment.rowCount) return index.rowsWithValue;
  const rows = emptyBits(segment.held.segment.rowCount);
  const isAnswered = index.select({ kind: 'is-empty', key: path, form: 'condition', wanted: false }, rows);
  return isAnswered ? countBits(andInto(rows, segment.live)) : Math.min(index.rowsWithValue, segment.rowCount - segment.deletedCount);
}

function diskBytes({ manifest, text }: StoredManifest): number {
  const files = new Map(manifest.segments.flatMap(({ files: all, del }) => [...all, ...(del === undefined ? [] : [del])]).map(({ sha256, size }) => [sha256, size]));
  return [...files.values()].reduce((sum, size) => sum + size, text.byteLength);
}
