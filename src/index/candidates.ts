// The rows that may still be among the k best, with bounds on their scores. A row goes only where its best possible score is below the
// k-th worst-case score seen so far, so none is lost to rounding. The twin of Candidates in native/core/scan.cc.

/** Bounds as goodness: larger is better. */
interface Candidate {
  readonly row: number;
  readonly low: number;
  readonly high: number;
}

export class Candidates {
  readonly #k: number;
  #list: Candidate[] = [];
  #threshold = -Infinity;
  #limit = 64;

  /** `k` > 0. */
  constructor(k: number) {
    this.#k = k;
  }

  get size(): number {
    return this.#list.length;
  }

  add(row: number, low: number, high: number): void {
    if (high < this.#threshold) return;
    this.#list.push({ row, low, high });
    if (this.#list.length >= this.#limit) this.#compact();
  }

  /** What is left, in no order. */
  rows(): Uint32Array {
    this.#compact();
    return Uint32Array.from(this.#list, (candidate) => candidate.row);
  }

  #compact(): void {
    if (this.#list.length > this.#k) {
      const lows = Float64Array.from(this.#list, (candidate) => candidate.low).sort();
      this.#threshold = Math.max(this.#threshold, lows[lows.length - this.#k] ?? -Infinity);
      this.#list = this.#list.filter((candidate) => candidate.high >= this.#threshold);
    }
    this.#limit = Math.max(64, this.#list.length * 2);
  }
}
