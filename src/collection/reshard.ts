// Points of some shards into other shards, each where its id belongs: page by page through the ordinary log, so that segments and
// payload indexes of the new shards are made as always. Ids, payload texts and the stored bytes of vectors stay (normalised again, a
// float16 row of a Cosine vector would change); versions are those of the new logs.
import { must } from '../base/assert.ts';
import type { PointId } from '../base/ids.ts';
import type { Shard } from '../shard/shard.ts';
import { strideBytes } from '../vector/distance.ts';
import { routePoint } from './route.ts';

const pagePointsMax = 512;
/** Of vectors: payloads come on top. */
const pageBytes = 8 << 20;
/** Rows in memory, of all targets together: each by itself may hold more, and there may be many. */
const unsealedBytesMax = 48 << 20;

type Page = Awaited<ReturnType<Shard['scrollStored']>>;

export interface ReshardProgress {
  readonly onPoints?: (pointsDone: number) => void;
  readonly signal?: AbortSignal;
}

/** The targets are new and empty, with exactly the vectors of the sources. Answers the number of points. */
export async function reshard(sources: readonly Shard[], targets: readonly Shard[], progress: ReshardProgress): Promise<number> {
  let pointsDone = 0;
  for (const source of sources) {
    for await (const page of pagesOf(source, progress.signal)) {
      await Promise.all([...byTarget(page, targets.length)].map(([index, points]) => must(targets[index], 'a route is an index into the targets').putStored(points)));
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

async function* pagesOf(shard: Shard, signal: AbortSignal | undefined): AsyncGenerator<Page> {
  const pointBytes = [...shard.vectorSpecs().values()].reduce((sum, spec) => sum + strideBytes(spec), 1);
  const limit = Math.max(1, Math.min(pagePointsMax, Math.floor(pageBytes / pointBytes)));
  let offset: PointId | undefined;
  do {
    signal?.throwIfAborted();
    const page = await shard.scrollStored({ ...(offset === undefined ? {} : { offset }), limit: limit + 1 }, signal);
    yield page.slice(0, limit);
    offset = page[limit]?.id;
  } while (offset !== undefined);
}

function byTarget(page: Page, count: number): ReadonlyMap<number, Page> {
  const parts = new Map<number, Page[number][]>();
  for (const point of page) {
    const index = routePoint(point.id, count);
    const part = parts.get(index) ?? [];
    part.push(point);
    parts.set(index, part);
  }
  return parts;
}
