// Values with an order: integers, floats, and datetimes as microseconds. An integer and a float index keep every number of
// the field, so that both answer ranges exactly. The sealed form keeps four runs, each ascending and without repeats:
// - safe: integers up to ±(2^53-1), as f64     - i64: other integers below 2^63     - u64: integers from 2^63 on
// - float: all other numbers (a fraction, or too large for an exact integer)
import { parseDatetime } from './datetime.ts';
import { compareNumbers, inBounds, integerOf, numberOf } from './exact-number.ts';
import type { OrderedRow } from './field-index.ts';
import type { FieldType } from './field-schema.ts';
import type { MatchValue, RangeBounds } from './filter.ts';
import { sortSteps, type Steps } from './steps.ts';
import { addRow, bytesOf, firstPlace, largeLists, packPostings, piecesWithout, rowsBetween, toRowPieces } from './value-store.ts';
import type { IndexSection, MutableStore, Postings, RowPieces, SealedStore } from './value-store.ts';

export type NumberType = Extract<FieldType, 'integer' | 'float' | 'datetime'>;
export type RunKind = 'safe' | 'i64' | 'u64' | 'float';
export type RunValues = Float64Array<ArrayBuffer> | BigInt64Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>;

export interface NumberRun extends Postings {
  readonly kind: RunKind;
  readonly values: RunValues;
}

export const RUN_KINDS: readonly RunKind[] = ['safe', 'i64', 'u64', 'float'];
/** Section ids of a run: values, starts, rows follow one another. */
export const RUN_SECTIONS: Readonly<Record<RunKind, number>> = { safe: 32, i64: 36, u64: 40, float: 44 };

export function runKindOf(value: number | bigint): RunKind {
  if (typeof value === 'bigint') return value < 2n ** 63n ? 'i64' : 'u64';
  return Number.isSafeInteger(value) ? 'safe' : 'float';
}

/** The number an index of this type keeps of an element of a payload.  @internal for tests */
export function indexedNumber(type: NumberType, element: unknown): number | bigint | undefined {
  if (type === 'datetime') return typeof element === 'string' ? parseDatetime(element) : undefined;
  return numberOf(element);
}

/** Whether a kept number is a value of the type: an integer index also keeps fractions, for ranges alone.  @internal for tests */
export function isOfType(type: NumberType, value: number | bigint): boolean {
  return type !== 'integer' || integerOf(value) !== undefined;
}

function numbersOf(values: readonly MatchValue[]): readonly (number | bigint)[] | undefined {
  const numbers = values.map(integerOf);
  return numbers.every((value) => value !== undefined) ? numbers : undefined;
}

export class MutableNumbers implements MutableStore {
  readonly #type: NumberType;
  readonly #rows = new Map<number | bigint, number[]>();
  /** Values in order, and those that came since. */
  #sorted: readonly (number | bigint)[] = [];
  #unsorted: (number | bigint)[] = [];
  #postings = 0;

  constructor(type: NumberType) {
    this.#type = type;
  }

  get memoryBytes(): number {
    return this.#rows.size * 136 + this.#postings * 8; // a map entry with its array, measured roughly
  }

