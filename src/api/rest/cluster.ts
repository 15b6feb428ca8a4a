// The cluster as clients see it. A single node answers what a single node can.
import { exactText } from '../../base/exact-json.ts';
import { shardKeyValue, type ShardKey } from '../../command/shard-key.ts';
import type { Engine } from '../../engine/engine.ts';
import { result } from './collections.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { clusterOf, shardKeyOperations, type DecodeOperation } from './shard-keys.ts';
import { decodeBody, noVariant, readObject, required } from './wire-value.ts';
import { collectionOf } from './write-call.ts';

export function clusterRoutes({ engine }: RestContext): readonly RestRoute[] {
  const path = '/collections/:collection/cluster';
  return [
    { method: 'GET', path: '/cluster', access: 'read', handle: result(() => clusterJson(engine)) },
    { method: 'GET', path, access: 'read', handle: async (call) => ({ kind: 'result-text', pieces: [exactText(collectionJson(engine, collectionOf(call)))] }) },
    {
      method: 'POST',
      path,
      access: 'manage',
      body: engine.cluster === undefined ? 'none' : 'json',
      timeout: 'change',
      handle: (call) => operate(engine, call),
    },
  ];
}

/** By the name of the member that asks for it. */
const operations: Readonly<Record<string, DecodeOperation>> = { ...shardKeyOperations };

async function operate(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const cluster = clusterOf(engine);
  const change = await decodeBody(call.body, async (at) => {
    const name = Object.keys(readObject(at)).find((key) => Object.hasOwn(operations, key));
    const decode = name === undefined ? undefined : operations[name];
    if (name === undefined || decode === undefined) throw noVariant(at, 'ClusterOperations');
    return await decode(required(at, name));
  });
  await change(cluster, collectionOf(call));
  return { kind: 'result', value: true };
}

type ClusterStatus = Awaited<ReturnType<NonNullable<Engine['cluster']>['status']>>;

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

function collectionJson(engine: Engine, name: string): unknown {
  if (engine.cluster !== undefined) {
    const status = engine.cluster.collectionStatus(name);
    return {
      peer_id: status.peerId,
      shard_count: status.shardCount,
      local_shards: status.local.map(({ shardId, key, points, state }) => ({ shard_id: shardId, ...keyed(key), points_count: points, state })),
      remote_shards: status.remote.map(({ shardId, key, peerId, state }) => ({ shard_id: shardId, ...keyed(key), peer_id: peerId, state })),
      shard_transfers: status.transfers.map(({ shardId, from, to }) => ({ shard_id: shardId, from, to, sync: true, method: 'snapshot' })),
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
