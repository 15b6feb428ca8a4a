// The one implementation of the FieldIndex port: a store of values and, per row, what no store knows. evaluate.ts is the
// truth; a condition that cannot be answered exactly as there is not answered.
import { invariant } from '../base/assert.ts';
import { countBits, emptyBits, hasBit, orInto, setBit } from './bitmap.ts';
import type { FieldIndex, MutableFieldIndex, OrderedRow } from './field-index.ts';
import { encodeFieldIndex } from './encode-field-index.ts';
import type { FieldSchema, FieldType } from './field-schema.ts';
import type { Condition } from './filter.ts';
import { elementsOf, isSingleValued, valuesAt, type JsonObject, type JsonPath } from './json-path.ts';
import { MutableNumbers } from './number-store.ts';
import { runAtOnce, runInSlices, type Steps } from './steps.ts';
import { MutableTerms } from './term-store.ts';
import type { MutableStore, RowFacts, RowPieces, SealedStore, ValueStore } from './value-store.ts';

interface Answer extends RowPieces {
  readonly withForeign?: boolean;
}

abstract class AnsweringIndex<Store extends ValueStore, Facts extends RowFacts> {
  readonly schema: FieldSchema;
  protected readonly store: Store;
  protected readonly facts: Facts;

  constructor(schema: FieldSchema, store: Store, facts: Facts) {
    this.schema = schema;
    this.store = store;
    this.facts = facts;
  }

  get rowsWithValue(): number {
    return this.facts.rowsWithValue;
  }

  get memoryBytes(): number {
    return this.store.memoryBytes + this.facts.filled.byteLength + this.facts.foreign.byteLength;
  }

  estimate(condition: Condition): number | undefined {
    const { rowCount, filled, foreign } = this.facts;
    if (condition.kind === 'is-empty') {
      const isFilled = this.#wantsFilled(condition);
      if (isFilled === undefined) return undefined;
      return isFilled ? countBits(filled) : rowCount - countBits(filled);
    }
    const answer = this.#find(condition);
    return answer === undefined
      ? undefined
      : Math.min(rowCount, answer.count + (answer.withForeign === true ? countBits(foreign) : 0));
  }

  select(condition: Condition, into: Uint32Array): boolean {
    if (condition.kind === 'is-empty') {
      const isFilled = this.#wantsFilled(condition);
      if (isFilled === undefined) return false;
      this.#selectFilled(isFilled, into);
      return true;
    }
    const answer = this.#find(condition);
    if (answer === undefined) return false;
    for (const piece of answer.pieces) {
      for (let at = 0; at < piece.length; at += 1) setBit(into, piece[at] ?? 0);
    }
    if (answer.withForeign === true) orInto(into, this.facts.foreign);
    return true;
  }

  ordered(direction: 'asc' | 'desc', startFrom?: number | bigint): Iterable<OrderedRow> | undefined {
    return answersRanges(this.schema) ? this.store.ordered(direction, startFrom) : undefined;
  }

  encode(): Uint8Array {
    return runAtOnce(this.encodeSteps());
  }

  encodeInSlices(): Promise<Uint8Array> {
    return runInSlices(this.encodeSteps());
  }

  protected abstract encodeSteps(): Steps<Uint8Array>;

  #find(condition: Condition): Answer | undefined {
    const { type } = this.schema;
    switch (condition.kind) {
      case 'match-value':
        return answersMatches(this.schema) ? this.store.equalTo([condition.value]) : undefined;
      case 'match-any':
        return answersMatches(this.schema) ? this.store.equalTo(condition.values) : undefined;
      case 'match-except': {
        const others = answersMatches(this.schema) ? this.store.except(condition.values) : undefined;
        return others === undefined ? undefined : { ...others, withForeign: true };
      }
      case 'range':
        return type !== 'datetime' && answersRanges(this.schema) ? this.store.within(condition.bounds) : undefined;
      case 'datetime-range':
        return type === 'datetime' ? this.store.within(condition.bounds) : undefined;
      case 'is-empty': // answered by its callers
      case 'is-null':
      case 'match-text':
      case 'values-count':
      case 'geo-bounding-box':
      case 'geo-radius':
      case 'geo-polygon':
      case 'has-id':
      case 'has-vector':
      case 'nested':
      case 'slice':
      case 'any-of':
      case 'filter':
        return undefined;
    }
  }

  /** true: the filled rows, false: the others, undefined: neither. Field form over many values asks for any empty one. */
  #wantsFilled(condition: Condition & { kind: 'is-empty' }): boolean | undefined {
    const isExact = condition.form === 'condition' || !condition.wanted || this.facts.isSingleValued;
    return isExact ? !condition.wanted : undefined;
  }

  #selectFilled(wanted: boolean, into: Uint32Array): void {
    const { filled, rowCount } = this.facts;
    if (wanted) {
      orInto(into, filled);
      return;
    }
    for (let at = 0; at < rowCount >>> 5; at += 1) into[at] = (into[at] ?? 0) | ~(filled[at] ?? 0);
    for (let row = rowCount & ~31; row < rowCount; row += 1) if (!hasBit(filled, row)) setBit(into, row);
  }
}

