// One state of a shard, held by a query from start to end: the segments and which of their rows were live. Writes that come
// meanwhile make other rows dead and append new ones; neither shows here.
import type { PointId, Seq } from '../base/ids.ts';
import { hasBit } from '../payload/bitmap.ts';
import { conditionCache } from '../payload/condition-cache.ts';
import type { PayloadSchema } from '../payload/field-schema.ts';
import type { RowSource } from '../payload/select-rows.ts';
import type { VectorSpec } from '../vector/distance.ts';
import type { HeldSegment } from './held-segment.ts';

export interface SegmentView {
  readonly held: HeldSegment;
  readonly rowCount: number;
  readonly deletedCount: number;
  /** Never changes. */
  readonly live: Uint32Array;
}

export interface RowPlace {
  readonly segment: SegmentView;
  readonly row: number;
}

export interface ViewContents {
  readonly applied: Seq;
  readonly vectors: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: PayloadSchema;
}

export class View implements ViewContents {
  readonly applied: Seq;
  readonly vectors: ReadonlyMap<string, VectorSpec>;
  readonly payloadSchema: PayloadSchema;
  readonly segments: readonly SegmentView[];
  #users = 1;

  constructor(held: readonly HeldSegment[], contents: ViewContents) {
    this.applied = contents.applied;
    this.vectors = contents.vectors;
    this.payloadSchema = contents.payloadSchema;
    this.segments = held.map((each) => {
      each.retain();
      return viewSegment(each);
    });
  }

  get points(): number {
    return this.segments.reduce((sum, { rowCount, deletedCount }) => sum + rowCount - deletedCount, 0);
  }

  retain(): this {
    this.#users += 1;
    return this;
  }

  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    await Promise.all(this.segments.map(({ held }) => held.release()));
  }

  /** The live row of an id in this state. */
  find(id: PointId): RowPlace | undefined {
    for (const segment of this.segments) {
      const row = findRow(segment, id);
      if (row !== undefined) return { segment, row };
    }
    return undefined;
  }
}

export function viewSegment(held: HeldSegment): SegmentView {
  const { segment } = held;
  return { held, rowCount: segment.rowCount, deletedCount: segment.deletedCount, live: held.liveBits() };
}

/** What payload/select-rows.ts reads; `live` narrows the answer further where given. */
export function rowSourceOf(view: SegmentView, live = view.live): RowSource {
  const { held } = view;
  return {
    ...held.segment.rowSource(),
    rowCount: view.rowCount,
    live,
    findRow: (id) => findRow(view, id),
    vectorBits: (name) => held.vectorBits(name),
    conditions: conditionCache.of(held.segment),
  };
}

/** The segment knows the live row of now; where that is another one, the row of then is among all rows of the id. */
function findRow(view: SegmentView, id: PointId): number | undefined {
  const { segment } = view.held;
  const now = segment.findLiveRow(id);
  if (now !== undefined && now < view.rowCount && hasBit(view.live, now)) return now;
  if (segment.rowCount === view.rowCount && segment.deletedCount === view.deletedCount) return undefined;
  for (const row of segment.rowsById(id)) {
    if (segment.idAt(row) !== id) return undefined;
    if (row < view.rowCount && hasBit(view.live, row)) return row;
  }
  return undefined;
}
