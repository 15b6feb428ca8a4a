// Points of some shards into other shards, each where its id belongs: page by page through the ordinary reads and writes, so
// that segments, logs and payload indexes of the new shards are made as always. Ids, vectors and payload texts stay; versions
// are those of the new logs.
import { must } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import type { PointRecord } from '../command/read.ts';
import type { PointDraft } from '../command/write.ts';
import type { Shard } from '../shard/shard.ts';
import { strideBytes } from '../vector/distance.ts';
import { routePoint } from './route.ts';

const pagePointsMax = 512;
/** Of vectors: payloads come on top. */
const pageBytes = 8 << 20;
/** Rows in memory, of all targets together: each by itself may hold more, and there may be many. */
const unsealedBytesMax = 48 << 20;
const everything = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;

export interface ReshardProgress {
  readonly onPoints?: (pointsDone: number) => void;
  readonly signal?: AbortSignal;
}

/** The targets are new and empty, with the vectors of the sources. Answers the number of points. */
export async function reshard(sources: readonly Shard[], targets: readonly Shard[], progress: ReshardProgress): Promise<number> {
  let pointsDone = 0;
  for (const source of sources) {
    for await (const page of pagesOf(source, progress.signal)) {
      await Promise.all([...byTarget(page, targets.length)].map(([index, points]) => must(targets[index], 'a route is an index into the targets')
        .write({ kind: 'upsert', points }, { wait: true })));
      await makeRoom(targets);
      pointsDone += page.length;
      progress.onPoints?.(pointsDone);
    }
  }
  return pointsDone;
}

/** Puts the fullest shards into files until the rest is little. */
async function makeRoom(targets: readonly Shard[]): Promise<void> {
  const unsealed = (): number => targets.reduce((sum, { unsealedBytes }) => sum + unsealedBytes, 0);
  for (const target of targets.toSorted((a, b) => b.unsealedBytes - a.unsealedBytes)) {
    if (unsealed() <= unsealedBytesMax) return;
    await target.checkpoint();
  }
}

async function* pagesOf(shard: Shard, signal: AbortSignal | undefined): AsyncGenerator<readonly PointRecord[]> {
  const pointBytes = [...shard.vectorSpecs().values()].reduce((sum, spec) => sum + strideBytes(spec), 1);
  const limit = Math.max(1, Math.min(pagePointsMax, Math.floor(pageBytes / pointBytes)));
  let offset: PointId | undefined;
  do {
    signal?.throwIfAborted();
    const page = await shard.scroll({ ...(offset === undefined ? {} : { offset }), limit: limit + 1, selectors: everything }, signal);
    yield page.slice(0, limit);
    offset = page[limit]?.id;
  } while (offset !== undefined);
}

function byTarget(page: readonly PointRecord[], count: number): ReadonlyMap<number, readonly PointDraft[]> {
  const parts = new Map<number, PointDraft[]>();
  for (const { id, payload = '{}', vectors = new Map() } of page) {
    const index = routePoint(id, count);
    const part = parts.get(index) ?? [];
    part.push({ id, vectors, payload });
    parts.set(index, part);
  }
  return parts;
}
