// Reading JSON objects by tables of rules. Two kinds of mistake, as the API has them: a wrong type stops at once with 400, values
// out of range are gathered and answered together with 422. Fields without a rule are ignored; null counts as absent.
import { RequestError } from '../../base/errors.ts';
import { RawJson } from '../../vector/lift-json.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export type Rule =
  | { readonly kind: 'integer'; readonly from: number; readonly to?: number }
  | { readonly kind: 'number'; readonly from?: number; readonly to?: number }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'text' }
  | { readonly kind: 'choice'; readonly values: readonly string[] }
  | { readonly kind: 'object'; readonly rules: Rules };

export type Rules = Readonly<Record<string, Rule>>;

export const integerFrom = (from: number, to?: number): Rule =>
  to === undefined ? { kind: 'integer', from } : { kind: 'integer', from, to };
export const boolean: Rule = { kind: 'boolean' };
export const choice = (...values: readonly string[]): Rule => ({ kind: 'choice', values });

/** Where in the body a value stands (`hnsw_config.m`), and the range mistakes found so far. */
export interface Place {
  readonly path: string;
  readonly problems: string[];
}

export function bodyPlace(): Place {
  return { path: '', problems: [] };
}

export function below(place: Place, name: string): Place {
  return { path: place.path === '' ? name : `${place.path}.${name}`, problems: place.problems };
}

/** @throws RequestError 'validation' where range mistakes were found. */
export function refuseProblems({ problems }: Place): void {
  if (problems.length > 0) throw new RequestError('validation', `Validation error in JSON body: [${problems.join('; ')}]`);
}

export function formatError(place: Place, problem: string): RequestError {
  return new RequestError('bad-format', `Format error in JSON body: ${place.path === '' ? '' : `${place.path}: `}${problem}`);
}

/** The members that have a rule and a value. @throws RequestError 'bad-format' */
export function readObject(json: unknown, rules: Rules, place: Place): JsonObject {
  const given = asObject(json, place);
  const kept: Record<string, unknown> = {};
  for (const [name, rule] of Object.entries(rules)) {
    const value = member(given, name);
    if (value !== undefined) kept[name] = readValue(value, rule, below(place, name));
  }
  return kept;
}

/** An object's own member; null counts as absent. */
export function member(json: JsonObject, name: string): unknown {
  return Object.hasOwn(json, name) ? (json[name] ?? undefined) : undefined;
}

/** @throws RequestError 'bad-format' */
export function asObject(json: unknown, place: Place): JsonObject {
  const value = json instanceof RawJson ? json.value() : json;
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    throw wrongType(value, 'a map', place);
  return value as JsonObject;
}

/** @throws RequestError 'bad-format' for an absent member or one that is no text. */
export function requiredText(json: JsonObject, name: string, place: Place): string {
  const value = member(json, name);
  if (value === undefined) throw formatError(place, `missing field \`${name}\``);
  if (typeof value !== 'string') throw wrongType(value, 'a string', below(place, name));
  return value;
}

export function readValue(value: unknown, rule: Rule, place: Place): unknown {
  switch (rule.kind) {
    case 'integer': {
      if (typeof value === 'bigint')
        throw formatError(place, `invalid value: integer \`${value}\`, expected an integer below 2^53`);
      if (typeof value !== 'number' || !Number.isInteger(value)) throw wrongType(value, 'an integer', place);
      if (value < 0) throw formatError(place, `invalid value: integer \`${value}\`, expected an unsigned integer`);
      checkRange(value, rule, place);
      return value;
    }
    case 'number':
      if (typeof value !== 'number') throw wrongType(value, 'a number', place);
      checkRange(value, rule, place);
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(value, 'a boolean', place);
      return value;
    case 'text':
      if (typeof value !== 'string') throw wrongType(value, 'a string', place);
      return value;
    case 'choice': {
      if (typeof value !== 'string') throw wrongType(value, 'a string', place);
      if (!rule.values.includes(value))
        throw formatError(
          place,
          `unknown variant \`${value}\`, expected one of ${rule.values.map((name) => `\`${name}\``).join(', ')}`,
        );
      return value;
    }
    case 'object':
      return readObject(value, rule.rules, place);
  }
}

function checkRange(
  value: number,
  rule: { readonly kind: 'integer' | 'number'; readonly from?: number; readonly to?: number },
  place: Place,
): void {
  const { from, to } = rule;
  const shown = (number: number): string => (rule.kind === 'number' && Number.isInteger(number) ? `${number}.0` : String(number));
  if ((from === undefined || value >= from) && (to === undefined || value <= to)) return;
  const wanted =
    from === undefined
      ? `${shown(to ?? 0)} or smaller`
      : to === undefined
        ? `${shown(from)} or larger`
        : `from ${shown(from)} to ${shown(to)}`;
  place.problems.push(`${place.path}: value ${shown(value)} invalid, must be ${wanted}`);
}

/** In the words of the parser that clients know. */
export function wrongType(value: unknown, expected: string, place: Place): RequestError {
  return formatError(place, `invalid type: ${describeJson(value)}, expected ${expected}`);
}

function describeJson(value: unknown): string {
  if (typeof value === 'string') return `string ${JSON.stringify(value)}`;
  if (typeof value === 'boolean') return `boolean \`${value}\``;
  if (typeof value === 'bigint') return `integer \`${value}\``;
  if (typeof value === 'number') return Number.isInteger(value) ? `integer \`${value}\`` : `floating point \`${value}\``;
  if (value === null) return 'null';
  return Array.isArray(value) || ArrayBuffer.isView(value) ? 'sequence' : 'map';
}
