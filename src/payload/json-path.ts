// Paths into payloads: `a.b`, `a[].b`, `a[0]`, `"key with.dots".b`. One parser for filters, indexes, selectors and payload edits.
import { formatError } from './format-error.ts';

export type PathStep =
  | { readonly kind: 'key'; readonly name: string }
  | { readonly kind: 'all' }
  | { readonly kind: 'at'; readonly index: number };

/** `text` is the path as given, used as its name on the wire. */
export interface JsonPath {
  readonly text: string;
  readonly steps: readonly PathStep[];
}

export type JsonObject = Readonly<Record<string, unknown>>;

// A key is bare (letters and digits of any script, _ and -) or quoted; a quoted key knows no escapes.
const firstStep = /([\p{Alphabetic}\p{N}_-]+)|"([^"\\]*)"/uy;
const nextStep = /\.(?:([\p{Alphabetic}\p{N}_-]+)|"([^"\\]*)")|\[([0-9]*)\]/uy;

/** @throws RequestError bad-format */
export function parseJsonPath(text: string): JsonPath {
  const steps: PathStep[] = [];
  let at = 0;
  do {
    const pattern = at === 0 ? firstStep : nextStep;
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    const step = match === null ? undefined : toStep(match);
    if (step === undefined) throw formatError(`Invalid json path: '${text}'`);
    steps.push(step);
    at = pattern.lastIndex;
  } while (at < text.length);
  return { text, steps };
}

function toStep(match: RegExpExecArray): PathStep | undefined {
  const [, bare, quoted, index] = match;
  const name = bare ?? quoted;
  if (name !== undefined) return { kind: 'key', name };
  if (index === undefined || index === '') return { kind: 'all' };
  return Number.isSafeInteger(Number(index)) ? { kind: 'at', index: Number(index) } : undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The values at a path. A value that is an array stays one: only `[]` opens arrays. Empty where nothing is there. */
export function valuesAt(payload: JsonObject, path: JsonPath): readonly unknown[] {
  const [first, ...rest] = path.steps;
  if (first?.kind !== 'key' || !Object.hasOwn(payload, first.name)) return [];
  let values: readonly unknown[] = [payload[first.name]];
  for (const step of rest) {
    if (values.length === 0) return values;
    values = values.flatMap((value) => childrenAt(value, step));
  }
  return values;
}

function childrenAt(value: unknown, step: PathStep): readonly unknown[] {
  switch (step.kind) {
    case 'key':
      return isJsonObject(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
    case 'all':
      return Array.isArray(value) ? value : [];
    case 'at':
      return Array.isArray(value) && step.index < value.length ? [value[step.index]] : [];
  }
}

/** What matches, ranges and indexes look at: a value, or each element of an array; arrays inside arrays stay whole. */
export function elementsOf(values: readonly unknown[]): readonly unknown[] {
  return values.some(Array.isArray)
    ? values.flatMap((value): readonly unknown[] => (Array.isArray(value) ? value : [value]))
    : values;
}

/** true where the path can name one value at most. */
export function isSingleValued(path: JsonPath): boolean {
  return path.steps.every((step) => step.kind !== 'all');
}
