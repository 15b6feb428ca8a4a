// A replica of a shard on another node, and the methods by which that node serves its own.
//
// `info` must answer at once: it is what the other node told last, which its heartbeat renews (membership.ts).
import { RequestError } from '../base/errors.ts';
import type { CountRequest, PointRecord, RetrieveRequest, ScoredRecord, ScrollRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions } from '../command/write.ts';
import type { Replica, ReplicaInfo, ReplicaSearch, ReplicaWriteResult } from '../collection/replica.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerMethods } from './peer-server.ts';

export interface ShardName {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
}

/** Beyond what the caller gives a write to end in, so that the other node's own answer comes first. */
const graceMs = 2_000;
const callTimeoutMs = 60_000;

/** Of a shard that its node has not told of yet. */
export const unknownInfo: ReplicaInfo = {
  points: 0, indexedVectors: 0, scannedVectors: new Map(), damagedGraphs: new Map(), damagedGraphsFound: 0, codesBytes: { memory: 0, mapped: 0 }, segments: 0, status: 'grey', payloadSchema: new Map(), unappliedEntries: 0, diskBytes: 0,
};

type Call<T> = ShardName & { readonly request: T };

export class RemoteReplica implements Replica {
  readonly #client: PeerClient;
  readonly #url: () => string;
  readonly #name: ShardName;
  readonly #known: () => ReplicaInfo | undefined;

  /** @param known what the other node told of it last */
  constructor(client: PeerClient, url: () => string, name: ShardName, known: () => ReplicaInfo | undefined) {
    this.#client = client;
    this.#url = url;
    this.#name = name;
    this.#known = known;
  }

  async check(operation: WriteOperation): Promise<void> {
    await this.#ask('shard-check', operation);
  }

  write(operation: WriteOperation, options: WriteOptions): Promise<ReplicaWriteResult> {
    return this.#client.call(this.#url(), 'shard-write', { ...this.#name, request: { operation, options } }, { timeoutMs: options.timeoutMs === undefined ? callTimeoutMs : options.timeoutMs + graceMs });
  }

  search(requests: readonly ReplicaSearch[], signal?: AbortSignal): Promise<readonly (readonly ScoredRecord[])[]> {
    return this.#ask('shard-search', requests, signal);
  }

  retrieve(request: RetrieveRequest): Promise<readonly PointRecord[]> {
    return this.#ask('shard-retrieve', request);
  }

  scroll(request: ScrollRequest, signal?: AbortSignal): Promise<readonly PointRecord[]> {
    return this.#ask('shard-scroll', request, signal);
  }

  count(request: CountRequest, signal?: AbortSignal): Promise<number> {
    return this.#ask('shard-count', request, signal);
  }

  info(): ReplicaInfo {
    const info = this.#known();
    if (info === undefined) throw new RequestError('unavailable', `the node of shard ${this.#name.shardId} has not told of it yet`);
    return info;
  }

  #ask<T>(method: string, request: unknown, signal?: AbortSignal): Promise<T> {
    return this.#client.call<T>(this.#url(), method, { ...this.#name, request }, { timeoutMs: callTimeoutMs, isRepeatable: true, ...(signal === undefined ? {} : { signal }) });
  }
}

/** The other side. @param find the local replica of that generation; throws RequestError 'unavailable' where it is not open here */
export function replicaMethods(find: (name: ShardName) => Replica): PeerMethods['calls'] {
  return {
    'shard-check': (call: Call<WriteOperation>) => find(call).check(call.request),
    'shard-write': (call: Call<{ readonly operation: WriteOperation; readonly options: WriteOptions }>) => find(call).write(call.request.operation, call.request.options),
    'shard-search': (call: Call<readonly ReplicaSearch[]>, { signal }) => find(call).search(call.request, signal),
    'shard-retrieve': (call: Call<RetrieveRequest>) => find(call).retrieve(call.request),
    'shard-scroll': (call: Call<ScrollRequest>, { signal }) => find(call).scroll(call.request, signal),
    'shard-count': (call: Call<CountRequest>, { signal }) => find(call).count(call.request, signal),
  };
}
