// Does a stored payload index belong to the payloads beside it? Twice: an index made anew from all payloads has the same bytes (so
// nothing is missing or too much), and on a sample of rows its answers are those of evaluate.ts (so that the code that made both
// is checked as well).
import { must } from '../base/assert.ts';
import { parsePointId } from '../base/ids.ts';
import { hasBit, emptyBits } from '../payload/bitmap.ts';
import { createFieldIndex } from '../payload/stored-index.ts';
import { matchesCondition } from '../payload/evaluate.ts';
import type { FieldIndex, MutableFieldIndex } from '../payload/field-index.ts';
import type { Condition, MatchValue } from '../payload/filter.ts';
import { elementsOf, parseJsonPath, valuesAt, type JsonObject, type JsonPath } from '../payload/json-path.ts';
import { yieldToLoop } from '../base/clock.ts';

const sampleRowsMax = 256;
const probeValuesMax = 64;

export class FieldIndexCheck {
  readonly file: string;
  readonly #stored: FieldIndex;
  readonly #rebuilt: MutableFieldIndex;
  readonly #path: JsonPath;
  readonly #rows: number;
  readonly #sample = new Map<number, JsonObject>();

  constructor(stored: FieldIndex, of: { readonly file: string; readonly field: string; readonly rows: number }) {
    this.file = of.file;
    this.#stored = stored;
    this.#path = parseJsonPath(of.field);
    this.#rebuilt = createFieldIndex(this.#path, stored.schema);
    this.#rows = of.rows;
  }

  /** Rows come in ascending order, all of them. */
  add(row: number, payload: JsonObject): void {
    this.#rebuilt.add(row, payload);
    if (row % Math.ceil(this.#rows / sampleRowsMax) === 0) this.#sample.set(row, payload);
  }

  async findProblem(): Promise<string | undefined> {
    const [stored, rebuilt] = [await this.#stored.encodeInSlices(), await this.#rebuilt.encodeInSlices()];
    if (Buffer.compare(stored, rebuilt) !== 0) return `is not the index of '${this.#path.text}' over these payloads`;
    for (const condition of this.#probes()) {
      const selected = emptyBits(this.#rows);
      if (!this.#stored.select(condition, selected)) continue;
      for (const [row, payload] of this.#sample) {
        const wanted = matchesCondition(condition, { id: must(parsePointId(0), '0 is an id'), payload, hasVector: () => false });
        if (wanted !== hasBit(selected, row)) return `${wanted ? 'misses' : 'wrongly selects'} row ${row} for ${condition.kind} on '${this.#path.text}'`;
      }
      await yieldToLoop();
    }
    return undefined;
  }

  *#probes(): Generator<Condition, void, undefined> {
    const key = this.#path;
    yield { kind: 'is-empty', key, form: 'condition', wanted: true };
    const values = new Set<MatchValue>();
    for (const payload of this.#sample.values()) {
      for (const value of elementsOf(valuesAt(payload, key))) {
        if (values.size < probeValuesMax && isScalar(value)) values.add(value);
      }
    }
    for (const value of values) {
      yield { kind: 'match-value', key, value };
      if (typeof value === 'number') yield { kind: 'range', key, bounds: { gte: value } };
    }
  }
}

function isScalar(value: unknown): value is MatchValue {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
}
