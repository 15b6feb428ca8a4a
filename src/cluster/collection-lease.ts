// One restore at a time changes a collection: a lease in the metastore, of a node that answers.
import { randomUUID } from 'node:crypto';
import { RequestError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import type { Metastore } from '../collection/metastore.ts';
import { leasePrefix } from './cluster-records.ts';

const pollMs = 50;

export interface LeaseAccess {
  readonly metastore: Metastore;
  readonly membership: { readonly self: { readonly peerId: number }; isLive(peerId: number): boolean };
  readonly clock: Clock;
}

/** Waits for whoever has it; one whose node does not answer any more loses it. Answers its release. @throws RequestError 'timeout' */
export async function takeLease({ metastore, membership, clock }: LeaseAccess, uuid: string, { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined }): Promise<() => Promise<void>> {
  const key = leasePrefix + uuid;
  const value = { peer: membership.self.peerId, id: randomUUID() };
  const until = clock.monotonic() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const found = await metastore.get(key);
    const holder = (found?.value as { readonly peer?: number } | undefined)?.peer;
    const isFree = found === undefined || holder === undefined || (holder !== membership.self.peerId && !membership.isLive(holder));
    const revision = !isFree ? undefined : found === undefined ? await metastore.create(key, value) : await metastore.set(key, value, found.revision);
    if (revision !== undefined) return async () => void (await metastore.delete(key, revision));
    if (clock.monotonic() > until) throw new RequestError('timeout', 'another restore of this collection does not end');
    await new Promise((resolve) => {
      setTimeout(resolve, pollMs);
    });
  }
}
