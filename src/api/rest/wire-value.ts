// Parsed JSON bodies, read value by value. Three kinds of refusal, worded as Qdrant's parser and validator word them:
// - a value of the wrong type or shape: 400 `Format error in JSON body: <path>: <problem>`, thrown at once. Types are looked at
//   after the body was parsed, so the place is a path (`points[3].id`) and not a line and column.
// - a value out of range: 422 `Validation error in JSON body: [<path>: <problem>; …]`, collected and thrown at the end.
// - a request that is right but asks for what nearkeep cannot do: 400 that names it.
import { RequestError } from '../../base/errors.ts';
import { sliceMsMax, yieldToLoop } from '../../base/clock.ts';
import { describeValue } from '../../payload/format-error.ts';
import { RawJson } from '../../vector/lift-json.ts';

/** One value of a body and where it stands. */
export interface WireValue {
  readonly value: unknown;
  readonly key: string | number;
  readonly parent: WireValue | undefined;
  /** Of the whole body, in the order they were found. */
  readonly violations: string[];
  /** Stands in the paths of range errors only. */
  readonly validationOnly?: boolean;
}

/** Values longer than this are cut in error texts. */
const shownCharsMax = 200;

/** @throws RequestError for a format error, or for the range errors that `decode` found. */
export async function decodeBody<T>(body: unknown, decode: (root: WireValue) => T | Promise<T>): Promise<T> {
  const root: WireValue = { value: body, key: '', parent: undefined, violations: [] };
  if (body === undefined) throw formatError(root, 'EOF while parsing a value at line 1 column 0');
  const decoded = await decode(root);
  if (root.violations.length === 0) return decoded;
  throw new RequestError('validation', `Validation error in JSON body: [${root.violations.join('; ')}]`);
}

export function formatError(at: WireValue, problem: string): RequestError {
  const path = pathOf(at, false);
  return new RequestError('bad-format', `Format error in JSON body: ${path === '' ? '' : `${path}: `}${problem}`);
}

/** Notes a value out of range; `decodeBody` throws once the whole body is read. */
export function violation(at: WireValue, problem: string): void {
  at.violations.push(`${validationPath(at)}: ${problem}`);
}

/** The path of a value as range errors name it. */
export function validationPath(at: WireValue): string {
  return pathOf(at, true);
}

/** `what` with its verb: `sparse vectors are`. */
export function notSupported(at: WireValue, what: string): RequestError {
  const path = pathOf(at, false);
  return new RequestError('bad-request', `${path === '' ? '' : `${path}: `}${what} not supported by this version of nearkeep`);
}

/** For a vector of another kind than a collection of this version can have: the API's text, and where it stands. */
export function wrongVectorKind(at: WireValue, kind: 'sparse' | 'multi'): RequestError {
  const problem = `Conversion between ${kind} and regular vectors failed`;
  return new RequestError('bad-input', `${problem}: this version of nearkeep has dense vectors only, ${pathOf(at, false)} is none`);
}

/** The same value, one step deeper in the paths of range errors: where Qdrant flattens an inner struct. */
export function inside(at: WireValue, key: string): WireValue {
  return { ...at, key, parent: at, validationOnly: true };
}

/** A member that may be absent or null. `alias`: another name of it; at most one of the two may be used. */
export function optional(of: WireValue, key: string, alias?: string): WireValue | undefined {
  const object = readObject(of);
  const isAliased = alias !== undefined && object[alias] !== undefined;
  if (isAliased && object[key] !== undefined) throw formatError(of, `duplicate field \`${key}\``);
  const used = isAliased ? alias : key;
  const value = object[used];
  return value === undefined || value === null ? undefined : child(of, used, value);
}

export function required(of: WireValue, key: string, alias?: string): WireValue {
  const found = optional(of, key, alias);
  if (found !== undefined) return found;
  const object = readObject(of);
  if (object[key] === null) return child(of, key, null);
  if (alias !== undefined && object[alias] === null) return child(of, alias, null);
  throw formatError(of, `missing field \`${key}\``);
}

export function child(of: WireValue, key: string | number, value: unknown): WireValue {
  return { value, key, parent: of, violations: of.violations };
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  return !Array.isArray(value) && !ArrayBuffer.isView(value) && !(value instanceof RawJson);
}

