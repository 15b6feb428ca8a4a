// Objects and arrays of JSON text as slices of that text: what is not touched keeps its exact form, digits and spaces inside
// values included. All text here is valid JSON already.
import { invariant } from '../base/assert.ts';

export interface Member {
  /** The key as it is written, quotes included. */
  readonly keyText: string;
  readonly valueText: string;
}

const structural = /["{}[\]]/g;
const scalarEnd = /[\s,\]}]/g;
const space = /\s*/y;

/** Members by name; of equal names the last one counts. undefined where the text is no object. */
export function membersOf(text: string): Map<string, Member> | undefined {
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return undefined;
  const members = new Map<string, Member>();
  for (at = skipSpace(text, at + 1); text[at] !== '}'; at = skipSpace(text, at)) {
    invariant(at < text.length, 'stored payloads are valid JSON');
    if (text[at] === ',') at = skipSpace(text, at + 1);
    const keyEnd = stringEnd(text, at);
    const keyText = text.slice(at, keyEnd);
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    at = valueEnd(text, valueStart);
    members.set(JSON.parse(keyText) as string, { keyText, valueText: text.slice(valueStart, at) });
  }
  return members;
}

/** undefined where the text is no array. */
export function elementTexts(text: string): string[] | undefined {
  let at = skipSpace(text, 0);
  if (text[at] !== '[') return undefined;
  const elements: string[] = [];
  for (at = skipSpace(text, at + 1); text[at] !== ']'; at = skipSpace(text, at)) {
    invariant(at < text.length, 'stored payloads are valid JSON');
    const start = text[at] === ',' ? skipSpace(text, at + 1) : at;
    at = valueEnd(text, start);
    elements.push(text.slice(start, at));
  }
  return elements;
}

export function joinMembers(members: ReadonlyMap<string, Member>): string {
  return `{${Array.from(members.values(), ({ keyText, valueText }) => `${keyText}:${valueText}`).join(',')}}`;
}

export function joinElements(elements: readonly string[]): string {
  return `[${elements.join(',')}]`;
}

function skipSpace(text: string, at: number): number {
  space.lastIndex = at;
  space.test(text);
  return space.lastIndex;
}

/** Behind the closing quote of the string that starts at `at`. */
function stringEnd(text: string, at: number): number {
  for (let quote = text.indexOf('"', at + 1); ; quote = text.indexOf('"', quote + 1)) {
    if (quote < 0) return text.length;
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return stringEnd(text, start);
  if (first !== '{' && first !== '[') {
    scalarEnd.lastIndex = start;
    return scalarEnd.exec(text)?.index ?? text.length;
  }
  let depth = 0;
  for (let at = start; ; ) {
    structural.lastIndex = at;
    const match = structural.exec(text);
    if (match === null) return text.length;
    at = match[0] === '"' ? stringEnd(text, match.index) : match.index + 1;
    if (match[0] === '{' || match[0] === '[') depth += 1;
    if (match[0] === '}' || match[0] === ']') depth -= 1;
    if (depth === 0) return at;
  }
}
