// What queries have found out about conditions that no index answers, so that the next query with such a condition need not parse the
// payloads again.
//
// A row's payload never changes and a row is never reused, so what was found of a row stays true as long as its segment lives; dead rows
// are other bitmaps. Knowledge grows by the rows that queries look at: a condition beside an indexed one knows only the rows that the
// index left. Beyond `bytesMax` what was used longest ago is forgotten.
import { sha256Hex } from '../base/checksum.ts';
import { andInto, andNotInto, emptyBits, hasBit, orInto, setBit } from './bitmap.ts';
import { matchesCondition, type FilterPoint } from './evaluate.ts';
import { encodeFilter } from './filter-json.ts';
import type { Condition } from './filter.ts';

/** Two bitmaps of 100,000 rows are 25 KB. */
const bytesMaxDefault = 32 << 20;
/** A key, the entry and its objects, roughly. */
const entryBytes = 400;

/** One condition over the rows of one segment. */
export class RowKnowledge {
  readonly condition: Condition;
  #known: Uint32Array;
  #matching: Uint32Array;

  constructor(condition: Condition, rowCount: number) {
    this.condition = condition;
    this.#known = emptyBits(rowCount);
    this.#matching = emptyBits(rowCount);
  }

  get bytes(): number {
    return this.#known.byteLength + this.#matching.byteLength + entryBytes;
  }

  /** Room for rows up to `rowCount`: a head's rows become more. */
  extend(rowCount: number): void {
    const words = (rowCount + 31) >>> 5;
    if (words <= this.#known.length) return;
    this.#known = orInto(new Uint32Array(words), this.#known);
    this.#matching = orInto(new Uint32Array(words), this.#matching);
  }

  /** There is room for the row. */
  learn(row: number, point: FilterPoint): void {
    if (hasBit(this.#known, row)) return;
    if (matchesCondition(this.condition, point)) setBit(this.#matching, row);
    setBit(this.#known, row);
  }

  /** Copies: rows of `live` that surely satisfy the condition, and those that may. */
  bounds(live: Uint32Array): { readonly sure: Uint32Array; readonly maybe: Uint32Array } {
    const sure = andInto(live.slice(), this.#matching);
    return { sure, maybe: orInto(andNotInto(live.slice(), this.#known), sure) };
  }
}

/** What is known of the conditions over one segment. */
export interface KnownConditions {
  /** What is known of a condition that depends on payloads alone. It may be learned from, also when it is forgotten meanwhile. */
  find(condition: Condition, rowCount: number): RowKnowledge;
}

/** One for all segments.  @internal for tests */
export class ConditionCache {
  readonly #bytesMax: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, { readonly knowledge: RowKnowledge; bytes: number }>();
  readonly #segmentNumbers = new WeakMap<object, number>();
  /** A request's conditions are asked for once per segment. */
  readonly #keys = new WeakMap<Condition, string>();
  #lastSegment = 0;
  #bytes = 0;

  constructor(bytesMax = bytesMaxDefault) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `segment`: any object that stands for the segment as long as it lives. */
  of(segment: object): KnownConditions {
    let number = this.#segmentNumbers.get(segment);
    if (number === undefined) {
      number = this.#lastSegment += 1;
      this.#segmentNumbers.set(segment, number);
    }
    return { find: (condition, rowCount) => this.#find(`${number} ${this.#keyOf(condition)}`, condition, rowCount) };
  }

  #find(key: string, condition: Condition, rowCount: number): RowKnowledge {
    const entry = this.#entries.get(key) ?? { knowledge: new RowKnowledge(condition, rowCount), bytes: 0 };
    entry.knowledge.extend(rowCount);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.knowledge.bytes - entry.bytes;
    entry.bytes = entry.knowledge.bytes;
    for (const [oldest, { bytes }] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#entries.delete(oldest);
      this.#bytes -= bytes;
    }
    return entry.knowledge;
  }

  /** By what the condition says; a list of many values is no long key. */
  #keyOf(condition: Condition): string {
    const key = this.#keys.get(condition) ?? sha256Hex(encodeFilter({ must: [condition] }));
    this.#keys.set(condition, key);
    return key;
  }
}

/** Of the process: however many shards there are, this much memory. */
export const conditionCache = new ConditionCache();
