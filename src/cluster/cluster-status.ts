// What a node tells of its cluster, in the terms of the API: `GET /cluster` and `GET /collections/{c}/cluster`.
import type { TransferMethod } from '../command/cluster-operation.ts';
import type { ClusterCatalog } from './cluster-catalog.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { Disagreement } from './replica-marks.ts';
import { replicaOf, type ReplicaState } from './cluster-record.ts';
import type { StateMark } from '../shard/state-marks.ts';
import type { ClusterMetastore } from './kv-metastore.ts';
import type { Membership } from './membership.ts';
import { ExternalNats } from './external-nats.ts';
import type { NatsService } from './nats-service.ts';
import type { PeerClient } from './peer-client.ts';
import { nodeOf } from './witness.ts';

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
  /** Entries that the streams of this node's shards count as missing. */
  readonly missingEntries: number;
  readonly error: string | undefined;
  readonly sendFailures: readonly { readonly url: string; readonly count: number; readonly latestError: string; readonly latestErrorMs: number }[];
}

export interface CollectionClusterStatus {
  readonly peerId: number;
  readonly shardCount: number;
  /** `mark`: what its state is now; undefined while it is not open. */
  readonly local: readonly { readonly shardId: number; readonly key: ShardKey | undefined; readonly points: number; readonly state: ReplicaState; readonly mark: StateMark | undefined }[];
  readonly remote: readonly { readonly shardId: number; readonly key: ShardKey | undefined; readonly peerId: number; readonly state: ReplicaState }[];
  readonly transfers: readonly TransferStatus[];
  /** Shards whose replicas are not alike, as far as this node has heard. */
  readonly disagreements: readonly (Disagreement & { readonly shardId: number })[];
}

interface TransferStatus {
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
  readonly method: TransferMethod;
  /** The source keeps its replica. */
  readonly isKept: boolean;
}

interface Parts {
  readonly catalog: ClusterCatalog;
  readonly membership: Membership;
  readonly metastore: ClusterMetastore;
  readonly nats: NatsService;
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

export async function clusterStatus({ catalog, membership, metastore, nats, peers }: Parts, terms: ClusterTerms): Promise<ClusterStatus> {
  const facts = await nats.monitor('jsz');
  const meta = facts?.['meta_cluster'] as { readonly leader?: string; readonly pending?: number } | undefined;
  const leader = leaderOf(membership, nats, meta?.leader);
  return {
    peerId: membership.self.peerId,
    peers: new Map(membership.nodes().map(({ peerId, uri, version }) => [peerId, { uri: `${uri}/`, version }])),
    leader,
    term: terms.seen(leader),
    commit: metastore.revision,
    pending: meta?.pending ?? 0,
    isVoter: !membership.self.listener,
    up: membership.quorum().up,
    missingEntries: catalog.missingEntries,
    error: leader === undefined ? (nats.state.lastError ?? 'the metadata has no leader') : undefined,
    sendFailures: [...peers.failures].map(([url, failures]) => ({ url, ...failures })),
  };
}

/** The node whose server leads the metadata; where servers are no node's, the node that acts for silent ones, as long as the metadata has a leader. */
function leaderOf(membership: Membership, nats: NatsService, serverName: string | undefined): number | undefined {
  const nodes = membership.nodes();
  if (!(nats instanceof ExternalNats)) return nodes.find((node) => serverName !== undefined && node.serverName === nodeOf(serverName))?.peerId;
  return nats.state.isEnabled ? nodes.find(({ peerId }) => membership.isLive(peerId))?.peerId : undefined;
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
      const open = collection.set.slots.find(({ id }) => id === shard.id)?.shard;
      return state === undefined ? [] : [{ shardId: shard.id, key: shard.key, points: open?.info().points ?? 0, state, mark: open?.marks.at(-1) }];
    }),
    remote: shards.flatMap((shard) => Object.entries(shard.replicas).filter(([peer]) => Number(peer) !== self).map(([peer, state]) => ({ shardId: shard.id, key: shard.key, peerId: Number(peer), state }))),
    transfers: [
      ...shards.flatMap(({ id: shardId, transfer }) => (transfer === undefined ? [] : [{ shardId, from: transfer.from, to: transfer.to, method: transfer.method, isKept: !transfer.isMove }])),
      // what this node fetches because a replica of it lacks something, which no record says
      ...catalog.transfers
        .filter(({ collectionUuid, shardId, to }) => collectionUuid === collection.uuid && shards.find(({ id }) => id === shardId)?.transfer?.to !== to)
        .map(({ shardId, from, to }) => ({ shardId, from, to, method: 'snapshot' as const, isKept: true })),
    ],
    disagreements: shards.flatMap((shard) => {
      const found = catalog.marks.disagreementOf(collection.uuid, shard);
      return found === undefined ? [] : [{ shardId: shard.id, ...found }];
    }),
  };
}
