// Rows in ascending order of (id, row) while rows are still being added: sorted runs, merged as they come to equal length.
// A row costs a few comparisons when it is added, so no later read or seal has to sort everything at once.
// Runs never change once made: an iteration goes on over what it started with.
import type { IdKey, IdTable } from './id-table.ts';

const tailRowsMax = 1024;
/** Longer runs are not merged further, so that no single addition works for long. */
const runRowsMax = 32 * 1024;

export class SortedRuns {
  readonly #ids: IdTable;
  #runs: Uint32Array[] = [];
  #tail: number[] = [];
  #sortedTail: Uint32Array | undefined;

  constructor(ids: IdTable) {
    this.#ids = ids;
  }

  get memoryBytes(): number {
    return this.#runs.reduce((sum, run) => sum + run.byteLength, this.#tail.length * 8);
  }

  /** Rows come in ascending order. */
  add(row: number): void {
    this.#tail.push(row);
    this.#sortedTail = undefined;
    if (this.#tail.length < tailRowsMax) return;
    let run = this.#sorted();
    this.#tail = [];
    this.#sortedTail = undefined;
    for (let last = this.#runs.at(-1); last !== undefined && last.length <= run.length && run.length < runRowsMax; last = this.#runs.at(-1)) {
      run = this.#merged(last, run);
      this.#runs.pop();
    }
    this.#runs = [...this.#runs, run];
  }

  /** From the first id not below `from`; from the start without it. */
  rows(from?: IdKey): Generator<number, void, undefined> {
    const runs = [...this.#runs, this.#sorted()];
    return rowsOfRuns(this.#ids, from === undefined ? runs : runs.map((run) => run.subarray(lowerBound(this.#ids, run, from))));
  }

  #sorted(): Uint32Array {
    this.#sortedTail ??= Uint32Array.from(this.#tail).sort((a, b) => compareRows(this.#ids, a, b));
    return this.#sortedTail;
  }

  #merged(a: Uint32Array, b: Uint32Array): Uint32Array {
    const merged = new Uint32Array(a.length + b.length);
    let atA = 0;
    let atB = 0;
    for (let at = 0; at < merged.length; at += 1) {
      const rowA = a[atA];
      const rowB = b[atB];
      const takeA = rowA !== undefined && (rowB === undefined || compareRows(this.#ids, rowA, rowB) < 0);
      merged[at] = (takeA ? rowA : rowB) ?? 0;
      if (takeA) atA += 1;
      else atB += 1;
    }
    return merged;
  }
}

function compareRows(ids: IdTable, a: number, b: number): number {
  return ids.compare(a, b) || a - b;
}

/** The rows of several runs, each ascending by (id, row), in that order. */
export function* rowsOfRuns(ids: IdTable, runs: readonly Uint32Array[]): Generator<number, void, undefined> {
  const at = new Uint32Array(runs.length);
  for (;;) {
    let best: number | undefined;
    let bestRow = 0;
    for (let run = 0; run < runs.length; run += 1) {
      const row = runs[run]?.[at[run] ?? 0];
      if (row === undefined || (best !== undefined && compareRows(ids, row, bestRow) > 0)) continue;
      best = run;
      bestRow = row;
    }
    if (best === undefined) return;
    yield bestRow;
    at[best] = (at[best] ?? 0) + 1;
  }
}

/** First position in `sorted` (rows by id) whose id is not below the key. */
export function lowerBound(ids: IdTable, sorted: Uint32Array, key: IdKey): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids.compareKey(sorted[middle] ?? 0, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** First position in `sorted` (rows by id) whose id is above the key. */
export function upperBound(ids: IdTable, sorted: Uint32Array, key: IdKey): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids.compareKey(sorted[middle] ?? 0, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
