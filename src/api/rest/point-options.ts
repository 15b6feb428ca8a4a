// Query parameters of point routes. `ordering` and `consistency` are checked and need no more on one node: its log orders all
// writes (every ordering is strong) and its one replica is every quorum. `timeout` of a read is the frame's (route.ts).
import type { WriteOptions } from '../../command/write.ts';
import { deserializeError, queryValidationError, readChoice, readFlag, readInteger, type Query } from './query-parameters.ts';

const orderings = ['weak', 'medium', 'strong'] as const;
const consistencies: readonly string[] = ['majority', 'quorum', 'all'];

/** `wait` (default false), `timeout` in seconds, `ordering`. */
export function writeOptions(query: Query): WriteOptions {
  readChoice(query, 'ordering', { values: orderings, fallback: 'weak' });
  const wait = readFlag(query, 'wait', false);
  if (query['timeout'] === undefined) return { wait };
  return { wait, timeoutMs: readInteger(query, 'timeout', { from: 1, fallback: 1 }) * 1000 };
}

/** `consistency`: a number of replicas or a word. */
export function checkConsistency({ consistency }: Query): void {
  if (consistency === undefined || consistencies.includes(consistency)) return;
  if (!/^\d+$/.test(consistency)) throw deserializeError('consistency', 'data did not match any variant of untagged enum ReadConsistency');
  if (/^0+$/.test(consistency)) throw queryValidationError('consistency', 'value 0 invalid, must be 1 or larger');
}