  add(row: number, element: unknown): 'value' | 'other' | undefined {
    const value = indexedNumber(this.#type, element);
    if (value === undefined) return undefined;
    let list = this.#rows.get(value);
    if (list === undefined) {
      list = [];
      this.#rows.set(value, list);
      this.#unsorted.push(value === 0 ? 0 : value); // a map takes -0 for 0 as well
    }
    if (addRow(list, row)) this.#postings += 1;
    return isOfType(this.#type, value) ? 'value' : 'other';
  }

  equalTo(values: readonly MatchValue[]): RowPieces | undefined {
    const numbers = numbersOf(values);
    return numbers === undefined ? undefined : toRowPieces(numbers.map((value) => this.#rows.get(value) ?? []));
  }

  except(values: readonly MatchValue[]): RowPieces | undefined {
    const numbers = numbersOf(values);
    if (numbers === undefined) return undefined;
    const skipped = new Set(numbers);
    return toRowPieces([...this.#rows].filter(([value]) => !skipped.has(value)).map(([, rows]) => rows));
  }

  within(bounds: RangeBounds): RowPieces {
    const pieces: number[][] = [];
    for (const [value, rows] of this.#rows) if (inBounds(value, bounds)) pieces.push(rows);
    return toRowPieces(pieces);
  }

  *ordered(direction: 'asc' | 'desc', startFrom: number | bigint | undefined): Generator<OrderedRow> {
    const values = this.#inOrder();
    const first =
      startFrom === undefined ? 0 : firstPlace(values.length, (at) => compareNumbers(values[at] ?? 0, startFrom) >= 0);
    const last =
      startFrom === undefined
        ? values.length - 1
        : firstPlace(values.length, (at) => compareNumbers(values[at] ?? 0, startFrom) > 0) - 1;
    const step = direction === 'asc' ? 1 : -1;
    for (let at = direction === 'asc' ? first : last; at >= 0 && at < values.length; at += step) {
      const value = values[at];
      if (value === undefined || !isOfType(this.#type, value)) continue;
      const lists = [this.#rows.get(value) ?? []];
      for (let next = values[at + step]; next !== undefined && compareNumbers(next, value) === 0; next = values[at + step]) {
        if (isOfType(this.#type, next)) lists.push(this.#rows.get(next) ?? []);
        at += step;
      }
      for (const row of mergeRows(lists)) yield { row, value };
    }
  }

  *seal(): Steps<SealedNumbers> {
    const values = yield* sortSteps([...this.#rows.keys()], compareNumbers);
    const runs: NumberRun[] = [];
    for (const kind of RUN_KINDS)
      runs.push(
        yield* this.#sealRun(
          kind,
          values.filter((value) => runKindOf(value) === kind),
        ),
      );
    return new SealedNumbers(this.#type, runs);
  }

  *#sealRun(kind: RunKind, values: readonly (number | bigint)[]): Steps<NumberRun> {
    const postings = yield* packPostings(values.map((value) => this.#rows.get(value) ?? []));
    if (kind === 'i64') return { kind, values: BigInt64Array.from(values.map(BigInt)), ...postings };
    if (kind === 'u64') return { kind, values: BigUint64Array.from(values.map(BigInt)), ...postings };
    return { kind, values: Float64Array.from(values.map(Number)), ...postings };
  }

  /** Merges the new values into the sorted ones: a scroll beside writes must not sort everything again. */
  #inOrder(): readonly (number | bigint)[] {
    if (this.#unsorted.length === 0) return this.#sorted;
    const numbers = Float64Array.from(this.#unsorted.filter((value) => typeof value === 'number')).sort();
    const bigs = this.#unsorted.filter((value) => typeof value === 'bigint').sort(compareNumbers);
    this.#sorted = mergeSorted(this.#sorted, mergeSorted(Array.from(numbers), bigs));
    this.#unsorted = [];
    return this.#sorted;
  }
}

export class SealedNumbers implements SealedStore {
  readonly #type: NumberType;
  readonly #runs: readonly NumberRun[];

  /** One run of each kind at most. */
  constructor(type: NumberType, runs: readonly NumberRun[]) {
    this.#type = type;
    this.#runs = runs.filter(({ values }) => values.length > 0);
  }

  get memoryBytes(): number {
    return this.#runs.reduce((sum, { values, starts, rows }) => sum + values.byteLength + starts.byteLength + rows.byteLength, 0);
  }

  equalTo(values: readonly MatchValue[]): RowPieces | undefined {
    const numbers = numbersOf(values);
    if (numbers === undefined) return undefined;
    return toRowPieces(
      this.#runs.flatMap((run) => placesIn(run, numbers).map((at) => (at < 0 ? [] : rowsBetween(run, at, at + 1)))),
    );
  }

  except(values: readonly MatchValue[]): RowPieces | undefined {
    const numbers = numbersOf(values);
    return numbers === undefined
      ? undefined
      : toRowPieces(this.#runs.flatMap((run) => piecesWithout(run, [...new Set(placesIn(run, numbers))])));
  }

  within(bounds: RangeBounds): RowPieces {
    const { gt, gte, lt, lte } = bounds;
    return toRowPieces(
      this.#runs.map((run) => {
        const valueAt = (at: number): number | bigint => run.values[at] ?? 0;
        const first = firstPlace(run.values.length, (at) =>
          inBounds(valueAt(at), { ...(gt === undefined ? {} : { gt }), ...(gte === undefined ? {} : { gte }) }),
        );
        const end = firstPlace(
          run.values.length,
          (at) => !inBounds(valueAt(at), { ...(lt === undefined ? {} : { lt }), ...(lte === undefined ? {} : { lte }) }),
        );
        return rowsBetween(run, first, Math.max(first, end));
      }),
    );
  }

  *ordered(direction: 'asc' | 'desc', startFrom: number | bigint | undefined): Generator<OrderedRow> {
    const step = direction === 'asc' ? 1 : -1;
    const cursors = this.#runs
      .filter(({ kind }) => this.#type !== 'integer' || kind !== 'float')
      .map((run) => ({ run, at: firstOf(run, direction, startFrom) }));
    for (;;) {
      const heads = cursors.flatMap((cursor) => {
        const value = cursor.run.values[cursor.at];
        return value === undefined ? [] : [{ cursor, value }];
      });
      const best = heads.toSorted((a, b) => compareNumbers(a.value, b.value) * step)[0];
      if (best === undefined) return;
      const equal = heads.filter(({ value }) => compareNumbers(value, best.value) === 0);
      for (const row of mergeRows(equal.map(({ cursor: { run, at } }) => rowsBetween(run, at, at + 1))))
        yield { row, value: best.value };
      for (const { cursor } of equal) cursor.at += step;
    }
  }

  *largeValues(rowsMin: number): Generator<Uint32Array | undefined> {
    for (const run of this.#runs) if (this.#type !== 'integer' || run.kind !== 'float') yield* largeLists(run, rowsMin);
  }

  sections(): readonly IndexSection[] {
    return this.#runs.flatMap(({ kind, values, starts, rows }) =>
      [values, starts, rows].map((array, at) => ({ id: RUN_SECTIONS[kind] + at, bytes: bytesOf(array) })),
    );
  }
}

function mergeSorted(a: readonly (number | bigint)[], b: readonly (number | bigint)[]): readonly (number | bigint)[] {
  if (a.length === 0 || b.length === 0) return a.length === 0 ? b : a;
  const merged: (number | bigint)[] = [];
  let next = 0;
  for (const value of a) {
    for (let one = b[next]; one !== undefined && one < value; one = b[next]) {
      merged.push(one);
      next += 1;
    }
    merged.push(value);
  }
  return merged.concat(b.slice(next));
}

/** The rows of values that are equal, in order and each once: 2^60 as an integer and as a float are two values of one size. */
function mergeRows(lists: readonly ArrayLike<number>[]): Iterable<number> {
  const rows = lists.flatMap((list) => Array.from(list));
  return lists.length === 1 ? rows : new Set(rows.sort((a, b) => a - b));
}

/** Places of the numbers that the run holds, -1 for one it does not hold; numbers of other runs are left out. */
function placesIn(run: NumberRun, numbers: readonly (number | bigint)[]): readonly number[] {
  return numbers
    .filter((number) => runKindOf(number) === run.kind)
    .map((number) => {
      const at = firstPlace(run.values.length, (place) => compareNumbers(run.values[place] ?? 0, number) >= 0);
      return run.values[at] === number ? at : -1;
    });
}

function firstOf({ values }: NumberRun, direction: 'asc' | 'desc', startFrom: number | bigint | undefined): number {
  if (startFrom === undefined) return direction === 'asc' ? 0 : values.length - 1;
  const isPast = direction === 'asc' ? (order: number): boolean => order >= 0 : (order: number): boolean => order > 0;
  return firstPlace(values.length, (at) => isPast(compareNumbers(values[at] ?? 0, startFrom))) - (direction === 'asc' ? 0 : 1);
}
