// What a node tells of its cluster, in the terms of the API: `GET /cluster` and `GET /collections/{c}/cluster`.
import type { ClusterCatalog } from './cluster-catalog.ts';
import type { ShardKey } from '../command/shard-key.ts';
import { replicaOf, type ReplicaState } from './cluster-record.ts';
import type { KvMetastore } from './kv-metastore.ts';
import type { Membership } from './membership.ts';
import type { NatsServer } from './nats-server.ts';
import type { PeerClient } from './peer-client.ts';

export interface ClusterStatus {
  readonly peerId: number;
  /** Peer id → URL of its peer port, and version. */
  readonly peers: ReadonlyMap<number, { readonly uri: string; readonly version: string }>;
  /** Of the metadata; undefined while none is known. */
  readonly leader: number | undefined;
  /** Changes of the leader that this node has seen. */
  readonly term: number;
  readonly commit: number;
  readonly pending: number;
  readonly isVoter: boolean;
  /** Nodes that were heard lately, this one included. */
  readonly up: number;
  readonly error: string | undefined;
  readonly sendFailures: readonly { readonly url: string; readonly count: number; readonly latestError: string; readonly latestErrorMs: number }[];
}

export interface CollectionClusterStatus {
  readonly peerId: number;
  readonly shardCount: number;
  readonly local: readonly { readonly shardId: number; readonly key: ShardKey | undefined; readonly points: number; readonly state: ReplicaState }[];
  readonly remote: readonly { readonly shardId: number; readonly key: ShardKey | undefined; readonly peerId: number; readonly state: ReplicaState }[];
  readonly transfers: readonly { readonly shardId: number; readonly from: number; readonly to: number }[];
}

interface Parts {
  readonly catalog: ClusterCatalog;
  readonly membership: Membership;
  readonly metastore: KvMetastore;
  readonly nats: NatsServer;
  readonly peers: PeerClient;
}

export class ClusterTerms {
  #leader: number | undefined;
  #term = 0;

  /** The number of leaders seen so far. */
  seen(leader: number | undefined): number {
    if (leader !== undefined && leader !== this.#leader) {
      this.#leader = leader;
      this.#term += 1;
    }
    return this.#term;
  }
}

export async function clusterStatus({ membership, metastore, nats, peers }: Parts, terms: ClusterTerms): Promise<ClusterStatus> {
  const facts = await nats.monitor('jsz');
  const meta = facts?.['meta_cluster'] as { readonly leader?: string; readonly pending?: number } | undefined;
  const leader = membership.nodes().find(({ serverName }) => serverName === meta?.leader)?.peerId;
  return {
    peerId: membership.self.peerId,
    peers: new Map(membership.nodes().map(({ peerId, uri, version }) => [peerId, { uri: `${uri}/`, version }])),
    leader,
    term: terms.seen(leader),
    commit: metastore.revision,
    pending: meta?.pending ?? 0,
    isVoter: !membership.self.listener,
    up: membership.quorum().up,
    error: leader === undefined ? (nats.state.lastError ?? 'the metadata has no leader') : undefined,
    sendFailures: [...peers.failures].map(([url, failures]) => ({ url, ...failures })),
  };
}

/** @throws RequestError 'not-found' */
export function collectionClusterStatus({ catalog, membership }: Pick<Parts, 'catalog' | 'membership'>, name: string): CollectionClusterStatus {
  const collection = catalog.get(name);
  const { shards } = catalog.record(name);
  const self = membership.self.peerId;
  return {
    peerId: self,
    shardCount: shards.length,
    local: shards.flatMap((shard) => {
      const state = replicaOf(shard, self);
      const points = collection.set.slots.find(({ id }) => id === shard.id)?.shard?.info().points ?? 0;
      return state === undefined ? [] : [{ shardId: shard.id, key: shard.key, points, state }];
    }),
    remote: shards.flatMap((shard) => Object.entries(shard.replicas).filter(([peer]) => Number(peer) !== self).map(([peer, state]) => ({ shardId: shard.id, key: shard.key, peerId: Number(peer), state }))),
    transfers: catalog.transfers.filter(({ collectionUuid }) => collectionUuid === collection.uuid).map(({ shardId, from, to }) => ({ shardId, from, to })),
  };
}
