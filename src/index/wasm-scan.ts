// The fallback without the addon: exact scan on the event loop, in slices. Searches take turns slice by slice, and the loop runs
// between two slices, so many searches at once hold it no longer than one.
import { invariant } from '../base/assert.ts';
import { sliceMsMax, yieldToLoop } from '../base/clock.ts';
import { CorruptionError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import { largerIsBetter, strideBytes, type VectorSpec } from '../vector/distance.ts';
import { errorBound, type ErrorBound, type Kernels } from '../vector/kernels.ts';
import { Candidates } from './candidates.ts';
import { checkFile, checkQuery, checkRowRange, checkRows, checkVector } from './check-query.ts';
import { InFlight } from '../base/in-flight.ts';
import { sortInSteps } from './sort-in-steps.ts';
import { noWalks, type GrowingVectorIndex, type IndexHits, type IndexQuery, type VectorIndex, type VectorIndexes } from './vector-index.ts';

const chunkBytesMin = 64 << 10;
const chunkBytesMax = 16 << 20;
/** What is scored between two looks at the clock: far below a millisecond. */
const tileBytes = 128 << 10;
const tileRowsMax = 256;
/** Above this k, and where more candidates than this stay within the bounds of each other, all allowed rows are scored exactly. */
const boundedKMax = 1024;
const candidatesMax = 4096;

export function wasmIndexes(kernels: Kernels): VectorIndexes {
  const turns = new Lock();
  const open = new Set<ScanIndex>();
  const opened = (index: ScanIndex): ScanIndex => {
    open.add(index);
    return index;
  };
  return {
    kernel: kernels.name,
    graphsBuilt: 0,
    pointsKept: 0,
    walked: noWalks,
    growing: (spec) => opened(new ScanIndex(spec, kernels, turns, open)),
    openFile: async (spec, file, readAll): Promise<VectorIndex> => {
      checkFile(spec, file);
      const bytes = await readAll();
      if (bytes.length !== file.sizeBytes) {
        throw new CorruptionError({ file: file.path, problem: `has ${bytes.length} bytes instead of ${file.sizeBytes}` });
      }
      const index = opened(new ScanIndex(spec, kernels, turns, open));
      index.adopt(bytes.subarray(file.dataOffset, file.dataOffset + file.rowCount * strideBytes(spec)));
      return index;
    },
    close: async () => {
      await Promise.all(Array.from(open, (index) => index.close()));
    },
  };
}

/** Consecutive rows, packed; only the last one grows. */
interface Chunk {
  readonly bytes: Uint8Array;
  readonly first: number;
  count: number;
}

class ScanIndex implements GrowingVectorIndex {
  readonly spec: VectorSpec;
  readonly #kernels: Kernels;
  readonly #turns: Lock;
  readonly #siblings: Set<ScanIndex>;
  readonly #stride: number;
  readonly #tileRows: number;
  readonly #searches = new InFlight();
  #chunks: Chunk[] = [];
  #rowCount = 0;
  #closing: Promise<void> | undefined;

  constructor(spec: VectorSpec, kernels: Kernels, turns: Lock, siblings: Set<ScanIndex>) {
    this.spec = spec;
    this.#kernels = kernels;
    this.#turns = turns;
    this.#siblings = siblings;
    this.#stride = strideBytes(spec);
    this.#tileRows = Math.max(1, Math.min(tileRowsMax, Math.floor(tileBytes / this.#stride)));
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  get memoryBytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  }

  /** Takes the bytes without a copy; for an index that stays as it is. */
  adopt(rows: Uint8Array): void {
    if (rows.length === 0) return;
    const count = rows.length / this.#stride;
    this.#chunks.push({ bytes: rows, first: this.#rowCount, count });
    this.#rowCount += count;
  }

  append(rows: Uint8Array): void {
    this.#checkOpen();
    invariant(rows.length % this.#stride === 0, 'rows are whole');
    for (let from = 0; from < rows.length;) {
      const chunk = this.#chunkWithRoom();
      const taken = Math.min(chunk.bytes.length - chunk.count * this.#stride, rows.length - from);
      chunk.bytes.set(rows.subarray(from, from + taken), chunk.count * this.#stride);
      chunk.count += taken / this.#stride;
      this.#rowCount += taken / this.#stride;
      from += taken;
    }
  }

  row(row: number): Uint8Array {
    this.#checkOpen();
    checkRows(this.#rowCount, Uint32Array.of(row));
    return this.#rowBytes(row).slice();
  }

  readRows(first: number, target: Uint8Array): void {
    this.#checkOpen();
    const count = checkRowRange(this.spec, this.#rowCount, { first, target });
    for (let at = 0; at < count; at += 1) target.set(this.#rowBytes(first + at), at * this.#stride);
  }

  search(queries: readonly IndexQuery[], signal?: AbortSignal): Promise<readonly IndexHits[]> {
    return this.#searches.run(async () => {
      signal?.throwIfAborted();
      const rowCount = this.#rowCount;
      for (const query of queries) checkQuery(this.spec, rowCount, query);
      const found: IndexHits[] = [];
      for (const query of queries) {
        const rows = (await this.#candidates(query, rowCount, signal)) ?? (await this.#allAllowed(query.allowed, rowCount, signal));
        const scores = await this.#exactScores(query.vector, rows, signal);
        found.push(await this.#best(query.k, rows, scores, signal));
      }
      return found;
    });
  }

  score(vector: Float32Array, rows: Uint32Array): Promise<Float32Array> {
    return this.#searches.run(async () => {
      checkVector(this.spec, vector);
      checkRows(this.#rowCount, rows);
      return this.#exactScores(vector, rows);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#searches.close();
    this.#chunks = [];
    this.#siblings.delete(this);
  }

  #checkOpen(): void {
    invariant(!this.#searches.closed, 'an index is open while it is used');
  }

  /** Chunks double in size; rows never move. */
  #chunkWithRoom(): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.count * this.#stride < last.bytes.length) return last;
    const wanted = Math.min(chunkBytesMax, Math.max(chunkBytesMin, (last?.bytes.length ?? 0) * 2));
    const bytes = new Uint8Array(Math.max(1, Math.floor(wanted / this.#stride)) * this.#stride);
    const chunk = { bytes, first: this.#rowCount, count: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }

  #rowBytes(row: number): Uint8Array {
    const chunk = this.#chunks.findLast(({ first }) => first <= row);
    invariant(chunk !== undefined, 'every row lies in a chunk');
    const at = (row - chunk.first) * this.#stride;
    return chunk.bytes.subarray(at, at + this.#stride);
  }

  /** Runs `step` until it answers false, in slices. */
  async #inTurns(step: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    for (let more = true; more;) {
      await this.#turns.run(async () => {
        await yieldToLoop();
        signal?.throwIfAborted();
        const end = performance.now() + sliceMsMax;
        do more = step();
        while (more && performance.now() < end);
      });
    }
  }

  /** The rows that may be among the k best; undefined where bounds do not help. */
  async #candidates(query: IndexQuery, rowCount: number, signal: AbortSignal | undefined): Promise<Uint32Array | undefined> {
    if (query.k === 0 || rowCount === 0) return new Uint32Array(0);
    if (query.k > boundedKMax) return undefined;
    const candidates = new Candidates(query.k);
    const bound = errorBound(this.spec, query.vector, this.#kernels.lanes);
    let next = 0;
    await this.#inTurns(() => {
      next = this.#scanTile(query, next, rowCount, candidates, bound);
      return next < rowCount && candidates.size <= candidatesMax;
    }, signal);
    return next < rowCount ? undefined : candidates.rows();
  }

  async #allAllowed(allowed: Uint32Array, rowCount: number, signal: AbortSignal | undefined): Promise<Uint32Array> {
    const all = new Uint32Array(rowCount);
    let count = 0;
    let next = 0;
    await this.#inTurns(() => {
      const found = allowedRows(allowed, next, rowCount, tileRowsMax);
      all.set(found.rows, count);
      count += found.rows.length;
      next = found.next;
      return next < rowCount;
    }, signal);
    return all.subarray(0, count);
  }

  /** Scores the allowed rows from `from` on, as many as a tile holds; answers the row after them. */
  #scanTile(query: IndexQuery, from: number, rowCount: number, candidates: Candidates, bound: ErrorBound): number {
    const { rows, next } = allowedRows(query.allowed, from, rowCount, this.#tileRows);
    if (rows.length === 0) return next;
    const { sums, norms } = this.#kernels.approximate(this.spec, query.vector, this.#gather(rows));
    const sign = largerIsBetter(this.spec.distance) ? 1 : -1;
    for (const [at, row] of rows.entries()) {
      const sum = sums[at] as number;
      const error = bound(sum, norms[at] as number);
      if (error !== undefined) candidates.add(row, sign * sum - error, sign * sum + error);
      else this.#addUncertain(query.vector, row, candidates);
    }
    return next;
  }

  #addUncertain(vector: Float32Array, row: number, candidates: Candidates): void {
    const score = this.#kernels.exact(this.spec, vector, this.#rowBytes(row))[0] as number;
    const goodness = Number.isNaN(score) ? -Infinity
      : largerIsBetter(this.spec.distance) ? score
      : this.spec.distance === 'Euclid' ? -score * score
      : -score;
    const error = Number.isFinite(goodness) ? Math.abs(goodness) * 2 ** -22 : 0;
    candidates.add(row, goodness - error, goodness + error);
  }

  /** The rows side by side; a view where they lie so already. */
  #gather(rows: Uint32Array): Uint8Array {
    const first = rows[0] as number;
    const last = rows.at(-1) as number;
    if (last - first === rows.length - 1) {
      const chunk = this.#chunks.findLast((one) => one.first <= first);
      if (chunk !== undefined && last < chunk.first + chunk.count) {
        return chunk.bytes.subarray((first - chunk.first) * this.#stride, (last + 1 - chunk.first) * this.#stride);
      }
    }
    const bytes = new Uint8Array(rows.length * this.#stride);
    for (const [at, row] of rows.entries()) bytes.set(this.#rowBytes(row), at * this.#stride);
    return bytes;
  }

  async #exactScores(vector: Float32Array, rows: Uint32Array, signal?: AbortSignal): Promise<Float32Array> {
    const scores = new Float32Array(rows.length);
    let from = 0;
    await this.#inTurns(() => {
      if (from >= rows.length) return false;
      const some = rows.subarray(from, from + this.#tileRows);
      scores.set(this.#kernels.exact(this.spec, vector, this.#gather(some)), from);
      from += some.length;
      return true;
    }, signal);
    return scores;
  }

  async #best(k: number, rows: Uint32Array, scores: Float32Array, signal: AbortSignal | undefined): Promise<IndexHits> {
    const order = new Uint32Array(rows.length);
    for (let at = 0; at < order.length; at += 1) order[at] = at;
    const sort = sortInSteps(order, betterFirst(this.spec, rows, scores));
    await this.#inTurns(() => sort.next().done !== true, signal);
    const best = order.subarray(0, k);
    const hits = { rows: new Uint32Array(best.length), scores: new Float32Array(best.length) };
    for (let at = 0; at < best.length; at += 1) {
      hits.rows[at] = rows[best[at] as number] as number;
      hits.scores[at] = scores[best[at] as number] as number;
    }
    return hits;
  }
}

/** Orders positions of `rows` and `scores`: best score first, NaN (an infinite stored value met a zero) last, then by row. */
function betterFirst(spec: VectorSpec, rows: Uint32Array, scores: Float32Array): (a: number, b: number) => number {
  const sign = largerIsBetter(spec.distance) ? -1 : 1;
  return (a, b) => {
    const left = scores[a] as number;
    const right = scores[b] as number;
    return Number(Number.isNaN(left)) - Number(Number.isNaN(right)) || sign * (left - right) || (rows[a] as number) - (rows[b] as number);
  };
}

/** Up to `max` set rows from `from` on, ascending, and the row to go on with. */
function allowedRows(allowed: Uint32Array, from: number, rowCount: number, max: number): { readonly rows: Uint32Array; readonly next: number } {
  const rows = new Uint32Array(max);
  let count = 0;
  let row = from;
  while (row < rowCount && count < max) {
    const word = (allowed[row >>> 5] as number) >>> (row & 31);
    if (word === 0) {
      row = (row | 31) + 1; // nothing in the rest of this word
      continue;
    }
    row += 31 - Math.clz32(word & -word);
    if (row >= rowCount) break;
    rows[count] = row;
    count += 1;
    row += 1;
  }
  return { rows: rows.subarray(0, count), next: Math.min(row, rowCount) };
}
