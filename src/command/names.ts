// Rules for names of collections, aliases and vectors. Whoever gives or takes a name asks here: the transports for the place in their
// messages, everything below because a library has no transport.
import { RequestError } from '../base/errors.ts';

const lengthMax = 255;
const vectorNameBytesMax = 200;
const loneSurrogate = /\p{Cs}/u;
const forbiddenEverywhere = ['/', '\0'];
const forbiddenInNewNames = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u001f'];

/** Why no path of the API can name a collection or alias so; undefined where one can. */
export function nameProblem(name: string): string | undefined {
  return problemOf(name, forbiddenEverywhere);
}

/** What is wrong with a name that is to be given to a collection or alias; undefined where nothing is. */
export function newNameProblem(name: string): string | undefined {
  return problemOf(name, forbiddenInNewNames);
}

/** What is wrong with a vector's name; undefined where nothing is. '' stays the unnamed vector's own. */
export function vectorNameProblem(name: string): string | undefined {
  if (name === '') return 'vector name must not be empty';
  if (loneSurrogate.test(name)) return 'vector name must be Unicode text';
  if (Buffer.byteLength(name) > vectorNameBytesMax) return `vector name must be at most ${vectorNameBytesMax} bytes`;
  const found = forbiddenInNewNames.find((char) => name.includes(char));
  return found === undefined ? undefined : `vector name cannot contain ${quoted(found)} char`;
}

/** @throws RequestError 'validation' */
export function refuseVectorName(name: string): void {
  const problem = vectorNameProblem(name);
  if (problem !== undefined) throw new RequestError('validation', `Validation error: [vectors: ${problem}]`);
}

/** @throws RequestError 'validation' */
export function refuseNewName(what: 'collection_name' | 'alias_name', name: string): void {
  const problem = newNameProblem(name);
  if (problem !== undefined) throw new RequestError('validation', `Validation error: [${what}: ${problem}]`);
}

function problemOf(name: string, forbidden: readonly string[]): string | undefined {
  const length = Array.from(name).length; // code points, as clients of the API count
  if (length < 1 || length > lengthMax) return `value ${JSON.stringify(name)} invalid, must be from 1 to ${lengthMax} characters`;
  if (name === '.' || name === '..') return `collection name cannot be ${quoted(name)}`;
  if (loneSurrogate.test(name)) return 'collection name must be Unicode text';
  const found = forbidden.find((char) => name.includes(char));
  return found === undefined ? undefined : `collection name cannot contain ${quoted(found)} char`;
}

/** Control characters are shown escaped. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('\\"', '"').replaceAll('\\\\', '\\');
}