/** A sealed segment's index, as decode-field-index.ts makes it. */
export class SealedFieldIndex extends AnsweringIndex<SealedStore, RowFacts> implements FieldIndex {
  largeValues(rowsMin: number): Iterable<Uint32Array | undefined> {
    return answersMatches(this.schema) ? this.store.largeValues(rowsMin) : [];
  }

  protected override encodeSteps(): Steps<Uint8Array> {
    return encodeFieldIndex(this.schema, this.store, this.facts);
  }
}

class HeadFieldIndex
  extends AnsweringIndex<MutableStore, { -readonly [Name in keyof RowFacts]: RowFacts[Name] }>
  implements MutableFieldIndex
{
  readonly #field: JsonPath;

  constructor(field: JsonPath, schema: FieldSchema, store: MutableStore) {
    super(schema, store, {
      rowCount: 0,
      rowsWithValue: 0,
      isSingleValued: isSingleValued(field),
      filled: emptyBits(1024),
      foreign: emptyBits(1024),
    });
    this.#field = field;
  }

  add(row: number, payload: JsonObject): void {
    const { facts } = this;
    invariant(row >= facts.rowCount, 'rows are indexed in ascending order');
    facts.rowCount = row + 1;
    const values = valuesAt(payload, this.#field);
    if (values.some((value) => value !== null && !(Array.isArray(value) && value.length === 0))) {
      facts.filled = withRoom(facts.filled, row);
      setBit(facts.filled, row);
    }
    let hasValue = false;
    for (const element of elementsOf(values)) {
      if (element === null) continue;
      const kept = this.store.add(row, element);
      if (kept === 'value') hasValue = true;
      if (kept !== undefined) continue;
      facts.foreign = withRoom(facts.foreign, row);
      setBit(facts.foreign, row);
    }
    if (hasValue) facts.rowsWithValue += 1;
  }

  protected override *encodeSteps(): Steps<Uint8Array> {
    const { rowCount } = this.facts;
    const bytes = yield* encodeFieldIndex(this.schema, yield* this.store.seal(), this.facts);
    invariant(this.facts.rowCount === rowCount, 'no row is added while an index is encoded');
    return bytes;
  }
}

/** An empty index for rows yet to come. Every row must be added, rows without the field too, or is_empty misses them. */
export function createFieldIndex(field: JsonPath, schema: FieldSchema): MutableFieldIndex {
  return new HeadFieldIndex(field, schema, createStore(schema.type));
}

function createStore(type: FieldType): MutableStore {
  switch (type) {
    case 'keyword':
    case 'uuid':
    case 'bool':
      return new MutableTerms(type);
    case 'integer':
    case 'float':
    case 'datetime':
      return new MutableNumbers(type);
  }
}

/** Whether match conditions are its business: `lookup: false` switches them off for integers. */
export function answersMatches(schema: FieldSchema): boolean {
  if (schema.type === 'integer') return schema.params?.['lookup'] !== false;
  return schema.type !== 'float' && schema.type !== 'datetime';
}

/** Whether ranges and an order are its business: `range: false` switches them off for integers. */
function answersRanges(schema: FieldSchema): boolean {
  if (schema.type === 'integer') return schema.params?.['range'] !== false;
  return schema.type === 'float' || schema.type === 'datetime';
}

function withRoom(bits: Uint32Array, row: number): Uint32Array {
  if (row >>> 5 < bits.length) return bits;
  const grown = new Uint32Array(Math.max((row >>> 5) + 1, bits.length * 2));
  grown.set(bits);
  return grown;
}
