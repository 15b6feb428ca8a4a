// Errors of a request body's form, in the words of Qdrant's parser.
import { RequestError } from '../base/errors.ts';

export function formatError(text: string): RequestError {
  return new RequestError('bad-format', `Format error in JSON body: ${text}`);
}

/** How the parser's messages name a value: "integer `5`", "map", "string \"x\"". */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'boolean') return `boolean \`${value}\``;
  if (typeof value === 'string') return `string ${JSON.stringify(value)}`;
  if (typeof value === 'bigint') return `integer \`${value}\``;
  if (typeof value === 'number') return `${Number.isInteger(value) ? 'integer' : 'floating point'} \`${value}\``;
  return Array.isArray(value) ? 'sequence' : 'map';
}
