// The cluster as clients see it. A single node answers what a single node can.
import { RequestError } from '../../base/errors.ts';
import { exactText } from '../../base/exact-json.ts';
import { shardKeyValue, type ShardKey } from '../../command/shard-key.ts';
import type { Engine } from '../../engine/engine.ts';
import { readFlag } from './query-parameters.ts';
import { result } from './collections.ts';
import { decodeClusterOperation } from './decode-cluster-operation.ts';
import type { RestContext } from './rest-context.ts';
import type { RestRoute } from './route.ts';
import { collectionOf } from './write-call.ts';

type Cluster = NonNullable<Engine['cluster']>;
type Disagreement = ReturnType<Cluster['collectionStatus']>['disagreements'][number];
type TransferStatus = ReturnType<Cluster['collectionStatus']>['transfers'][number];
type ClusterStatus = Awaited<ReturnType<Cluster['status']>>;

const path = '/collections/:collection/cluster';
const peerPath = '/cluster/peer/:peer_id';

export function clusterRoutes({ engine }: RestContext): readonly RestRoute[] {
  return [
    { method: 'GET', path: '/cluster', access: 'read', handle: result(() => clusterJson(engine)) },
    { method: 'GET', path, access: 'read', handle: async (call) => ({ kind: 'result-text', pieces: [exactText(collectionJson(engine, collectionOf(call)))] }) },
    ...(engine.cluster === undefined ? standaloneRoutes() : changeRoutes(engine.cluster)),
  ];
}

/** What changes a cluster, on one node: refused before it is looked at. */
function standaloneRoutes(): readonly RestRoute[] {
  const handle = (): Promise<never> => Promise.reject(new RequestError('standalone', 'Qdrant is running in standalone mode'));
  return [
    { method: 'POST', path, access: 'manage', body: 'none', handle },
    { method: 'DELETE', path: peerPath, access: 'manage', handle },
  ];
}

function changeRoutes(cluster: Cluster): readonly RestRoute[] {
  return [
    {
      method: 'POST',
      path,
      access: 'manage',
      timeout: 'change',
      handle: result(async ({ params, body }) => {
        await cluster.changeShards(params['collection'] ?? '', await decodeClusterOperation(body));
        return true;
      }),
    },
    {
      method: 'DELETE',
      path: peerPath,
      access: 'manage',
      timeout: 'change',
      handle: result(async ({ params, query }) => {
        await cluster.removePeer({ peerId: readPeerParameter(params['peer_id'] ?? ''), force: readFlag(query, 'force', false) });
        return true;
      }),
    },
  ];
}

/** `writes_stopped`: there is no majority, and an operator has to decide. */
function disagreementJson({ shardId, kind, what, seq, equalSeq, groups, odd }: Disagreement): unknown {
  return { shard_id: shardId, what, equal_until: equalSeq, differ_at: seq, peers: groups, copied_anew: odd, writes_stopped: kind === 'undecided' };
}

function readPeerParameter(text: string): number {
  if (!/^\d{1,16}$/.test(text)) throw new RequestError('bad-format', 'Deserialize error in path parameters: peer_id: invalid digit found in string');
  return Number(text);
}

async function clusterJson({ cluster }: Engine): Promise<unknown> {
  if (cluster === undefined) return { status: 'disabled' };
  const status = await cluster.status();
  return {
    status: 'enabled',
    peer_id: status.peerId,
    peers: peersJson(status),
    raft_info: {
      term: status.term, commit: status.commit, pending_operations: status.pending, leader: status.leader ?? null, role: roleOf(status), is_voter: status.isVoter,
    },
    consensus_thread_status: threadJson(status),
    message_send_failures: Object.fromEntries(status.sendFailures.map(({ url, count, latestError, latestErrorMs }) => [
      url, { count, latest_error: latestError, latest_error_timestamp: new Date(latestErrorMs).toISOString() },
    ])),
  };
}

/** The part of /telemetry. */
export async function clusterTelemetryJson({ cluster }: Engine, { isDetailed }: { readonly isDetailed: boolean }): Promise<unknown> {
  if (cluster === undefined) return { enabled: false };
  const status = await cluster.status();
  return {
    enabled: true,
    status: {
      number_of_peers: status.peers.size, term: status.term, commit: status.commit, pending_operations: status.pending, role: roleOf(status),
      is_voter: status.isVoter, peer_id: status.peerId, consensus_thread_status: threadJson(status),
    },
    ...(isDetailed ? {
      peers: peersJson(status),
      peer_metadata: Object.fromEntries([...status.peers].map(([peerId, { version }]) => [String(peerId), { version }])),
    } : {}),
  };
}

function peersJson({ peers }: ClusterStatus): unknown {
  return Object.fromEntries([...peers].map(([peerId, { uri }]) => [String(peerId), { uri }]));
}

function roleOf({ leader, peerId }: ClusterStatus): string {
  if (leader === undefined) return 'Candidate';
  return leader === peerId ? 'Leader' : 'Follower';
}

function threadJson({ error }: ClusterStatus): unknown {
  return error === undefined
    ? { consensus_thread_status: 'working', last_update: new Date().toISOString() }
    : { consensus_thread_status: 'stopped_with_err', err: error };
}

/** As a collection and /telemetry tell it. */
export function transferJson({ shardId, from, to, method, isKept }: TransferStatus): unknown {
  return { shard_id: shardId, from, to, sync: isKept, method };
}

function collectionJson(engine: Engine, name: string): unknown {
  if (engine.cluster !== undefined) {
    const status = engine.cluster.collectionStatus(name);
    return {
      peer_id: status.peerId,
      shard_count: status.shardCount,
      local_shards: status.local.map(({ shardId, key, points, state }) => ({ shard_id: shardId, ...keyed(key), points_count: points, state })),
      remote_shards: status.remote.map(({ shardId, key, peerId, state }) => ({ shard_id: shardId, ...keyed(key), peer_id: peerId, state })),
      shard_transfers: status.transfers.map(transferJson),
      ...(status.disagreements.length === 0 ? {} : { disagreements: status.disagreements.map(disagreementJson) }),
    };
  }
  const { shards } = engine.collectionInfo(name);
  return {
    peer_id: engine.peerId,
    shard_count: shards.length,
    local_shards: shards.map(({ id, key, points, status }) => ({ shard_id: id, ...keyed(key), points_count: points, state: status === 'red' ? 'Dead' : 'Active' })),
    remote_shards: [],
    shard_transfers: [],
  };
}

function keyed(key: ShardKey | undefined): object {
  return key === undefined ? {} : { shard_key: shardKeyValue(key) };
}
