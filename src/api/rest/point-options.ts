// What point routes are told beside their bodies. `ordering` is checked and needs no more: the log of a shard orders all writes, so that
// every ordering is strong. `timeout` of a read is the frame's (route.ts). The header `x-nearkeep-seq` of a write's answer, sent with a
// read, makes it show that write: `<shard>:<generation>:<seq>`, joined by commas.
import { RequestError } from '../../base/errors.ts';
import type { ReadConsistency, ReadOptions } from '../../command/read.ts';
import type { ShardSeq, WriteOptions } from '../../command/write.ts';
import { deserializeError, queryValidationError, readChoice, readFlag, readInteger, type Query } from './query-parameters.ts';
import type { RestCall } from './route.ts';

const orderings = ['weak', 'medium', 'strong'] as const;
const quorums = ['majority', 'quorum', 'all'] as const;
const seqHeader = 'x-nearkeep-seq';
const placePattern = /^(\d{1,10}):(\d{1,15}):(\d{1,15})$/;

/** `wait` (default false), `timeout` in seconds, `ordering`. */
export function writeOptions(query: Query): WriteOptions {
  readChoice(query, 'ordering', { values: orderings, fallback: 'weak' });
  const wait = readFlag(query, 'wait', false);
  if (query['timeout'] === undefined) return { wait };
  return { wait, timeoutMs: readInteger(query, 'timeout', { from: 1, fallback: 1 }) * 1000 };
}

/** Of a read: `consistency`, the writes that it must show, and the call's signal. */
export function readOptions({ query, request, signal }: Pick<RestCall, 'query' | 'request' | 'signal'>): ReadOptions {
  const [consistency, after] = [readConsistency(query), readPlaces(request.headers[seqHeader])];
  return { signal, ...(consistency === undefined ? {} : { consistency }), ...(after === undefined ? {} : { after }) };
}

/** The header that a later read sends back; none where nothing was written. Of several writes the last on each shard counts. */
export function tellPlaces({ reply }: Pick<RestCall, 'reply'>, places: readonly ShardSeq[]): void {
  const last = new Map(places.map((place) => [place.shardId, place]));
  if (last.size > 0) reply.header(seqHeader, [...last.values()].map(({ shardId, generation, seq }) => `${shardId}:${generation}:${seq}`).join(','));
}

/** A number of replicas or a word. */
function readConsistency({ consistency: text }: Query): ReadConsistency | undefined {
  if (text === undefined) return undefined;
  const word = quorums.find((quorum) => quorum === text);
  if (word !== undefined) return word;
  if (!/^\d+$/.test(text)) throw deserializeError('consistency', 'data did not match any variant of untagged enum ReadConsistency');
  if (/^0+$/.test(text)) throw queryValidationError('consistency', 'value 0 invalid, must be 1 or larger');
  return Number(text);
}

function readPlaces(header: string | readonly string[] | undefined): readonly ShardSeq[] | undefined {
  if (header === undefined) return undefined;
  const last = new Map<number, ShardSeq>();
  for (const text of String(header).split(',')) {
    const [, shardId, generation, seq] = placePattern.exec(text.trim()) ?? [];
    if (shardId === undefined) throw new RequestError('bad-format', `Header ${seqHeader}: ${JSON.stringify(text)} is not <shard>:<generation>:<seq>`);
    const place = { shardId: Number(shardId), generation: Number(generation), seq: Number(seq) };
    const known = last.get(place.shardId);
    if (known === undefined || known.generation < place.generation || (known.generation === place.generation && known.seq < place.seq)) last.set(place.shardId, place);
  }
  return [...last.values()];
}
