// Values that are only compared for equality: keywords, UUIDs and booleans, as byte strings in ascending order.
// - A keyword is its UTF-8 text. A string with a lone surrogate has none, so it is not kept.
// - A UUID is its 16 bytes. Only canonical text (hyphens, lower case) is kept: match compares text, and other spellings of one
//   UUID are other texts.
// - A boolean is 1 byte, 0 or 1.
import { uuidPattern } from '../base/ids.ts';
import type { FieldType } from './field-schema.ts';
import type { MatchValue } from './filter.ts';
import { sortSteps, turnsPerStep, type Steps } from './steps.ts';
import { addRow, bytesOf, firstPlace, largeLists, packPostings, piecesWithout, rowsBetween, toRowPieces } from './value-store.ts';
import type { IndexSection, MutableStore, Postings, RowPieces, SealedStore } from './value-store.ts';

export type TermType = Extract<FieldType, 'keyword' | 'uuid' | 'bool'>;

export const TERM_SECTIONS = { bytes: 16, offsets: 17, starts: 18, rows: 19 } as const;

/** Bytes of each term; undefined where terms differ in length. */
export const TERM_SIZE_BYTES: Readonly<Record<TermType, number | undefined>> = { keyword: undefined, uuid: 16, bool: 1 };

/** What a value is in the map of the mutable form; undefined where an index of this type does not keep it. */
function termOf(type: TermType, value: unknown): string | undefined {
  if (type === 'bool') return typeof value === 'boolean' ? String(value) : undefined;
  if (typeof value !== 'string') return undefined;
  return (type === 'uuid' ? uuidPattern.test(value) : !/\p{Surrogate}/u.test(value)) ? value : undefined;
}

function termBytes(type: TermType, term: string): Buffer {
  if (type === 'bool') return Buffer.of(term === 'true' ? 1 : 0);
  return type === 'uuid' ? Buffer.from(term.replaceAll('-', ''), 'hex') : Buffer.from(term);
}

function termsOf(type: TermType, values: readonly MatchValue[]): readonly string[] | undefined {
  const terms = values.map((value) => termOf(type, value));
  return terms.every((term) => term !== undefined) ? terms : undefined;
}

/** The order of the bytes of two texts, where neither has a surrogate: those sort before U+E000 … U+FFFF as text only. */
function compareAsText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareAsBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export class MutableTerms implements MutableStore {
  readonly #type: TermType;
  readonly #rows = new Map<string, number[]>();
  #postings = 0;
  #textBytes = 0;
  #hasSurrogates = false;

  constructor(type: TermType) {
    this.#type = type;
  }

  get memoryBytes(): number {
    return this.#rows.size * 120 + this.#postings * 8 + this.#textBytes; // a map entry with its array, measured roughly
  }

  add(row: number, element: unknown): 'value' | undefined {
    const term = termOf(this.#type, element);
    if (term === undefined) return undefined;
    let list = this.#rows.get(term);
    if (list === undefined) {
      list = [];
      this.#rows.set(term, list);
      this.#textBytes += term.length * 2;
      this.#hasSurrogates ||= /[\uD800-\uDFFF]/.test(term);
    }
    if (addRow(list, row)) this.#postings += 1;
    return 'value';
  }

  equalTo(values: readonly MatchValue[]): RowPieces | undefined {
    const terms = termsOf(this.#type, values);
    return terms === undefined ? undefined : toRowPieces(terms.map((term) => this.#rows.get(term) ?? []));
  }

  except(values: readonly MatchValue[]): RowPieces | undefined {
    const terms = termsOf(this.#type, values);
    if (terms === undefined) return undefined;
    const skipped = new Set(terms);
    return toRowPieces([...this.#rows].filter(([term]) => !skipped.has(term)).map(([, rows]) => rows));
  }

  within(): undefined {
    return undefined;
  }

  ordered(): undefined {
    return undefined;
  }

  *seal(): Steps<SealedTerms> {
    const terms = yield* sortSteps([...this.#rows.keys()], this.#hasSurrogates ? compareAsBytes : compareAsText);
    const postings = yield* packPostings(terms.map((term) => this.#rows.get(term) ?? []));
    const offsets = new Uint32Array(terms.length + 1);
    for (const [at, term] of terms.entries()) {
      offsets[at + 1] = (offsets[at] ?? 0) + (TERM_SIZE_BYTES[this.#type] ?? Buffer.byteLength(term));
      if (at % turnsPerStep === 0) yield;
    }
    const bytes = Buffer.allocUnsafeSlow(offsets.at(-1) ?? 0);
    for (const [at, term] of terms.entries()) {
      bytes.set(termBytes(this.#type, term), offsets[at] ?? 0);
      if (at % turnsPerStep === 0) yield;
    }
    return new SealedTerms(this.#type, bytes, this.#type === 'keyword' ? offsets : undefined, postings);
  }
}

export class SealedTerms implements SealedStore {
  readonly #type: TermType;
  readonly #bytes: Buffer;
  /** Absent where all terms have one length. */
  readonly #offsets: Uint32Array | undefined;
  readonly #postings: Postings;

  /** Terms are in strictly ascending order of bytes. */
  constructor(type: TermType, bytes: Buffer, offsets: Uint32Array | undefined, postings: Postings) {
    this.#type = type;
    this.#bytes = bytes;
    this.#offsets = offsets;
    this.#postings = postings;
  }

  get memoryBytes(): number {
    const { starts, rows } = this.#postings;
    return this.#bytes.length + (this.#offsets?.byteLength ?? 0) + starts.byteLength + rows.byteLength;
  }

  equalTo(values: readonly MatchValue[]): RowPieces | undefined {
    const places = this.#placesOf(values);
    return places === undefined
      ? undefined
      : toRowPieces(places.map((at) => (at < 0 ? [] : rowsBetween(this.#postings, at, at + 1))));
  }

  except(values: readonly MatchValue[]): RowPieces | undefined {
    const places = this.#placesOf(values);
    return places === undefined ? undefined : toRowPieces(piecesWithout(this.#postings, [...new Set(places)]));
  }

  within(): undefined {
    return undefined;
  }

  ordered(): undefined {
    return undefined;
  }

  largeValues(rowsMin: number): Iterable<Uint32Array | undefined> {
    return largeLists(this.#postings, rowsMin);
  }

  sections(): readonly IndexSection[] {
    return [
      { id: TERM_SECTIONS.bytes, bytes: this.#bytes },
      ...(this.#offsets === undefined ? [] : [{ id: TERM_SECTIONS.offsets, bytes: bytesOf(this.#offsets) }]),
      { id: TERM_SECTIONS.starts, bytes: bytesOf(this.#postings.starts) },
      { id: TERM_SECTIONS.rows, bytes: bytesOf(this.#postings.rows) },
    ];
  }

  /** Places of the values, -1 for one that no row has. */
  #placesOf(values: readonly MatchValue[]): readonly number[] | undefined {
    return termsOf(this.#type, values)?.map((term) => this.#find(termBytes(this.#type, term)));
  }

  #find(term: Buffer): number {
    const count = this.#postings.starts.length - 1;
    const at = firstPlace(count, (place) => this.#compareAt(place, term) >= 0);
    return at < count && this.#compareAt(at, term) === 0 ? at : -1;
  }

  #compareAt(place: number, term: Buffer): number {
    const size = TERM_SIZE_BYTES[this.#type] ?? 0;
    const start = this.#offsets?.[place] ?? place * size;
    const end = this.#offsets?.[place + 1] ?? start + size;
    return this.#bytes.compare(term, 0, term.length, start, end);
  }
}
