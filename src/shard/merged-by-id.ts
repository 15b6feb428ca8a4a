// The live rows of several segments as one sequence in the order of ids.
import { comparePointIds, type PointId } from '../base/ids.ts';
import { hasBit } from '../payload/bitmap.ts';
import { slices } from '../segment/slices.ts';
import type { RowPlace, SegmentView } from './view.ts';

export interface Placed extends RowPlace {
  readonly id: PointId;
}

interface IdSource {
  readonly segment: SegmentView;
  readonly rows: Iterator<number>;
  next: Placed | undefined;
}

/** From the id `from` on, inclusive. */
export class MergedById {
  readonly #sources: readonly IdSource[];
  readonly #pause = slices();
  #started = false;

  constructor(segments: readonly SegmentView[], from: PointId | undefined) {
    this.#sources = segments.map((segment) => ({ segment, rows: segment.held.segment.rowsById(from)[Symbol.iterator](), next: undefined }));
  }

  /** The next `count` in order; fewer only at the end. */
  async take(count: number): Promise<readonly Placed[]> {
    if (!this.#started) {
      for (const source of this.#sources) source.next = await this.#advance(source);
      this.#started = true;
    }
    const taken: Placed[] = [];
    while (taken.length < count) {
      let least: IdSource | undefined;
      for (const source of this.#sources) {
        if (source.next !== undefined && (least?.next === undefined || comparePointIds(source.next.id, least.next.id) < 0)) least = source;
      }
      if (least?.next === undefined) break;
      taken.push(least.next);
      least.next = await this.#advance(least);
    }
    return taken;
  }

  async #advance({ segment, rows }: IdSource): Promise<Placed | undefined> {
    for (let step = rows.next(); step.done !== true; step = rows.next()) {
      const row = step.value;
      if (row < segment.rowCount && hasBit(segment.live, row)) return { segment, row, id: segment.held.segment.idAt(row) };
      const due = this.#pause();
      if (due !== undefined) await due;
    }
    return undefined;
  }
}
