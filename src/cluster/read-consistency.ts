// Reads that ask several replicas: so many of them say how far they are, and one that is as far as the furthest is read. Replicas are
// copies of one log, so their answers need no comparing. A write that so many replicas had applied when it was answered is seen by a
// read that asks so many that the two sets share one.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Replica } from '../collection/replica.ts';
import type { ReadConsistency } from '../command/read.ts';

/** A replica that can be asked how far it is. */
export interface Candidate {
  readonly replica: Replica;
  /** @throws RequestError 'unavailable' where it does not say in time */
  readonly applied: (signal?: AbortSignal) => Promise<Seq>;
}

/** How many of so many replicas a read must hear; a number beyond them means all. */
export function replicasAsked(consistency: ReadConsistency, replicas: number): number {
  if (consistency === 'all') return replicas;
  if (typeof consistency === 'number') return Math.min(consistency, replicas);
  return Math.floor(replicas / 2) + 1;
}

export interface Question {
  readonly shardId: number;
  readonly asked: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * The furthest of those that answer first, as many as are asked; of equal ones the first candidate.
 * @param candidates Active ones, the nearest first
 * @throws RequestError 'unavailable' where fewer answer
 */
export async function furthest(candidates: readonly Candidate[], { shardId, asked, signal }: Question): Promise<Replica> {
  const tooFew = (found: number, what: string, cause?: unknown): RequestError => new RequestError('unavailable', `shard ${shardId} has ${found} ${what} of the ${asked} that this consistency asks for`, { cause });
  if (candidates.length < asked) throw tooFew(candidates.length, 'active replicas');
  const heard = new Map<Candidate, Seq>();
  let failure: unknown;
  await new Promise<void>((resolve) => {
    let open = candidates.length;
    const ask = async (candidate: Candidate): Promise<void> => {
      try {
        const seq = await candidate.applied(signal);
        if (heard.size < asked) heard.set(candidate, seq);
      } catch (error) {
        failure = error;
      }
      open -= 1;
      if (open === 0 || heard.size === asked) resolve();
    };
    for (const candidate of candidates) void ask(candidate);
  });
  signal?.throwIfAborted();
  if (heard.size < asked) throw tooFew(heard.size, 'replicas that answer', failure);
  const most = Math.max(...heard.values());
  return must(candidates.find((candidate) => heard.get(candidate) === most), 'one of those that answered').replica;
}
