// Reading of query parameters: a wrong type is 400, a value out of range 422, in the words of the API.
import { RequestError } from '../../base/errors.ts';

export type Query = Readonly<Record<string, string | undefined>>;

/** @throws RequestError 'bad-format' */
export function readFlag(query: Query, name: string, fallback: boolean): boolean {
  const text = query[name];
  if (text === undefined) return fallback;
  if (text === 'true') return true;
  if (text === 'false') return false;
  throw deserializeError(name, 'provided string was not `true` or `false`');
}

export interface IntegerRange {
  readonly from: number;
  readonly fallback: number;
}

/** @throws RequestError 'bad-format' or 'validation' */
export function readInteger(query: Query, name: string, range: IntegerRange): number {
  const text = query[name];
  if (text === undefined) return range.fallback;
  const value = /^\+?\d{1,15}$/.test(text) ? Number(text) : undefined;
  if (value === undefined) throw deserializeError(name, 'invalid digit found in string');
  if (value < range.from) throw queryValidationError(name, `value ${value} invalid, must be ${range.from} or larger`);
  return value;
}

/** One of a closed list. @throws RequestError 'bad-format' */
export function readChoice<T extends string>(
  query: Query,
  name: string,
  choice: { readonly values: readonly T[]; readonly fallback: T },
): T {
  const text = query[name];
  if (text === undefined) return choice.fallback;
  const found = choice.values.find((value) => value === text);
  if (found === undefined)
    throw deserializeError(
      name,
      `unknown variant \`${text}\`, expected one of ${choice.values.map((value) => `\`${value}\``).join(', ')}`,
    );
  return found;
}

export function deserializeError(name: string, problem: string): RequestError {
  return new RequestError('bad-format', `Deserialize error in query parameters: ${name}: ${problem}`);
}

export function queryValidationError(name: string, problem: string): RequestError {
  return new RequestError('validation', `Validation error in query parameters: [${name}: ${problem}]`);
}
