// Rules for names of collections and vectors as they come in.
import { RequestError } from '../../base/errors.ts';

const lengthMax = 255;
const vectorNameBytesMax = 200;
const forbiddenEverywhere = ['/', '\0'];
const forbiddenInNewNames = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u001f'];

/** For a name in the path of any route. @throws RequestError 'validation' */
export function checkCollectionName(name: string): void {
  refuse('path parameters', 'collection_name', collectionNameProblem(name, forbiddenEverywhere));
}

/** For a name that a create, upload or recover may give to a new collection. @throws RequestError 'validation' */
export function checkNewCollectionName(name: string): void {
  refuse('path parameters', 'collection_name', collectionNameProblem(name, forbiddenInNewNames));
}

/** What is wrong with a name that is to be given to a collection or alias; undefined where nothing is. */
export function newNameProblem(name: string): string | undefined {
  return collectionNameProblem(name, forbiddenInNewNames);
}

/** What is wrong with a vector's name; undefined where nothing is. '' stays the unnamed vector's own. */
export function vectorNameProblem(name: string): string | undefined {
  if (name === '') return 'vector name must not be empty';
  if (Buffer.byteLength(name) > vectorNameBytesMax) return `vector name must be at most ${vectorNameBytesMax} bytes`;
  const found = forbiddenInNewNames.find((char) => name.includes(char));
  return found === undefined ? undefined : `vector name cannot contain ${quoted(found)} char`;
}

function collectionNameProblem(name: string, forbidden: readonly string[]): string | undefined {
  const length = Array.from(name).length; // code points, as clients of the API count
  if (length < 1 || length > lengthMax) return `value ${JSON.stringify(name)} invalid, must be from 1 to ${lengthMax} characters`;
  if (name === '.' || name === '..') return `collection name cannot be ${quoted(name)}`;
  const found = forbidden.find((char) => name.includes(char));
  return found === undefined ? undefined : `collection name cannot contain ${quoted(found)} char`;
}

function refuse(place: string, field: string, problem: string | undefined): void {
  if (problem !== undefined) throw new RequestError('validation', `Validation error in ${place}: [${field}: ${problem}]`);
}

/** Control characters are shown escaped. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('\\"', '"').replaceAll('\\\\', '\\');
}
