// JSON whose integers keep all their digits. In base/ because vector/ (request bodies) and payload/ (stored text) both need it
// and lie in one row of the layers.
//
// A number token without fraction and exponent is an integer. Outside ±(2^53-1) it becomes a bigint; everything else is the
// value of JSON.parse. Longer than exactDigitsMax it stays a number: making a bigint takes time quadratic in its digits.

/** @internal for tests */
export const exactDigitsMax = 1024;

const safeIntegerDigits = '9007199254740991';
const numberToken = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y;
// Marks the strings that stand for integers in the rewritten text. A string of the original that starts with it gets a second one.
const mark = '\b';

/** @throws SyntaxError where JSON.parse does. */
export function parseExact(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const plain: unknown = JSON.parse(text); // proves the syntax that the rewriting relies on
  const rewritten = markIntegers(text);
  return rewritten === text ? plain : unmark(JSON.parse(rewritten));
}

/** The opposite, for small values: members that are undefined are left out. */
export function exactText(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(exactText).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${exactText(member)}`).join(',')}}`;
}

/** Whether the digits of an integer token, without sign, leave the range in which numbers are exact. */
export function needsBigInt(digits: string): boolean {
  if (digits.length > safeIntegerDigits.length) return digits.length <= exactDigitsMax;
  return digits.length === safeIntegerDigits.length && digits > safeIntegerDigits;
}

/** Puts `"<mark><integer>"` in the place of every integer that needs it. `text` is valid JSON. */
function markIntegers(text: string): string {
  let result = '';
  let copied = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x22) {
      const end = stringEnd(text, at);
      if (startsWithMark(text, at) && !isKey(text, end)) {
        result += `${text.slice(copied, at + 1)}\\b`;
        copied = at + 1;
      }
      at = end;
    } else if (char === 0x2d || (char >= 0x30 && char <= 0x39)) {
      numberToken.lastIndex = at;
      const match = numberToken.exec(text);
      const token = match?.[0] ?? '';
      if (match?.[1] === undefined && match?.[2] === undefined && needsBigInt(token.replace('-', ''))) {
        result += `${text.slice(copied, at)}"\\b${token}"`;
        copied = at + token.length;
      }
      at += token.length - 1;
    }
  }
  return copied === 0 ? text : result + text.slice(copied);
}

/** Index of the closing quote of the string that opens at `at`. */
function stringEnd(text: string, at: number): number {
  let end = at + 1;
  while (text.charCodeAt(end) !== 0x22) end += text.charCodeAt(end) === 0x5c ? 2 : 1;
  return end;
}

function startsWithMark(text: string, quoteAt: number): boolean {
  return text.startsWith('\\b', quoteAt + 1) || text.startsWith('\\u0008', quoteAt + 1);
}

function isKey(text: string, quoteAt: number): boolean {
  let next = quoteAt + 1;
  while (/\s/.test(text.charAt(next))) next += 1;
  return text.charAt(next) === ':';
}

/** Resolves the marked strings of a parsed value in place. Iterative: the text may be nested deeper than the stack. */
function unmark(root: unknown): unknown {
  const holder: { root: unknown } = { root };
  const open: object[] = [holder];
  for (let container = open.pop(); container !== undefined; container = open.pop()) {
    const members = container as Record<string, unknown>; // arrays too: their keys are the indices
    for (const key of Object.keys(members)) {
      const value = members[key];
      if (typeof value === 'object' && value !== null) open.push(value);
      else if (typeof value === 'string' && value.startsWith(mark)) {
        members[key] = value.startsWith(mark, 1) ? value.slice(1) : BigInt(value.slice(1));
      }
    }
  }
  return holder.root;
}