export function readObject(at: WireValue): Readonly<Record<string, unknown>> {
  return isObject(at.value) ? at.value : wrongType(at, 'a map');
}

export function readList(at: WireValue): readonly unknown[] {
  return Array.isArray(at.value) ? at.value : wrongType(at, 'a sequence');
}

export function mapList<T>(at: WireValue, read: (item: WireValue) => T | Promise<T>): Promise<T[]> {
  return mapSliced(readList(at), (value, index) => read(child(at, index, value)));
}

/** `items.map(work)`, one after another, without holding the event loop: a body may hold millions of items. */
export async function mapSliced<S, T>(items: readonly S[], work: (item: S, index: number) => T | Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let sliceStart = performance.now();
  for (const [index, item] of items.entries()) {
    const result = work(item, index);
    results.push(result instanceof Promise ? await result : result);
    if (performance.now() - sliceStart < sliceMsMax) continue;
    await yieldToLoop();
    sliceStart = performance.now();
  }
  return results;
}

export function readString(at: WireValue): string {
  return typeof at.value === 'string' ? at.value : wrongType(at, 'a string');
}

export function readBoolean(at: WireValue): boolean {
  return typeof at.value === 'boolean' ? at.value : wrongType(at, 'a boolean');
}

/** Larger counts than this are read as this: more than any answer can hold, and safe to add to one another. */
const countMax = 2 ** 48;

/** An integer from 0 on. Below `min` it is noted as a violation. */
export function readCount(at: WireValue, min = 0): number {
  const { value } = at;
  if (typeof value !== 'bigint' && (typeof value !== 'number' || !Number.isInteger(value))) return wrongType(at, 'usize');
  if (value < 0) throw formatError(at, `invalid value: integer \`${value}\`, expected usize`);
  if (value < min) violation(at, `value ${value} invalid, must be ${min} or larger`);
  return value > countMax ? countMax : Number(value);
}

export function readNumber(at: WireValue, expected: 'f32' | 'f64'): number {
  const { value } = at;
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : wrongType(at, expected);
}

export function readVariant<T extends string>(at: WireValue, variants: readonly T[]): T {
  const text = readString(at);
  const found = variants.find((variant) => variant === text);
  if (found === undefined) throw formatError(at, unknownVariant(text, variants));
  return found;
}

function unknownVariant(text: string, variants: readonly string[]): string {
  const names = variants.map((variant) => `\`${variant}\``);
  const list = names.length > 2 ? `one of ${names.join(', ')}` : names.join(' or ');
  return `unknown variant \`${shorten(text)}\`, expected ${list}`;
}

export function noVariant(at: WireValue, name: string): RequestError {
  return formatError(at, `data did not match any variant of untagged enum ${name}`);
}

/** @throws always */
export function wrongType(at: WireValue, expected: string): never {
  throw formatError(at, `invalid type: ${kindOf(at.value)}, expected ${expected}`);
}

/** JSON text of a scalar for an error; lists and objects by their kind. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return shorten(JSON.stringify(value));
  return typeof value === 'object' && value !== null ? kindOf(value) : String(value);
}

/** The members that have a value: for types whose optional members must be absent rather than undefined. */
export function defined<T extends object>(members: T): Defined<T> {
  const kept: Record<string, T[keyof T]> = {};
  for (const key of Object.keys(members) as (keyof T & string)[]) if (members[key] !== undefined) kept[key] = members[key];
  return kept as Defined<T>;
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } &
  { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

function kindOf(value: unknown): string {
  if (typeof value === 'string') return `string ${shorten(JSON.stringify(value))}`;
  return ArrayBuffer.isView(value) ? 'sequence' : describeValue(value);
}

function shorten(text: string): string {
  return text.length <= shownCharsMax ? text : `${text.slice(0, shownCharsMax)}…`;
}

function pathOf(at: WireValue, forValidation: boolean): string {
  const keys: (string | number)[] = [];
  for (let step: WireValue | undefined = at; step?.parent !== undefined; step = step.parent) {
    if (forValidation || step.validationOnly !== true) keys.unshift(step.key);
  }
  const text = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return text.startsWith('.') ? text.slice(1) : text;
}
