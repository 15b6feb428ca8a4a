// A value of a parsed document with its place in it: reads that check, and refuse by place without quoting the value.
import { badSnapshot } from './archive-error.ts';

export class JsonField {
  readonly value: unknown;
  readonly #where: string;

  constructor(value: unknown, where: string) {
    this.value = value;
    this.#where = where;
  }

  /** @throws RequestError unless the value is an object; an absent member is a field with the value undefined. */
  get(name: string): JsonField {
    const members = this.#object();
    return new JsonField(Object.hasOwn(members, name) ? members[name] : undefined, this.#where === '' ? name : `${this.#where}.${name}`);
  }

  find(name: string): JsonField | undefined {
    const field = this.get(name);
    return field.value === undefined ? undefined : field;
  }

  /** Members in order; they are numbered in messages, because their names come from outside. */
  members(): readonly (readonly [string, JsonField])[] {
    return Object.entries(this.#object()).map(([name, value], index) => [name, new JsonField(value, `${this.#where}[${index}]`)]);
  }

  list(lengthMax: number): readonly JsonField[] {
    if (!Array.isArray(this.value)) return this.refuse('a list');
    if (this.value.length > lengthMax) return this.refuse(`a list of at most ${lengthMax}`);
    return this.value.map((item: unknown, index) => new JsonField(item, `${this.#where}[${index}]`));
  }

  integer(from = 0, to = Number.MAX_SAFE_INTEGER): number {
    if (typeof this.value !== 'number' || !Number.isSafeInteger(this.value) || this.value < from || this.value > to) {
      return this.refuse(`an integer from ${from} to ${to}`);
    }
    return this.value;
  }

  text(pattern: RegExp, what: string): string {
    return typeof this.value === 'string' && pattern.test(this.value) ? this.value : this.refuse(what);
  }

  boolean(): boolean {
    return typeof this.value === 'boolean' ? this.value : this.refuse('true or false');
  }

  oneOf<T extends string | number | boolean>(values: readonly T[]): T {
    return values.find((value) => value === this.value) ?? this.refuse(values.map((value) => JSON.stringify(value)).join(' or '));
  }

  object(): Readonly<Record<string, unknown>> {
    return this.#object();
  }

  refuse(wanted: string): never {
    throw badSnapshot('snapshot.json', `${this.#where === '' ? 'the document' : this.#where} must be ${wanted}`);
  }

  #object(): Readonly<Record<string, unknown>> {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) return this.refuse('an object');
    return this.value as Readonly<Record<string, unknown>>;
  }
}
