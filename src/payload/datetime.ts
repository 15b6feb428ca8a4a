// Datetimes as microseconds since 1970: a `number`, or a `bigint` beyond ±(2^53-1) (before 1684 and after 2255).
// Accepted, as Qdrant does: RFC 3339 with `T` or a space; offsets `Z`, `UTC`, `+hh:mm`, `+hhmm`, `+hh`; no offset (then UTC);
// no seconds (then no offset either); the date alone. Fractions are cut to microseconds. Second 60 is the next minute's 0.
import { asNumberIfSafe } from './exact-number.ts';

const pattern =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[Tt ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))? ?([Zz]|UTC|[+-]\d{2}(?::?\d{2})?)?)?)?$/;

/** undefined where the text is no datetime. */
export function parseDatetime(text: string): number | bigint | undefined {
  const match = text.length > 64 ? null : pattern.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => (part === undefined ? 0 : Number(part)));
  const offset = offsetSeconds(match[8]);
  if (hour > 23 || minute > 59 || second > 60 || offset === undefined) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const seconds = date.getTime() / 1000 + hour * 3600 + minute * 60 + second - offset;
  const fraction = Number((match[7] ?? '').slice(0, 6).padEnd(6, '0'));
  const micros = seconds * 1e6 + fraction;
  return Number.isSafeInteger(micros) ? micros : asNumberIfSafe(BigInt(seconds) * 1_000_000n + BigInt(fraction));
}

function offsetSeconds(text: string | undefined): number | undefined {
  if (text === undefined || /^(?:z|utc)$/i.test(text)) return 0;
  const hours = Number(text.slice(1, 3));
  const minutes = Number(text.slice(3).replace(':', ''));
  if (hours > 23 || minutes > 59) return undefined;
  return (hours * 3600 + minutes * 60) * (text.startsWith('-') ? -1 : 1);
}
